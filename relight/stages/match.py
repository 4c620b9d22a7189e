"""`relight diagnose match`: reads `relight.logs`, and says what the catalogue finds in it on `relight.signals`.

Its state is one `SourceStream` for each source of its partitions. Every few seconds the states that have changed are
written to `relight.snapshots`, with a floor: the offset from which the log has to be read again to rebuild the rest.
"""

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Final

from diagnose.matching import keeping
from diagnose.matching.keeping import Resolve
from diagnose.matching.stream import Matcher, SourceStream, Statement
from ingest.foreign import foreign_line
from ingest.names import origin_of
from relight.metrics import StageMetrics
from relight.stages.deadletters import refused
from relight.stages.snapshots import Snapshot, forgotten, newest, written
from relight.topics import LOGS, SIGNALS
from relight.transports.port import EventLog, Outgoing, Partition, Record
from schemas.events import Event, encoded
from schemas.record import Origin, Source
from schemas.shipped import Shipped
from schemas.signal import Heard, Signal, SourceRead, Withdrawn, derived_id
from schemas.vocabulary import Provenance

NAME: Final = "match"
FLOOR: Final = "floor"
ABSORB_BYTES: Final = 512 * 1024
FORGET_S: Final = 24 * 3600.0
"""A source that has said nothing for so long is forgotten; if it speaks again, it is followed from there."""

_READ: Final = 500


@dataclass(slots=True)
class _Fed:
    """What a poll has brought of one source: pieces of bytes with their places, and what its shipper said last."""

    stream: SourceStream
    cluster: str
    observed_ms: int = 0
    at_end: bool = False
    offset: int = 0
    line: int = 1
    pieces: list[bytes] = field(default_factory=list)


@dataclass(slots=True)
class _Share:
    """The state of one partition. `position` is the offset of the record to be read next.

    `covered` gives for sources that were restored the offset up to which records are in their state already.
    """

    position: int
    streams: dict[str, SourceStream] = field(default_factory=dict)
    covered: dict[str, int] = field(default_factory=dict)
    seen_s: dict[str, float] = field(default_factory=dict)
    changed: set[str] = field(default_factory=set)
    snapshot_s: float = 0.0


