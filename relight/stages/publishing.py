"""Publishes what was decided about commands on `relight.commands`: signed, and only once it has been decided."""

from collections.abc import Iterator

from relight.topics import COMMANDS
from relight.transports.port import Outgoing
from remediate.case import Case
from remediate.cases import Cases
from remediate.signing import Keys
from schemas.action import Resource, ResourceKind
from schemas.command import REASON_CHARACTERS, CommandWithdrawal, RecoveryCommand
from schemas.events import Event, encoded
from schemas.remedy import CommandCancelled, CommandHistory, CommandIssued, CommandState, command_of
from schemas.signal import derived_id
from schemas.vocabulary import Severity


def published(said: Event, cases: Cases, keys: Keys) -> Iterator[Outgoing]:
    """Yield what orchestrators are told of something that was said about a command.

    Raises:
        ValueError: no key signs.
    """
    command = cases.commands.get(command_of(said.subject))
    if command is None or command.plan is None:
        return
    message: RecoveryCommand | CommandWithdrawal | None = None
    if isinstance(said.data, CommandIssued):
        message = _command(command, cases)
    elif isinstance(said.data, CommandCancelled) and command.state is CommandState.WITHDRAWN:
        message = CommandWithdrawal(
            id=derived_id("withdrawal", command.id, said.sequence),
            cluster=cases.name,
            command=command.id,
            reason=said.data.reason,
            issued_s=said.time_s or 0.0,
        )
    if message is not None:
        event = Event(message.id, cases.name, said.subject, said.time_s, keys.signed(message))
        yield Outgoing(COMMANDS, encoded(event), command.plan.target.encode())


def _command(command: CommandHistory, cases: Cases) -> RecoveryCommand:
    plan, case = command.plan, cases.cases.get(command.incidents[0])
    assert plan is not None, "it was issued"
    found = case.history.diagnosed.diagnosis if case and case.history.diagnosed else None
    what = f"{found.title} ({found.culprit.name}): " if found else ""
    return RecoveryCommand(
        id=command.id,
        cluster=cases.name,
        incident=plan.incident,
        fault=plan.fault,
        severity=found.severity if found else Severity.INFO,
        about=_about(case),
        playbook=plan.playbook,
        rung=plan.rung,
        action=plan.action,
        target=plan.target,
        affects=plan.affects,
        reason=f"{what}{plan.why}"[:REASON_CHARACTERS],
        issued_s=command.issued_s or 0.0,
        expires_s=command.expires_s or 0.0,
        deadline_s=command.deadline_s or 0.0,
    )


def _about(case: Case | None) -> tuple[Resource, ...]:
    """Return the job and the host that an incident is about."""
    names = ((ResourceKind.JOB, case.job), (ResourceKind.HOST, case.host)) if case else ()
    return tuple(Resource(kind=kind, name=name[:512]) for kind, name in names if name)
