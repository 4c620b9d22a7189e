"""`relight replay --into store`: writes into a store what the topics hold, as `relight index` did while it came."""

from dataclasses import dataclass, field

from relight.metrics import StageMetrics
from relight.scanning import Advance
from relight.settings import Settings
from relight.stages.building import indexing
from relight.stages.index import NAME
from relight.stores.port import IncidentStore
from relight.stores.waiting import NEVER
from relight.topics import DEADLETTERS, READS
from relight.transports.port import EventLog, Partition
from relight.transports.reading import batches
from schemas.deadletter import RecordRefused
from schemas.events import decoded

_BATCH = 2000


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
    for topic in READS[NAME]:
        for number, span in sorted(log.spans(topic).items()):
            partition = Partition(topic, number)
            stage.begin(partition, span.begin)
            for records in batches(log, partition, span.begin, span.end, _BATCH):
                for letter in stage.handle(records):
                    done.refused.append(_reason(letter.topic, letter.value))
                advance(len(records))
            stage.lose(partition)
    done.incidents, done.lines = metrics.indexed_so_far("incident"), metrics.indexed_so_far("line")
    return done


def _reason(topic: str, value: bytes | None) -> str:
    assert topic == DEADLETTERS
    data = decoded(value).data
    assert isinstance(data, RecordRefused)
    return f"{data.topic}/{data.partition}@{data.offset}: {data.reason}"
