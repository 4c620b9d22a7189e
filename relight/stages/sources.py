"""The sources of a partition of `relight.logs`: each record goes to the stream of its source."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Final

from diagnose.matching.stream import Matcher, SourceStream, Statement
from ingest.foreign import foreign_line
from ingest.names import origin_of
from relight.topics import LOGS
from relight.transports.port import Record
from schemas.events import Event
from schemas.record import Origin, Source
from schemas.shipped import Shipped
from schemas.signal import Heard, Signal, SourceRead, Withdrawn, derived_id
from schemas.vocabulary import Provenance

ABSORB_BYTES: Final = 512 * 1024
"""More than this of a source is settled before more is taken."""

FOREIGN: Final = -1
"""The offset of a line whose shipper tells none: it follows the line before it."""

Refuse = Callable[[Record, str], None]
"""Told of a record that cannot be read, and why."""


@dataclass(slots=True)
class Fed:
    """What some records have brought of one source: bytes that follow each other, and what its shipper said last."""

    stream: SourceStream
    cluster: str
    observed_ms: int = 0
    at_end: bool = False
    offset: int = 0
    line: int = 1
    pieces: list[bytes] = field(default_factory=list)


@dataclass
class Sources:
    """The streams of a partition, by source. `cluster` is that of foreign records.

    Headers are believed on `trusted` topics only. `every_ms`: how long growth may wait to be said. `covered` gives for
    sources that were restored the offset up to which records are in their state; `changed` are those fed since the
    last snapshot, `seen_s` tells when each was fed last (monotonic clock).
    """

    matcher: Matcher
    cluster: str = "default"
    trusted: Sequence[str] = (LOGS,)
    every_ms: int = 5000
    streams: dict[str, SourceStream] = field(default_factory=dict)
    covered: dict[str, int] = field(default_factory=dict)
    changed: set[str] = field(default_factory=set)
    seen_s: dict[str, float] = field(default_factory=dict)

    def take(self, records: Iterable[Record], refuse: Refuse) -> list[Fed]:
        """Give each source what records have brought of it, and return what was fed."""
        fed: dict[str, Fed] = {}
        for record in records:
            try:
                key, shipped, lines = self._placed(record)
            except ValueError as error:
                refuse(record, str(error))
                continue
            if record.offset < self.covered.get(key, 0):
                continue
            own = fed.get(key) or fed.setdefault(key, self._begun(key, shipped))
            self._add(own, shipped, lines)
        for one in fed.values():
            self._feed(one)
        self.changed |= fed.keys()
        return list(fed.values())

    def said(self, fed: Iterable[Fed]) -> Iterator[Event]:
        """Yield what the sources that were fed say now."""
        heard: dict[str, dict[str, float]] = defaultdict(dict)
        for one in fed:
            said = one.stream.statements(self.matcher, one.observed_ms, every_ms=self.every_ms, at_end=one.at_end)
            for statement in said:
                if isinstance(statement, Heard):
                    heard[one.cluster] |= statement.sources
                else:
                    yield _event(statement, one.cluster, one.stream.source.key)
        for cluster, sources in sorted(heard.items()):
            name = derived_id("heard", cluster, *sorted(sources.items()))
            yield Event(name, cluster, "sources", None, Heard(sources=sources))

    def _placed(self, record: Record) -> tuple[str, Shipped, bytes]:
        """Return a record's source, what its shipper says of it, and its bytes.

        Raises:
            ValueError: it cannot be read.
        """
        shipped = Shipped.from_headers(record.headers)
        if shipped is not None:
            if record.topic not in self.trusted:
                shipped = shipped.model_copy(update={"provenance": Provenance.UNKNOWN})
            key = f"{shipped.cluster}\0{shipped.host}\0{shipped.stream}\0{shipped.generation}"
            return key, shipped, record.value or b""
        line = foreign_line(record.value or b"", record.key, record.time_ms)
        key = f"{self.cluster}\0{line.host}\0{line.stream}\0{record.place}"
        stream = self.streams.get(key)
        told = Shipped.model_construct(
            cluster=self.cluster,
            host=line.host,
            stream=line.stream,
            generation=str(record.place),
            provenance=Provenance.UNKNOWN,
            part=0,
            offset_bytes=FOREIGN,
            line=stream.line if stream else 1,
            observed_ms=record.time_ms,
            at_end=False,
            job=line.job,
            attempt=line.attempt,
            rank=line.rank,
        )
        return key, told, line.segment + b"\n"

    def _begun(self, key: str, shipped: Shipped) -> Fed:
        stream = self.streams.get(key)
        if stream is None:
            stream = self.streams[key] = SourceStream(_source(shipped, key))
        self.seen_s[key] = time.monotonic()
        return Fed(stream, shipped.cluster)

    def _add(self, fed: Fed, shipped: Shipped, lines: bytes) -> None:
        """Add bytes that follow what is there already; otherwise that is fed first."""
        pending = sum(map(len, fed.pieces))
        foreign = shipped.offset_bytes == FOREIGN
        follows = foreign or shipped.offset_bytes == fed.offset + pending
        if fed.pieces and (not follows or pending >= ABSORB_BYTES):
            self._feed(fed)
        if not fed.pieces and lines:
            fed.offset = fed.stream.high if foreign else shipped.offset_bytes
            fed.line = fed.stream.line if foreign else shipped.line
        if lines:
            fed.pieces.append(lines)
        fed.observed_ms, fed.at_end = max(fed.observed_ms, shipped.observed_ms), shipped.at_end

    def _feed(self, fed: Fed) -> None:
        if fed.pieces:
            fed.stream.take(fed.offset, fed.line, b"".join(fed.pieces))
            fed.pieces = []
            if fed.stream.unsettled_bytes >= ABSORB_BYTES:
                fed.stream.absorb(self.matcher)


def _source(shipped: Shipped, key: str) -> Source:
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
    origin = told.over(named)
    stream = f"{shipped.host}:{shipped.stream}"
    return Source(
        name=f"{stream}#{shipped.part}" if shipped.part else stream,
        path=path,
        origin=origin,
        modified_s=shipped.observed_ms / 1000,
        stream=stream,
        part=shipped.part,
        key=key,
        vouched=shipped.offset_bytes != FOREIGN,
        placed=named.host is not None or origin.rank is not None,
    )


def _event(said: Statement, cluster: str, source: str) -> Event:
    match said:
        case Signal() | Withdrawn():
            return Event(derived_id(type(said).__name__, said.id, said.read_to), cluster, said.id, None, said)
        case SourceRead():
            name = derived_id("read", source, said.bytes_read, said.lines, said.heard_s)
            return Event(name, cluster, said.source, None, said)
        case Heard():
            raise AssertionError("what was heard is said of many sources at once")
