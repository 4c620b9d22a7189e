"""The time of a line that has none: that of the last line before it that has one, within a bounded look back."""

import re
from typing import Final

from diagnose.matching.segments import segment_at
from schemas.record import Decoder, Origin

LOOK_BACK_BYTES: Final = 8 * 1024
_NO_TIME: Final = Origin()
_LOOKS_LIKE_A_TIME: Final = re.compile(
    rb":(?<=\d\d:)\d\d:\d\d|s(?<=_ms)\": ?\d{13}|\[ *\d{1,9}\.\d{6}\]|\.(?<=\d{10}\.)|,(?<=\d{10},)|\"(?<=\d{10}\")"
)
"""Begins each time with a character that is no digit and looks back from there: it is found three times as fast."""
_NEAR_BYTES: Final = 768
"""Looked at first: the line before mostly has a time, and looking at all costs ten times as much."""

_STAMP_BYTES: Final = 32
_EDGE_LINES: Final = 40


def time_before(data: bytes, start: int, decoder: Decoder, searched_to: int = 0) -> tuple[int, Origin] | None:
    """Return the place and the time of the nearest earlier segment that tells one; `None` where there is none.

    What lies before `searched_to` is left alone: it has been searched before.
    """
    begin = max(0, start - LOOK_BACK_BYTES, searched_to)
    near = max(begin, start - _NEAR_BYTES)
    tried: set[int] = set()
    for low, high in ((near, start), (begin, near + _STAMP_BYTES)):
        for position in reversed([low + match.start() for match in _LOOKS_LIKE_A_TIME.finditer(data[low:high])]):
            segment = segment_at(data, position + 1)
            if segment.start in tried:
                continue
            tried.add(segment.start)
            origin = decoder(data[segment.start : segment.end]).origin
            if origin.time_s is not None or origin.clock_s is not None:
                return segment.start, Origin(time_s=origin.time_s, clock_s=origin.clock_s)
    return None


def timed(origin: Origin, data: bytes, start: int, decoder: Decoder) -> Origin:
    """Return an origin with a time: its own, or that of the line before that has one."""
    if origin.time_s is not None or origin.clock_s is not None:
        return origin
    found = time_before(data, start, decoder)
    return origin.over(found[1]) if found else origin


def edge_time(data: bytes, decoder: Decoder, *, from_end: bool) -> float | None:
    """Return the first (or last) time (Unix, seconds) that the lines at an edge of some bytes tell."""
    lines = data.splitlines()
    nearest = lines[: -_EDGE_LINES - 1 : -1] if from_end else lines[:_EDGE_LINES]
    times = (decoder(line).origin.time_s for line in nearest)
    return next((time for time in times if time is not None), None)
