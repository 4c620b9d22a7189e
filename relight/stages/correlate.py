"""`relight diagnose correlate`: reads `relight.signals`, and says on `relight.incidents` what has happened.

It decides at ticks only. It writes them itself, to `relight.signals`, and acts on one when it reads it back, at its
place among the signals: so a replay of the topic gives the same events. A tick is written when something new has been
read and the last one has come back, or when a diagnosis has been quiet for long enough.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from diagnose.correlation import cluster as clusters
from diagnose.correlation.cluster import Cluster
from diagnose.correlation.evidence import Resolve
from diagnose.correlation.reaction import Correlator
from relight.metrics import StageMetrics
from relight.stages.asking import Asking
from relight.stages.deadletters import cluster_of, refused
from relight.stages.snapshots import Snapshot, newest, written
from relight.stages.watermark import Watermark
from relight.topics import INCIDENTS, READS, SIGNALS
from relight.transports.port import EventLog, Outgoing, Partition, Record
from relight.transports.reading import batches
from schemas.events import Event, NotAnEvent, decoded, encoded
from schemas.record import LATEST_S
from schemas.signal import Heard, SourceRead, Tick, derived_id

NAME: Final = "correlate"
FLOOR: Final = "\0floor"
"""The key of the snapshot that says from where the partition's topics are to be read; no cluster is called so."""


@dataclass(slots=True)
class _Owned:
    """A cluster whose partition this process has."""

    state: Cluster
    correlator: Correlator
    watermark: Watermark = field(default_factory=Watermark)
    asking: Asking = field(default_factory=Asking)


@dataclass(slots=True)
class _Share:
    position: int
    owned: dict[str, _Owned] = field(default_factory=dict)
    changed: set[str] = field(default_factory=set)
    snapshot_s: float = field(default_factory=time.monotonic)


class Correlate:
    """The stage. `settle_s`: how long an incident is quiet before its diagnosis is settled."""

    name = NAME
    inputs = READS[NAME]

    def __init__(
        self,
        log: EventLog,
        resolve: Resolve,
        metrics: StageMetrics,
        *,
        settle_s: float = 30.0,
        snapshot_s: float = 30.0,
    ) -> None:
        """Take what the stage works with; times are in seconds."""
        self._log, self._resolve, self._metrics = log, resolve, metrics
        self._settle_s, self._snapshot_s = settle_s, snapshot_s
        self._shares: dict[Partition, _Share] = {}

    def gain(self, partition: Partition, position: int) -> None:
        """Rebuild the clusters of a partition: from their snapshots, their own events, and their input since."""
        share = self._shares[partition] = _Share(position)
        kept = newest(self._log, NAME, partition.number, clusters.VERSION)
        floor = kept.pop(FLOOR, None)
        for name, snapshot in kept.items():
            share.owned[name] = self._owning(Cluster.restored(snapshot.state["cluster"]))
        covered = {name: snapshot.covers for name, snapshot in kept.items()}
        for event, offset in self._events(partition, None if floor is None else floor.covers, position):
            if offset >= covered.get(event.cluster, 0):
                self._learn(share, event, muted=True)
        own = self._log.spans(INCIDENTS)[partition.number]
        said = own.begin if floor is None else floor.state["incidents"]
        for event, _ in self._events(Partition(INCIDENTS, partition.number), said, own.end):
            if event.type.writer == NAME:
                self._own(share, event.cluster).state.apply(event)

    def lose(self, partition: Partition) -> None:
        """Forget the clusters of a partition."""
        self._shares.pop(partition, None)

    def handle(self, records: Sequence[Record]) -> Iterable[Outgoing]:
        """Take in signals; at ticks, return the events of incidents that follow."""
        for record in records:
            share = self._shares[record.place]
            if record.offset < share.position:
                continue
            share.position = record.offset + 1
            try:
                event = decoded(record.value)
            except NotAnEvent as error:
                self._metrics.dead_letter("not an event")
                yield refused(NAME, cluster_of(record), record, str(error))
                continue
            for said in self._learn(share, event):
                self._metrics.incident(said.type.name)
                yield Outgoing(INCIDENTS, encoded(said), said.cluster.encode(), partition=record.partition)

    def beat(self) -> Iterable[Outgoing]:
        """Return the ticks and the snapshots that are due."""
        now = time.monotonic()
        for partition, share in self._shares.items():
            for name in sorted(share.owned):
                if (tick := self._tick(share.owned[name], now)) is not None:
                    yield Outgoing(SIGNALS, encoded(tick), name.encode(), partition=partition.number)
            if share.changed and now - share.snapshot_s >= self._snapshot_s:
                share.snapshot_s = now
                yield from self._snapshots(partition, share)

    def close(self) -> None:
        """Hold nothing that has to be let go of."""

    def _snapshots(self, partition: Partition, share: _Share) -> Iterator[Outgoing]:
        """Yield the states of the clusters that have changed, and the offsets from which the rest is to be read."""
        said = self._log.spans(INCIDENTS)[partition.number].end
        for name in sorted(share.changed):
            state = {"cluster": share.owned[name].state.kept()}
            yield from written(Snapshot(NAME, name, clusters.VERSION, share.position, state), name, partition.number)
        share.changed.clear()
        floor = Snapshot(NAME, FLOOR, clusters.VERSION, share.position, {"incidents": said})
        yield from written(floor, FLOOR, partition.number)

    def _learn(self, share: _Share, event: Event, *, muted: bool = False) -> list[Event]:
        """Take in a fact, and return what is said at it; muted, nothing is: it has been said before."""
        owned = self._own(share, event.cluster)
        share.changed.add(event.cluster)
        if isinstance(event.data, SourceRead | Heard):
            owned.watermark.note(event.data)
        if muted:
            owned.state.apply(event)
            return []
        return owned.correlator.follow(owned.state, event)

    def _tick(self, owned: _Owned, now: float) -> Event | None:
        """Return the next tick, if there is a reason for one."""
        state = owned.state
        if owned.asking.waits(state.tick, now):
            return None
        reached = owned.watermark.time_s()
        if reached is None and not state.time_s:
            reached = time.time()  # nobody tells a time: this process's is as good as any, once it is recorded
        time_s = round(min(max(state.time_s, reached or 0.0), LATEST_S), 3)
        due_s = owned.correlator.due_s(state)
        if not state.fresh and (due_s is None or time_s < due_s):
            return None
        data = Tick(number=owned.asking.next(state.tick, now), time_s=time_s)
        name = derived_id("tick", state.name, data.number)
        return Event(name, state.name, state.name, time_s, data)

    def _own(self, share: _Share, cluster: str) -> _Owned:
        if cluster not in share.owned:
            share.owned[cluster] = self._owning(Cluster(cluster))
        return share.owned[cluster]

    def _owning(self, state: Cluster) -> _Owned:
        return _Owned(state, Correlator(self._resolve, self._settle_s))

    def _events(self, partition: Partition, begin: int | None, end: int) -> Iterator[tuple[Event, int]]:
        """Yield the events of a part of a partition; what is none was refused when it was read first."""
        for records in batches(self._log, partition, begin, end):
            for record in records:
                with suppress(NotAnEvent):
                    yield decoded(record.value), record.offset
