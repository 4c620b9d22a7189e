"""Runs: a job with its attempts, its progress and its timeline, as it is reported."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from diagnose.correlation.diagnosis import Cast
from diagnose.correlation.jobs import Job
from diagnose.correlation.judgement import Judged
from diagnose.correlation.moments import Entry
from diagnose.correlation.placement import Placed
from diagnose.correlation.places import date, first_place, last_place
from schemas.captures import Capture
from schemas.incident import Attempt, Lane, Progress, Run
from schemas.signal import Signal, SourceRead
from schemas.vocabulary import Kind


def run_of(name: str, job: Job, cast: Cast, entries: Sequence[Entry], judged: Sequence[Judged]) -> Run:
    """Return the run of a job; its outcome is the last attempt's. `name` is its id."""
    heard: list[SourceRead | Signal] = [*job.sources, *job.signals]
    hosts = {one.host for one in heard if one.host}
    return Run(
        id=name,
        name=job.name,
        outcome=judged[-1].outcome,
        reason=judged[-1].reason,
        attempts=tuple(_attempt(ordinal, attempt) for ordinal, attempt in enumerate(judged, 1)),
        hosts=tuple(sorted(hosts)),
        ranks=len(cast.ranks),
        lanes=tuple(_lanes(job.sources, entries)),
    )


def cast_of(known: Placed) -> Cast:
    """Return who took part in a job."""
    heard: list[SourceRead | Signal] = [*known.job.sources, *known.job.signals]
    ranks = {s.rank for s in heard if s.rank is not None}
    host_of = {s.rank: s.host for s in heard if s.rank is not None and s.host} | dict(known.host_of)
    if ranks and 2 * len(ranks) > max(ranks) + 1:
        ranks |= set(range(max(ranks)))  # a rank of which nothing was heard is there all the same
    return Cast(
        host_of=host_of | _neighbours(ranks - set(host_of), host_of),
        ranks=tuple(sorted(ranks)),
        hosts=frozenset(known.hosts),
    )


def _neighbours(silent: Iterable[int], host_of: Mapping[int, str]) -> dict[int, str]:
    """Return the hosts of ranks that said nothing: hosts hold blocks of ranks of one size, as launchers place them."""
    size = max(Counter(host_of.values()).values(), default=1)
    blocks: dict[int, set[str]] = defaultdict(set)
    for rank, host in host_of.items():
        blocks[rank // size].add(host)
    return {rank: next(iter(own)) for rank in silent if len(own := blocks[rank // size]) == 1}


def _attempt(ordinal: int, judged: Judged) -> Attempt:
    times = [t for e in judged.story.entries for t in (e.first.time_s, e.last.time_s) if t is not None]
    return Attempt(
        ordinal=ordinal,
        outcome=judged.outcome,
        reason=judged.reason,
        started=date(min(times, default=None)),
        ended=date(max(times, default=None)),
        progress=_progress(judged.story.progress),
    )


def _progress(stretches: Sequence[Entry]) -> Progress | None:
    if not stretches:
        return None
    first = min(stretches, key=lambda e: e.first.order)
    last = max(stretches, key=lambda e: e.last.order)
    steps = [int(step) for e in stretches if (step := e.signal.captures.get(Capture.LAST_STEP, "")).isdigit()]
    return Progress(
        count=sum(e.signal.count for e in stretches),
        first=first_place(first),
        last=last_place(last),
        last_step=max(steps, default=None),
    )


def _lanes(sources: Sequence[SourceRead], entries: Iterable[Entry]) -> Iterable[Lane]:
    progress: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        if entry.signal.kind is Kind.PROGRESS:
            progress[entry.signal.source].append(entry)
    for source in sources:
        own = progress[source.source]
        yield Lane(
            source=source.source,
            host=source.host,
            rank=source.rank,
            started=date(source.first_s),
            ended=date(source.last_s),
            progressed_from=date(min((e.first.time_s for e in own if e.first.time_s is not None), default=None)),
            progressed_to=date(max((e.last.time_s for e in own if e.last.time_s is not None), default=None)),
            lines=source.lines,
        )
