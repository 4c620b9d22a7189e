"""`relight replay --into store`: writes into a store what the topics hold, as `relight index` did while it came."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from relight.metrics import StageMetrics
from relight.scanning import Advance
from relight.settings import Settings
from relight.stages.building import indexing
from relight.stages.index import NAME, Index
from relight.stores.port import IncidentStore
from relight.stores.waiting import NEVER
from relight.topics import DEADLETTERS, READS
from relight.transports.port import EventLog, Partition, Record, Span
from relight.transports.reading import batches
from schemas.deadletter import RecordRefused
from schemas.events import decoded

BATCH_BYTES: Final = 8 * 1024 * 1024
"""So much is read before it is written; of the records that are read at once, the last may go beyond."""

_BATCH_RECORDS: Final = 2000
_READ: Final = 100


@dataclass
class Rebuilt:
    """What was written, and why the store did not take some records, a line each."""

    incidents: int = 0
    lines: int = 0
    refused: list[str] = field(default_factory=list)


def size(log: EventLog) -> int:
    """Return about how many records have to be read. Raises: LogError."""
    return sum(span.end - span.begin for topic in READS[NAME] for span in log.spans(topic).values())


def rebuild(log: EventLog, store: IncidentStore, settings: Settings, advance: Advance) -> Rebuilt:
    """Write everything into a store, which may have it already. No position of `relight index` moves.

    Raises:
        LogError: the topics cannot be read, or the store takes nothing.
    """
    metrics, done = StageMetrics(NAME), Rebuilt()
    stage = indexing(log, store, settings, metrics, NEVER.wait)
    try:
        for topic in READS[NAME]:
            for number, span in sorted(log.spans(topic).items()):
                _partition(log, stage, Partition(topic, number), span, done, advance)
    finally:
        stage.end()
    done.incidents, done.lines = metrics.indexed_so_far("incident"), metrics.indexed_so_far("line")
    return done


def _partition(log: EventLog, stage: Index, partition: Partition, span: Span, done: Rebuilt, advance: Advance) -> None:
    stage.begin(partition, span.begin)
    for records in _bounded(batches(log, partition, span.begin, span.end, _READ)):
        done.refused += [_reason(letter.topic, letter.value) for letter in stage.handle(records)]
        stage.forget_silent()
        advance(len(records))
    stage.lose(partition)


def _bounded(read: Iterable[list[Record]]) -> Iterator[list[Record]]:
    """Put together what was read until it is enough for a few large requests, and no more than memory should hold."""
    batch: list[Record] = []
    size = 0
    for records in read:
        batch += records
        size += sum(len(record.value or b"") for record in records)
        if size >= BATCH_BYTES or len(batch) >= _BATCH_RECORDS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _reason(topic: str, value: bytes | None) -> str:
    assert topic == DEADLETTERS
    data = decoded(value).data
    assert isinstance(data, RecordRefused)
    return f"{data.topic}/{data.partition}@{data.offset}: {data.reason}"
