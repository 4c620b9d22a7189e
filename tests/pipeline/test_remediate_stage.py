"""`relight remediate` as a process: incidents become signed commands, each of them once, whatever happens."""

import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from fleet import Fleet, events, records, until
from remedying import CORDONED, ask, commands, fails, issued, keys, outcome, refused, remedied, report

from relight.keys import Role
from relight.stages.remedies import present
from relight.topics import COMMANDS, INCIDENTS, SNAPSHOTS
from relight.transports.opening import open_log
from relight.transports.port import EventLog
from remediate import keeping
from remediate.cases import Cases
from schemas.command import OutcomeStatus, Request, RequestKind
from schemas.remedy import CommandProgressed, CommandState, Guard, OutcomeAdmitted

VERIFY = Path(__file__).parents[2] / "docs" / "examples" / "verify.py"
SUCCEEDED = OutcomeStatus.SUCCEEDED


@pytest.fixture
def lab(fleet: Fleet, tmp_path: Path) -> Fleet:
    """A fleet with playbooks and keys, and the stage at work."""
    remedied(fleet, tmp_path).start("remediate", "remediate")
    return fleet


def state_of(log: EventLog, name: str) -> CommandState | None:
    found = commands(log).get(name)
    return found.state if found else None


def test_an_incident_becomes_a_command_that_an_orchestrator_can_verify(lab: Fleet) -> None:
    with open_log(lab.settings) as log:
        fails(log, "one")
        assert until(lambda: issued(log))
        (command,) = issued(log)
        (record,) = records(log, COMMANDS)
        assert (command.incident, command.action.kind, command.target) == ("one", "restart_job", "job/job-of-one")
        assert (record.key, command.signature is not None) == (b"job/job-of-one", True)
        assert command.expires_s == pytest.approx(command.issued_s + 300)
        assert command.deadline_s == pytest.approx(command.issued_s + 1800)
        file = Path(lab.more["RELIGHT_KEYS__FOLDER"]) / "commands.keys"
        verified = subprocess.run([sys.executable, VERIFY, file], input=record.value, capture_output=True, check=False)
        assert (verified.returncode, verified.stderr) == (0, b"")
        history = commands(log)[command.id]
        assert (history.state, history.issued_s) == (CommandState.ISSUED, command.issued_s)
        assert lab.stop("remediate")[0] == 0


def test_what_orchestrators_say_counts_once_and_what_nobody_vouches_for_is_a_dead_letter(lab: Fleet) -> None:
    with open_log(lab.settings) as log:
        fails(log, "one")
        assert until(lambda: issued(log))
        (command,) = issued(log)
        own, others = keys(lab, Role.OUTCOMES), keys(lab, Role.REQUESTS)
        report(log, outcome(command, SUCCEEDED, reason="forged"), None)
        report(log, outcome(command, SUCCEEDED, reason="signed with another's key"), others)
        pause = Request(id="p", cluster="default", kind=RequestKind.PAUSE, by="mallory", at_s=time.time())
        ask(log, pause, own)
        ask(log, pause, None)
        ask(log, outcome(command, SUCCEEDED), own)  # type: ignore[arg-type]
        assert until(lambda: len(refused(log)) == 5)
        assert Counter(reason.partition(": ")[0] for reason in refused(log)) == {
            "it is not believed": 4,
            "it does not belong to relight.control": 1,
        }
        for status in (OutcomeStatus.ACCEPTED, OutcomeStatus.STARTED):
            report(log, outcome(command, status), own)
            assert until(lambda status=status: state_of(log, command.id) == status.value)
        done = outcome(command, SUCCEEDED, output="requeued")
        for _ in range(3):
            report(log, done, own)
        assert until(lambda: state_of(log, command.id) is CommandState.SUCCEEDED)
        time.sleep(1)
        said = events(log, INCIDENTS)
        assert len([1 for e in said if isinstance(e.data, CommandProgressed)]) == 3
        admitted = [e.id for e in said if isinstance(e.data, OutcomeAdmitted) and e.data.outcome.id == done.id]
        assert len(set(admitted)) == 1, "who reads the topic knows it again by its id"
        assert commands(log)[command.id].output == "requeued"


