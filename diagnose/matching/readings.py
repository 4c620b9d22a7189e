"""Readings: the numbers that lines of a run's story tell, sampled by where the lines are, never by how they were cut.

Every second line may be a step of a training, and looking at all of them would cost more than all else. In a source
that is read as a whole some are taken, and read only when somebody wants to know.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from diagnose.matching.acceptance import accepted_by
from diagnose.matching.dialect import confirming
from diagnose.matching.lines import Lines, origin_of
from diagnose.matching.times import timed
from schemas.metrics import reading
from schemas.record import Decoder, Origin
from schemas.signature import Signature
from schemas.vocabulary import Kind

SAMPLE_BYTES: Final = 1024
"""So much of a line is looked at for numbers, and so much before it for its time."""

_Numbers = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True, slots=True)
class Pitch:
    """How densely lines are sampled: those in the first `burst` bytes of so many bytes of a source.

    `steps` are offsets with the number of bytes that holds from there on. Lines come in bursts because writers take
    turns: one line in so many could always be the same writer's. The `first` lines of a signature are taken wherever
    they are: a job's start may fill a file in which the steps are few.
    """

    burst: int
    steps: tuple[tuple[int, int], ...]
    first: int = 0

    def takes(self, offsets: _Numbers) -> "np.ndarray[Any, np.dtype[np.bool_]]":
        """Tell which of the lines that end at some offsets are taken."""
        every = np.full(len(offsets), self.burst, dtype=np.int64)
        for begin, size in self.steps:
            every[offsets >= begin] = size
        taken: np.ndarray[Any, np.dtype[np.bool_]] = offsets % every < self.burst
        return taken


LIVE: Final = Pitch(1, ())
"""A source that is followed: every line."""

WHOLE: Final = Pitch(2048, ((64 << 10, 16 << 10), (4 << 20, 128 << 10), (64 << 20, 1 << 20)), first=256)
"""A source that is read as a whole: all of its beginning, and less and less of the rest."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A line that may tell numbers, not read yet: `ordinal` is its place among the lines that were nominated.

    `behind` are the bytes before it. `sure`: the two engines agree on it by construction. `burst`: where it is, lines
    are taken, whichever they are.
    """

    signature: Signature
    offset: int
    line: int
    ordinal: int
    segment: bytes
    behind: bytes
    sure: bool
    burst: bool = True

    def moved_by(self, lines: int) -> "Sample":
        """Return the sample with a line number that is higher by `lines`."""
        return replace(self, line=self.line + lines)

    def read(self, decoder: Decoder) -> "Reading":
        """Return what the line tells; a reading tells whose it is as well."""
        decoded = decoder(self.segment)
        values: dict[str, float] = {}
        told = Origin()
        for message in decoded.message.splitlines() if self.signature.values else ():
            captures = (
                {} if self.sure and self.signature.kind is Kind.PROGRESS else accepted_by(self.signature, message)
            )
            if captures is not None:
                values = _values(self.signature.values, message) | values
                told = origin_of(captures).over(told)
        origin = timed(decoded.origin, self.behind + self.segment, len(self.behind), decoder)
        dated = decoded.origin.time_s is not None
        metrics = tuple(sorted(values.items()))
        return Reading(self.offset, self.line, self.ordinal, told.over(origin), metrics, dated, self.burst)


@dataclass(frozen=True, slots=True)
class Reading:
    """What one line tells: metrics by name. `timed`: the time of its origin is the line's own."""

    offset: int
    line: int
    ordinal: int
    origin: Origin
    values: tuple[tuple[str, float], ...] = ()
    timed: bool = False
    burst: bool = True

    def moved_by(self, lines: int) -> "Reading":
        """Return the reading with a line number that is higher by `lines`."""
        return replace(self, line=self.line + lines)


@dataclass(frozen=True, slots=True)
class Measurement:
    """What the lines of one stretch tell: how many were nominated, those that were taken, and who looks at them."""

    signature: str
    count: int
    taken: tuple[Sample | Reading, ...]
    detectors: Mapping[str, Mapping[str, Signature]]

    def read(self, decoder: Decoder) -> "Measurement":
        """Return it with all that was taken read."""
        read = (one.read(decoder) if isinstance(one, Sample) else one for one in self.taken)
        return replace(self, taken=tuple(read))

    def behind(self, before: int) -> "Measurement":
        """Return it without what is taken only of the first lines, where so many were nominated `before` it."""
        if before == 0 or all(one.burst for one in self.taken):
            return self
        kept = (one for one in self.taken if one.burst or before + one.ordinal < WHOLE.first)
        return replace(self, taken=tuple(kept))

    def moved_by(self, lines: int) -> "Measurement":
        """Return it with line numbers that are higher by `lines`."""
        return replace(self, taken=tuple(one.moved_by(lines) for one in self.taken))


def samples(lines: Lines, signature: Signature, ends: _Numbers, pitch: Pitch, *, sure: bool) -> tuple[Sample, ...]:
    """Return the samples of one signature's lines, of which the ends in the chunk's own bytes are given in order."""
    burst, data = pitch.takes(ends + lines.chunk.offset), lines.chunk.data
    taken = np.flatnonzero(burst | (np.arange(len(ends)) < pitch.first))
    ordinals, bursts = taken.tolist(), burst[taken].tolist()
    found: list[Sample] = []
    for at, segment, line in lines.own(ends[taken]):
        start, end = segment.start, segment.end
        if data[end : end + 1] in (b"\n", b"\r"):  # it may go on otherwise
            text, behind = data[start : min(end, start + SAMPLE_BYTES)], data[max(0, start - SAMPLE_BYTES) : start]
            offset, ordinal = lines.offset(segment), ordinals[at]
            found.append(Sample(signature, offset, line, ordinal, text, behind, sure, bursts[at]))
    return tuple(found)


def _values(patterns: Sequence[str], message: bytes) -> dict[str, float]:
    """Return the metrics that a message tells."""
    found: dict[str, float] = {}
    for pattern in patterns:
        if match := confirming(pattern).search(message):
            told = (reading(k.decode(), v.decode("latin-1")) for k, v in match.groupdict().items() if v)
            found = dict(one for one in told if one is not None) | found  # the first that tells a metric counts
    return found
