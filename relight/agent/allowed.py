"""What an agent may do: checks commands before anything is done about them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from schemas.action import Action, ResourceKind, RestartProcess
from schemas.command import RecoveryCommand

SKEW_S = 60.0
"""Clocks of planner and agent may differ by so much."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """Patterns of what may be done, and to what. Without `actions` all are allowed."""

    actions: Sequence[str] = ()
    hosts: Sequence[str] = ("*",)
    jobs: Sequence[str] = ("*",)

    def why_not(self, command: RecoveryCommand, now_s: float) -> str | None:
        """Return why a command must not be begun, `None` where it may.

        What it is done to is taken from its action, not from what the command says that it affects.
        """
        if now_s > command.expires_s:
            return "it has expired"
        if command.issued_s > now_s + SKEW_S:
            return "it was issued in the future: the clocks differ"
        if self.actions and command.action.kind not in self.actions:
            return f"this agent may not {command.action.kind}"
        for one in command.action.resources:
            if one.kind is ResourceKind.JOB and not _any(one.name, self.jobs):
                return f"this agent may not touch job {one.name}"
        for host in _hosts(command.action):
            if not _any(host, self.hosts):
                return f"this agent may not touch host {host}"
        return None


def _hosts(action: Action) -> Iterator[str]:
    """Yield the hosts that an action is done to, or on which it is done to a part of a job."""
    yield from (one.name for one in action.resources if one.kind is ResourceKind.HOST)
    if isinstance(action, RestartProcess) and action.host is not None:
        yield action.host


def _any(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
