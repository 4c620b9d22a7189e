"""A command that an agent has taken on and that has not ended, and where it is on its way."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from relight.transports.port import Partition
from schemas.command import RecoveryCommand


class Step(StrEnum):
    """Where an agent is with a command.

    `taken`: an executor has it that begins several together. `starting`: it was said that it starts, and that is not
    committed yet. `elsewhere`: another member has started it, and it is not known whether that one is still at it.
    """

    ACCEPTED = "accepted"
    TAKEN = "taken"
    PREPARING = "preparing"
    STARTING = "starting"
    ACTING = "acting"
    ELSEWHERE = "elsewhere"


@dataclass(eq=False)
class Task:
    """A command that is not ended.

    `before` is what was noted before acting. `again`: it may have been carried out already, by an agent that crashed.
    `gated`: a thread of its executor's waits at the gate to begin it. `busy`: a thread of the agent's is at it.
    `withdrawn` is why it is not to be done any more, while an executor has it.
    `beat` is the number of the beat at which it was said that it starts. `starts` tells how often that was said, and
    `heard_s` when it was heard last, by another (of a clock that only runs).
    """

    command: RecoveryCommand
    partition: Partition
    step: Step = Step.ACCEPTED
    before: Mapping[str, str] = field(default_factory=dict)
    again: bool = False
    gated: bool = False
    busy: bool = False
    withdrawn: str | None = None
    beat: int = 0
    starts: int = 0
    heard_s: float = 0.0

    @property
    def at_work(self) -> bool:
        """Tell whether a thread is at it, or is to be right away."""
        about_to = self.step is Step.STARTING and not self.gated and not self.again
        return self.busy or about_to or self.step is Step.PREPARING

    @property
    def held(self) -> bool:
        """Tell whether somebody has it in hand who cannot be called back."""
        return self.step in (Step.ACTING, Step.TAKEN) or (self.gated and self.step is Step.STARTING)
