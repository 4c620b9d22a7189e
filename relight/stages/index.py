"""`relight index`: reads `relight.logs` and `relight.incidents`, and keeps in a store what people search.

Its positions move on only when the store has acknowledged. What is written twice is there once, so it does again what
it is not sure of. The store has the incidents so far; how far sources have come is in `relight.snapshots`.
"""

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from diagnose.matching.stream import Matcher
from ingest.choosing import Choice
from relight.metrics import StageMetrics
from relight.stages.deadletters import refused
from relight.stages.lines import Lines
from relight.stages.snapshots import Snapshot, forgotten, newest, written
from relight.stages.writing import Rejected, Writer, by_record
from relight.stores.port import IncidentStore
from relight.stores.projection import Projection, incident_of
from relight.stores.waiting import Waited
from relight.topics import INCIDENTS, LOGS, READS
from relight.transports.port import EventLog, Outgoing, Partition, Record
from relight.transports.reading import batches
from schemas.document import IncidentDocument
from schemas.events import Event, NotAnEvent, decoded
from schemas.record import LogRecord

NAME: Final = "index"
VERSION: Final = 2
FLOOR: Final = "floor"
FORGET_MS: Final = 24 * 3600 * 1000
"""A source that has said nothing for so long is forgotten; if it speaks again, it is followed from there."""

_CLEAN_S: Final = 600.0
_DAY_MS: Final = 86_400_000
_log = structlog.get_logger("relight")


@dataclass(slots=True)
class _Share:
    """The state of one partition of logs. `position` is the offset of the record to be read next.

    `covered` is what `position` was in the last snapshot.
    """

    position: int
    lines: Lines
    covered: int
    snapshot_s: float = 0.0


