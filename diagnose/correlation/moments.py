"""Moments: when and where something was said, and what can be known of the order of two of them.

Within a stream the order of lines is certain and their times are not (programs mix clocks and zones); between streams
only times tell, and clocks differ by seconds.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from math import inf
from typing import Final

from schemas.signal import Signal

SKEW_S: Final = 5.0
"""Two hosts' clocks differ by less than this."""

GRACE_S: Final = 30.0
GRACE_LINES: Final = 30
"""What comes this much later is more than the echo of the other ranks: the run did go on."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A place in a stream, and between which times (Unix, seconds) it was written.

    A line with a time of its own has both alike. Another was written after the last line before it that has one
    (`since_s`), and before the next one (`until_s`); `None` where there is no such line.
    """

    stream: str
    part: int
    offset: int
    line: int
    since_s: float | None
    until_s: float | None

    @property
    def time_s(self) -> float | None:
        """Return the best guess: a line without a time belongs to what follows rather than to what came before."""
        return self.since_s if self.until_s is None else self.until_s

    @property
    def exact(self) -> bool:
        """Tell whether the line has a time of its own."""
        return self.since_s is not None and self.since_s == self.until_s

    @property
    def order(self) -> tuple[float, str, int, int]:
        """Return the key that puts the moments of many streams in one order; those without a time come first."""
        return (-inf if self.time_s is None else self.time_s, self.stream, self.part, self.offset)

    def after(self, other: "Moment", slack_s: float = 0.0) -> bool:
        """Tell whether this is later than the other for certain, by more than `slack_s` between streams."""
        if self.stream == other.stream:
            return (self.part, self.offset) > (other.part, other.offset)
        between = _between(other, self)
        return between is not None and between > slack_s

    def well_after(self, other: "Moment") -> bool:
        """Tell whether this is later than the other by more than an echo."""
        if self.stream != other.stream:
            between = _between(other, self)
            return between is not None and between >= GRACE_S
        if not self.after(other):
            return False
        lines = self.line - other.line if self.part == other.part else GRACE_LINES
        known = self.since_s is not None and other.since_s is not None
        return lines >= GRACE_LINES or (known and (self.since_s or 0.0) - (other.since_s or 0.0) >= GRACE_S)


def _between(early: Moment, late: Moment) -> float | None:
    """Return how many seconds lie between two moments at least, `None` where it cannot be told."""
    return None if early.until_s is None or late.since_s is None else late.since_s - early.until_s


@dataclass(frozen=True, slots=True)
class Entry:
    """A signal in a job's story, with the moments of its first and last line."""

    signal: Signal
    first: Moment
    last: Moment


def in_order(signals: Iterable[Signal]) -> list[Entry]:
    """Return the signals of many streams as one story, ordered by time, each stream's own order kept."""
    streams = sorted(signals, key=lambda s: (s.stream, s.part, s.first.offset_bytes, s.signature, s.id))
    entries = [entry for _, own in groupby(streams, key=lambda s: s.stream) for entry in _dated(own)]
    return sorted(entries, key=lambda e: (e.first.order, e.signal.signature, e.signal.id))


def _dated(signals: Iterable[Signal]) -> Iterator[Entry]:
    """Give the signals of one stream their moments: times never run backwards in it."""
    own = list(signals)
    marks = [(mark, signal) for signal in own for mark in (signal.first, signal.last)]
    places = sorted({(s.part, m.offset_bytes): m for m, s in marks}.items())
    since: dict[tuple[int, int], float | None] = {}
    until: dict[tuple[int, int], float | None] = {}
    now: float | None = None
    for place, mark in places:
        now = since[place] = _later(now, mark.time_s)
    now = None
    for place, mark in reversed(places):
        now = until[place] = since[place] if mark.timed else now
    for signal in own:
        moments = [
            Moment(signal.stream, signal.part, at[1], mark.line, since[at], until[at])
            for mark in (signal.first, signal.last)
            for at in [(signal.part, mark.offset_bytes)]
        ]
        yield Entry(signal, *moments)


def _later(one: float | None, other: float | None) -> float | None:
    return other if one is None else one if other is None else max(one, other)
