"""The port `Executor`: what the agent needs of whatever carries out actions, and how that can end.

Before the agent lets an executor act it commits `started`, with what `prepare` has noted. After a crash it asks `found`
what is so already, and never acts again where that cannot be told.

ActionError
├── ActionRejected   it is not to be done: not allowed, no such target, not this system's
├── ActionFailed     it was tried and has not taken effect
└── ActionUnknown    it may have taken effect, and nobody can tell
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from relight.stores.waiting import Waited
from schemas.command import RecoveryCommand


class ActionError(Exception):
    """An action did not succeed. The message says why, for people; `output` is the end of what was printed."""

    def __init__(self, reason: str, output: str = "") -> None:
        """Take the reason and the output."""
        super().__init__(reason)
        self.output = output


class ActionRejected(ActionError):
    """It is not to be done: not allowed, no such target, not this system's."""


class ActionFailed(ActionError):
    """It was tried and has not taken effect."""


class ActionUnknown(ActionError):
    """It may have taken effect, and nobody can tell."""


class Interrupted(Exception):
    """The agent is to stop. What has become of the command is found out when it is back."""


class Effect(StrEnum):
    """Whether a command has taken effect, as the system says. `unknown`: the system cannot tell."""

    DONE = "done"
    NOT_DONE = "not done"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Done:
    """An action that has taken effect: what was printed, and whether the machine is well, where that is known."""

    output: str = ""
    healthy: bool | None = None


@dataclass(frozen=True, slots=True)
class Terms:
    """Under which terms an action is carried out.

    `before` is what `prepare` has noted. `waited(seconds)` waits, and tells whether to give up because the agent is to
    stop. By `deadline_s` (Unix, seconds) the action must have ended.
    """

    before: Mapping[str, str]
    waited: Waited
    deadline_s: float


class Executor(Protocol):
    """Carries out actions in one system. Used by several threads, one for each command."""

    @property
    def name(self) -> str:
        """Return its name, such as `slurm`."""
        ...

    @property
    def actions(self) -> frozenset[str]:
        """Return the kinds of actions that it can carry out."""
        ...

    def prepare(self, command: RecoveryCommand) -> Mapping[str, str]:
        """Return what has to be noted before acting, so that `found` can tell whether the command has taken effect.

        It changes nothing. Called again after a crash before `started` was committed.

        Raises: ActionError.
        """
        ...

    def execute(self, command: RecoveryCommand, terms: Terms) -> Done:
        """Carry out a command, and return when it has taken effect.

        Raises:
            ActionError: it has not, or nobody can tell.
            Interrupted: it was to wait, and the agent is to stop.
        """
        ...

    def found(self, command: RecoveryCommand, before: Mapping[str, str]) -> Effect:
        """Return whether a command that was started, maybe before a crash, has taken effect.

        `not done` means that `execute` may safely be called.

        Raises:
            ActionError: it cannot be asked now.
        """
        ...

    def close(self) -> None:
        """Let go of what it holds; what it has set going goes on. Never raises."""
        ...
