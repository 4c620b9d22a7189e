"""The geometry of a run's timeline: lanes, spans and marks as percentages of its width. Drawing is the template's."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from relight.reports.blame import Member
from relight.reports.phrases import clock, counted, duration
from relight.reports.scale import Scale, Span, scale_over, ticks
from schemas.incident import Evidence, Incident, Lane, Role, Run

LANES: Final = 24
"""More lanes than this are grouped by host, and the hosts beyond it folded."""

_LABEL: Final = 11.0
"""Percent of the width that the time of the cause needs for itself on the axis."""

_DRAWN: Final = (Role.CAUSE, Role.SYMPTOM, Role.ALTERNATIVE)


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that was said in a lane: `cause`, `symptom` or `alternative`, with its words for hovering."""

    role: str
    span: Span
    title: str


@dataclass(frozen=True, slots=True)
class Row:
    """A lane as it is drawn. `told` is its hover title."""

    label: str
    told: str
    culprit: bool
    alive: Span
    progress: Span | None
    marks: tuple[Mark, ...]


@dataclass(frozen=True, slots=True)
class Timeline:
    """A run's lanes, the culprit's first; `folded` says how many are not drawn, `seam` where the scale changes."""

    rows: tuple[Row, ...]
    ticks: tuple[tuple[float, str], ...]
    cause: tuple[float, str] | None
    seam: float | None
    folded: str
    day: str
    summary: str


@dataclass
class _Track:
    """Lanes that are drawn as one."""

    label: str
    lanes: list[Lane] = field(default_factory=list)
    culprit: bool = False

    def span(self, first: str, last: str) -> tuple[datetime, datetime] | None:
        begins = [value for lane in self.lanes if (value := getattr(lane, first))]
        ends = [value for lane in self.lanes if (value := getattr(lane, last))]
        return (min(begins), max(ends)) if begins and ends else None


def timeline(member: Member) -> Timeline | None:
    """Return the timeline of an incident's run; `None` where its lines have no times."""
    incident, run = member
    tracks, folded, grouped = _tracks(run, incident) if run else ([], 0, False)
    spans = [span for track in tracks if (span := track.span("started", "ended"))]
    if run is None or not spans:
        return None
    cause = incident.first_cause.time if incident.first_cause else None
    said = [time for e in incident.evidence if e.role in _DRAWN for time in (e.first.time, e.last.time) if time]
    scale = scale_over(min(span[0] for span in spans), max(span[1] for span in spans), cause, said)
    marks = _placed(incident, tracks, scale)
    return Timeline(
        rows=tuple(_row(track, marks.get(id(track), []), scale) for track in tracks),
        ticks=tuple(tick for tick in ticks(scale) if cause is None or abs(tick[0] - scale.at(cause)) > _LABEL),
        cause=(round(scale.at(cause), 2), f"{cause.astimezone(UTC):%H:%M:%S}") if cause else None,
        seam=scale.seam or None,
        folded=f"{counted(folded, 'more host')} folded away" if folded else "",
        day=f"{scale.begin.astimezone(UTC):%Y-%m-%d}",
        summary=_summary(run, tracks, cause, counted(len(tracks), "host" if grouped else "lane"), scale),
    )


def _tracks(run: Run, incident: Incident) -> tuple[list[_Track], int, bool]:
    """Return the tracks to draw, how many are left out, and whether lanes were grouped by host."""
    lanes = [lane for lane in run.lanes if lane.started and lane.ended]
    grouped = len({_label(lane) for lane in lanes}) > LANES
    tracks: dict[str, _Track] = {}
    for lane in lanes:
        label = (lane.host or lane.source) if grouped else _label(lane)
        track = tracks.setdefault(label, _Track(label))
        track.lanes.append(lane)
        track.culprit = track.culprit or _blamed(lane, incident)
    told = {evidence.first.source for evidence in incident.evidence}
    spoke_first = {id(t) for t in tracks.values() if any(lane.source in told for lane in t.lanes)}
    ordered = sorted(tracks.values(), key=lambda t: (not t.culprit, id(t) not in spoke_first))
    return ordered[:LANES], len(ordered[LANES:]), grouped


def _label(lane: Lane) -> str:
    parts = [lane.host or ""] + ([f"rank {lane.rank}"] if lane.rank is not None else [])
    return " ".join(filter(None, parts)) or lane.source


def _blamed(lane: Lane, incident: Incident) -> bool:
    culprit = incident.culprit
    if culprit.host is None and culprit.rank is None:
        return False
    same_host = culprit.host is None or lane.host == culprit.host
    return same_host and (culprit.rank is None or lane.rank is None or lane.rank == culprit.rank)


def _placed(incident: Incident, tracks: Sequence[_Track], scale: Scale) -> dict[int, list[Mark]]:
    """Return the marks of every track by its identity: what a lane said itself, and what was said by its rank."""
    marks: dict[int, list[Mark]] = {}
    for item in incident.evidence:
        if item.role not in _DRAWN or not item.first.time:
            continue
        span = scale.span(item.first.time, max(item.last.time or item.first.time, item.first.time))
        for track in tracks:
            if _said(item, track):
                mark = Mark(item.role.value, span, f"{item.title}, {clock(item.first.time)}")
                marks.setdefault(id(track), []).append(mark)
    first = incident.first_cause
    if first and first.time and not any(mark.role == Role.CAUSE for said in marks.values() for mark in said):
        mark = Mark(Role.CAUSE.value, scale.span(first.time, first.time), f"{incident.title}, {clock(first.time)}")
        blamed = next((t for t in tracks if t.culprit or any(lane.source == first.source for lane in t.lanes)), None)
        marks.setdefault(id(blamed), []).append(mark)
    return marks


def _said(item: Evidence, track: _Track) -> bool:
    if item.role is Role.CAUSE and track.culprit:
        return True
    if item.ranks:
        return any(lane.rank in item.ranks and (not item.hosts or lane.host in item.hosts) for lane in track.lanes)
    return any(lane.source == item.first.source or lane.host in item.hosts for lane in track.lanes)


def _row(track: _Track, marks: list[Mark], scale: Scale) -> Row:
    alive, progress = track.span("started", "ended"), track.span("progressed_from", "progressed_to")
    alive = alive or (scale.begin, scale.end)
    lines = counted(sum(lane.lines for lane in track.lanes), "line")
    ranks = sorted({lane.rank for lane in track.lanes if lane.rank is not None})
    who = f"{track.label} ({counted(len(ranks), 'rank')})" if len(ranks) > 1 else track.label
    advanced = f", progress until {clock(progress[1])}" if progress else ", no progress seen"
    return Row(
        label=track.label,
        told=f"{who}: {clock(alive[0])} to {clock(alive[1], alive[0])}{advanced}; {lines}",
        culprit=track.culprit,
        alive=scale.span(*alive),
        progress=scale.span(*progress) if progress else None,
        marks=tuple(sorted(marks, key=lambda mark: mark.role == "cause")),
    )


def _summary(run: Run, tracks: Sequence[_Track], cause: datetime | None, lanes: str, scale: Scale) -> str:
    shown = f"{lanes} of run {run.name} over {duration(scale.end - scale.begin)}"
    said = f"; the cause was said at {clock(cause, scale.end)}" if cause else ""
    first = f" by the first, {tracks[0].label}" if cause and tracks[0].culprit else ""
    return f"{shown}{said}{first}."
