"""The sources of a partition of `relight.logs`: each record goes to the stream of its source."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import Any, Final

from diagnose.matching.readings import LIVE
from diagnose.matching.scanner import Scanner
from diagnose.matching.stream import Matcher, SourceStream, Statement
from ingest.decode import LogFormats
from ingest.foreign import UNKNOWN_HOST, ForeignLine, foreign_line
from ingest.names import origin_of
from ingest.redaction import shown
from relight.catalogue import automaton
from relight.scanning import known
from relight.topics import LOGS
from relight.transports.port import Record
from schemas.events import Event
from schemas.record import Origin, Source
from schemas.shipped import Shipped
from schemas.signal import Heard, Signal, SourceRead, Withdrawn, derived_id
from schemas.vocabulary import Provenance

ABSORB_BYTES: Final = 512 * 1024
"""More than this of a source is settled before more is taken."""

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
    size: int = 0


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
        fed: dict[str | tuple[str, str, int], Fed] = {}
        for record in records:
            try:
                if (shipped := Shipped.from_headers(record.headers)) is not None:
                    self._chunk(fed, record, shipped)
                else:
                    self._line(fed, record)
            except ValueError as error:
                refuse(record, str(error))
        for one in fed.values():
            self._feed(one)
        self.changed |= {one.stream.source.key for one in fed.values()}
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

    def _chunk(self, fed: dict[Any, Fed], record: Record, shipped: Shipped) -> None:
        """Add a chunk to what its source is fed; if it does not follow what is there already, that is fed first."""
        key = key_of(shipped)
        if record.offset < self.covered.get(key, 0):
            return
        if (own := fed.get(key)) is None:
            own = fed[key] = self._begun(key, shipped, trusted=record.topic in self.trusted)
        if record.value:
            if own.pieces and shipped.offset_bytes != own.offset + own.size:
                self._feed(own)
            if not own.pieces:
                own.offset, own.line = shipped.offset_bytes, shipped.line
            self._add(own, record.value)
        own.observed_ms, own.at_end = max(own.observed_ms, shipped.observed_ms), shipped.at_end

    def _line(self, fed: dict[Any, Fed], record: Record) -> None:
        """Add the line of a foreign shipper to what its source is fed: it follows the one before.

        Raises:
            ValueError: it cannot be read.
        """
        line = foreign_line(record.value or b"", record.key, record.time_ms)
        place = line.host, line.stream, record.partition
        if (own := fed.get(place)) is None:
            key = foreign_key(line, self.cluster, record)
            own = fed[place] = self._begun(key, told_of(line, self.cluster, record), trusted=False)
        if record.offset < self.covered.get(own.stream.source.key, 0):
            return
        if not own.pieces:
            own.offset, own.line = own.stream.high, own.stream.line
        self._add(own, line.segment + b"\n")
        own.observed_ms = max(own.observed_ms, record.time_ms)

    def _begun(self, key: str, shipped: Shipped, *, trusted: bool) -> Fed:
        stream = self.streams.get(key)
        if stream is None:
            stream = self.streams[key] = SourceStream(source_of(shipped, key, trusted))
        stream.source = _no_more_than(stream.source, trusted, trusted and shipped.attested)
        self.seen_s[key] = time.monotonic()
        return Fed(stream, shipped.cluster)

    def _add(self, fed: Fed, data: bytes) -> None:
        fed.pieces.append(data)
        fed.size += len(data)
        if fed.size >= ABSORB_BYTES:
            self._feed(fed)

    def _feed(self, fed: Fed) -> None:
        if fed.pieces:
            fed.stream.take(fed.offset, fed.line, b"".join(fed.pieces))
            fed.pieces, fed.size = [], 0
            if fed.stream.unsettled_bytes >= ABSORB_BYTES:
                fed.stream.absorb(self.matcher)


def matcher(rules: tuple[Path, ...]) -> Matcher:
    """Return what sources are matched with: the catalogue in force and rules of one's own.

    Raises:
        RuleError: a rule file has a mistake.
    """
    return Matcher(Scanner(*automaton(known(rules)), LIVE), LogFormats(), shown)


def _no_more_than(source: Source, vouched: bool, attested: bool) -> Source:
    """Return a source without what nobody vouches for any more; what is vouched for anew counts from its next file."""
    own = source.vouched and vouched, source.attested and attested
    return source if own == (source.vouched, source.attested) else replace(source, vouched=own[0], attested=own[1])


def key_of(shipped: Shipped) -> str:
    """Return what tells a source from all others: the key of its state, and what ids derive from."""
    return f"{shipped.cluster}\0{shipped.host}\0{shipped.stream}\0{shipped.generation}"


def foreign_key(line: ForeignLine, cluster: str, record: Record) -> str:
    """Return what tells the source of a foreign shipper's lines from all others."""
    return f"{cluster}\0{line.host}\0{line.stream}\0{record.topic}/{record.partition}"


def told_of(line: ForeignLine, cluster: str, record: Record) -> Shipped:
    """Return what the record of a foreign shipper says of its source."""
    return Shipped(
        cluster=cluster,
        host=line.host or UNKNOWN_HOST,
        stream=line.stream,
        generation=str(record.place),
        offset_bytes=0,
        line=1,
        observed_ms=record.time_ms,
        job=line.job,
        attempt=line.attempt,
        rank=line.rank,
    )


def source_of(shipped: Shipped, key: str, trusted: bool) -> Source:
    """Return the source that a shipper's chunks are of. Only who is trusted vouches for host and provenance."""
    path = tuple(part for part in PurePath(shipped.stream).parts if part != "/")
    named = origin_of(path)
    told = Origin(
        host=shipped.host,
        rank=shipped.rank,
        job=shipped.job,
        attempt=shipped.attempt,
        provenance=shipped.provenance if trusted else Provenance.UNKNOWN,
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
        vouched=trusted,
        attested=trusted and shipped.attested,
        placed=named.host is not None or origin.rank is not None,
        complete=shipped.complete,
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
