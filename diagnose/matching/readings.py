"""Readings: the numbers that lines of a run's story tell, sampled by where the lines are, never by how they were cut.

Every second line may be a step of a training, and looking at all of them would cost more than all else. Of each block
of a source's bytes the first such line is read; detectors need no more.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from diagnose.matching.acceptance import accepted_by, exact
from diagnose.matching.dialect import confirming
from diagnose.matching.lines import Lines
from schemas.metrics import reading
from schemas.record import Origin
from schemas.signature import Signature

PITCH_BYTES: Final = 4096
"""One line is read in so many bytes of a source."""

BARE_PITCH_BYTES: Final = 32 * 1024
"""And where lines tell no numbers, so that only the pace of a run is learned from them, one in so many."""

_Numbers = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True, slots=True)
class Reading:
    """What one line tells: `ordinal` is its place among the nominated lines, `values` are metrics by name."""

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
    """What the lines of one stretch tell: how many were nominated, those that were read, and who looks at them."""

    signature: str
    count: int
    readings: tuple[Reading, ...]
    detectors: Mapping[str, Mapping[str, Signature]]


def measured(
    lines: Lines, signature: Signature, ends: _Numbers, detectors: Mapping[str, Mapping[str, Signature]]
) -> Measurement:
    """Return what lines of one signature tell, of which the ends in the chunk's own bytes are given in order."""
    pitch = PITCH_BYTES if signature.values else BARE_PITCH_BYTES
    blocks = (ends + lines.chunk.offset) // pitch
    chosen = np.flatnonzero(np.diff(blocks, prepend=-1))
    read = (_read(lines, signature, int(ends[at]), int(at), int(blocks[at])) for at in chosen)
    return Measurement(signature.id, len(ends), tuple(one for one in read if one is not None), detectors)


def _read(lines: Lines, signature: Signature, end: int, ordinal: int, block: int) -> Reading | None:
    """Return what the line that ends at `end` tells, `None` where the line may go on."""
    segment = lines.segment(end)
    if lines.chunk.data[segment.end : segment.end + 1] not in (b"\n", b"\r"):
        return None
    decoded = lines.decoded(segment)
    origin = lines.timed(decoded.origin, segment, signature.id)
    values: dict[str, float] = {}
    for message in decoded.message.splitlines():
        if exact(signature) or accepted_by(signature, message) is not None:
            values |= _values(signature.values, message)
    return Reading(block, lines.offset(segment), lines.line(segment), ordinal, origin, tuple(sorted(values.items())))


def _values(patterns: Sequence[str], message: bytes) -> dict[str, float]:
    """Return the metrics that a message tells."""
    found: dict[str, float] = {}
    for pattern in patterns:
        if match := confirming(pattern).search(message):
            told = (reading(k.decode(), v.decode("latin-1")) for k, v in match.groupdict().items() if v)
            found |= dict(one for one in told if one is not None)
    return found
