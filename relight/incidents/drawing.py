"""The geometry of an incident's timeline: when each evidence was seen, and what happened to the incident when.

Places are percentages of the width. Drawing is the template's.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from relight.reports.phrases import clock, counted, duration
from relight.reports.scale import Scale, Span, scale_over, ticks
from schemas.document import IncidentDocument, Moment
from schemas.incident import Evidence, Role

LANES: Final = 20
"""More evidences than this are not drawn; the cause is."""
FLAGS: Final = 6
"""More moments than this are not drawn: the first ones are, and the last."""
_LABEL: Final = 46
_APART: Final = 26.0
"""Percent of the width that the label of a moment needs for itself."""
_TICK: Final = 12.0
_NAMES: Final = {
    "incident.opened": "opened",
    "diagnosis.settled": "settled",
    "incident.resolved": "resolved",
    "incident.reopened": "reopened",
    "incident.merged": "merged",
}
_ORDER: Final = (Role.CAUSE, Role.ALTERNATIVE, Role.SYMPTOM, Role.HEALED, Role.TEARDOWN)


@dataclass(frozen=True, slots=True)
class Lane:
    """An evidence as it is drawn, from when it was seen first to when last. `told` is its hover title."""

    label: str
    quiet: str
    told: str
    role: str
    span: Span


@dataclass(frozen=True, slots=True)
class Flag:
    """A moment as it is drawn. Labels of flags on one `level` do not touch each other."""

    x: float
    label: str
    told: str
    level: int


@dataclass(frozen=True, slots=True)
class Drawing:
    """A timeline. `seam` is where the scale changes, `levels` how many rows of labels there are."""

    lanes: tuple[Lane, ...]
    flags: tuple[Flag, ...]
    levels: int
    ticks: tuple[tuple[float, str], ...]
    seam: float | None
    folded: str
    summary: str


def drawing(document: IncidentDocument) -> Drawing | None:
    """Return the timeline of an incident; `None` where nothing in it has a time."""
    timed = sorted((e for e in document.history.evidence.values() if _first(e)), key=_place)
    moments = _telling([moment for moment in document.timeline if moment.event in _NAMES])
    said = [time for evidence in timed for time in (_first(evidence), _last(evidence)) if time]
    times = said + [moment.time for moment in moments]
    if not times or max(times) == min(times):
        return None
    cause = next((_first(evidence) for evidence in timed if evidence.role is Role.CAUSE), None)
    scale = scale_over(min(times), max(times), cause, times)
    flags = tuple(_flags(moments, scale))
    left_out = len(document.history.evidence) - len(timed[:LANES])
    return Drawing(
        lanes=tuple(_lane(evidence, scale) for evidence in timed[:LANES]),
        flags=flags,
        levels=max((flag.level for flag in flags), default=-1) + 1,
        ticks=_ticks(scale),
        seam=scale.seam or None,
        folded=f"{counted(left_out, 'more evidence')} not drawn" if left_out else "",
        summary=_summary(timed, moments, scale),
    )


def _ticks(scale: Scale) -> tuple[tuple[float, str], ...]:
    """Return the marks of the axis that do not touch each other."""
    kept: list[tuple[float, str]] = []
    for x, label in ticks(scale):
        if not kept or x - kept[-1][0] >= _TICK:
            kept.append((x, label))
    return tuple(kept)


def _first(evidence: Evidence) -> datetime | None:
    return evidence.first.time or evidence.last.time


def _last(evidence: Evidence) -> datetime | None:
    return evidence.last.time or evidence.first.time


def _place(evidence: Evidence) -> tuple[int, datetime]:
    first = _first(evidence)
    assert first is not None
    return _ORDER.index(evidence.role), first


def _telling(moments: Sequence[Moment]) -> Sequence[Moment]:
    return moments if len(moments) <= FLAGS else (*moments[: FLAGS - 1], moments[-1])


def _lane(evidence: Evidence, scale: Scale) -> Lane:
    first, last = _first(evidence), _last(evidence)
    assert first is not None
    assert last is not None
    lines = counted(evidence.count, "line")
    ranks = f", {counted(len(evidence.ranks), 'rank')}" if evidence.ranks else ""
    until = f" to {clock(last, first)}" if last > first else ""
    return Lane(
        label=evidence.title if len(evidence.title) <= _LABEL else evidence.title[: _LABEL - 1] + "…",
        quiet=f"{lines}{ranks}",
        told=f"{evidence.role}: {evidence.title}, {clock(first)}{until}; {lines}{ranks}",
        role=evidence.role.value,
        span=scale.span(min(first, last), max(first, last)),
    )


def _flags(moments: Iterable[Moment], scale: Scale) -> Iterable[Flag]:
    """Yield moments with their labels on the first row where there is room."""
    ends: list[float] = []
    for moment in moments:
        x = round(scale.at(moment.time), 2)
        start = x if x <= 100 - _APART else x - _APART
        level = next((n for n, end in enumerate(ends) if start >= end), len(ends))
        ends[level : level + 1] = [start + _APART]
        yield Flag(x, _NAMES[moment.event], f"{moment.text}, {clock(moment.time)}", level)


def _summary(timed: Sequence[Evidence], moments: Sequence[Moment], scale: Scale) -> str:
    told = f"{counted(len(timed), 'evidence')} and {counted(len(moments), 'moment')}"
    return f"{told} over {duration(scale.end - scale.begin)}. Times are UTC, from {clock(scale.begin)}."
