"""What happens to a recovery command, as events in the past tense, and the fold of them that its history is."""

from enum import StrEnum
from typing import Final, assert_never

from pydantic import Field

from schemas.action import Action, Name, Resource
from schemas.command import CommandOutcome, OutcomeStatus, Reason, Request
from schemas.model import Model
from schemas.policy import Policy


class Guard(StrEnum):
    """What can hold a command back, each with its own reason."""

    DRY_RUN = "dry_run"
    PAUSE = "pause"
    SILENCE = "silence"
    MAINTENANCE = "maintenance"
    UNSETTLED = "unsettled"
    STALE = "stale"
    CONFIDENCE = "confidence"
    APPROVAL = "approval"
    IN_FLIGHT = "in_flight"
    COOLDOWN = "cooldown"
    BUDGET = "budget"
    BREAKER = "breaker"


class CommandState(StrEnum):
    """Where a command stands.

    `planned`: it will be issued when every guard lets it. `waiting`: time alone is the action. `withdrawn`: it was
    issued, and is not to be begun any more. `expired`: nobody began it in time. `overdue`: begun, and nothing more was
    heard. `effective` and `ineffective` say of a command that ended whether it has helped.
    """

    PLANNED = "planned"
    WAITING = "waiting"
    ISSUED = "issued"
    ACCEPTED = "accepted"
    STARTED = "started"
    WITHDRAWN = "withdrawn"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    REJECTED = "rejected"
    UNKNOWN = "unknown"
    EXPIRED = "expired"
    OVERDUE = "overdue"
    CANCELLED = "cancelled"
    EFFECTIVE = "effective"
    INEFFECTIVE = "ineffective"

    @property
    def in_flight(self) -> bool:
        """Tell whether an orchestrator may be about to act, or acting."""
        return self in _IN_FLIGHT

    @property
    def pending(self) -> bool:
        """Tell whether it has not been issued."""
        return self in (CommandState.PLANNED, CommandState.WAITING)

    @property
    def ended(self) -> bool:
        """Tell whether nothing will be done for it any more."""
        return not self.pending and not self.in_flight


PASSING: Final = ("none", "wait")
"""Actions that are never issued: time alone is what they take."""
_IN_FLIGHT: Final = frozenset(
    (CommandState.ISSUED, CommandState.ACCEPTED, CommandState.STARTED, CommandState.WITHDRAWN)
)  # fmt: skip


class CommandPlanned(Model):
    """This is to be done about an incident, as soon as every guard lets it.

    `rung` counts from 1 in the ladder of the playbook; 0 is a step before a rung. `approval`: a person has to agree.
    `patience_s` is how long it may take to help, `None`: for ever.
    """

    incident: Name
    fault: str
    playbook: str
    rung: int = Field(ge=0)
    action: Action
    target: str
    affects: tuple[Resource, ...]
    why: Reason
    approval: bool
    patience_s: float | None


class CommandBlocked(Model):
    """A guard holds the command back. It is looked at again when the guard may open."""

    guard: Guard
    reason: Reason


class CommandApproved(Model):
    """A person has agreed."""

    by: Name
    reason: Reason = ""


class CommandIssued(Model):
    """The command is on `relight.commands`, signed. Times are Unix, seconds."""

    expires_s: float
    deadline_s: float


class CommandJoined(Model):
    """Another incident asks for the same, at a rung of its own ladder: it is done once for both."""

    incident: Name
    playbook: str
    rung: int = Field(ge=0)


class CommandProgressed(Model):
    """An orchestrator has said what has become of the command."""

    status: OutcomeStatus
    by: Name
    at_s: float
    reason: Reason = ""
    output: str = ""
    healthy: bool | None = None


class CommandCancelled(Model):
    """The command is not wanted any more. What was issued already is withdrawn, and its orchestrator has the word."""

    reason: Reason
    by: Name | None = None


class CommandExpired(Model):
    """Nobody began the command in time, or nothing was heard of its end."""

    reason: Reason


class CommandProved(Model):
    """What the command was for is seen: the job makes progress again, or the machine is well.

    `recovery_s`: from the first line of the cause, or the opening of the incident, to then. `lost_steps` and
    `lost_gpu_s` are what the failure has cost, where that is known.
    """

    reason: Reason
    recovery_s: float | None = None
    lost_steps: int | None = None
    lost_gpu_s: float | None = None


class CommandFailedToHelp(Model):
    """What the command was for has not come to be in its time, or the command itself has failed: the next rung."""

    reason: Reason


Doing = (
    CommandPlanned
    | CommandBlocked
    | CommandApproved
    | CommandIssued
    | CommandJoined
    | CommandProgressed
    | CommandCancelled
    | CommandExpired
    | CommandProved
    | CommandFailedToHelp
)
"""The data of a command's event."""


def subject_of(incident: str, command: str) -> str:
    """Return what the events of a command are about: the command, below the incident that it was planned for first."""
    return f"{incident}/{command}"


def command_of(subject: str) -> str:
    """Return the id of the command that an event is about."""
    return subject.rpartition("/")[2]


class OutcomeAdmitted(Model):
    """What an orchestrator has reported is authentic and new; what follows from it is decided at the next tick."""

    outcome: CommandOutcome


