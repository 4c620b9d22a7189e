"""Kinds of unknown failures: incidents that nothing explains, whose lines say the same but for the numbers in them.

A line's shape are its words without numbers, times, addresses, paths, what is quoted, and names of hosts. Two failures
are of one kind if they share enough shapes: a line that is missing, or a new one, makes no other kind of them.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final

import re2

UNEXPLAINED: Final = frozenset({"unknown", "launcher.worker_exit", "comm.collective_timeout", "comm.peer_reset"})
"""The fault classes that say that something broke, and not what: nothing in the catalogue explains these failures."""
ALIKE: Final = 0.5
"""Failures are of one kind if of all the shapes that either has so many are in both (Jaccard's index)."""

_READ: Final = 500
_NAMES: Final = 200
_VARIABLE: Final = re2.compile(
    r"""'[^']{0,200}'|"[^"]{0,200}"|(?:/[\w.@%+=~-]+){2,}/?|[\w.-]*\d[\w.-]*"""
    r"|\b(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|mon|tue|wed|thu|fri|sat|sun)\b"
)
_WORD: Final = re2.compile(r"[a-z]{2,}")


def shape(line: str, hosts: Collection[str] = ()) -> str:
    """Return what of a line is the same each time that it is said; `hosts` are names that may be in it."""
    text = line[:_READ].lower()
    if hosts:
        text = _named(tuple(sorted({one.lower() for one in hosts}))[:_NAMES]).sub(" ", text)
    return " ".join(_WORD.findall(_VARIABLE.sub(" ", text)))


@lru_cache(maxsize=256)
def _named(hosts: tuple[str, ...]) -> Any:
    longest_first = sorted(hosts, key=lambda one: (-len(one), one))
    return re2.compile(rf"\b(?:{'|'.join(map(re2.escape, longest_first))})\b")


def shapes(lines: Iterable[str], hosts: Collection[str] = ()) -> frozenset[str]:
    """Return the shapes of lines, those without a word left out."""
    return frozenset(found for line in lines if len(found := shape(line, hosts)) > 3)


def similarity(one: frozenset[str], other: frozenset[str]) -> float:
    """Return the share of shapes that two failures have in common, of all that either has; 0 where neither has any."""
    either = one | other
    return len(one & other) / len(either) if either else 0.0


def fingerprint(of: frozenset[str]) -> str:
    """Return a name for a set of shapes: the same for the same shapes, in whatever order and with whatever numbers."""
    return blake2b("\n".join(sorted(of)).encode(), digest_size=5).hexdigest()


@dataclass(frozen=True, slots=True)
class Member:
    """An unexplained failure: its incident, when it was opened (Unix, seconds), and the shapes of its lines."""

    id: str
    opened_s: float
    shapes: frozenset[str]


@dataclass(slots=True)
class Kind:
    """Failures of one kind, the oldest first. Its name is the first one's fingerprint, and stays whatever joins it."""

    members: list[Member] = field(default_factory=list)

    @property
    def id(self) -> str:
        """Return its name."""
        return fingerprint(self.members[0].shapes)

    def similarity(self, to: frozenset[str]) -> float:
        """Return how much a failure is like those of this kind: like the first one, by which it is known."""
        return similarity(self.members[0].shapes, to)


def kinds(members: Iterable[Member]) -> list[Kind]:
    """Return the kinds that failures are of, the most frequent first; a failure without a line is of none."""
    found: list[Kind] = []
    for member in sorted(members, key=lambda one: (one.opened_s, one.id)):
        if not member.shapes:
            continue
        best = max(found, key=lambda kind: kind.similarity(member.shapes), default=None)
        if best is None or best.similarity(member.shapes) < ALIKE:
            found.append(best := Kind())
        best.members.append(member)
    return sorted(found, key=lambda kind: (-len(kind.members), -kind.members[-1].opened_s, kind.id))


def kind_of(wanted: frozenset[str], known: Sequence[Kind]) -> Kind | None:
    """Return the kind that a failure is of, `None` where it is of none that is known."""
    best = max(known, key=lambda kind: kind.similarity(wanted), default=None)
    return best if best is not None and best.similarity(wanted) >= ALIKE else None
