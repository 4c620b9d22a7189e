"""Jobs: sources that tell of one run, by job ids, names, and where runs start. How they are chosen: `grouping`."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Final

from diagnose.correlation.moments import SKEW_S
from schemas.signal import Signal, SourceRead
from schemas.vocabulary import Kind

_NUMBER: Final = re.compile(r"\d+")
_STEM: Final = re.compile(r"^(?:[\d._-]*\d)?(?:\.\w+)*$")


Signals = Mapping[str, Sequence[Signal]]
"""The signals of each source, by its name."""


@dataclass
class Job:
    """The sources and signals of one job."""

    name: str
    sources: list[SourceRead] = field(default_factory=list)
    signals: list[Signal] = field(default_factory=list)


@dataclass
class _Group:
    """Sources that are taken for one run, with their hosts, and what decides whether another one joins them."""

    sources: list[SourceRead]
    begin_s: float
    end_s: float
    shapes: set[tuple[str, ...]]
    hosts: set[str]

    @classmethod
    def of(cls, stream: Sequence[SourceRead]) -> "_Group":
        begin, end = _span(stream)
        shapes = {_shape(s) for s in stream if not _placed(s)}
        return cls(list(stream), begin, end, shapes, {s.host for s in stream if s.host})

    def takes(self, other: "_Group") -> bool:
        """Tell whether a source that starts a run starts the run of this group.

        It does if their times overlap and their names differ in numbers only, or name hosts or ranks.
        """
        if other.begin_s == -inf or self.begin_s == -inf:
            return not other.shapes and not self.shapes
        if other.begin_s > self.end_s + SKEW_S or other.end_s < self.begin_s - SKEW_S:
            return False
        return not other.shapes or self.shapes <= other.shapes

    def shared_s(self, other: "_Group") -> float:
        """Return how many seconds two groups have in common, negative where they lie apart, 0 if it is not known."""
        if other.begin_s == -inf or self.begin_s == -inf:
            return 0.0
        return min(other.end_s, self.end_s) - max(other.begin_s, self.begin_s)

    def join(self, other: "_Group") -> None:
        self.sources += other.sources
        self.begin_s, self.end_s = min(self.begin_s, other.begin_s), max(self.end_s, other.end_s)
        self.shapes |= other.shapes
        self.hosts |= other.hosts


def by_starts(sources: list[SourceRead], signals: Signals, *, apart: bool = False) -> list[list[SourceRead]]:
    """Part sources that start at different times, or whose names say that they are runs of their own.

    `apart`: what another host says has nothing to do with a run, as in a cluster where many runs go on at once.
    """
    streams = [_Group.of(stream) for stream in keyed(sources, lambda s: s.stream)]
    starts = {s.source for own in signals.values() for s in own if s.kind is Kind.START}
    starters = [g for g in streams if any(source.source in starts for source in g.sources)]
    groups: list[_Group] = []
    near: list[_Group] = []
    for stream in sorted(starters, key=lambda g: (g.begin_s, g.sources[0].source)):
        near = [g for g in near if g.begin_s == -inf or g.end_s + SKEW_S >= stream.begin_s]
        home = next((g for g in near if g.takes(stream)), None)
        if home is None:
            groups.append(stream)
            near.append(stream)
        else:
            home.join(stream)
    begun = {id(g) for g in starters}
    for stream in [g for g in streams if id(g) not in begun]:
        _add_to_nearest(groups, stream, apart)
    place = {source.source: at for at, source in enumerate(sources)}
    ordered = (sorted(g.sources, key=lambda s: place[s.source]) for g in groups)
    return sorted(ordered, key=lambda own: place[own[0].source])


def _add_to_nearest(groups: list[_Group], stream: _Group, apart: bool) -> None:
    """Add a source without a start of its own to the run that it shares most time with.

    Among several runs, one that shares none and names no host or rank is a run of its own.
    """
    near = [g for g in groups if not g.hosts.isdisjoint(stream.hosts)] if apart and stream.hosts else groups
    nearest = max(near, key=lambda g: g.shared_s(stream), default=None)
    alone = nearest is not None and len(groups) > 1 and nearest.shared_s(stream) <= 0 and stream.shapes
    if nearest is None or alone:
        groups.append(stream)
    else:
        nearest.join(stream)


def _placed(source: SourceRead) -> bool:
    """Tell whether a name says which host or rank wrote a source, and not which run it is."""
    name = source.path[-1] if source.path else ""
    return source.placed or bool(_STEM.match(name))


def _shape(source: SourceRead) -> tuple[str, ...]:
    """Return a source's path without its numbers."""
    return tuple(_NUMBER.sub("0", part) for part in source.path)


def _span(group: Sequence[SourceRead]) -> tuple[float, float]:
    """Return the first and last time (Unix, seconds) of a group; infinite where none is known."""
    begins = [s.first_s for s in group if s.first_s is not None]
    ends = [s.last_s for s in group if s.last_s is not None]
    return (min(begins), max(ends)) if begins and ends else (-inf, inf)


def job_id(source: SourceRead, signals: Sequence[Signal]) -> str:
    """Return the job that a source's name gives, or the only one that its lines give, or nothing."""
    told = {s.job for s in signals if s.job} if source.job is None else {source.job}
    return told.pop() if len(told) == 1 else ""


def keyed(sources: Iterable[SourceRead], key: Callable[[SourceRead], str]) -> list[list[SourceRead]]:
    """Put sources together by a key, in the order in which the keys appear."""
    groups: dict[str, list[SourceRead]] = defaultdict(list)
    for source in sources:
        groups[key(source)].append(source)
    return list(groups.values())


def parted(signals: Signals, ids: Mapping[str, str]) -> tuple[dict[str, list[Signal]], dict[str, list[Signal]]]:
    """Part what logs of several jobs say, such as a scheduler's: what names a job by the job, the rest by source.

    `ids` gives for each source the job that all of it is about, if there is one: it stays together. So does a log in
    which a run makes progress: it is that run's own, whichever jobs it names.
    """
    rest: dict[str, list[Signal]] = defaultdict(list)
    by_job: dict[str, list[Signal]] = defaultdict(list)
    for source, own in signals.items():
        shared = not ids.get(source) and not any(signal.kind is Kind.PROGRESS for signal in own)
        for signal in own:
            if shared and signal.job:
                by_job[signal.job].append(signal)
            else:
                rest[source].append(signal)
    return rest, by_job


def name_of(group: Sequence[SourceRead]) -> str:
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