class Match:
    """The stage. `cluster` is that of foreign records; headers are believed on `trusted` topics only."""

    name = NAME
    inputs = (LOGS,)

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
        self._cluster, self._trusted = cluster, frozenset(trusted)
        self._snapshot_s, self._every_ms = snapshot_s, int(progress_s * 1000)
        self._shares: dict[Partition, _Share] = {}

    def gain(self, partition: Partition, position: int) -> None:
        """Rebuild the sources of a partition: from their snapshots, and the records since."""
        share = _Share(position)
        kept = newest(self._log, NAME, partition.number, keeping.VERSION)
        floor = kept.pop(FLOOR, None)
        at = self._log.spans(partition.topic)[partition.number].begin if floor is None else floor.covers
        for key, snapshot in kept.items():
            share.streams[key] = keeping.restored(snapshot.state, self._resolve)
            share.covered[key] = snapshot.covers
            share.seen_s[key] = time.monotonic()
        self._shares[partition] = share
        while at < position and (records := self._log.read(partition, at, _READ)):
            known = [record for record in records if record.offset < position]
            self._feed(share, known)
            at = records[-1].offset + 1
        share.position, share.snapshot_s = position, time.monotonic()

    def lose(self, partition: Partition) -> None:
        """Forget the sources of a partition."""
        self._shares.pop(partition, None)

    def handle(self, records: Sequence[Record]) -> Iterable[Outgoing]:
        """Match lines; return signals, how far sources are known, and dead letters."""
        by_partition: dict[Partition, list[Record]] = defaultdict(list)
        for record in records:
            by_partition[record.place].append(record)
        for partition, own in by_partition.items():
            share = self._shares[partition]
            fed, letters = self._feed(share, [record for record in own if record.offset >= share.position])
            yield from letters
            share.position = own[-1].offset + 1
            yield from self._said(fed)

    def beat(self) -> Iterable[Outgoing]:
        """Return the snapshots that are due."""
        now = time.monotonic()
        for partition, share in self._shares.items():
            if share.changed and now - share.snapshot_s >= self._snapshot_s:
                share.snapshot_s = now
                yield from self._snapshots(partition, share)

    def _feed(self, share: _Share, records: Sequence[Record]) -> tuple[list[_Fed], list[Outgoing]]:
        """Give each source what a poll has brought of it, in pieces as large as they come."""
        fed: dict[str, _Fed] = {}
        letters: list[Outgoing] = []
        for record in records:
            try:
                key, shipped, lines = self._placed(record)
            except ValueError as error:
                letters.append(refused(NAME, self._cluster, record, str(error)))
                self._metrics.dead_letter("unreadable")
                continue
            if record.offset < share.covered.get(key, 0):
                continue
            own = fed.get(key) or fed.setdefault(key, self._begun(share, key, shipped))
            self._add(own, shipped, lines)
        for one in fed.values():
            self._take(one)
        share.changed |= fed.keys()
        return list(fed.values()), letters

    def _placed(self, record: Record) -> tuple[str, Shipped, bytes]:
        """Return a record's source, what its shipper says of it, and its bytes.

        Raises:
            ValueError: it cannot be read.
        """
        shipped = Shipped.from_headers(record.headers)
        if shipped is not None:
            if record.topic not in self._trusted:
                shipped = shipped.model_copy(update={"provenance": Provenance.UNKNOWN})
            return _name(shipped), shipped, record.value or b""
        line = foreign_line(record.value or b"", record.key, record.time_ms)
        generation = str(record.place)
        name = f"{self._cluster}\0{line.host}\0{line.stream}\0{generation}"
        told = Shipped.model_construct(
            cluster=self._cluster,
            host=line.host,
            stream=line.stream,
            generation=generation,
            provenance=Provenance.UNKNOWN,
            part=0,
            offset_bytes=-1,
            line=1,
            observed_ms=record.time_ms,
            at_end=False,
            job=line.job,
            attempt=line.attempt,
            rank=line.rank,
        )
        return name, told, line.segment + b"\n"

    def _begun(self, share: _Share, key: str, shipped: Shipped) -> _Fed:
        stream = share.streams.get(key)
        if stream is None:
            stream = share.streams[key] = SourceStream(_source(shipped, key, shipped.offset_bytes >= 0))
        share.seen_s[key] = time.monotonic()
        return _Fed(stream, shipped.cluster)

    def _add(self, fed: _Fed, shipped: Shipped, lines: bytes) -> None:
        """Add bytes that follow what is there already; otherwise that is taken first."""
        pending = sum(map(len, fed.pieces))
        follows = shipped.offset_bytes < 0 or shipped.offset_bytes == fed.offset + pending
        if fed.pieces and (not follows or pending >= ABSORB_BYTES):
            self._take(fed)
        if not fed.pieces and lines:
            foreign = shipped.offset_bytes < 0
            fed.offset = fed.stream.high if foreign else shipped.offset_bytes
            fed.line = fed.stream.line if foreign else shipped.line
        if lines:
            fed.pieces.append(lines)
        fed.observed_ms, fed.at_end = max(fed.observed_ms, shipped.observed_ms), shipped.at_end

    def _take(self, fed: _Fed) -> None:
        if fed.pieces:
            fed.stream.take(fed.offset, fed.line, b"".join(fed.pieces))
            fed.pieces = []
            if fed.stream.unsettled_bytes >= ABSORB_BYTES:
                fed.stream.absorb(self._matcher)

    def _said(self, fed: Iterable[_Fed]) -> Iterator[Outgoing]:
        heard: dict[str, dict[str, float]] = defaultdict(dict)
        for one in fed:
            said = one.stream.statements(self._matcher, one.observed_ms, every_ms=self._every_ms, at_end=one.at_end)
            for statement in said:
                if isinstance(statement, Heard):
                    heard[one.cluster] |= statement.sources
                else:
                    yield _outgoing(statement, one.cluster, one.stream.source.key)
            if any(isinstance(statement, Signal) for statement in said):
                self._metrics.delay(one.observed_ms)
        for cluster, sources in sorted(heard.items()):
            name = derived_id("heard", cluster, *sorted(sources.items()))
            event = Event(name, cluster, "sources", None, Heard(sources=sources))
            yield Outgoing(SIGNALS, encoded(event), cluster.encode())

    def _snapshots(self, partition: Partition, share: _Share) -> Iterator[Outgoing]:
        now = time.monotonic()
        for key in sorted(share.changed):
            state = keeping.kept(share.streams[key], self._matcher.formats)
            yield from written(
                Snapshot(NAME, key, keeping.VERSION, share.position, state), self._cluster, partition.number
            )
        share.changed.clear()
        for key in [key for key, seen_s in share.seen_s.items() if now - seen_s > FORGET_S]:
            del share.streams[key], share.seen_s[key]
            yield forgotten(NAME, key, partition.number)
        floor = Snapshot(NAME, FLOOR, keeping.VERSION, share.position, None)
        yield from written(floor, self._cluster, partition.number)


def _name(shipped: Shipped) -> str:
    return f"{shipped.cluster}\0{shipped.host}\0{shipped.stream}\0{shipped.generation}"


def _source(shipped: Shipped, key: str, vouched: bool) -> Source:
    """Return the source that a shipper's chunks are of."""
    path = tuple(part for part in PurePath(shipped.stream).parts if part != "/")
    named = origin_of(path)
    told = Origin(
        host=shipped.host,
        rank=shipped.rank,
        job=shipped.job,
        attempt=shipped.attempt,
        provenance=shipped.provenance,
    )
    stream = f"{shipped.host}:{shipped.stream}"
    return Source(
        name=f"{stream}#{shipped.part}" if shipped.part else stream,
        path=path,
        origin=told.over(named),
        modified_s=shipped.observed_ms / 1000,
        stream=stream,
        part=shipped.part,
        key=key,
        vouched=vouched,
        placed=named.host is not None or told.over(named).rank is not None,
    )


def _outgoing(said: Statement, cluster: str, source: str) -> Outgoing:
    match said:
        case Signal() | Withdrawn():
            name, subject = derived_id(type(said).__name__, said.id, said.read_to), said.id
        case SourceRead():
            name, subject = derived_id("read", source, said.bytes_read, said.lines, said.heard_s), said.source
        case Heard():
            raise AssertionError("what was heard is said of many sources at once")
    return Outgoing(SIGNALS, encoded(Event(name, cluster, subject, None, said)), cluster.encode())