class RequestAdmitted(Model):
    """What a person asks for is authentic and new; what follows from it is decided at the next tick."""

    request: Request


class PolicyAdopted(Model):
    """From here on this policy and these playbooks (by the digest of all of them) are in force."""

    policy: Policy
    playbooks: str


class BreakerOpened(Model):
    """So many hosts have been taken out of service that no more are for now."""

    reason: Reason


class BreakerClosed(Model):
    """Hosts may be taken out of service again. What was held back meanwhile is planned for the state of now."""

    reason: Reason


class RemediationTick(Model):
    """Time has passed for remediation: it is `time_s` (Unix, seconds). Decisions are taken at ticks only."""

    number: int = Field(ge=1)
    time_s: float


class CommandHistory(Model):
    """A command: the fold of its events. Times are Unix, seconds."""

    id: str
    sequence: int = 0
    state: CommandState = CommandState.PLANNED
    plan: CommandPlanned | None = None
    blocked: CommandBlocked | None = None
    approved_by: str | None = None
    approved_s: float | None = None
    cancelled_by: str | None = None
    joined: tuple[CommandJoined, ...] = ()
    planned_s: float | None = None
    issued_s: float | None = None
    expires_s: float | None = None
    deadline_s: float | None = None
    started_s: float | None = None
    ended_s: float | None = None
    result: CommandState | None = None
    by: str | None = None
    reason: str = ""
    output: str = ""
    healthy: bool | None = None
    recovery_s: float | None = None
    lost_steps: int | None = None
    lost_gpu_s: float | None = None

    @property
    def held(self) -> CommandBlocked | None:
        """Return what holds it back, `None` where nothing does, or it is too late for that."""
        return self.blocked if self.state.pending else None

    @property
    def incidents(self) -> tuple[str, ...]:
        """Return the incidents that it is for."""
        return (*((self.plan.incident,) if self.plan else ()), *(one.incident for one in self.joined))

    def after(self, doing: Doing, time_s: float) -> "CommandHistory":
        """Return the command after one more event."""
        return self.model_copy(update={"sequence": self.sequence + 1} | self._change(doing, time_s))

    def _change(self, doing: Doing, time_s: float) -> dict[str, object]:
        match doing:
            case CommandPlanned():
                state = CommandState.WAITING if doing.action.kind in PASSING else CommandState.PLANNED
                return {"plan": doing, "state": state, "planned_s": time_s, "reason": doing.why}
            case CommandBlocked():
                return {"blocked": doing}
            case CommandApproved():
                return {"approved_by": doing.by, "approved_s": time_s, "blocked": None}
            case CommandIssued():
                times = {"issued_s": time_s, "expires_s": doing.expires_s, "deadline_s": doing.deadline_s}
                return times | {"state": CommandState.ISSUED, "blocked": None}
            case CommandJoined():
                return {"joined": (*self.joined, doing)}
            case CommandProgressed():
                return self._progressed(doing, time_s)
            case _:
                return self._over(doing, time_s)

    def _progressed(self, doing: CommandProgressed, time_s: float) -> dict[str, object]:
        state = CommandState(doing.status.value)
        if self.state is CommandState.WITHDRAWN and doing.status is OutcomeStatus.REJECTED:
            state = CommandState.CANCELLED
        told: dict[str, object] = {"state": state, "by": doing.by}
        if state.in_flight:  # it may have been taken for lost, or refused by another
            told |= {"ended_s": None, "result": None}
        if doing.status is OutcomeStatus.STARTED:
            told |= {"started_s": time_s}
        if doing.status.final:
            told |= {"ended_s": time_s, "result": state, "reason": doing.reason, "output": doing.output}
            told |= {"healthy": doing.healthy}
        return told

    def _over(
        self, doing: CommandCancelled | CommandExpired | CommandProved | CommandFailedToHelp, time_s: float
    ) -> dict[str, object]:
        ended_s = time_s if self.ended_s is None else self.ended_s
        told: dict[str, object] = {"reason": doing.reason, "blocked": None}
        match doing:
            case CommandCancelled() if self.state.in_flight:
                return told | {"state": CommandState.WITHDRAWN, "cancelled_by": doing.by}
            case CommandCancelled():
                return told | {"state": CommandState.CANCELLED, "cancelled_by": doing.by, "ended_s": ended_s}
            case CommandExpired():
                state = _EXPIRED.get(self.state, CommandState.EXPIRED)
                return told | {"state": state, "result": state, "ended_s": ended_s}
            case CommandProved():
                measured = {"recovery_s": doing.recovery_s, "lost_steps": doing.lost_steps}
                measured |= {"lost_gpu_s": doing.lost_gpu_s}
                return told | {"state": CommandState.EFFECTIVE, "ended_s": ended_s, **measured}
            case CommandFailedToHelp():
                return told | {"state": CommandState.INEFFECTIVE, "ended_s": ended_s}
            case _:
                assert_never(doing)


_EXPIRED: Final = {CommandState.STARTED: CommandState.OVERDUE, CommandState.WITHDRAWN: CommandState.CANCELLED}
