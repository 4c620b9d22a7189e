"""Jobs: which sources tell of one job, from job ids, names, and where runs start and end."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf
from typing import Final

from diagnose.correlation.moments import SKEW_S
from schemas.signal import Signal, SourceRead
from schemas.vocabulary import Kind

_NUMBER: Final = re.compile(r"\d+")
_STEM: Final = re.compile(r"^(?:[\d._-]*\d)?(?:\.\w+)*$")


class Grouping(StrEnum):
    """How sources are put together: by looking, or by a person's word."""

    AUTO = "auto"
    FILE = "file"
    DIR = "dir"
    ALL = "all"


@dataclass
class Job:
    """The sources and signals of one job."""

    name: str
    sources: list[SourceRead] = field(default_factory=list)
    signals: list[Signal] = field(default_factory=list)


def jobs(sources: Iterable[SourceRead], signals: Iterable[Signal], grouping: Grouping = Grouping.AUTO) -> list[Job]:
    """Put sources and their signals together into jobs, in the order of their sources."""
    read = list(sources)
    by_source: dict[str, list[Signal]] = defaultdict(list)
    for signal in signals:
        by_source[signal.source].append(signal)
    groups = _GROUPERS[grouping](read, by_source)
    return [
        Job(_name(group, grouping), group, [s for source in group for s in by_source[source.source]])
        for group in groups
    ]


_Signals = dict[str, list[Signal]]


def _all(sources: list[SourceRead], signals: _Signals) -> list[list[SourceRead]]:
    return [sources] if sources else []


def _by_file(sources: list[SourceRead], signals: _Signals) -> list[list[SourceRead]]:
    return _keyed(sources, lambda s: s.stream)


def _by_dir(sources: list[SourceRead], signals: _Signals) -> list[list[SourceRead]]:
    return _keyed(sources, lambda s: "/".join(s.path[:-1]))


def _by_looking(sources: list[SourceRead], signals: _Signals) -> list[list[SourceRead]]:
    """Part by job ids first; what has none goes with the only job there is, or is parted by where runs start."""
    ids = {source.source: _job_id(source, signals[source.source]) for source in sources}
    named = _keyed([s for s in sources if ids[s.source]], lambda s: ids[s.source])
    others = [s for s in sources if not ids[s.source]]
    if len(named) == 1:
        return [[s for s in sources if s in named[0] or s in others]]
    return named + _by_starts(others, signals)


def _by_starts(sources: list[SourceRead], signals: _Signals) -> list[list[SourceRead]]:
    """Part sources that start at different times, or whose names say that they are runs of their own."""
    streams = _keyed(sources, lambda s: s.stream)
    starters = [g for g in streams if any(s.kind is Kind.START for source in g for s in signals[source.source])]
    groups: list[list[SourceRead]] = []
    for stream in sorted(starters, key=lambda g: (_span(g)[0], g[0].source)):
        home = next((g for g in groups if _together(g, stream)), None)
        if home is None:
            groups.append(list(stream))
        else:
            home.extend(stream)
    for stream in (g for g in streams if g not in starters):
        _nearest(groups, stream).extend(stream)
    place = {source.source: at for at, source in enumerate(sources)}
    return sorted((sorted(g, key=lambda s: place[s.source]) for g in groups), key=lambda g: place[g[0].source])


def _together(group: Sequence[SourceRead], stream: Sequence[SourceRead]) -> bool:
    """Tell whether a source that starts a run starts the run of these others."""
    begin, end = _span(stream)
    group_begin, group_end = _span(group)
    if begin == -inf or group_begin == -inf:
        return _placed(stream[0]) and all(_placed(s) for s in group)
    if begin > group_end + SKEW_S or end < group_begin - SKEW_S:
        return False
    return all(_same_shape(s, stream[0]) for s in group)


def _placed(source: SourceRead) -> bool:
    """Tell whether a name says which host or rank wrote a source, and not which run it is."""
    return (
        source.host is not None or source.rank is not None or bool(_STEM.match(source.path[-1] if source.path else ""))
    )


def _same_shape(one: SourceRead, other: SourceRead) -> bool:
    """Tell whether two names differ in numbers only, or name hosts or ranks."""
    if _placed(one) or _placed(other):
        return True
    return [_NUMBER.sub("0", part) for part in one.path] == [_NUMBER.sub("0", part) for part in other.path]


def _nearest(groups: list[list[SourceRead]], stream: Sequence[SourceRead]) -> list[SourceRead]:
    """Return the group that a source without a start of its own belongs to: the one it shares most time with.

    Among several runs, one that shares none and names no host or rank is a run of its own.
    """
    if not groups:
        groups.append([])
        return groups[0]
    begin, end = _span(stream)

    def shared(group: list[SourceRead]) -> float:
        group_begin, group_end = _span(group) if group else (-inf, inf)
        return min(end, group_end) - max(begin, group_begin) if begin != -inf and group_begin != -inf else 0.0

    best = max(groups, key=shared)
    if len(groups) > 1 and shared(best) <= 0 and not _placed(stream[0]):
        groups.append([])
        return groups[-1]
    return best


def _span(group: Sequence[SourceRead]) -> tuple[float, float]:
    """Return the first and last time (Unix, seconds) of a group; infinite where none is known."""
    begins = [s.first_s for s in group if s.first_s is not None]
    ends = [s.last_s for s in group if s.last_s is not None]
    return (min(begins), max(ends)) if begins and ends else (-inf, inf)


def _job_id(source: SourceRead, signals: Sequence[Signal]) -> str:
    """Return the job that a source's name gives, or the only one that its lines give, or nothing."""
    told = {s.job for s in signals if s.job} if source.job is None else {source.job}
    return told.pop() if len(told) == 1 else ""


def _keyed(sources: Iterable[SourceRead], key: Callable[[SourceRead], str]) -> list[list[SourceRead]]:
    groups: dict[str, list[SourceRead]] = defaultdict(list)
    for source in sources:
        groups[key(source)].append(source)
    return list(groups.values())


def _name(group: Sequence[SourceRead], grouping: Grouping) -> str:
    """Return a name that a person recognises: the job's id, the file, or the directory that all share."""
    if ids := {s.job for s in group if s.job}:
        return f"job {sorted(ids)[0]}" if len(ids) == 1 else f"{len(ids)} jobs"
    if len({s.stream for s in group}) == 1:
        return group[0].stream or group[0].source
    shared = []
    for parts in zip(*(s.path[:-1] for s in group), strict=False):
        if len(set(parts)) > 1:
            break
        shared.append(parts[0])
    return "/".join(shared) or f"{group[0].stream} and {len({s.stream for s in group}) - 1} more"


_GROUPERS: Final = {
    Grouping.AUTO: _by_looking,
    Grouping.FILE: _by_file,
    Grouping.DIR: _by_dir,
    Grouping.ALL: _all,
}
