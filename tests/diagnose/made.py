"""Signals made by hand, with arguments that read like a story, and what is concluded from them."""

from collections.abc import Iterable
from functools import cache
from typing import Any

from diagnose.correlation.conclusion import Conclusion, conclude
from diagnose.correlation.grouping import Grouping
from relight.catalogue import catalogue, resolver
from schemas.incident import Evidence, Incident, Role
from schemas.signal import Mark, Signal, SourceRead, derived_id
from schemas.signature import Signature

BEGIN_S = 1_764_000_000.0
"""Times in stories are seconds after this (Unix)."""

START = "marker.start.elastic-launch"
STEP = "marker.progress.step"
DONE = "marker.success.training-completed"
TIMEOUT = "c10d.watchdog-timeout"
FELL_OFF = "nvrm.xid.79"
WORKER_FAILED = "launcher.torchrun-failure"
USER_ERROR = "python.value-error"


@cache
def known() -> Any:
    return resolver(catalogue())


def resolve(name: str) -> Signature:
    found: Signature = known()(name)
    return found


def said(
    signature: str,
    at: float | None = None,
    *,
    line: int | None = None,
    until: float | None = None,
    source: str = "job.log",
    count: int = 1,
    job: str | None = None,
    host: str | None = None,
    rank: int | None = None,
    timed: bool = True,
    unit: tuple[int, int] | None = None,
    pace_s: float | None = None,
    pause_s: float | None = None,
    **captures: str,
) -> Signal:
    """Return a signal that a source gives `at` seconds into the story, at a line that grows with the time."""
    meant = resolve(signature)
    number = line if line is not None else 1 + int(at or 0)
    last_at = until if until is not None else at
    last = number if until is None else 1 + int(until)

    def mark(at_line: int, at_s: float | None) -> Mark:
        time_s = None if at_s is None else BEGIN_S + at_s
        return Mark(
            offset_bytes=100 * at_line, line=at_line, text=meant.match[0], time_s=time_s, unit=unit,
            timed=timed and time_s is not None,
        )  # fmt: skip

    return Signal(
        id=derived_id(source, number, meant.id),
        signature=meant.id,
        kind=meant.kind,
        severity=meant.severity,
        fault=meant.fault,
        source=source,
        stream=source,
        first=mark(number, at),
        last=mark(last, last_at),
        count=count,
        job=job,
        host=host,
        rank=rank,
        captures=captures,
        pace_s=pace_s,
        pause_s=pause_s,
    )


def timeout(at: float, rank: int, after_s: int = 600, **told: Any) -> Signal:
    """Return what a rank says when it has waited for the others in vain."""
    return said(TIMEOUT, at, rank=rank, timeout_ms=str(1000 * after_s), **told)


def read(source: str, signals: Iterable[Signal] = (), **fields: Any) -> SourceRead:
    """Return a source that was read to its end, which spans the times of its signals."""
    own = [s for s in signals if s.source == source]
    times = [t for s in own for t in (s.first.time_s, s.last.time_s) if t is not None]
    spoken = {s.host for s in own if s.host}
    plain = {
        "path": tuple(source.split("/")),
        "stream": source,
        "lines": max((s.last.line for s in own), default=0),
        "bytes_read": 0,
        "first_s": min(times, default=None),
        "last_s": max(times, default=None),
        "host": spoken.pop() if len(spoken) == 1 else None,
    }
    told = plain | fields
    told.setdefault("placed", told["host"] is not None or told.get("rank") is not None)
    return SourceRead(source=source, **told)


def concluded(
    *signals: Signal, sources: Iterable[SourceRead] | None = None, grouping: Grouping = Grouping.AUTO
) -> Conclusion:
    """Return what is concluded from signals, and from their sources unless others are given."""
    named = dict.fromkeys(s.source for s in signals)
    reads = [read(name, signals) for name in named] if sources is None else list(sources)
    return conclude(reads, signals, resolve, grouping)


def failure(*signals: Signal) -> Incident:
    """Return the one incident by which a run failed."""
    (found,) = [i for i in concluded(*signals).incidents if i.impact == "failed"]
    return found


def outcomes(*signals: Signal) -> list[str]:
    """Return the outcome of every run."""
    return [run.outcome.value for run in concluded(*signals).runs]


def roles(incident: Incident) -> dict[str, Role]:
    """Return what each signature is to an incident."""
    return {e.signature: e.role for e in incident.evidence}


def evidence(incident: Incident, signature: str) -> Evidence:
    """Return the one evidence of a signature."""
    (found,) = [e for e in incident.evidence if e.signature == signature]
    return found
