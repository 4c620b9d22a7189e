"""`relight diagnose match`: reads `relight.logs`, and says what the catalogue finds in it on `relight.signals`.

Its state is one stream for each source of its partitions. Every few seconds the states that have changed are written
to `relight.snapshots`, with a floor: the offset from which the log has to be read again to rebuild the rest.
"""

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from diagnose.matching import keeping
from diagnose.matching.keeping import Resolve
from diagnose.matching.stream import Matcher
from relight.metrics import StageMetrics
from relight.stages.deadletters import refused
from relight.stages.snapshots import Snapshot, forgotten, newest, written
from relight.stages.sources import Fed, Refuse, Sources
from relight.topics import LOGS, READS, SIGNALS
from relight.transports.port import EventLog, Outgoing, Partition, Record
from relight.transports.reading import batches
from schemas.events import encoded
from schemas.shipped import VERSION_HEADER
from schemas.signal import Signal

NAME: Final = "match"
FLOOR: Final = "floor"
FORGET_S: Final = 24 * 3600.0
"""A source that has said nothing for so long is forgotten; if it speaks again, it is followed from there."""


@dataclass(slots=True)
class _Share:
    """The state of one partition. `position` is the offset of the record to be read next."""

    position: int
    sources: Sources
    snapshot_s: float = 0.0


class Match:
    """The stage. `cluster` is that of foreign records; headers are believed on `trusted` topics only."""

    name = NAME
    inputs = READS[NAME]

    def __init__(
        self,
        log: EventLog,
        matcher: Matcher,
        resolve: Resolve,
        metrics: StageMetrics,
        *,
        cluster: str = "default",
        trusted: Sequence[str] = (LOGS,),
        snapshot_s: float = 5.0,
        progress_s: float = 5.0,
    ) -> None:
        """Take what the stage works with; times are in seconds."""
        self._log, self._matcher, self._resolve, self._metrics = log, matcher, resolve, metrics
        self._cluster, self._trusted = cluster, tuple(trusted)
        self._snapshot_s, self._every_ms = snapshot_s, int(progress_s * 1000)
        self._shares: dict[Partition, _Share] = {}

    def gain(self, partition: Partition, position: int) -> None:
        """Rebuild the sources of a partition: from their snapshots, and the records since, of which nothing is said."""
        sources = Sources(self._matcher, self._cluster, self._trusted, self._every_ms)
        kept = newest(self._log, NAME, partition.number, keeping.VERSION)
        floor = kept.pop(FLOOR, None)
        for key, snapshot in kept.items():
            sources.streams[key] = keeping.restored(snapshot.state, self._resolve)
            sources.covered[key] = snapshot.covers
            sources.seen_s[key] = time.monotonic()
        for records in batches(self._log, partition, None if floor is None else floor.covers, position):
            sources.take(records, lambda record, reason: None)
        self._shares[partition] = _Share(position, sources, time.monotonic())

    def lose(self, partition: Partition) -> None:
        """Forget the sources of a partition."""
        self._shares.pop(partition, None)

    def handle(self, records: Sequence[Record]) -> Iterable[Outgoing]:
        """Match lines; return signals, how far sources are known, and dead letters."""
        by_partition: dict[tuple[str, int], list[Record]] = defaultdict(list)
        for record in records:
            by_partition[record.topic, record.partition].append(record)
        for place, own in by_partition.items():
            share = self._shares[Partition(*place)]
            letters: list[Outgoing] = []
            fed = share.sources.take((r for r in own if r.offset >= share.position), self._refusing(letters))
            share.position = own[-1].offset + 1
            yield from letters
            yield from self._said(share.sources, fed)

    def beat(self) -> Iterable[Outgoing]:
        """Return the snapshots that are due."""
        now = time.monotonic()
        for partition, share in self._shares.items():
            if share.sources.changed and now - share.snapshot_s >= self._snapshot_s:
                share.snapshot_s = now
                yield from self._snapshots(partition, share, now)

    def close(self) -> None:
        """Hold nothing that has to be let go of."""

    def _refusing(self, letters: list[Outgoing]) -> Refuse:
        def refuse(record: Record, reason: str) -> None:
            if _blank(record):
                self._metrics.blank_line()
                return
            letters.append(refused(NAME, self._cluster, record, reason))
            self._metrics.dead_letter("unreadable")

        return refuse

    def _said(self, sources: Sources, fed: Sequence[Fed]) -> Iterator[Outgoing]:
        observed_ms = min((one.observed_ms for one in fed), default=0)
        for event in sources.said(fed):
            if isinstance(event.data, Signal):
                self._metrics.delay(observed_ms)
            yield Outgoing(SIGNALS, encoded(event), event.cluster.encode())

    def _snapshots(self, partition: Partition, share: _Share, now: float) -> Iterator[Outgoing]:
        """Yield the states of sources that have changed, and the offset from which the rest is to be read."""
        sources = share.sources
        for key in sorted(sources.changed):
            state = keeping.kept(sources.streams[key], self._matcher.formats)
            snapshot = Snapshot(NAME, key, keeping.VERSION, share.position, state)
            yield from written(snapshot, self._cluster, partition.number)
        sources.changed.clear()
        for key in [key for key, seen_s in sources.seen_s.items() if now - seen_s > FORGET_S]:
            del sources.streams[key], sources.seen_s[key]
            yield forgotten(NAME, key, partition.number)
        floor = Snapshot(NAME, FLOOR, keeping.VERSION, share.position, None)
        yield from written(floor, self._cluster, partition.number)


def _blank(record: Record) -> bool:
    """Tell whether a record is a blank line of a foreign shipper: there is nothing in it that could be lost."""
    chunk = any(name == VERSION_HEADER for name, _ in record.headers)
    return not chunk and record.value is not None and not record.value.rstrip(b"\r\n")
