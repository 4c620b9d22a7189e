"""Failures that nothing explains, as a store has them: incidents, and the log lines before and around them."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from relight.stores.port import IncidentStore
from schemas.document import IncidentDocument
from schemas.history import DiagnosisRevised, EvidenceAdded, IncidentOpened
from schemas.incident import Blamed, Scope
from schemas.record import LogRecord
from schemas.signal import derived_id
from schemas.vocabulary import Culprit, Impact, Severity
from tests.relight import incident_stories as stories

EXITED = "launcher: worker {rank} on {host} has left with code 1"
STARVED = (
    "prefetch: shard {n} of /data/web/part-00{n}.tar has checksum 0x9f{n}, wanted 0x77aa",
    "feeder of rank {rank} gives up after {n} tries",
    "loader: nothing to feed on {host}, leaving the loop",
)
RING = (
    "verbs: completion with status {n} on qp 0x4f2",
    "ring between {host} and its neighbour is torn",
    "torn ring cannot be mended, unable to go on",
)
HEALTHY = ("step {n} loss 2.{n} lr 0.001", "prefetch: shard {n} is open", "feeder of rank {rank} has {n} batches ready")


def told(number: int, lines: tuple[str, ...], host: str, at: datetime) -> IncidentDocument:
    """Return an incident of which only the launcher says something."""
    name = derived_id("unknown", number)
    rank = number % 8
    first = stories.place(f"{host}:train.log", 400, EXITED.format(rank=rank, host=host), at)
    about = {
        "fault": "launcher.worker_exit", "signature": "launcher.torchrun-failure", "title": "A worker has left",
        "severity": Severity.ERROR,
    }  # fmt: skip
    culprit = Blamed(kind=Culprit.RANK, name=f"rank {rank} on {host}", host=host, rank=rank)
    scope = Scope(hosts=(host,), ranks=(rank,), sources=1, summary="1 rank on 1 host")
    diagnosis = stories.found(first, culprit=culprit, scope=scope, confidence=0.4, **about)
    evidence = stories.said(first, hosts=(host,), ranks=(rank,), **about)
    opened = IncidentOpened(
        component=f"j{number}", job=f"j{number}", run=f"job j{number}", attempt=1, signature=evidence.signature
    )
    revised = DiagnosisRevised(diagnosis=diagnosis, impact=Impact.FAILED, provenance_verified=True)
    time_s = at.timestamp() + 5
    return stories.folded(
        name, ((opened, time_s), (EvidenceAdded(key="cause", evidence=evidence), time_s), (revised, time_s))
    )


def lines(number: int, said: tuple[str, ...], host: str, at: datetime) -> Iterator[LogRecord]:
    """Yield the lines of the run: half an hour of good ones, then what it died of, then the launcher's."""
    rank = number % 8
    for n in range(90):
        text = HEALTHY[n % len(HEALTHY)].format(n=100 + n, rank=rank)
        yield line(number, n + 1, text, host, at - timedelta(seconds=1800 - 10 * n))
    for n, text in enumerate(said):
        full = text.format(n=110 + number, rank=rank, host=host)
        yield line(number, 390 + n, full, host, at - timedelta(seconds=8 - n))
    yield line(number, 400, EXITED.format(rank=rank, host=host), host, at)


def line(number: int, at_line: int, text: str, host: str, time: datetime) -> LogRecord:
    """Return a line of a job's log."""
    name = derived_id("line", number, at_line)
    return stories.record(name, f"{host}:train.log", at_line, text, time, host).model_copy(
        update={"job": f"j{number}", "rank": number % 8}
    )


def fill(store: IncidentStore, said: tuple[tuple[str, ...], ...], *, keep_lines: bool = True) -> list[IncidentDocument]:
    """Put an incident for each of some failures into a store, one a day, each on another host; return them."""
    found = []
    for number, one in enumerate(said, 1):
        at, host = stories.FELL + timedelta(days=number), f"node{number:02}"
        found.append(told(number, one, host, at))
        if keep_lines:
            store.put_lines([*lines(number, one, host, at)])
    stories.fill(store, found)
    return found
