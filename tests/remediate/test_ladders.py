"""Ladders: which playbook an incident asks for, and what a rung comes to, done to what and to nothing else."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relight.playbook_book import playbooks
from remediate.ladders import Choice, Lack, Unresolved, action_of, choose, recurrences
from schemas.action import (
    CollectDiagnostics,
    NoAction,
    Notify,
    RebootNode,
    ResetGpu,
    RestartJob,
    RestartJobExcludingHosts,
    RestartProcess,
    RollbackCheckpoint,
    Wait,
)
from schemas.faults import fault_classes
from schemas.history import IncidentHistory, IncidentMerged
from schemas.playbook import Playbook, Rung
from schemas.vocabulary import Culprit, Impact, RetryOutlook
from tests.remediate.stories import KNOWN, PCI, START_S, incident, playbook, rung, undiagnosed

SHIPPED = playbooks()


def made(action: str, **more: Any) -> Rung:
    return Rung.model_validate(rung(action, **more))


def chosen(known: list[Playbook], one: IncidentHistory, *ages_s: float) -> str | None:
    choice = choose(known, one, ages_s)
    return choice.playbook.id if choice.playbook else None


def reason(found: object) -> str:
    assert isinstance(found, Unresolved)
    return found.reason


# Which playbook


def test_a_playbook_for_the_fault_itself_wins_over_one_for_a_pattern_of_faults() -> None:
    known = [playbook("a.any", "*"), playbook("b.gpu", ["gpu.*", "gpu.fallen_off_bus*"]), playbook("c.exact")]
    assert chosen(known, incident()) == "c.exact"
    assert chosen(known, incident("gpu.gsp_error")) == "b.gpu"
    assert chosen(known, incident("comm.dns")) == "a.any"


def test_of_two_for_the_same_fault_the_one_with_more_conditions_wins() -> None:
    known = [playbook("a"), playbook("b", when={"impact": "failed"}), playbook("c", when={"impact": "none"})]
    assert chosen(known, incident()) == "b"
    assert chosen(known, incident(impact=Impact.NONE)) == "c"
    assert chosen(known, incident(impact=Impact.DEGRADED)) == "a"


@pytest.mark.parametrize("named", [{"hosts": "node*"}, {"jobs": "482*"}])
def test_a_playbook_for_a_group_of_hosts_or_for_a_job_wins_over_any_that_is_for_all(named: dict[str, str]) -> None:
    known = [playbook("a", when={"impact": "failed", "domain": "infrastructure"}), playbook("z", "gpu.*", when=named)]
    assert chosen(known, incident()) == "z"
    assert chosen(known, incident(host="other3", job="777")) == "a"


def test_of_two_patterns_of_hosts_the_narrower_one_wins() -> None:
    known = [playbook("a", when={"hosts": "*"}), playbook("b", when={"hosts": "node0?"})]
    assert chosen(known, incident()) == "b"


def test_asking_for_more_confidence_or_more_recurrences_is_more_specific() -> None:
    sure = [playbook("a", when={"confidence": 0.5}), playbook("b", when={"confidence": 0.8})]
    assert chosen(sure, incident(confidence=0.9)) == "b"
    assert chosen(sure, incident(confidence=0.6)) == "a"
    again = [
        playbook("a", when={"recurrence": {"at_least": 2, "within": "1d"}}),
        playbook("b", when={"recurrence": {"at_least": 3, "within": "1d"}}),
    ]
    assert chosen(again, incident(), 60, 120) == "b"
    assert chosen(again, incident(), 60) == "a"


def test_where_nothing_differs_the_first_id_of_the_alphabet_wins_and_it_is_said() -> None:
    choice = choose([playbook("b"), playbook("a")], incident())
    assert choice.playbook is not None
    assert (choice.playbook.id, choice.why) == ("a", "it comes first in the alphabet")


@given(st.data())
def test_the_order_of_playbooks_plays_no_part(data: st.DataObject) -> None:
    one = incident(
        data.draw(st.sampled_from(sorted(fault_classes()))),
        kind=data.draw(st.sampled_from(Culprit)),
        impact=data.draw(st.sampled_from(Impact)),
        confidence=data.draw(st.sampled_from([0.1, 0.6, 0.95])),
    )
    ages = data.draw(st.lists(st.sampled_from([60.0, 90_000.0]), max_size=3))
    extra = [playbook("x", "*", when={"hosts": "node*"}), playbook("y", "*", when={"hosts": "node*"})]
    known = [*SHIPPED, *data.draw(st.sampled_from([[], extra]))]
    assert choose(data.draw(st.permutations(known)), one, ages) == choose(known, one, ages)


@pytest.mark.parametrize(
    ("when", "why"),
    [
        ({"impact": ["none", "degraded"]}, "the impact is failed, not none or degraded"),
        ({"confidence": 0.95}, "the confidence is 0.90, less than 0.95"),
        ({"signatures": "*.xid.48"}, "the signature is nvrm.xid.79, not *.xid.48"),
        ({"retry_outlook": "unknown"}, "the retry outlook is may_recover, not unknown"),
        ({"domain": "workload"}, "the domain is infrastructure, not workload"),
        ({"hosts": "lab*"}, "the host of the culprit is node03, not lab*"),
        ({"jobs": ["a", "b"]}, "the job is 48211, not a or b"),
        ({"recurrence": {"at_least": 3, "within": "7d"}}, "it has happened 2 of 3 times within 7d"),
    ],
)
def test_a_playbook_whose_condition_does_not_hold_is_not_chosen_and_says_which(when: Any, why: str) -> None:
    choice = choose([playbook("a", when=when)], incident(), [3600, 8 * 86_400])
    assert choice.playbook is None
    assert choice.why == "no playbook for gpu.fallen_off_bus applies"
    assert [other.why for other in choice.others] == [why]


@pytest.mark.parametrize("when", [{"hosts": "*"}, {"jobs": "*"}])
def test_a_host_or_a_job_that_is_not_known_is_like_no_pattern(when: Any) -> None:
    choice = choose([playbook("a", when=when)], incident(host=None, job=None))
    assert choice.playbook is None
    assert choice.others[0].why.endswith("is not known")


def test_every_condition_that_does_not_hold_is_named() -> None:
    choice = choose([playbook("a", when={"impact": "none", "domain": "workload"})], incident())
    assert choice.others[0].why == "the impact is failed, not none; the domain is infrastructure, not workload"


def test_why_the_chosen_one_and_why_not_another_that_applies_is_said() -> None:
    choice = choose([playbook("a.any", "*"), playbook("b")], incident())
    assert choice.why == "it names the fault more exactly"
    assert choice.others[0].playbook == "a.any"
    assert choice.others[0].why == "it applies too, but b names the fault more exactly"


def test_without_a_diagnosis_or_a_playbook_there_is_none_and_it_is_said() -> None:
    assert choose(SHIPPED, undiagnosed()) == Choice(None, "it has no diagnosis yet")
    assert choose([playbook("a", "comm.*")], incident()) == Choice(None, "no playbook is for gpu.fallen_off_bus")


# What is a recurrence


def test_the_same_fault_on_the_same_host_before_is_a_recurrence() -> None:
    others = [
        incident(name="two", opened_s=START_S - 60, job="other"),
        incident(name="three", opened_s=START_S - 3600),
        incident(name="later", opened_s=START_S + 60),
        incident(name="elsewhere", opened_s=START_S - 60, host="node09"),
        incident("gpu.gsp_error", name="another", opened_s=START_S - 60),
        incident(name="merged", opened_s=START_S - 60).after(IncidentMerged(into="x"), START_S),
        incident(opened_s=START_S),
    ]
    assert recurrences(incident(), others) == (60, 3600)


def test_where_no_host_is_blamed_it_is_the_job_that_counts() -> None:
    one, same, other = (
        incident("training.hang", name=name, kind=Culprit.JOB, job=job, opened_s=START_S - ago)
        for name, job, ago in (("one", "7", 0), ("two", "7", 90), ("three", "8", 90))
    )
    assert recurrences(one, [same, other]) == (90,)


def test_a_host_that_only_spoke_of_a_file_or_a_job_does_not_recur() -> None:
    one, two = (
        incident("software.user_code", name=n, kind=Culprit.JOB, host="node03", job=n, opened_s=START_S - ago)
        for n, ago in (("1", 0), ("2", 9))
    )
    assert recurrences(one, [two]) == ()


# What a rung comes to


def test_job_host_and_gpu_come_from_the_incident() -> None:
    one = incident()
    assert action_of(made("restart_job"), one) == RestartJob(job="48211")
    assert action_of(made("reboot_node"), one) == RebootNode(host="node03")
    assert action_of(made("reset_gpu"), one) == ResetGpu(host="node03", gpu=PCI)
    excluding = action_of(made("restart_job_excluding_hosts"), one)
    assert excluding == RestartJobExcludingHosts(job="48211", hosts=("node03",))
    rank = incident("cuda.illegal_access", kind=Culprit.RANK)
    assert action_of(made("restart_process"), rank) == RestartProcess(job="48211", host="node03", rank=7)


def test_what_is_written_in_the_playbook_comes_from_there() -> None:
    assert action_of(made("wait", seconds=90), incident()) == Wait(seconds=90)
    assert action_of(made("notify", channel="storage"), incident()) == Notify(channel="storage")
    assert action_of(made("notify"), incident()) == Notify()
    assert action_of(made("none"), incident()) == NoAction()
    rolled = action_of(made("rollback_checkpoint", checkpoints=3), incident())
    assert rolled == RollbackCheckpoint(job="48211", checkpoints=3)


def test_aimed_at_the_scope_it_is_done_to_all_that_suffered() -> None:
    collected = action_of(made("collect_diagnostics", on="scope"), incident())
    assert collected == CollectDiagnostics(job="48211", hosts=("node03", "node04"))
    nowhere = action_of(made("restart_job_excluding_hosts", on="scope"), incident(hosts=()))
    assert reason(nowhere) == "no host is known to be concerned"


@pytest.mark.parametrize(
    ("action", "known", "why"),
    [
        ("restart_job", {"job": None}, "no job is known to have suffered"),
        ("reboot_node", {"host": None}, "the host of the culprit is not known"),
        ("restart_job_excluding_hosts", {"host": None}, "the host of the culprit is not known"),
        ("reboot_node", {"kind": Culprit.JOB, "host": "node03"}, "a job is blamed, not a host"),
        ("cordon_node", {"kind": Culprit.FILE}, "a file is blamed, not a host"),
        ("reset_gpu", {"kind": Culprit.HOST, "gpu": PCI}, "a host is blamed, not a GPU"),
        ("reset_gpu", {"gpu": None}, "the GPU is not known"),
        ("reset_gpu", {"gpu": "3"}, "neither the UUID nor the PCI address of the GPU is known"),
        ("restart_process", {"kind": Culprit.JOB}, "a job is blamed, not a host; the rank is not known"),
        ("collect_diagnostics", {"kind": Culprit.JOB, "job": None}, "a job is blamed, not a host; no job is known"),
    ],
)
def test_a_rung_whose_target_is_not_known_is_unresolved_and_says_why(action: str, known: Any, why: str) -> None:
    found = action_of(made(action), incident(**known))
    assert reason(found).startswith(why)
    assert isinstance(found, Unresolved)
    assert found.lack is Lack.TARGET


@pytest.mark.parametrize("host", ["-rf", "node 3", "node03;reboot", "$(id)", "node\n03", "\u202enode", "n" * 300, ""])
def test_what_is_no_name_of_a_host_is_never_aimed_at(host: str) -> None:
    assert isinstance(action_of(made("reboot_node"), incident(host=host)), Unresolved)
    assert isinstance(action_of(made("collect_diagnostics", on="scope"), incident(hosts=(host,), job=None)), Unresolved)


@pytest.mark.parametrize("job", ["-all", "a\nb", "a\x1b[2J", "j" * 600])
def test_what_is_no_name_of_a_job_is_never_aimed_at(job: str) -> None:
    assert isinstance(action_of(made("restart_job"), incident(job=job)), Unresolved)


@pytest.mark.parametrize(
    "gpu", ["GPU-6ba7b810-9dad-11d1-80b4-00c04fd430c8", "0000:3b:00.0", "00000000:3b:00", "3b:00.0"]
)
def test_a_gpu_is_named_by_its_uuid_or_its_pci_address(gpu: str) -> None:
    assert action_of(made("reset_gpu"), incident(gpu=gpu)) == ResetGpu(host="node03", gpu=gpu)


def test_nothing_is_destroyed_and_no_machine_taken_away_where_provenance_is_not_verified() -> None:
    for one in SHIPPED:
        for step in one.ladder:
            found = action_of(step, incident(one.fault_names[0], verified=False, confidence=1))
            if step.facts.destructive or step.facts.of_a_machine:
                assert isinstance(found, Unresolved)
                assert found.lack is Lack.PROVENANCE
    assert action_of(made("restart_job"), incident(verified=False)) == RestartJob(job="48211")


def test_a_rung_that_asks_for_more_confidence_than_there_is_is_passed_over() -> None:
    found = action_of(made("restart_job", confidence=0.8), incident(confidence=0.75))
    assert isinstance(found, Unresolved)
    assert found.reason == "the confidence is 0.75, less than the 0.80 that this step asks for"
    assert found.lack is Lack.CONFIDENCE
    assert action_of(made("restart_job", confidence=0.75), incident(confidence=0.75)) == RestartJob(job="48211")


def test_without_a_diagnosis_no_rung_comes_to_anything() -> None:
    assert reason(action_of(made("notify"), undiagnosed())) == "it has no diagnosis yet"


# The playbooks that are shipped, for everything that can happen

each_fault = pytest.mark.parametrize("fault", fault_classes())


@each_fault
@pytest.mark.parametrize("impact", Impact)
@pytest.mark.parametrize("outlook", RetryOutlook)
def test_every_fault_with_every_culprit_has_a_ladder_whose_last_rung_can_be_taken(
    fault: str, impact: Impact, outlook: RetryOutlook
) -> None:
    for kind in Culprit:
        for known in ({}, dict.fromkeys(KNOWN[kind])):
            one = incident(
                fault, kind=kind, impact=impact, confidence=0.1, verified=False, job=None, hosts=(),
                diagnosis={"retry_outlook": outlook}, **known,
            )  # fmt: skip
            choice = choose(SHIPPED, one)
            assert choice.playbook is not None
            assert isinstance(action_of(choice.playbook.ladder[-1], one), Notify | NoAction)


@each_fault
def test_a_run_that_goes_on_is_never_started_again(fault: str) -> None:
    for kind in Culprit:
        choice = choose(SHIPPED, incident(fault, kind=kind, impact=Impact.NONE), [60] * 5)
        assert choice.playbook is not None
        assert [r.action for r in choice.playbook.ladder if r.facts.restarts or r.facts.destructive] == []
