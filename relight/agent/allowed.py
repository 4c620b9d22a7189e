"""What an agent may do: checks commands before anything is done about them."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from remediate.ledger import jobs_of, touched_hosts
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
        for job in jobs_of(command.action):
            if not _any(job, self.jobs):
                return f"this agent may not touch job {job}"
        for host in touched_hosts(command.action):
            if not _any(host, self.hosts):
                return f"this agent may not touch host {host}"
        return None


def _any(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