class Index:
    """The stage. `choice` says which lines are kept, `None`: none. `lines_days` is how long."""

    name = NAME
    inputs = READS[NAME]

    def __init__(
        self,
        log: EventLog,
        store: IncidentStore,
        matcher: Matcher,
        metrics: StageMetrics,
        *,
        choice: Choice | None,
        waited: Waited,
        cluster: str = "default",
        trusted: Sequence[str] = (LOGS,),
        lines_days: int = 30,
        bulk_bytes: int = 4 * 1024 * 1024,
        snapshot_s: float = 5.0,
    ) -> None:
        """Take what the stage works with; `waited(seconds)` waits, and tells whether the process is to stop."""
        self._log, self._store, self._matcher, self._metrics = log, store, matcher, metrics
        self._choice, self._cluster, self._trusted = choice, cluster, tuple(trusted)
        self._kept_ms, self._snapshot_s, self._cleaned_s = lines_days * _DAY_MS, snapshot_s, 0.0
        self._writer = Writer(store, metrics, waited, bulk_bytes)
        self._projection = Projection(self._known, self._recorded)
        self._shares: dict[Partition, _Share] = {}
        self._incidents: set[Partition] = set()
        self._checked = False

    def begin(self, partition: Partition, position: int) -> None:
        """Take a partition of which nothing has been read."""
        if partition.topic == INCIDENTS:
            self._incidents.add(partition)
        else:
            self._shares[partition] = _Share(position, self._lines(), position, time.monotonic())

    def gain(self, partition: Partition, position: int) -> None:
        """Rebuild the state of a partition: from the last snapshots of its sources, and the records since."""
        self.begin(partition, position)
        if (share := self._shares.get(partition)) is None:
            return
        kept = newest(self._log, NAME, partition.number, VERSION) if self._choice else {}
        floor = kept.pop(FLOOR, None)
        if floor is None or floor.covers > position:
            return  # what was read before is to be read again
        share.covered = floor.covers
        share.lines.restored = {key: snapshot.state for key, snapshot in kept.items()}
        for records in batches(self._log, partition, floor.covers, position):
            for _ in share.lines.take(records):
                pass  # it is in the store already

    def lose(self, partition: Partition) -> None:
        """Forget the state of a partition."""
        self._shares.pop(partition, None)
        self._incidents.discard(partition)
        self._projection.forget()
        self._checked = False

    def handle(self, records: Sequence[Record]) -> Iterable[Outgoing]:
        """Keep in the store what records hold; return dead letters of what it does not take."""
        if records and not self._checked:
            self._writer.patiently(self._store.check)  # one that was away may come back as another
            self._checked = True
        by_partition: dict[Partition, list[Record]] = defaultdict(list)
        for record in records:
            by_partition[record.place].append(record)
        rejected: list[Rejected] = []
        for place, own in by_partition.items():
            if place.topic == INCIDENTS:
                rejected += self._project(own)
        rejected += self._writer.lines(self._chosen(by_partition))
        for record, reason in rejected:
            self._metrics.dead_letter("store")
            _log.warning("the store does not take a document", record=f"{record.place}@{record.offset}", reason=reason)
            yield refused(NAME, self._cluster, record, reason)

    def beat(self) -> Iterable[Outgoing]:
        """Return the snapshots that are due; forget lines that have been kept for long enough."""
        now = time.monotonic()
        if now - self._cleaned_s > _CLEAN_S:
            before_ms = _now_ms() - self._kept_ms
            if not self._writer.patiently(lambda: self._store.forget_lines(before_ms)):
                self._cleaned_s = now
        for partition, share in self._shares.items():
            if self._choice and share.position != share.covered and now - share.snapshot_s >= self._snapshot_s:
                share.snapshot_s = now
                yield from self._snapshots(partition.number, share)

    def forget_silent(self) -> None:
        """Forget the sources of which nothing has come for long, without a word in a snapshot."""
        for share in self._shares.values():
            share.lines.silent(FORGET_MS, _now_ms())

    def end(self) -> None:
        """End the threads that write to the store, which stays open."""
        self._writer.close()

    def close(self) -> None:
        """Close the store, and end the threads that write there."""
        self.end()
        self._store.close()

    def _lines(self) -> Lines:
        choice = self._choice or Choice(every=False, around=0)
        return Lines(choice, self._matcher.scanner, self._matcher.formats, self._cluster, self._trusted)

    def _chosen(self, by_partition: Mapping[Partition, Sequence[Record]]) -> Iterator[tuple[LogRecord, Record]]:
        for place, records in by_partition.items():
            if place.topic != LOGS:
                continue
            share = self._shares[place]
            fresh = [record for record in records if record.offset >= share.position]
            share.position = records[-1].offset + 1
            if self._choice:
                yield from share.lines.take(fresh)

    def _project(self, records: Sequence[Record]) -> list[Rejected]:
        """Fold events of incidents and write what comes of it; return the records of what the store does not take."""
        told = [(event, record) for record in records for event in _events([record])]
        last = {incident_of(event): record for event, record in told}
        documents = self._projection.after(event for event, _ in told)
        refusals = self._writer.incidents(documents)
        return by_record((last.get(documents[one.of].id, records[-1]), one) for one in refusals)

    def _known(self, names: Sequence[str]) -> Mapping[str, IncidentDocument]:
        return self._writer.patiently(lambda: self._store.known(names))

    def _recorded(self, names: Sequence[str]) -> Iterator[Event]:
        """Yield all events of incidents that the store lacks events of."""
        wanted = frozenset(names)
        _log.info("the store lacks events of incidents; reading them from the beginning", incidents=len(wanted))
        for partition in sorted(self._incidents):
            for records in batches(self._log, partition):
                yield from (event for event in _events(records) if incident_of(event) in wanted)

    def _snapshots(self, number: int, share: _Share) -> Iterator[Outgoing]:
        for key in share.lines.silent(FORGET_MS, _now_ms()):
            yield forgotten(NAME, key, number)
        for key, state in share.lines.states():
            yield from written(Snapshot(NAME, key, VERSION, share.position, state), self._cluster, number)
        yield from written(Snapshot(NAME, FLOOR, VERSION, share.position, None), self._cluster, number)
        share.covered = share.position


def _now_ms() -> int:
    return int(time.time() * 1000)


def _events(records: Iterable[Record]) -> Iterator[Event]:
    for record in records:
        try:
            yield decoded(record.value)
        except NotAnEvent:
            continue  # only relight writes there; what a newer one has written is for newer readers
