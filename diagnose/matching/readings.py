"""Readings: the numbers that lines of a run's story tell, sampled by where the lines are, never by how they were cut.

Every second line may be a step of a training, and looking at all of them would cost more than all else. Of each block
of a source's bytes the first such line is taken, and read only when somebody wants to know.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from diagnose.matching.acceptance import accepted_by
from diagnose.matching.dialect import confirming
from diagnose.matching.lines import Lines
from diagnose.matching.times import timed
from schemas.metrics import reading
from schemas.record import Decoder, Origin
from schemas.signature import Signature

SAMPLE_BYTES: Final = 1024
"""So much of a line is looked at for numbers, and so much before it for its time."""

_Numbers = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True, slots=True)
class Pitch:
    """How densely lines are sampled: one in `bytes` of a source, and beyond each offset of `wider` one in more."""

    bytes: int
    wider: tuple[tuple[int, int], ...] = ()

    def blocks(self, offsets: _Numbers) -> _Numbers:
        """Return the number of the block that each offset lies in; numbers rise with offsets."""
        blocks = offsets // self.bytes
        for begin, size in self.wider:
            blocks = np.where(offsets >= begin, (1 << 40) + begin + offsets // size, blocks)
        return blocks


LIVE: Final = Pitch(512)
"""A source that is followed: all lines of most, a tenth of those that are all progress."""

WHOLE: Final = Pitch(4096, ((4 << 20, 32 << 10), (64 << 20, 256 << 10)))
"""A source that is read as a whole: a thousand lines of its beginning, some thousands of the rest."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A line that may tell numbers, not read yet: `ordinal` is its place among the lines that were nominated.

    `behind` are the bytes before it. `sure`: the two engines agree on it by construction.
    """

    signature: Signature
    block: int
    offset: int
    line: int
    ordinal: int
    segment: bytes
    behind: bytes
    sure: bool

    def moved_by(self, lines: int) -> "Sample":
        """Return the sample with a line number that is higher by `lines`."""
        return replace(self, line=self.line + lines)

    def read(self, decoder: Decoder) -> "Reading":
        """Return what the line tells."""
        decoded = decoder(self.segment)
        values: dict[str, float] = {}
        for message in decoded.message.splitlines() if self.signature.values else ():
            if self.sure or accepted_by(self.signature, message) is not None:
                values |= _values(self.signature.values, message)
        origin = timed(decoded.origin, self.behind + self.segment, len(self.behind), decoder)
        return Reading(self.block, self.offset, self.line, self.ordinal, origin, tuple(sorted(values.items())))


@dataclass(frozen=True, slots=True)
class Reading:
    """What one line tells: metrics by name."""

    block: int
    offset: int
    line: int
    ordinal: int
    origin: Origin
    values: tuple[tuple[str, float], ...] = ()

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

    def moved_by(self, lines: int) -> "Measurement":
        """Return it with line numbers that are higher by `lines`."""
        return replace(self, taken=tuple(one.moved_by(lines) for one in self.taken))


def samples(lines: Lines, signature: Signature, ends: _Numbers, pitch: Pitch, *, sure: bool) -> tuple[Sample, ...]:
    """Return the samples of one signature's lines, of which the ends in the chunk's own bytes are given in order."""
    blocks = pitch.blocks(ends + lines.chunk.offset)
    chosen = np.flatnonzero(np.diff(blocks, prepend=-1))
    taken = (_sample(lines, signature, int(ends[at]), int(at), int(blocks[at]), sure) for at in chosen)
    return tuple(one for one in taken if one is not None)


def _sample(lines: Lines, signature: Signature, end: int, ordinal: int, block: int, sure: bool) -> Sample | None:
    """Return the line that ends at `end`, `None` where it may go on."""
    segment, data = lines.segment(end), lines.chunk.data
    if data[segment.end : segment.end + 1] not in (b"\n", b"\r"):
        return None
    return Sample(
        signature=signature,
        block=block,
        offset=lines.offset(segment),
        line=lines.line(segment),
        ordinal=ordinal,
        segment=data[segment.start : min(segment.end, segment.start + SAMPLE_BYTES)],
        behind=data[max(0, segment.start - SAMPLE_BYTES) : segment.start],
        sure=sure,
    )


def _values(patterns: Sequence[str], message: bytes) -> dict[str, float]:
    """Return the metrics that a message tells."""
    found: dict[str, float] = {}
    for pattern in patterns:
        if match := confirming(pattern).search(message):
            told = (reading(k.decode(), v.decode("latin-1")) for k, v in match.groupdict().items() if v)
            found |= dict(one for one in told if one is not None)
    return found
