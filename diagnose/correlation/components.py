"""Components: which signals of a living cluster belong together: by job, by the hosts that a job runs on, by starts.

Unlike in a directory of logs, jobs follow each other on the same hosts for months: what the log of a host says belongs
to the job that ran there at that time.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Final

from diagnose.correlation.jobs import Grouping, Job, by_starts, job_id, name_of
from diagnose.correlation.moments import SKEW_S
from schemas.signal import Placement, Signal, SourceRead

AFTERMATH_S: Final = 900.0
"""What a host says so long after the last word of its job may still be about it: NCCL times out ten minutes late."""

Signals = Mapping[str, Sequence[Signal]]
"""The signals of each source, by its name."""


@dataclass(frozen=True)
class Component:
    """Sources and signals that belong together; `job` is the job's id, where there is one."""

    job: str | None
    told: Job

    @property
    def members(self) -> tuple[str, ...]:
        """Return the names of its sources, sorted."""
        return tuple(sorted(source.source for source in self.told.sources))


@dataclass(frozen=True, slots=True)
class _Stay:
    """A job was on a host from and until some time (Unix, seconds)."""

    job: str
    begin_s: float
    end_s: float


def components(
    sources: Iterable[SourceRead], signals: Signals, placements: Iterable[Placement] = ()
) -> list[Component]:
    """Part the sources of a cluster, in an order that follows from their names."""
    read = sorted(sources, key=lambda s: (s.path, s.part, s.source))
    jobs: dict[str, Job] = {}
    others: list[SourceRead] = []
    for source in read:
        if name := job_id(source, signals.get(source.source, ())):
            job = jobs.setdefault(name, Job(f"job {name}"))
            job.sources.append(source)
            job.signals += signals.get(source.source, ())
        else:
            others.append(source)
    stays = _stays(jobs, placements)
    left = {source.source: _given(source, signals.get(source.source, ()), stays, jobs) for source in others}
    homeless = [source for source in others if source.source not in _members(jobs)]
    named = [Component(name, job) for name, job in sorted(jobs.items())]
    return named + [_started(group, left) for group in by_starts(homeless, left, apart=True)]


def _started(group: list[SourceRead], signals: Mapping[str, list[Signal]]) -> Component:
    return Component(
        None, Job(name_of(group, Grouping.AUTO), group, [s for source in group for s in signals[source.source]])
    )


def _members(jobs: Mapping[str, Job]) -> set[str]:
    return {source.source for job in jobs.values() for source in job.sources}


def _stays(jobs: Mapping[str, Job], placements: Iterable[Placement]) -> dict[str, list[_Stay]]:
    """Return which jobs were on each host, and when."""
    stays: dict[str, list[_Stay]] = defaultdict(list)
    for name, job in jobs.items():
        hosts = {s.host for s in job.sources if s.host} | {s.host for s in job.signals if s.host}
        begins = [s.first_s for s in job.sources if s.first_s is not None]
        ends = [t for s in job.sources for t in (s.last_s, s.heard_s) if t is not None]
        for host in hosts:
            stays[host].append(_Stay(name, min(begins, default=-inf), max(ends, default=inf)))
    for placed in placements:
        begin, end = placed.from_s, placed.until_s
        for host in placed.hosts:
            stay = _Stay(placed.job, -inf if begin is None else begin, inf if end is None else end)
            stays[host].append(stay)
    return stays


def _given(
    source: SourceRead, signals: Sequence[Signal], stays: Mapping[str, list[_Stay]], jobs: dict[str, Job]
) -> list[Signal]:
    """Give the signals of a host's log to the jobs that ran there then, and return those that are left.

    A log that one job has all to itself goes to it as a whole.
    """
    owners = [_owner(signal, stays.get(signal.host or source.host or "", ())) for signal in signals]
    known = {owner for owner in owners if owner is not None}
    for name in sorted(known):
        job = jobs.setdefault(name, Job(f"job {name}"))
        job.signals += [s for s, owner in zip(signals, owners, strict=True) if owner == name]
    if len(known) == 1 and None not in owners:
        jobs[known.pop()].sources.append(source)
    return [signal for signal, owner in zip(signals, owners, strict=True) if owner is None]


def _owner(signal: Signal, stays: Sequence[_Stay]) -> str | None:
    """Return the job that was on the host when a signal was first seen: the one that began last."""
    at = signal.first.time_s
    there = [
        stay
        for stay in stays
        if at is None or stay.begin_s - SKEW_S <= at <= max(stay.end_s, stay.begin_s) + AFTERMATH_S
    ]
    if at is None and len({stay.job for stay in there}) > 1:
        return None
    return max(there, key=lambda stay: (stay.begin_s, stay.job)).job if there else None
