"""What the tests of remediation on a real log share: incidents as correlate tells them, orchestrators and people."""

import secrets
import time
from pathlib import Path
from typing import Any

from fleet import Fleet, events

from relight.keys import KeyFile, Role
from relight.topics import COMMANDS, CONTROL, DEADLETTERS, INCIDENTS, OUTCOMES
from relight.transports.port import EventLog, Outgoing
from remediate.signing import Keys
from schemas.command import CommandOutcome, OutcomeStatus, RecoveryCommand, Request
from schemas.deadletter import RecordRefused
from schemas.events import Event, encoded
from schemas.history import DiagnosisSettled, IncidentResolved
from schemas.remedy import CommandHistory, command_of
from schemas.signal import derived_id
from tests.remediate.stories import incident

RESTARTED, CORDONED = "gpu.fallen_off_bus", "gpu.gsp_error"
PLAYBOOKS = f"""
playbooks:
  - id: lab.restart
    title: The laboratory restarts
    faults: {RESTARTED}
    when: {{jobs: "*"}}
    ladder:
      - action: restart_job
        timeout: 30m
        why: It is worth a try.
      - action: notify
        why: It was not enough.
  - id: lab.cordon
    title: The laboratory cordons, when it may
    faults: {CORDONED}
    when: {{hosts: "*"}}
    ladder:
      - action: cordon_node
        timeout: 30m
        approval: always
        why: It is worth a try.
      - action: notify
        why: It was not enough.
"""


def remedied(fleet: Fleet, folder: Path, **settings: str) -> Fleet:
    """Let a fleet use these playbooks, and issue what they say; its keys are made."""
    playbooks = folder / "playbooks.yaml"
    playbooks.write_text(PLAYBOOKS)
    fleet.more |= {
        "RELIGHT_REMEDIATE__PLAYBOOKS": str(playbooks),
        "RELIGHT_REMEDIATE__DRY_RUN": "false",
        "RELIGHT_REMEDIATE__COOLDOWN_S": "0",
        "RELIGHT_REMEDIATE__HOSTS_OUT": "50",
        "RELIGHT_REMEDIATE__SNAPSHOT_S": "0.5",
        "RELIGHT_KEYS__FOLDER": str(folder / "keys"),
        **settings,
    }
    assert fleet.call("keys", "new").returncode == 0
    return fleet


def keys(fleet: Fleet, role: Role) -> Keys:
    return KeyFile(Path(fleet.more["RELIGHT_KEYS__FOLDER"]) / f"{role}.keys").keys


def fails(log: EventLog, name: str, *, cluster: str = "default", **about: Any) -> str:
    """An incident happens now, as correlate tells it; return its id."""
    now_s = round(time.time(), 3)
    told = incident(**{"fault": RESTARTED, "job": f"job-of-{name}", "name": name, "opened_s": now_s} | about)
    assert told.opened is not None
    assert told.diagnosed is not None
    found = told.diagnosed.diagnosis
    settled = DiagnosisSettled(fault=found.fault, signature=found.signature)
    say(log, name, told.opened, told.diagnosed, settled, cluster=cluster)
    return name


def resolves(log: EventLog, name: str, *, cluster: str = "default") -> None:
    say(log, name, IncidentResolved(reason="the job makes progress again"), cluster=cluster, after=3)


def say(log: EventLog, name: str, *happenings: Any, cluster: str, after: int = 0) -> None:
    now_s = round(time.time(), 3)
    told = [
        Event(derived_id(cluster, name, number), cluster, name, now_s, one, number)
        for number, one in enumerate(happenings, after + 1)
    ]
    log.append([Outgoing(INCIDENTS, encoded(event), cluster.encode()) for event in told])


def issued(log: EventLog) -> list[RecoveryCommand]:
    """Return the commands on the topic, as often as they are there."""
    return [event.data for event in events(log, COMMANDS) if isinstance(event.data, RecoveryCommand)]


def commands(log: EventLog) -> dict[str, CommandHistory]:
    """Return the commands that the log tells of; each of their events has to be there once."""
    found: dict[str, CommandHistory] = {}
    for event in events(log, INCIDENTS):
        if not event.type.name.startswith("command."):
            continue
        known = found.get(command_of(event.subject), CommandHistory(id=command_of(event.subject)))
        assert event.sequence == known.sequence + 1, f"{event.type.name}: {known.sequence}, then {event.sequence}"
        found[known.id] = known.after(event.data, event.time_s or 0.0)  # type: ignore[arg-type]
    return found


def outcome(command: RecoveryCommand, status: OutcomeStatus, **more: Any) -> CommandOutcome:
    own = {"id": secrets.token_hex(8), "by": "an agent", "at_s": round(time.time(), 3)}
    return CommandOutcome(**{**own, "cluster": command.cluster, "command": command.id, "status": status, **more})


def report(log: EventLog, said: CommandOutcome, signs: Keys | None) -> None:
    """Report an outcome; on another partition than its cluster's, as foreign clients may."""
    signed = signs.signed(said) if signs else said
    event = Event(said.id, said.cluster, said.command, said.at_s, signed)
    log.append([Outgoing(OUTCOMES, encoded(event), b"a foreign key")])


def ask(log: EventLog, request: Request, signs: Keys | None) -> None:
    signed = signs.signed(request) if signs else request
    cluster = request.cluster or "*"
    event = Event(request.id, cluster, request.command or cluster, request.at_s, signed)
    log.append([Outgoing(CONTROL, encoded(event), b"a foreign key")])


def refused(log: EventLog) -> list[str]:
    """Return why records were refused by this stage."""
    found = [event.data for event in events(log, DEADLETTERS)]
    return [one.reason for one in found if isinstance(one, RecordRefused) and one.stage == "remediate"]
