"""Grouping: which jobs a directory of logs tells of, by looking at it, or by a person's word."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from typing import Final

from diagnose.correlation.components import Component, components
from diagnose.correlation.jobs import Job, Signals, by_starts, job_id, keyed, name_of, parted
from schemas.signal import Signal, SourceRead
from schemas.vocabulary import Kind


class Grouping(StrEnum):
    """How sources are put together: by looking, or by a person's word."""

    AUTO = "auto"
    FILE = "file"
    DIR = "dir"
    ALL = "all"


def jobs(sources: Iterable[SourceRead], signals: Iterable[Signal], grouping: Grouping = Grouping.AUTO) -> list[Job]:
    """Put sources and their signals together into jobs, in the order of their sources.

    Jobs of which no source is, but of whose faults one tells, such as a scheduler's log, come last.
    """
    read = list(sources)
    by_source: dict[str, list[Signal]] = defaultdict(list)
    for signal in signals:
        by_source[signal.source].append(signal)
    return _GROUPERS[grouping](read, by_source)


def _all(sources: list[SourceRead], signals: Signals) -> list[Job]:
    return [_job(sources, signals)] if sources else []


def _by_file(sources: list[SourceRead], signals: Signals) -> list[Job]:
    return [_job(group, signals) for group in keyed(sources, lambda s: s.stream)]


def _by_dir(sources: list[SourceRead], signals: Signals) -> list[Job]:
    return [_job(group, signals) for group in keyed(sources, lambda s: "/".join(s.path[:-1]))]


def _by_looking(sources: list[SourceRead], signals: Signals) -> list[Job]:
    """Part by job ids first; what has none goes with the only job there is, or is parted by where runs start."""
    ids = {source.source: job_id(source, signals.get(source.source, ())) for source in sources}
    named = sorted({name for name in ids.values() if name})
    if len(named) > 1:
        return _of_a_site(sources, signals)
    rest, by_job = parted(signals, ids)
    if not named:
        return [_job(group, rest) for group in by_starts(sources, rest)] + _elsewhere(by_job)
    only = _job(sources, rest)
    only.signals += by_job.pop(named[0], [])
    return [only, *_elsewhere(by_job)]


def _of_a_site(sources: list[SourceRead], signals: Signals) -> list[Job]:
    """Part the logs of a site on which several jobs run; what hosts say while no job is there is told together."""
    found = components(sources, signals)
    idle = [one for one in found if one.job is None and not _runs(one)]
    own = [one.told for one in found if one not in idle and one.told.sources]
    left = [source for one in idle for source in one.told.sources]
    together = [Job(name_of(left), left, [s for one in idle for s in one.told.signals])] if left else []
    return own + together + _elsewhere({one.job: one.told.signals for one in found if one.job and not one.told.sources})


def _elsewhere(by_job: dict[str, list[Signal]]) -> list[Job]:
    """Return the jobs of which no log is here. Those of which nothing bad is said are of no interest."""
    told = sorted(by_job.items())
    return [Job(f"job {name}", [], own) for name, own in told if any(s.kind is Kind.FAULT for s in own)]


def _runs(component: Component) -> bool:
    return any(signal.kind is Kind.START for signal in component.told.signals)


def _job(group: Sequence[SourceRead], signals: Signals) -> Job:
    return Job(name_of(group), list(group), [s for source in group for s in signals.get(source.source, ())])


_GROUPERS: Final[dict[Grouping, Callable[[list[SourceRead], Signals], list[Job]]]] = {
    Grouping.AUTO: _by_looking,
    Grouping.FILE: _by_file,
    Grouping.DIR: _by_dir,
    Grouping.ALL: _all,
}
