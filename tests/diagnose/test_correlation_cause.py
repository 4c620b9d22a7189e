"""The cause: the deepest that nothing explains, the earliest among equals; the rest are symptoms and alternatives."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made import (
    FELL_OFF,
    START,
    STEP,
    TIMEOUT,
    USER_ERROR,
    WORKER_FAILED,
    concluded,
    evidence,
    failure,
    resolve,
    roles,
    said,
    timeout,
)

from diagnose.correlation.causes import cause_graph
from schemas.faults import fault_classes
from schemas.incident import Role
from schemas.vocabulary import Culprit

RUNS = [said(START, 0), said(STEP, 60, until=900, source="gpu-01.log")]
KERNEL = {"source": "gpu-02.kern", "host": "gpu-02"}
ILLEGAL = "cuda.illegal-access"


def ranks_time_out(at: float, *ranks: int, **told: object) -> list:
    return [timeout(at + rank / 100, rank, source=f"rank{rank}.log", **told) for rank in ranks]


def test_a_gpu_that_falls_off_the_bus_explains_the_cuda_error_the_timeouts_and_the_launcher() -> None:
    found = failure(
        *RUNS,
        said(FELL_OFF, 910, pci="0000:3b:00", **KERNEL),
        said(ILLEGAL, 912, rank=9, source="rank9.log"),
        *ranks_time_out(1510, 0, 1, 2),
        said(WORKER_FAILED, 1520),
    )
    assert found.signature == FELL_OFF
    assert roles(found) == {
        FELL_OFF: Role.CAUSE,
        ILLEGAL: Role.SYMPTOM,
        TIMEOUT: Role.SYMPTOM,
        WORKER_FAILED: Role.SYMPTOM,
    }
    assert {s.signature for s in found.symptoms} == {ILLEGAL, TIMEOUT, WORKER_FAILED}


def test_of_two_causes_that_do_not_explain_each_other_the_earlier_is_named_and_the_other_is_an_alternative() -> None:
    two = [said("cuda.illegal-access", 910, rank=1), said("storage.disk-full", 950, rank=2)]
    found = failure(*RUNS, *two)
    assert found.signature == "cuda.illegal-access"
    assert [a.signature for a in found.alternatives] == ["storage.disk-full"]


def test_what_is_specific_is_preferred_to_a_catch_all_that_comes_earlier() -> None:
    found = failure(*RUNS, said("python.runtime-error", 910, rank=1), said(ILLEGAL, 911, rank=1))
    assert found.signature == ILLEGAL


def test_a_catch_all_on_the_traceback_of_a_specific_fault_says_nothing() -> None:
    unit = (905, 912)
    found = failure(*RUNS, said("python.runtime-error", 910, unit=unit), said(ILLEGAL, 911, unit=unit))
    assert roles(found) == {ILLEGAL: Role.CAUSE}


def test_one_fault_seen_by_512_ranks_is_one_evidence_with_all_ranks_and_the_first_line() -> None:
    found = failure(*RUNS, *(timeout(1500 + rank / 100, rank, source=f"rank{rank}.log") for rank in range(512)))
    (one,) = found.evidence
    assert (one.count, one.ranks) == (512, tuple(range(512)))
    assert one.first.source == "rank0.log"


def test_two_gpus_that_fall_are_two_pieces_of_evidence() -> None:
    found = failure(*RUNS, said(FELL_OFF, 910, pci="3b", **KERNEL), said(FELL_OFF, 911, pci="5d", **KERNEL))
    assert len([e for e in found.evidence if e.signature == FELL_OFF]) == 2


def test_what_broke_around_the_time_minus_the_timeout_outranks_what_came_long_before_and_what_stands_just_above() -> (
    None
):
    before = said("config.yaml", 100, rank=1, source="rank1.log")
    broke = said("storage.stale-handle", 905, rank=3, source="rank3.log")
    above = said("python.file-not-found", 1499, rank=0, source="rank0.log")
    found = failure(said(START, 0), before, broke, above, *ranks_time_out(1500, 0, 1, 2))
    assert found.signature == broke.signature


def test_a_later_record_of_the_kernel_explains_the_earlier_sign() -> None:
    killed = said("storage.worker-killed", 910, rank=3)
    record = said("kernel.oom-kill-cgroup", 930, source="gpu-02.kern", host="gpu-02")
    found = failure(*RUNS, killed, record)
    assert roles(found) == {record.signature: Role.CAUSE, killed.signature: Role.SYMPTOM}


def test_a_record_of_the_kernel_that_comes_much_later_explains_nothing_before_it() -> None:
    killed = said("storage.worker-killed", 910, rank=3)
    record = said("kernel.oom-kill-cgroup", 1200, source="gpu-02.kern", host="gpu-02")
    assert failure(*RUNS, killed, record).signature == killed.signature


def test_a_cause_does_not_explain_what_came_before_it() -> None:
    found = failure(*RUNS, said("storage.disk-full", 910, rank=1), said(ILLEGAL, 990, rank=2))
    assert found.signature == "storage.disk-full"


def test_a_warning_is_the_cause_of_the_fault_that_it_led_to_on_its_host() -> None:
    hot = said("gpu.thermal-slowdown", 890, gpu="3", **KERNEL)
    found = failure(*RUNS, hot, said(FELL_OFF, 910, pci="3b", **KERNEL))
    assert found.signature == "gpu.thermal-slowdown"
    assert roles(found)[FELL_OFF] is Role.SYMPTOM


def test_a_warning_on_another_host_did_not_lead_to_a_fault() -> None:
    hot = said("gpu.thermal-slowdown", 890, gpu="3", source="gpu-07.kern", host="gpu-07")
    assert failure(*RUNS, hot, said(FELL_OFF, 910, pci="3b", **KERNEL)).signature == FELL_OFF


@pytest.mark.parametrize(("at", "cause"), [(400, "gpu.thermal-slowdown"), (1200, FELL_OFF)])
def test_a_warning_leads_to_what_follows_within_minutes_only(at: float, cause: str) -> None:
    hot = said("gpu.thermal-slowdown", 10, gpu="3", **KERNEL)
    assert failure(said(START, 0), hot, said(FELL_OFF, at, pci="3b", **KERNEL)).signature == cause


def test_a_warning_alone_does_not_end_a_run() -> None:
    assert concluded(*RUNS, said("gpu.thermal-slowdown", 890, gpu="3", **KERNEL)).runs[0].outcome != "failed"


def test_the_culprit_is_the_gpu_by_its_address_and_its_host() -> None:
    blamed = failure(*RUNS, said(FELL_OFF, 910, pci="0000:3b:00", **KERNEL)).culprit
    assert (blamed.kind, blamed.gpu, blamed.host) == (Culprit.GPU, "0000:3b:00", "gpu-02")
    assert blamed.name == "GPU 0000:3b:00 on gpu-02"


def test_the_culprit_is_the_host_where_the_gpu_is_not_named() -> None:
    blamed = failure(*RUNS, said(FELL_OFF, 910, **KERNEL)).culprit
    assert (blamed.kind, blamed.host) == (Culprit.HOST, "gpu-02")


def test_the_culprit_is_the_job_where_neither_rank_nor_host_is_known() -> None:
    assert failure(said(START, 0), said(USER_ERROR, 70)).culprit.kind in (Culprit.JOB, Culprit.FILE)


def test_the_culprit_of_a_timeout_is_the_rank_that_did_not_time_out() -> None:
    alive = [said(STEP, 60, until=900, source=f"rank{rank}.log", rank=rank) for rank in range(4)]
    blamed = failure(said(START, 0), *alive, *ranks_time_out(1500, 0, 1, 3)).culprit
    assert (blamed.kind, blamed.rank) == (Culprit.RANK, 2)


def test_nobody_is_named_where_all_ranks_time_out() -> None:
    assert failure(said(START, 0), *ranks_time_out(1500, 0, 1, 2, 3)).culprit.rank is None


def test_the_scope_is_all_who_saw_the_fault_or_its_consequences() -> None:
    found = failure(*RUNS, said(FELL_OFF, 910, pci="3b", **KERNEL), *ranks_time_out(1510, 0, 1, host="gpu-05"))
    assert found.scope.hosts == ("gpu-02", "gpu-05")
    assert found.scope.ranks == (0, 1)
    assert found.scope.summary == "2 ranks on 2 hosts"


def test_the_severity_is_the_worst_of_cause_and_symptoms() -> None:
    hot = said("gpu.thermal-slowdown", 890, gpu="3", **KERNEL)
    assert failure(*RUNS, hot, said(FELL_OFF, 910, pci="3b", **KERNEL)).severity == "critical"


def test_confidence_falls_with_every_alternative() -> None:
    causes = [said(ILLEGAL, 910, rank=1), said("storage.disk-full", 950, rank=2), said("config.yaml", 960, rank=3)]
    sure = [failure(*RUNS, *causes[:n]).confidence for n in (1, 2, 3)]
    assert sure == sorted(set(sure), reverse=True)


def test_the_confidences_of_a_cause_and_its_alternatives_do_not_exceed_one() -> None:
    found = failure(*RUNS, said(ILLEGAL, 910, rank=1), said("storage.disk-full", 950, rank=2))
    assert found.confidence + sum(a.confidence for a in found.alternatives) <= 1


def test_a_decisive_signature_is_surer_than_a_catch_all() -> None:
    sure = failure(*RUNS, said(FELL_OFF, 910, pci="3b", **KERNEL)).confidence
    unsure = failure(*RUNS, said("python.exception", 910)).confidence
    assert sure > 0.9 > 0.7 > unsure


def test_a_kernel_record_of_which_nobody_vouches_is_not_verified() -> None:
    assert not failure(*RUNS, said(FELL_OFF, 910, pci="3b", **KERNEL)).provenance_verified
    assert failure(*RUNS, said(USER_ERROR, 910)).provenance_verified


@pytest.mark.parametrize("fault", sorted(fault_classes()))
def test_no_fault_class_causes_itself(fault: str) -> None:
    assert fault not in cause_graph().consequences[fault]


@given(st.permutations(["nvrm.xid.79", "cuda.illegal-access", TIMEOUT, WORKER_FAILED]))
def test_the_chain_of_causes_has_one_direction(names: list[str]) -> None:
    chain = ["nvrm.xid.79", "cuda.illegal-access", TIMEOUT, WORKER_FAILED]
    first, second = names[:2]
    if chain.index(first) < chain.index(second):
        assert cause_graph().explains(resolve(first), resolve(second))


def test_evidence_names_those_who_said_it() -> None:
    found = failure(*RUNS, said(FELL_OFF, 910, pci="3b", **KERNEL), *ranks_time_out(1510, 5, 3))
    assert evidence(found, FELL_OFF).hosts == ("gpu-02",)
    assert evidence(found, FELL_OFF).gpus == ("3b",)
    assert evidence(found, TIMEOUT).ranks == (3, 5)


def test_the_host_of_the_rank_that_did_not_arrive_is_that_ranks_own() -> None:
    def told(rank: int) -> dict:
        return {"source": f"rank{rank}.log", "host": f"gpu-{rank:02}"}

    alive = [said(STEP, 60, until=900, rank=rank, **told(rank)) for rank in range(4)]
    blamed = failure(said(START, 0), *alive, *(timeout(1500, rank, **told(rank)) for rank in (0, 1, 3))).culprit
    assert (blamed.rank, blamed.host) == (2, "gpu-02")


def test_what_the_cause_cannot_explain_is_no_symptom_of_it() -> None:
    killed = said("launcher.worker-sigkill", 910, rank=3)
    record = said("kernel.oom-kill-cgroup", 9000, source="gpu-02.kern", host="gpu-02")
    found = failure(said(START, 0), said(STEP, 60, until=900), killed, record)
    assert "it explains launcher.worker_exit" not in found.reasons
