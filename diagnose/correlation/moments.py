"""Moments: when and where something was said, and what can be known of the order of two of them.

Within a stream the order of lines is certain and their times are not (programs mix clocks and zones); between streams
only times tell, and clocks differ by seconds.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from math import inf
from typing import Final

from schemas.signal import Mark, Signal

SKEW_S: Final = 5.0
"""Two hosts' clocks differ by less than this."""

GRACE_S: Final = 30.0
GRACE_LINES: Final = 30
"""What comes this much later is more than the echo of the other ranks: the run did go on."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A place in a stream and its time (Unix, seconds).

    Where it is not `exact`, the time is that of a line before: it was not earlier, but may have been much later.
    """

    stream: str
    part: int
    offset: int
    line: int
    time_s: float | None
    exact: bool = True

    @property
    def order(self) -> tuple[float, str, int, int]:
        """Return the key that puts the moments of many streams in one order; those without a time come first."""
        return (-inf if self.time_s is None else self.time_s, self.stream, self.part, self.offset)

    def after(self, other: "Moment", slack_s: float = 0.0) -> bool:
        """Tell whether this is later than the other for certain, by more than `slack_s` between streams."""
        if self.stream == other.stream:
            return (self.part, self.offset) > (other.part, other.offset)
        if self.time_s is None or other.time_s is None or not other.exact:
            return False
        return self.time_s > other.time_s + slack_s

    def well_after(self, other: "Moment") -> bool:
        """Tell whether this is later than the other by more than an echo."""
        seconds = None if self.time_s is None or other.time_s is None else self.time_s - other.time_s
        if self.stream != other.stream:
            return seconds is not None and seconds >= GRACE_S and other.exact
        if not self.after(other):
            return False
        lines = self.line - other.line if self.part == other.part else GRACE_LINES
        return lines >= GRACE_LINES or (seconds is not None and seconds >= GRACE_S)


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
    """Give each signal of one stream a time that never runs backwards, taken from the line before where it has none."""
    now: float | None = None
    for signal in signals:
        now = _latest(now, signal.first.time_s)
        yield Entry(
            signal, _moment(signal, signal.first, now), _moment(signal, signal.last, _latest(now, signal.last.time_s))
        )


def _latest(one: float | None, other: float | None) -> float | None:
    return other if one is None else one if other is None else max(one, other)


def _moment(signal: Signal, mark: Mark, time_s: float | None) -> Moment:
    return Moment(signal.stream, signal.part, mark.offset_bytes, mark.line, time_s, exact=mark.timed)
