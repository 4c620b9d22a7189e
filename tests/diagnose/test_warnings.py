"""Warnings: which of them led to a failure, and which are states that a run suffers from while it goes on."""

import pytest
from made import START, STEP, TIMEOUT, concluded, failure, said, timeout

from schemas.incident import Incident
from schemas.vocabulary import Impact

LINK_DOWN = "kernel.nic-link-down"
NFS = "kernel.nfs-not-responding"
HOT = "gpu.thermal-slowdown"
CRAWLS = "pcie.link-crawls"
REFUSED = "nccl.connect-unreachable"


def at(host: str) -> dict[str, str]:
    return {"source": f"{host}.kern", "host": host}


def steps(*ranks: int, until: float = 900) -> list:
    """Return ranks that make steps, two to a host: ranks 2 and 3 are on gpu-1."""
    return [
        said(STEP, 60 + rank / 100, until=until, source=f"rank{rank}.log", rank=rank, host=f"gpu-{rank // 2}")
        for rank in ranks
    ]


def waits(at_s: float, *ranks: int, timed: bool = True) -> list:
    return [
        timeout(at_s + r / 100, r, source=f"rank{r}.log", host=f"gpu-{r // 2}", pg="0", seq="7", timed=timed)
        for r in ranks
    ]


RUN = [said(START, 0), *steps(0, 1, 2, 3, 4, 5)]


def test_a_link_that_flapped_where_all_ranks_arrived_is_not_why_the_others_waited_for_another_host() -> None:
    found = failure(*RUN, said(LINK_DOWN, 890, nic="ib6", **at("gpu-0")), *waits(1510, 0, 1, 4, 5))
    assert found.signature == TIMEOUT
    assert found.culprit.host == "gpu-1"


def test_a_link_that_flapped_on_the_host_that_the_others_waited_for_is_why() -> None:
    found = failure(*RUN, said(LINK_DOWN, 910, nic="ib6", **at("gpu-1")), *waits(1510, 0, 1, 4, 5))
    assert (found.signature, found.culprit.host) == (LINK_DOWN, "gpu-1")


def test_timeouts_without_a_time_are_dated_by_the_first_process_that_ended() -> None:
    story = [
        said(START, 0),
        *(said(STEP, source=f"rank{r}.log", rank=r, host=f"gpu-{r // 2}") for r in range(6)),
        *(timeout(None, r, source=f"rank{r}.log", line=9, host=f"gpu-{r // 2}", pg="0", seq="7") for r in (0, 1, 4, 5)),  # type: ignore[arg-type]
        said("slurm.task-exited", 1510, source="agent.log"),
    ]
    soon, late = said(NFS, 930, until=1400, count=4, **at("gpu-1")), said(NFS, 1400, **at("gpu-1"))
    assert failure(*story, soon).signature == NFS
    assert failure(*story, late).signature == TIMEOUT


def test_a_link_that_went_down_at_one_end_is_why_the_other_end_could_not_connect() -> None:
    refused = said(REFUSED, 912, source="rank0.log", rank=0, host="gpu-0", peer="10.0.0.9<4711>")
    down, hot = said(LINK_DOWN, 910, nic="eth0", **at("gpu-1")), said(HOT, 910, gpu="4", **at("gpu-1"))
    found = failure(*RUN, down, refused)
    assert (found.signature, found.culprit.host) == (LINK_DOWN, "gpu-1")
    assert failure(*RUN, hot, refused).signature == REFUSED


def test_an_exit_of_which_no_time_is_known_does_not_come_before_the_wait_that_led_to_it() -> None:
    paced = [said(STEP, 60, until=870, count=80, pace_s=10, source="rank0.log", rank=0, host="gpu-0")]
    ended = said("slurm.task-exited", source="slurm.out")
    found = failure(said(START, 0), *paced, ended, *waits(1510, 0, 1, 4, 5))
    assert {one.signature for one in found.evidence} >= {"detect.hang", "slurm.task-exited"}
    assert found.signature == TIMEOUT


def suffered(*signals: object) -> list[Incident]:
    told = concluded(*RUN, *signals, *steps(0, 1, 2, 3, 4, 5, until=3600)).incidents  # type: ignore[arg-type]
    return [one for one in told if one.impact is Impact.DEGRADED]


def test_a_warning_that_lasts_is_told_though_the_run_goes_on() -> None:
    hot = said(HOT, 300, until=1200, count=5, gpu="4", source="gpu-1.log", host="gpu-1")
    (one,) = suffered(hot)
    assert (one.signature, one.culprit.host, one.impact) == (HOT, "gpu-1", Impact.DEGRADED)


