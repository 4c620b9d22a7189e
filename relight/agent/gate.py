"""A gate between an executor that begins several commands at once and the agent, which has to say so first.

The executor's thread waits at the gate until `started` is committed for all of its commands.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from relight.agent.port import Interrupted
from schemas.command import RecoveryCommand


@dataclass(eq=False)
class Party:
    """Commands that pass the gate together, or not at all."""

    names: frozenset[str]
    _over: threading.Event = field(default_factory=threading.Event)
    _passes: bool = False

    def let(self, *, passes: bool) -> None:
        """Let them pass, or send them back."""
        self._passes = passes
        self._over.set()

    def passed(self) -> bool:
        """Wait, and tell whether they pass."""
        self._over.wait()
        return self._passes


class Gate:
    """Where commands wait until they may be begun. Executors call `begin` in threads of theirs, the agent the rest."""

    def __init__(self) -> None:
        """Open a gate at which nobody waits."""
        self._waiting: list[Party] = []
        self._lock = threading.Lock()
        self._closed = False

    def begin(self, commands: Sequence[RecoveryCommand]) -> None:
        """Return when `started` is committed for all these commands.

        Raises:
            Interrupted: one of them is not this agent's any more, or it stops; those that still are come again.
        """
        party = Party(frozenset(command.id for command in commands))
        with self._lock:
            if self._closed:
                raise Interrupted
            self._waiting.append(party)
        if not party.passed():
            raise Interrupted

    def waiting(self) -> list[Party]:
        """Return those who wait."""
        with self._lock:
            return list(self._waiting)

    def let(self, party: Party, *, passes: bool) -> None:
        """Let a party pass, or send it back."""
        with self._lock:
            self._waiting.remove(party)
        party.let(passes=passes)

    def close(self) -> None:
        """Send everybody back, and whoever still comes."""
        with self._lock:
            self._closed = True
            waiting, self._waiting = self._waiting, []
        for party in waiting:
            party.let(passes=False)
