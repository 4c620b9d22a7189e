"""Units: messages of several lines (tracebacks, boxes, kernel reports) that are one message, found around a line."""

from collections.abc import Callable, Iterator
from functools import cache
from importlib import resources
from itertools import islice
from typing import Final

from pydantic import Field

from diagnose.matching.dialect import confirming
from diagnose.matching.segments import Segment, segment_after, segment_before
from schemas.model import Model
from schemas.record import WINDOW_BYTES, Decoded
from schemas.yaml_files import loaded

_NEAR_BYTES: Final = WINDOW_BYTES // 2


class Unit(Model):
    """A kind of message of several lines, as `diagnose/catalogue/units.yaml` describes it."""

    name: str
    hint: str
    begin: str
    lead: str | None = None
    end: str | None = None
    within: str
    lines: int = Field(le=1000)


@cache
def units() -> tuple[Unit, ...]:
    """Return every kind of unit."""
    text = resources.files("diagnose").joinpath("catalogue/units.yaml").read_text(encoding="utf-8")
    return tuple(Unit.model_validate(fields) for fields in loaded(text)["units"])


Decode = Callable[[Segment], Decoded]
"""Returns what a segment of the data says."""


def unit_around(data: bytes, segment: Segment, label: str, decode: Decode) -> tuple[Segment, Segment] | None:
    """Return the first and the last segment of the unit that a segment belongs to; `None` if it stands alone.

    Only lines with the same label (the same writer) are looked at.
    """
    near = data[max(0, segment.start - _NEAR_BYTES) : segment.end + _NEAR_BYTES]
    for unit in units():
        if unit.hint.encode() in near and (found := _extent(unit, data, segment, label, decode)):
            return found
    return None


def _extent(unit: Unit, data: bytes, segment: Segment, label: str, decode: Decode) -> tuple[Segment, Segment] | None:
    def message(at: Segment) -> bytes | None:
        decoded = decode(at)
        return decoded.message if decoded.label == label else None

    own = message(segment) or b""
    begin = segment if _is(unit.begin, own) else _walk(unit, _before(data, segment), message, unit.begin, unit.end)
    if begin is None:
        return None
    if unit.lead is not None:
        begin = _last_in_a_row(unit.lead, begin, islice(_before(data, begin), unit.lines), message)
    if unit.end is None:
        return begin, _last_in_a_row(unit.within, segment, islice(_after(data, segment), unit.lines), message)
    if begin is not segment and _is(unit.end, own):
        return begin, segment
    end = _walk(unit, _after(data, segment), message, unit.end, unit.begin)
    return (begin, end) if end else None


def _last_in_a_row(
    pattern: str, last: Segment, segments: Iterator[Segment], message: Callable[[Segment], bytes | None]
) -> Segment:
    """Return the last of the segments that follow each other and match a pattern."""
    for segment in segments:
        text = message(segment)
        if text is not None:
            if not _is(pattern, text):
                return last
            last = segment
    return last


def _walk(
    unit: Unit, segments: Iterator[Segment], message: Callable[[Segment], bytes | None], goal: str, border: str | None
) -> Segment | None:
    """Return the first segment that matches `goal`, unless the unit is over before."""
    for segment in islice(segments, unit.lines):
        text = message(segment)
        if text is None:
            continue
        if _is(goal, text):
            return segment
        if (border and _is(border, text)) or not _is(unit.within, text):
            return None
    return None


def _is(pattern: str, message: bytes) -> bool:
    return confirming(pattern).search(message) is not None


def _before(data: bytes, segment: Segment) -> Iterator[Segment]:
    lowest = segment.start - _NEAR_BYTES
    at = segment_before(data, segment.start)
    while at is not None and at.start >= lowest:
        yield at
        at = segment_before(data, at.start)


def _after(data: bytes, segment: Segment) -> Iterator[Segment]:
    highest = segment.end + _NEAR_BYTES
    at = segment_after(data, segment.end)
    while at is not None and at.end <= highest:
        yield at
        at = segment_after(data, at.end)