@pytest.mark.parametrize(("count", "until"), [(3, 1200), (5, 700)])
def test_a_warning_that_was_said_too_seldom_or_not_for_long_is_no_state(count: int, until: int) -> None:
    assert suffered(said(HOT, 300, until=until, count=count, gpu="4", source="gpu-1.log", host="gpu-1")) == []


def test_a_link_that_was_slow_before_the_run_began_is_what_the_run_suffers_from() -> None:
    (one,) = suffered(said(CRAWLS, -30, line=1, pci="0000:5e:00.0", **at("gpu-1")))
    assert (one.signature, one.culprit.gpu) == (CRAWLS, "0000:5e:00.0")


def test_of_several_devices_that_warn_the_one_where_it_lasts_is_told() -> None:
    once = said(HOT, 200, gpu="1", source="gpu-0.log", host="gpu-0")
    hot = said(HOT, 300, until=1200, count=5, gpu="4", source="gpu-1.log", host="gpu-1")
    (one,) = suffered(once, hot)
    assert one.culprit.host == "gpu-1"


SLOW = said("detect.slow-steps", 2000, source="rank0.log", rank=0, host="gpu-0")


def test_what_a_machine_said_as_the_run_became_slower_is_why() -> None:
    (one,) = suffered(SLOW, said(LINK_DOWN, 1990, nic="eth0", **at("gpu-1")))
    assert (one.signature, one.culprit.host) == (LINK_DOWN, "gpu-1")
    assert [s.signature for s in one.symptoms] == ["detect.slow-steps"]


@pytest.mark.parametrize("other", [200, 3000])
def test_what_machines_say_at_other_times_too_is_not_why_a_run_became_slower(other: float) -> None:
    told = [said(LINK_DOWN, 1990, nic="eth0", **at("gpu-1")), said(LINK_DOWN, other, nic="eth0", **at("gpu-2"))]
    (one,) = suffered(SLOW, *told)
    assert one.signature == "detect.slow-steps"


def test_what_a_machine_says_again_and_again_is_why_though_another_said_it_once() -> None:
    told = [said(LINK_DOWN, 1990, until=2400, count=9, nic="eth0", **at("gpu-1"))]
    told += [said(LINK_DOWN, 200, nic="eth0", **at("gpu-2"))]
    (one,) = suffered(SLOW, *told)
    assert one.culprit.host == "gpu-1"


def test_a_machine_that_warned_as_ranks_began_to_wait_says_nothing_where_others_warn_at_other_times_too() -> None:
    def waited(*told: object) -> str:
        return failure(*RUN, *told, timeout(1510, 0, source="rank0.log")).signature  # type: ignore[arg-type]

    slow, other = said(NFS, 915, **at("gpu-1")), said(NFS, 1300, **at("gpu-2"))
    assert waited(slow) == NFS
    assert waited(slow, other) == TIMEOUT
    assert waited(said(NFS, 915, until=1400, count=4, **at("gpu-1")), other) == NFS


def test_of_what_machines_said_then_that_is_why_which_lasts() -> None:
    hot = said(HOT, 1900, until=2900, count=6, gpu="4", source="gpu-1.log", host="gpu-1")
    twice = said("pcie.aer-corrected", 1990, until=3300, count=4, pci="0000:5e:00.0", **at("gpu-2"))
    (one,) = suffered(SLOW, hot, twice)
    assert one.culprit.host == "gpu-1"


def test_lines_that_are_said_at_once_are_not_said_again_and_again() -> None:
    told = [said(NFS, 915, until=916, count=4, **at("gpu-1")), said(NFS, 1300, **at("gpu-2"))]
    assert failure(*RUN, *told, timeout(1510, 0, source="rank0.log")).signature == TIMEOUT


def test_a_cancellation_right_after_a_process_ended_is_not_why_it_did() -> None:
    ended = said("launcher.torchrun-failure", 910, source="agent.log", host="gpu-1")
    cancelled = said("slurm.step-cancelled", 911, source="slurm.out")
    assert failure(*RUN, ended, cancelled).fault == "launcher.worker_exit"
    assert failure(*RUN, ended, said("slurm.step-cancelled", 909, source="slurm.out")).fault == "scheduler.cancelled"
    told_to = said("launcher.torchrun-stopped", 910, source="agent.log", host="gpu-1")
    assert failure(*RUN, told_to, cancelled).fault == "scheduler.cancelled"


def test_an_error_without_a_time_is_dated_by_the_first_process_that_ended() -> None:
    lost = said("c10d.gloo-peer-closed", source="out.log", line=5, rank=0, host="gpu-0", peer="10.0.0.9")
    ended = said("launcher.torchrun-failure", 930, source="agent.log", host="gpu-0")
    down = said(LINK_DOWN, 910, nic="eth0", **at("gpu-1"))
    assert failure(*RUN, lost, ended, down).signature == LINK_DOWN
