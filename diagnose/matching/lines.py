"""The lines of one chunk: segments found by offset, their line numbers, and sightings that can be looked at later."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

import numpy as np

from diagnose.matching.acceptance import accepted_by
from diagnose.matching.dialect import confirming
from diagnose.matching.segments import Segment, segment_at
from diagnose.matching.times import LOOK_BACK_BYTES, time_before, timed
from diagnose.matching.units import unit_around
from schemas.captures import Capture
from schemas.record import SEGMENT_BYTES, Chunk, Decoded, Decoder, Origin
from schemas.signature import Signature

_NEWLINE, _RETURN = b"\n\r"
Numbers = np.ndarray[Any, np.dtype[np.int64]]

STEPS: Final = (Capture.STEP, Capture.TOTAL_STEPS)
"""What the values of progress tell beside metrics."""

TEXT_BYTES: Final = 4096
"""So much of a segment is kept to be shown."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A signature accepted a segment. `line` and `offset` are the source's; `text` is the segment's beginning.

    `unit` is the first and last line of the multi-line message around it, such as a traceback. `timed` tells whether
    the time of its origin is the line's own, or that of a line before. `likewise` are the offsets of lines before it
    that say the same and have no hits of their own.
    """

    signature: Signature
    offset: int
    line: int
    text: bytes
    origin: Origin
    captures: tuple[tuple[str, str], ...] = ()
    unit: tuple[int, int] | None = None
    timed: bool = False
    likewise: tuple[int, ...] = ()

    def moved_by(self, lines: int) -> "Hit":
        """Return the hit with line numbers that are higher by `lines`."""
        unit = (self.unit[0] + lines, self.unit[1] + lines) if self.unit else None
        return replace(self, line=self.line + lines, unit=unit)


@dataclass(frozen=True, slots=True)
class Sighting:
    """A line of a run's story that has been seen but not read: with the bytes before it, for its time.

    Nearly all sightings are forgotten unread, because only a stretch's first and last line are kept.
    """

    signature: Signature
    offset: int
    line: int
    segment: bytes
    behind: bytes

    def read(self, decoder: Decoder) -> Hit:
        """Decode the line."""
        decoded = decoder(self.segment)
        captures = next(
            (c for m in decoded.message.splitlines() if (c := accepted_by(self.signature, m)) is not None), {}
        )
        captures |= _steps(self.signature, decoded.message)
        origin = timed(decoded.origin, self.behind + self.segment, len(self.behind), decoder)
        text = self.segment[:TEXT_BYTES]
        own_time = decoded.origin.time_s is not None
        told = tuple(sorted(captures.items()))
        return Hit(self.signature, self.offset, self.line, text, origin, told, timed=own_time)


def origin_of(captures: Mapping[str, str]) -> Origin:
    """Return what a message itself says about its writer, for lines whose prefix and source are silent."""
    rank, gpu = (_number(captures.get(name)) for name in (Capture.RANK, Capture.GPU))
    return Origin(host=captures.get(Capture.HOST), rank=rank, gpu=gpu, job=captures.get(Capture.JOB))


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() and len(text) < 8 else None


def _steps(signature: Signature, message: bytes) -> dict[str, str]:
    """Return the step that a line of progress tells, and how many there are to be, where its values name them."""
    found: dict[str, str] = {}
    for pattern in signature.values:
        if match := confirming(pattern).search(message):
            told = match.groupdict()
            found |= {name: told[name.encode()].decode("latin-1") for name in STEPS if told.get(name.encode())}
    return found


class Lines:
    """The segments of one chunk, found by offset, with their line numbers and times."""

    def __init__(self, chunk: Chunk, decoder: Decoder) -> None:
        """Take a chunk and the decoder of its source."""
        self.chunk = chunk
        self.decoder = decoder
        self._clocks: dict[str, tuple[int, tuple[int, Origin] | None]] = {}
        self._decoded: dict[int, Decoded] = {}
        self._units: dict[str, tuple[Segment, Segment]] = {}

    @cached_property
    def ends(self) -> Numbers:
        """Return where the chunk's own segments end, as offsets in its own bytes, in rising order."""
        chunk = self.chunk
        own = np.frombuffer(chunk.data, np.uint8, chunk.end - chunk.start, chunk.start)
        ends = np.flatnonzero((own == _NEWLINE) | (own == _RETURN))
        last = self.segment(len(own)).end - chunk.start  # has perhaps no line end
        return ends if len(ends) and ends[-1] == last else np.append(ends, last)

    @cached_property
    def begins(self) -> Numbers:
        """Return where the chunk's own segments begin, as offsets in its own bytes."""
        return np.append(0, self.ends[:-1] + 1)

    @cached_property
    def _newlines(self) -> Numbers:
        own = memoryview(self.chunk.data)[self.chunk.start :]
        ends = self.ends if self.ends[-1] < len(own) else self.ends[:-1]
        newlines: Numbers = ends[np.frombuffer(own, np.uint8)[ends] == _NEWLINE]
        return newlines

    def own(self, ends: Numbers) -> Iterator[tuple[int, Segment, int]]:
        """Yield the chunk's own segments that hold the bytes before some offsets, each once.

        With each come the place of the first such offset, and the line number.
        """
        line, first = np.unique(np.searchsorted(self.ends, ends - 1), return_index=True)
        begins, start = self.begins[line], self.chunk.start
        numbers = self.chunk.line + np.searchsorted(self._newlines, begins)
        found = (first.tolist(), begins.tolist(), self.ends[line].tolist(), numbers.tolist())
        for at, begin, end, number in zip(*found, strict=True):
            yield at, Segment(start + begin, start + end), number

    def segment(self, end: int) -> Segment:
        """Return the segment that holds the byte before `end`, an offset in the chunk's own bytes."""
        return segment_at(self.chunk.data, end + self.chunk.start)

    def text(self, segment: Segment) -> bytes:
        """Return the bytes of a segment, as far as they are looked at."""
        return self.chunk.data[segment.start : min(segment.end, segment.start + SEGMENT_BYTES)]

    def own_end(self, segment: Segment) -> int:
        """Return a segment's end as an offset in the chunk's own bytes."""
        return segment.end - self.chunk.start

    def decoded(self, segment: Segment) -> Decoded:
        """Return what the segment says about itself, and its message."""
        known = self._decoded.get(segment.start)
        if known is None:
            known = self._decoded[segment.start] = self.decoder(self.text(segment))
        return known

    def line(self, segment: Segment) -> int:
        """Return the line number of one of the chunk's own segments."""
        return self.chunk.line + int(np.searchsorted(self._newlines, segment.start - self.chunk.start))

    def hit(
        self, segment: Segment, decoded: Decoded, signature: Signature, captures: dict[str, str], reader: str = ""
    ) -> Hit:
        """Return a fault's hit: read in full at once, with the multi-line message that it is part of."""
        line, data = self.line(segment), self.chunk.data
        unit = self._unit(segment, decoded.label)
        return Hit(
            signature=signature,
            offset=self.offset(segment),
            line=line,
            text=data[segment.start : min(segment.end, segment.start + TEXT_BYTES)],
            origin=self.timed(decoded.origin, segment, reader),
            captures=tuple(sorted(captures.items())),
            unit=(line - unit[0], line + unit[1]) if unit else None,
            timed=decoded.origin.time_s is not None,
        )

    def sighting(self, segment: Segment, signature: Signature) -> Sighting:
        """Return a sighting, to be read later or never."""
        data = self.chunk.data
        return Sighting(
            signature=signature,
            offset=self.offset(segment),
            line=self.line(segment),
            segment=self.text(segment),
            behind=data[max(0, segment.start - LOOK_BACK_BYTES) : segment.start],
        )

    def timed(self, origin: Origin, segment: Segment, reader: str = "") -> Origin:
        """Do the same as `times.timed`, searching nothing twice: each reader asks about segments in rising order."""
        if origin.time_s is not None or origin.clock_s is not None:
            return origin
        start = segment.start
        searched_to, clock = self._clocks.get(reader, (0, None))
        clock = time_before(self.chunk.data, start, self.decoder, searched_to) or clock
        self._clocks[reader] = start, clock
        recent = clock is not None and clock[0] >= start - LOOK_BACK_BYTES
        return origin.over(clock[1]) if clock is not None and recent else origin

    def offset(self, segment: Segment) -> int:
        """Return where the segment begins in the source, in bytes."""
        return self.chunk.offset + segment.start - self.chunk.start

    def _unit(self, segment: Segment, label: str) -> tuple[int, int] | None:
        """Return how many lines of the segment's unit stand before and after it, `None` if it stands alone."""
        known = self._units.get(label)
        if known is None or not known[0].start <= segment.start <= known[1].start:
            found = unit_around(self.chunk.data, segment, label, self.decoded)
            if found is None:
                return None
            known = self._units[label] = found
        data = self.chunk.data
        return data.count(b"\n", known[0].start, segment.start), data.count(b"\n", segment.end, known[1].end)
