"""Components: which signals of a living cluster belong together: by job, by the hosts that a job runs on, by starts.

Unlike in a directory of logs, jobs follow each other on the same hosts for months: what the log of a host says belongs
to the job that ran there at that time.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Final

from diagnose.correlation.jobs import Job, Signals, by_starts, job_id, name_of, parted
from diagnose.correlation.moments import SKEW_S
from diagnose.correlation.whereabouts import expanded
from schemas.captures import Capture
from schemas.signal import Placement, Signal, SourceRead
from schemas.vocabulary import Kind

AFTERMATH_S: Final = 900.0
"""What a host says so long after the last word of its job may still be about it: NCCL times out ten minutes late."""


@dataclass(frozen=True)
class Component:
    """Sources and signals that belong together; `job` is the job's id, where there is one."""

    job: str | None
    told: Job

    @property
    def hosts(self) -> set[str]:
        """Return the hosts that it is heard from."""
        return {s.host for s in self.told.sources if s.host} | {s.host for s in self.told.signals if s.host}

    @property
    def span_s(self) -> tuple[float, float]:
        """Return from when to when it was heard (Unix, seconds); infinite where no time is known."""
        begins = [s.first_s for s in self.told.sources if s.first_s is not None]
        ends = [t for s in self.told.sources for t in (s.last_s, s.heard_s) if t is not None]
        return min(begins, default=-inf), max(ends, default=inf)

    @property
    def members(self) -> tuple[str, ...]:
        """Return the names of its sources, sorted."""
        return tuple(sorted(source.source for source in self.told.sources))


@dataclass(frozen=True, slots=True)
class _Stay:
    """A run, by its place among all, was on a host from and until some time (Unix, seconds)."""

    owner: int
    begin_s: float
    end_s: float


def components(
    sources: Iterable[SourceRead], signals: Signals, placements: Iterable[Placement] = ()
) -> list[Component]:
    """Part the sources of a cluster, in an order that follows from their names."""
    read = sorted(sources, key=lambda s: (s.path, s.part, s.source))
    ids = {source.source: job_id(source, signals.get(source.source, ())) for source in read}
    rest, by_job = parted(signals, ids)
    named = sorted({name for name in ids.values() if name} | set(by_job))
    jobs = {name: Component(name, Job(f"job {name}", signals=by_job.get(name, []))) for name in named}
    for source in read:
        if name := ids[source.source]:
            _add(jobs[name], [source], rest)
    known = [*placements, *_placements(signals)]
    signals = rest
    others = _settled([s for s in read if not ids[s.source]], signals, list(jobs.values()), known)
    found = [*jobs.values(), *_runs([s for s in others if _starts(s, signals)], signals, list(jobs.values()))]
    homeless, left = _given([s for s in others if not _starts(s, signals)], signals, found, known)
    return found + [Component(None, _job(group, left)) for group in by_starts(homeless, left, apart=True)]


def _placements(signals: Signals) -> list[Placement]:
    """Return on which hosts jobs began, as lines tell."""
    found = []
    for signal in (s for own in signals.values() for s in own if s.kind is Kind.PLACE):
        job, listed = signal.captures.get(Capture.JOB) or signal.job, signal.captures.get(Capture.NODELIST)
        hosts = expanded(listed) if listed else (signal.host,) if signal.host else ()
        if job and hosts:
            found.append(Placement(job=job, hosts=hosts, from_s=signal.first.time_s))
    return found


def _settled(
    sources: Iterable[SourceRead], signals: Signals, jobs: Sequence[Component], placements: Iterable[Placement]
) -> list[SourceRead]:
    """Give what started where and when a job was placed to that job; return the sources that are left."""
    stays, left = _stays(jobs, placements), []
    for source in sources:
        owner = _owner(source.first_s, stays.get(source.host or "", ())) if _starts(source, signals) else None
        if owner is None or source.first_s is None:
            left.append(source)
        else:
            _add(jobs[owner], [source], signals)
    return left