def test_what_a_person_has_to_agree_to_is_issued_when_one_has(lab: Fleet) -> None:
    with open_log(lab.settings) as log:
        fails(log, "one", fault=CORDONED, host="node07", job=None)
        assert until(lambda: any(one.plan and one.plan.approval and one.blocked for one in commands(log).values()))
        (waiting,) = (one for one in commands(log).values() if one.plan and one.plan.approval)
        assert waiting.blocked is not None
        assert waiting.blocked.guard is Guard.APPROVAL
        (notice,) = issued(log)
        assert f"`relight commands approve {waiting.id}`" in notice.reason, "people are told what to do"
        done = lab.call("commands", "approve", waiting.id[:8], "--reason", "it is night", "--by", "ann")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == f"approve: cordon_node host/node07 ({waiting.id[:8]})\n"
        assert until(lambda: any(one.id == waiting.id for one in issued(log)))
        assert commands(log)[waiting.id].approved_by == "ann"
        again = lab.call("commands", "approve", waiting.id)
        assert (again.returncode, again.stderr.count("\n")) == (2, 1)
        assert "waits for nobody's approval: it is issued" in again.stderr


def test_a_pause_of_everything_reaches_every_cluster_also_those_that_nobody_has_heard_of(lab: Fleet) -> None:
    clusters = [f"cluster-{number}" for number in range(6)]
    with open_log(lab.settings) as log:
        for name in clusters[:3]:
            fails(log, f"first of {name}", cluster=name)
        assert until(lambda: len(issued(log)) == 3)
        done = lab.call("commands", "pause", "--everywhere", "--reason", "an upgrade", "--by", "ann")
        assert done.stdout == "paused: all clusters\n"
        assert until(lambda: all("*" in cases.pauses for cases in present(log).values()))
        lab.kill("remediate")
        lab.start("remediate", "remediate")
        for name in clusters:
            fails(log, f"second of {name}", cluster=name)
        assert until(lambda: sum(one.blocked is not None for one in commands(log).values()) == 6)
        held = [one.blocked for one in commands(log).values() if one.blocked]
        assert {(one.guard, one.reason) for one in held} == {(Guard.PAUSE, "ann has paused remediation: an upgrade")}
        assert len(issued(log)) == 3
        assert lab.call("commands", "resume", "--everywhere").stdout == "resumed: all clusters\n"
        assert until(lambda: len(issued(log)) == 9)
        assert Counter(one.cluster for one in issued(log)) == {
            name: 2 if name in clusters[:3] else 1 for name in clusters
        }


def test_a_stage_that_is_killed_again_and_again_issues_nothing_twice_and_forgets_nothing(lab: Fleet) -> None:
    names = [f"incident-{number}" for number in range(60)]
    with open_log(lab.settings) as log:
        for number, name in enumerate(names):
            fails(log, name, cluster=f"cluster-{number % 4}")
            if number % 12 == 11:
                assert until(lambda number=number: len(issued(log)) > number // 2)
                lab.kill("remediate")
                lab.start("remediate", "remediate")
        assert until(lambda: len(issued(log)) >= len(names))
        time.sleep(2)
        assert sorted(one.incident for one in issued(log)) == sorted(names)
        assert len({event.id for event in events(log, COMMANDS)}) == len(names)
        assert {one.state for one in commands(log).values()} == {CommandState.ISSUED}


def test_the_state_that_snapshots_and_later_events_give_is_that_of_the_topic_alone(lab: Fleet) -> None:
    with open_log(lab.settings) as log:
        for number in range(12):
            fails(log, f"incident-{number}", cluster=f"cluster-{number % 3}")
        assert until(lambda: len(issued(log)) == 12)
        lab.call("commands", "pause", "--everywhere", "--for", "2h")
        lab.call("commands", "silence", "fault=~gpu.*", "--cluster", "cluster-1")
        for command in issued(log)[:5]:
            report(log, outcome(command, OutcomeStatus.STARTED), keys(lab, Role.OUTCOMES))
        assert until(lambda: sum(one.state is CommandState.STARTED for one in commands(log).values()) == 5)
        assert until(lambda: len(records(log, SNAPSHOTS)) >= 4), "of three clusters and a floor"
        fails(log, "the last", cluster="cluster-0", job=None)
        assert until(lambda: any("the last" in one.incidents for one in commands(log).values()))
        lab.stop("remediate")
        said = events(log, INCIDENTS)
        everywhere = [event for event in said if event.cluster == "*"]
        for name, cases in present(log).items():
            alone = Cases(name)
            for event in said:
                if event.cluster == name or event in everywhere[:1]:
                    alone.apply(event)
            assert keeping.kept(cases) == keeping.kept(alone), name
            assert "*" in cases.pauses
            assert len(cases.silences) == (1 if name == "cluster-1" else 0)
