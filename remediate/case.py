"""A case: an incident as planning sees it, and how far ladders were climbed for what it is about."""

from dataclasses import dataclass, field

from remediate.ladders import part_of
from remediate.ledger import EFFECTLESS, has_effect
from schemas.action import ACTIONS
from schemas.history import IncidentHistory
from schemas.remedy import CommandHistory, CommandState

Climb = tuple[str, ...]
"""What a ladder is climbed for: the playbook, the fault, and the job and the part that is blamed, or the part alone."""


@dataclass(slots=True)
class Case:
    """An incident as planning sees it: its history without evidence, and its commands, `planned` of them for it alone.

    `happened_s` is the latest time in its evidence, by the clocks of the logs; `due_s` is when it has to be looked at
    again though nothing has changed. `others` rises when what may be the same happening before has changed.
    """

    history: IncidentHistory
    happened_s: float | None = None
    commands: list[str] = field(default_factory=list)
    planned: int = 0
    others: int = 0
    due_s: float | None = None

    @property
    def job(self) -> str | None:
        """Return the job that it happened to."""
        return self.history.opened.job if self.history.opened else None

    @property
    def attempt(self) -> int:
        """Return the attempt of the job."""
        return self.history.opened.attempt if self.history.opened else 0

    @property
    def fault(self) -> str:
        """Return the fault class of its diagnosis."""
        return self.history.diagnosed.diagnosis.fault if self.history.diagnosed else ""

    @property
    def part(self) -> str | None:
        """Return the machine, or the part of it, that is blamed."""
        return part_of(self.history.diagnosed.diagnosis.culprit) if self.history.diagnosed else None

    @property
    def host(self) -> str | None:
        """Return the host of the culprit."""
        return self.history.diagnosed.diagnosis.culprit.host if self.history.diagnosed else None


@dataclass(frozen=True, slots=True)
class Used:
    """How far a ladder has been climbed, and when (Unix, seconds); for a job, the last attempt that it was for."""

    rung: int
    at_s: float
    attempt: int | None = None


@dataclass(frozen=True, slots=True)
class Latest:
    """The last known attempt of a job, and when its first incident opened (Unix, seconds)."""

    attempt: int
    opened_s: float


def is_over(command: CommandHistory) -> bool:
    """Tell whether nothing more comes of a command: it has proved itself or not, or there is nothing to prove."""
    if command.state in (CommandState.CANCELLED, CommandState.EFFECTIVE, CommandState.INEFFECTIVE):
        return True
    return command.state.ended and command.plan is not None and not has_effect(command.plan.action)


def climb_of(case: Case, playbook: str, action: str) -> Climb | None:
    """Return what a rung with an action is climbed for, `None` for one that changes nothing.

    What starts a job again is climbed for the job, with the part that is blamed; what mends a machine for the part.
    """
    if action in EFFECTLESS:
        return None
    part = case.part or ""
    return (playbook, case.fault, case.job or "", part) if ACTIONS[action].restarts else (playbook, case.fault, part)