def _runs(starting: list[SourceRead], signals: Signals, jobs: Sequence[Component]) -> list[Component]:
    """Return the runs without a job's id; those that can only be of one job go to it."""
    found = []
    for group in by_starts(starting, signals, apart=True):
        run = Component(None, _job(group, signals))
        near = [job for job in jobs if job.hosts & run.hosts and _overlap(job.span_s, run.span_s)]
        if len(near) == 1:
            _add(near[0], group, signals)
        else:
            found.append(run)
    return found


def _job(group: list[SourceRead], signals: Signals) -> Job:
    told = [signal for source in group for signal in signals.get(source.source, ())]
    return Job(name_of(group), group, told)


def _add(component: Component, sources: Iterable[SourceRead], signals: Signals) -> None:
    for source in sources:
        component.told.sources.append(source)
        component.told.signals += signals.get(source.source, ())


def _starts(source: SourceRead, signals: Signals) -> bool:
    return any(signal.kind is Kind.START for signal in signals.get(source.source, ()))


def _overlap(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one[0] - AFTERMATH_S <= other[1] and other[0] - AFTERMATH_S <= one[1]


def _given(
    sources: Iterable[SourceRead], signals: Signals, found: Sequence[Component], placements: Iterable[Placement]
) -> tuple[list[SourceRead], dict[str, list[Signal]]]:
    """Give what the logs of hosts say to the runs that were there then; return the sources and signals that are left.

    A log that one run has all to itself goes to it as a whole.
    """
    stays = _stays(found, placements)
    places = {component.job: at for at, component in enumerate(found) if component.job is not None}
    homeless: list[SourceRead] = []
    left: dict[str, list[Signal]] = {}
    for source in sources:
        own = signals.get(source.source, ())
        owners = [
            places.get(_job_of(s))
            if _job_of(s) in places
            else _owner(s.first.time_s, stays.get(s.host or source.host or "", ()))
            for s in own
        ]
        if source.levels and not own:  # numbers without a word
            owners = [_owner(source.last_s, stays.get(source.host or "", ()))]
        known = sorted({owner for owner in owners if owner is not None})
        for at in known:
            found[at].told.signals += [s for s, owner in zip(own, owners, strict=False) if owner == at]
        if len(known) == 1 and None not in owners:
            found[known[0]].told.sources.append(source)
        else:
            homeless.append(source)
            left[source.source] = [s for s, owner in zip(own, owners, strict=False) if owner is None]
    return homeless, left


def _job_of(signal: Signal) -> str:
    """Return the job that a line of somebody else's log is about."""
    return signal.job or signal.captures.get(Capture.JOB, "")


def _stays(found: Sequence[Component], placements: Iterable[Placement]) -> dict[str, list[_Stay]]:
    """Return which runs were on each host, and when."""
    stays: dict[str, list[_Stay]] = defaultdict(list)
    for at, component in enumerate(found):
        stay = _Stay(at, *component.span_s)
        for host in component.hosts:
            stays[host].append(stay)
    places = {component.job: at for at, component in enumerate(found) if component.job is not None}
    for placed in placements:
        begin, end = placed.from_s, placed.until_s
        for host in placed.hosts if placed.job in places else ():
            span = -inf if begin is None else begin, inf if end is None else end
            stays[host].append(_Stay(places[placed.job], *span))
    return stays


def _owner(at: float | None, stays: Sequence[_Stay]) -> int | None:
    """Return the run that was on the host at a time (Unix, seconds): the one that began last."""
    if at is None:
        return stays[0].owner if len({stay.owner for stay in stays}) == 1 else None
    there = [s for s in stays if s.begin_s - SKEW_S <= at <= max(s.end_s, s.begin_s) + AFTERMATH_S]
    return max(there, key=lambda stay: (stay.begin_s, stay.owner)).owner if there else None
