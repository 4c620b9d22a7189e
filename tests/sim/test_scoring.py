"""Scoring: what counts as right, as wrong, as false, and as not to be counted."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from relight.cli import main
from relight.sim.scenario import scenarios
from relight.sim.scoring import Judged, judged
from relight.sim.summary import share, shown, summed
from relight.sim.trials import Outcome, healthy, planned
from relight.sim.truth import TrueIncident, TrueLine, TrueRun, Truth
from schemas.incident import Blamed, Evidence, Incident, Place, Role, Scanned, ScanReport, Scope
from schemas.vocabulary import Culprit, Domain, Impact, RetryOutlook, Severity

START = datetime(2026, 5, 12, 3, 12, 4, tzinfo=UTC)
LOGS = Path("/logs")


def line(number: int, after_s: float = 0.0, file: str = "n2/kern.log") -> TrueLine:
    said = START + timedelta(seconds=after_s)
    return TrueLine(file=file, line=number, text="Xid 79", said=said, stamped=said)


def truth(**changed: object) -> Truth:
    told = {
        "scenario": "gpu-off-bus",
        "run": "4711",
        "fault": "gpu.fallen_off_bus",
        "also": ("gpu.pcie_error",),
        "culprit": Culprit.GPU,
        "host": "n2",
        "happened": START,
        "first_line": line(7),
        "lines": (line(7), line(9, 3.0), line(20, 60.0)),
        "near_s": 5.0,
    }
    run = TrueRun(
        job="4711", hosts=("n1", "n2"), ranks=16, framework="hf", launcher="srun", scheduler="slurm", started=START,
        outcome="failed",
    )  # fmt: skip
    other = run.model_copy(update={"job": "4712", "hosts": ("n3",), "outcome": "running"})
    return Truth(
        seed=1, cluster="c", layout="by-host", hosts=3, began=START, ended=START, node_days=2.0, skew_s=1.0, loss=0.0,
        lines=1, bytes=1, runs=(run, other), incidents=(TrueIncident.model_validate(told | changed),),
    )  # fmt: skip


def place(number: int, after_s: float = 0.0, source: str = "/logs/n2/kern.log") -> Place:
    return Place(source=source, line=number, offset_bytes=0, text="Xid 79", time=START + timedelta(seconds=after_s))


def incident(number: int = 7, after_s: float = 0.0, **changed: object) -> Incident:
    first = place(number, after_s)
    evidence = Evidence(
        signature="s", title="t", fault="gpu.fallen_off_bus", severity=Severity.ERROR, role=Role.CAUSE, count=1,
        first=first, last=first, hosts=("n1",),
    )  # fmt: skip
    told = {
        "id": f"{number}-{after_s}",
        "run": "job 4711",
        "fault": "gpu.fallen_off_bus",
        "signature": "s",
        "title": "t",
        "meaning": "m",
        "action": "a",
        "playbook": "p",
        "severity": Severity.ERROR,
        "confidence": 0.9,
        "culprit": Blamed(kind=Culprit.GPU, name="n2", host="n2"),
        "scope": Scope(hosts=("n2",), summary="s"),
        "domain": Domain.INFRASTRUCTURE,
        "retry_outlook": RetryOutlook.UNKNOWN,
        "first_cause": first,
        "impact": Impact.FAILED,
        "provenance_verified": True,
        "evidence": (evidence,),
    }
    return Incident.model_validate(told | changed)


def judge(*incidents: Incident, **changed: object) -> Judged:
    report = ScanReport(
        relight="0", runs=(), incidents=incidents, scanned=Scanned(sources=1, lines=1, bytes=1), signatures=1
    )
    return judged(truth(**changed), report, LOGS)


def test_a_report_that_is_right_in_all_counts_as_right_in_all() -> None:
    (score,) = judge(incident(after_s=2.0)).scores
    assert (score.fault_top1, score.host_top1, score.host_top5, score.first_line) == (True, True, True, True)
    assert score.delay_s == 2.0


def test_a_fault_that_can_be_defended_is_right_and_another_is_wrong() -> None:
    (defended,) = judge(incident(fault="gpu.pcie_error")).scores
    (wrong,) = judge(incident(fault="comm.dns")).scores
    assert (defended.fault_top1, wrong.fault_top1) == (True, False)


def test_a_host_of_the_evidence_is_among_the_first_five() -> None:
    (score,) = judge(incident(culprit=Blamed(kind=Culprit.HOST, name="n1", host="n1")), host="n1").scores
    assert (score.host_top1, score.host_top5) == (True, True)
    (score,) = judge(incident(), host="n1").scores
    assert (score.host_top1, score.host_top5) == (False, True)
    (score,) = judge(incident(), host="n3").scores
    assert (score.host_top1, score.host_top5) == (False, False)


@pytest.mark.parametrize(("number", "right"), [(7, True), (9, True), (8, False), (20, False)])
def test_the_first_line_is_one_that_tells_and_was_said_soon_enough(number: int, right: bool) -> None:
    (score,) = judge(incident(number)).scores
    assert score.first_line is right


def test_a_line_of_another_file_is_wrong_and_any_line_of_the_unit_right() -> None:
    (other,) = judge(incident(first_cause=place(7, source="/logs/n1/kern.log"))).scores
    (unit,) = judge(incident(first_cause=place(5).model_copy(update={"unit": (3, 8)}))).scores
    assert (other.first_line, unit.first_line) == (False, True)


def test_what_the_truth_does_not_name_does_not_count() -> None:
    (score,) = judge(incident(), host=None, first_line=None, lines=()).scores
    assert (score.host_top1, score.host_top5, score.first_line) == (None, None, None)


def test_an_incident_that_is_not_reported_is_wrong_in_all() -> None:
    (score,) = judge().scores
    assert (score.reported, score.fault_top1, score.host_top1, score.first_line) == (False, False, False, False)


def test_an_incident_without_impact_is_no_report() -> None:
    assert not judge(incident(impact=Impact.NONE)).scores[0].reported


def test_an_incident_of_another_job_is_false() -> None:
    verdict = judge(incident(run="job 4712"))
    assert not verdict.scores[0].reported
    assert [alarm.fault for alarm in verdict.false_alarms] == ["gpu.fallen_off_bus"]


def test_what_hurt_a_run_long_before_is_false_unless_it_is_known_to_have_been_survived() -> None:
    early = incident(3, -3000.0, impact=Impact.DEGRADED)
    verdict = judge(early, incident())
    assert len(verdict.false_alarms) == 1
    assert verdict.scores[0].first_line
    assert judge(early, incident(), survived=(line(3, -3000.0),)).false_alarms == ()


def test_a_share_has_an_interval_and_none_of_nothing() -> None:
    assert share([None]).share is None
    half = share([True, False, None])
    assert (half.right, half.of, half.share) == (1, 2, 0.5)
    assert half.low is not None
    assert half.high is not None
    assert half.low < 0.5 < half.high


def test_false_incidents_are_counted_by_node_days() -> None:
    verdict = judge(incident(run="job 4712"))
    outcome = Outcome(
        seed=1, node_days=2.0, healthy=False, bytes=1, scores=verdict.scores, false_alarms=verdict.false_alarms
    )
    quiet = Outcome(seed=2, node_days=8.0, healthy=True, bytes=1)
    summary = summed([outcome, quiet])
    assert (summary.false_per_1000_node_days, summary.false_per_1000_healthy_node_days) == (100.0, 0.0)
    assert any("not reported" in text for text in shown(summary))


def test_all_scenarios_come_in_turn() -> None:
    count = len(scenarios())
    trials = planned(3, 2 * count, (2, 8), 0.0, 1.0, 0.1)
    first = [trial.options.scenario for trial in trials]
    assert set(first) == set(scenarios())
    assert len({trial.options.seed for trial in trials}) == len(trials)
    assert {trial.variant for trial in trials} == {"alone", "precursor", "distraction", "pair"}


def test_healthy_trials_make_up_the_node_days_that_were_asked_for() -> None:
    trials = healthy(3, 5.0, (2, 8), 0.0, 1.0, 0.1)
    assert sum(trial.options.hosts * trial.options.days for trial in trials) >= 5.0
    assert all(trial.options.incidents == 0 for trial in trials)


def relight(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments], catch_exceptions=False)


def test_scoring_simulates_scans_and_sums_up() -> None:
    options = ("--incidents", 2, "--hosts", "2-3", "--days", 0.03, "--healthy-node-days", 0.01)
    result = relight("sim", "score", "--seed", 3, *options, "--format", "json")
    assert result.exit_code == 0
    summary = json.loads(result.stdout)
    assert summary["incidents"] == 2
    assert summary["healthy_node_days"] > 0
    assert relight("sim", "score", "--seed", 3, *options).stdout.startswith("reported")


def test_a_wrong_number_of_hosts_is_one_line() -> None:
    result = relight("sim", "score", "--seed", 1, "--hosts", "8-2")
    assert result.exit_code == 2
    assert result.stderr.startswith("relight: ")
