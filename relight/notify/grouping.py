"""What goes into one message, and when it goes: groups as Alertmanager has them. Without a clock and without threads.

The first of a group waits for others. What comes after its message waits until the interval has passed, and then
goes into one further message. A group about which nothing came in an interval is forgotten.
"""

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

MOST: Final = 1000
"""A message never holds more; with as many it waits no longer."""

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Batch(Generic[K, T]):
    """What goes into one message, in the order in which it came."""

    key: K
    items: tuple[T, ...]


@dataclass(slots=True)
class _Group(Generic[T]):
    due_s: float
    waiting: list[T] = field(default_factory=list)
    told: int = 0


class Groups(Generic[K, T]):
    """Groups of things that wait to be told. Times are seconds of any one clock."""

    def __init__(self, wait_s: float, interval_s: float) -> None:
        """Take how long the first of a group waits, and how long lies between its messages."""
        self._wait_s, self._interval_s = wait_s, interval_s
        self._groups: dict[K, _Group[T]] = {}

    def add(self, key: K, item: T, now_s: float, by_s: float) -> None:
        """Take a thing into its group. By `by_s` it has to be told, whatever the group waits for."""
        group = self._groups.get(key)
        if group is None or (not group.waiting and group.due_s <= now_s):
            group = self._groups[key] = _Group(now_s + self._wait_s)
        group.waiting.append(item)
        group.due_s = min(group.due_s, by_s if len(group.waiting) < MOST else now_s)

    def due(self, now_s: float) -> list[Batch[K, T]]:
        """Return what is to be told now; it waits no more. Those that became due first come first."""
        found: list[Batch[K, T]] = []
        for key, group in sorted(self._groups.items(), key=lambda each: each[1].due_s):
            if group.due_s <= now_s:
                if group.waiting:
                    found += _taken(key, group)
                    group.due_s = now_s + self._interval_s
                else:
                    del self._groups[key]
        return found

    def all(self) -> list[Batch[K, T]]:
        """Return all that waits, due or not; nothing waits any more."""
        return [batch for key, group in self._groups.items() for batch in _taken(key, group)]

    def count_told(self, key: K, count: int) -> None:
        """Take how many things of a group were told."""
        if key in self._groups:
            self._groups[key].told += count

    def told(self, key: K) -> int:
        """Return how many things of a group were told so far."""
        return self._groups[key].told if key in self._groups else 0

    def next_s(self) -> float | None:
        """Return when something becomes due, or a group is to be forgotten; nothing without groups."""
        return min((group.due_s for group in self._groups.values()), default=None)


def _taken(key: K, group: _Group[T]) -> list[Batch[K, T]]:
    waiting, group.waiting = group.waiting, []
    return [Batch(key, tuple(waiting[start : start + MOST])) for start in range(0, len(waiting), MOST)]
