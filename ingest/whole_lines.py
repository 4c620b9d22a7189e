"""Whole lines that have come at once, in one piece of bytes: where each stands, and what is decoded of it on demand."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import re2

from schemas.record import Decoded, Decoder
from schemas.vocabulary import Kept

TEXT_BYTES: Final = 4096
"""No more than this of a line is read."""

LOOK_BACK: Final = 20
"""A line without a time has that of a line before it: of this many, itself included, the nearest one that tells it."""

_WORST: Final = re2.compile(
    rb"(?i)\b(?:warn(?:ing)?|err(?:or)?|crit(?:ical)?|fatal|emerg|alert|panic|severe|traceback|exception|failed|failure"
    rb"|abort(?:ed)?|killed|segfault|oops)\b|\b(?-i:\w+(?:Error|Exception))\b|(?m:^[EFW][01][0-9][0-3][0-9] )"
)


@dataclass(frozen=True, slots=True)
class Line:
    """A line: where it is, its beginning, when it was read and came to the log, and its time if that was looked for."""

    offset: int
    number: int
    text: bytes
    observed_ms: int
    arrived_ms: int
    time_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Heard:
    """The last time that a line of a source has told, and how many lines before what comes next that line is."""

    time_ms: int
    ago: int


@dataclass(frozen=True, slots=True)
class When:
    """When lines were read by their shipper, and when they came to the log (Unix, milliseconds)."""

    observed_ms: int
    arrived_ms: int


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines in one piece of bytes, as arrays: where each begins and ends in it, its offset in the source, its number.

    `told` tells whether a line without a time has that of the line before it.
    """

    data: bytes
    starts: Any
    ends: Any
    offsets: Any
    numbers: Any
    told: bool = True


def cut(data: bytes, offset: int, first: int) -> Lines:
    """Return the lines of bytes from a place in the source; blank ones count for nothing."""
    raw = np.frombuffer(data, np.uint8)
    newline = raw == 10
    ends = np.flatnonzero(newline | (raw == 13))
    if not len(ends) or ends[-1] != len(raw) - 1:
        ends = np.append(ends, len(raw))
    starts = np.append(0, ends[:-1] + 1)
    before = np.cumsum(newline)[np.maximum(starts - 1, 0)] * (starts > 0)
    full = ends > starts
    return Lines(data, starts[full], ends[full], starts[full] + offset, before[full] + first)


def given(lines: Sequence[tuple[int, bytes]]) -> Lines:
    """Return lines that are apart already: what is one record is one line, whatever is in it."""
    sizes = np.array([len(text) + 1 for _, text in lines])
    offsets = np.array([offset for offset, _ in lines])
    ends = np.cumsum(sizes) - 1
    data = b"".join(text + b"\n" for _, text in lines)
    return Lines(data, ends - sizes + 1, ends, offsets, offsets + 1, told=False)


@dataclass
class Piece:
    """Whole lines that have come at once, decoded only where it is needed. `heard` is what lines before them told."""

    lines: Lines
    when: When
    decoder: Decoder
    heard: Heard | None = None
    _decoded: dict[int, Decoded] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Return the number of lines."""
        return len(self.lines.starts)

    def line(self, index: int) -> Line:
        """Return a line."""
        lines = self.lines
        start, end = int(lines.starts[index]), int(lines.ends[index])
        text = lines.data[start : min(end, start + TEXT_BYTES)]
        number, offset = int(lines.numbers[index]), int(lines.offsets[index])
        return Line(offset, number, text, self.when.observed_ms, self.when.arrived_ms)

    def all(self) -> Iterator[tuple[Line, Kept]]:
        """Yield every line."""
        for index in range(self.count):
            yield self.line(index), Kept.ALL

    def worth(self, spots: Sequence[int]) -> dict[int, Kept]:
        """Return which lines are worth keeping, and why."""
        found = {_last(self.lines.starts, match.start()): Kept.LEVEL for match in _WORST.finditer(self.lines.data)}
        return found | {_last(self.lines.starts, spot): Kept.EVIDENCE for spot in spots}

    def decoded(self, line: Line) -> Decoded:
        """Return what a line says without its prefixes."""
        if line.offset not in self._decoded:
            self._decoded[line.offset] = self.decoder(line.text)
        return self._decoded[line.offset]

    def time_ms(self, line: Line) -> int | None:
        """Return a line's time, or, where that is meant, that of the nearest line before it that has one."""
        if not self.lines.told:
            return self._own_ms(line)
        index = _last(self.lines.offsets, line.offset)
        if index < 0:
            return line.time_ms  # it came earlier, and was looked at then
        for before in range(index, max(-1, index - LOOK_BACK), -1):
            if (time_ms := self._own_ms(self.line(before))) is not None:
                return time_ms
        return self.heard.time_ms if self.heard and index + self.heard.ago < LOOK_BACK else None

    def remembered(self, index: int) -> Line:
        """Return a line as it is needed when others have come: its time follows from lines that are here no more."""
        line = self.line(index)
        return replace(line, time_ms=self.time_ms(line)) if self.lines.told else line

    def last_heard(self) -> Heard | None:
        """Return the last time that these lines, or those before them, have told to lines that come next."""
        if not self.lines.told:
            return None
        for ago in range(1, min(self.count + 1, LOOK_BACK)):
            if (time_ms := self._own_ms(self.line(self.count - ago))) is not None:
                return Heard(time_ms, ago)
        return replace(self.heard, ago=min(self.heard.ago + self.count, LOOK_BACK)) if self.heard else None

    def _own_ms(self, line: Line) -> int | None:
        time_s = self.decoded(line).origin.time_s
        return None if time_s is None else round(time_s * 1000)


def _last(places: Any, wanted: int) -> int:
    """Return the index of the last of some rising places that is not after a wanted one, -1 if there is none."""
    return int(np.searchsorted(places, wanted, side="right")) - 1
