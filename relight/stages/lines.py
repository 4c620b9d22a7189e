"""The lines of a partition of `relight.logs` that are kept in a store, and the state that choosing them needs."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from typing import Final

from diagnose.matching.lines import Hit
from diagnose.matching.scanner import Scanner
from ingest.choosing import Choice, Chooser, SourceLines, State
from ingest.foreign import foreign_line
from relight.stages.sources import foreign_key, key_of, source_of, told_of
from relight.topics import LOGS
from relight.transports.port import Record
from schemas.record import Chunk, Decoder, Formats, LogRecord
from schemas.shipped import Shipped
from schemas.vocabulary import Kind

_EVIDENCE: Final = frozenset({Kind.FAULT, Kind.TEARDOWN})

Kept = tuple[LogRecord, Record]
"""A line and the record that it came in."""


@dataclass
class Lines:
    """The sources of a partition. `cluster` is that of foreign records; headers are believed on `trusted` topics only.

    `restored` has the states of sources that were kept and of which nothing has come since, `changed` are the sources
    of which something has come since the last snapshot. `newest_ms` is the latest time of a record.
    """

    choice: Choice
    scanner: Scanner
    formats: Formats
    cluster: str = "default"
    trusted: Sequence[str] = (LOGS,)
    sources: dict[str, SourceLines] = field(default_factory=dict)
    restored: dict[str, State] = field(default_factory=dict)
    changed: set[str] = field(default_factory=set)
    newest_ms: int = 0

    def take(self, records: Iterable[Record]) -> Iterator[Kept]:
        """Take records, and yield the lines that are to be kept. What cannot be read is a dead letter of matching's."""
        foreign: dict[str, list[tuple[Record, bytes]]] = defaultdict(list)
        for record in records:
            self.newest_ms = max(self.newest_ms, record.time_ms)
            try:
                read = self._read(record)
            except ValueError:
                continue
            if read is None:
                continue
            source, shipped, text = read
            if text is None:
                yield from self._chunk(source, record, shipped)
            else:
                foreign[source.key].append((record, text))
        for key, lines in foreign.items():
            yield from self._lines(self.sources[key], lines)

    def states(self) -> Iterator[tuple[str, State]]:
        """Yield the states of the sources of which something has come since the last time, by source."""
        for key in sorted(self.changed):
            yield key, self.sources[key].state()
        self.changed.clear()

    def silent(self, silence_ms: int, now_ms: int) -> list[str]:
        """Forget the sources of which nothing has come for so long before the newest record, and return their keys.

        No record is from later than now, whatever its time says: one would make all others look silent, and its own
        source look alive.
        """
        self.newest_ms = min(self.newest_ms, now_ms)
        for source in self.sources.values():
            source.seen_ms = min(source.seen_ms, now_ms)
        seen = {key: min(state["seen_ms"], now_ms) for key, state in self.restored.items()}
        seen |= {key: source.seen_ms for key, source in self.sources.items()}
        names = [key for key, seen_ms in seen.items() if seen_ms < self.newest_ms - silence_ms]
        for key in names:
            self.sources.pop(key, None)
            self.restored.pop(key, None)
            self.changed.discard(key)
        return names

    def _read(self, record: Record) -> tuple[SourceLines, Shipped, bytes | None] | None:
        """Return a record's source, what is told of it, and the line if it is one; `None` if nothing is in it.

        Raises:
            ValueError: it cannot be read.
        """
        if (shipped := Shipped.from_headers(record.headers)) is not None:
            if not record.value:
                return None
            return self._source(key_of(shipped), shipped, record, record.topic in self.trusted), shipped, None
        line = foreign_line(record.value or b"", record.key, record.time_ms)
        told = told_of(line, self.cluster, record)
        source = self._source(foreign_key(line, self.cluster, record), told, record, trusted=False)
        return source, told, line.segment

    def _source(self, key: str, shipped: Shipped, record: Record, trusted: bool) -> SourceLines:
        found = self.sources.get(key)
        if found is None:
            source = source_of(shipped, key, trusted)
            state = self.restored.pop(key, None)
            if state is None:
                found = SourceLines(source, shipped.cluster, key)
            else:
                found = SourceLines.restored(source, shipped.cluster, key, state)
            self.sources[key] = found
        found.seen_ms = max(found.seen_ms, record.time_ms)
        self.changed.add(key)
        return found

    def _chunk(self, source: SourceLines, record: Record, shipped: Shipped) -> Iterator[Kept]:
        assert record.value is not None, "it was read"
        lines = source.take(
            self._chooser, record.value, shipped.offset_bytes, shipped.line, shipped.observed_ms, record.time_ms
        )
        yield from ((line, record) for line in lines)

    def _lines(self, source: SourceLines, lines: Sequence[tuple[Record, bytes]]) -> Iterator[Kept]:
        """Yield what is to be kept of a foreign shipper's lines, in their order; those of one millisecond come at once.

        The times of records need not rise: a producer may set them.
        """
        at = {record.offset: record for record, _ in lines}
        for time_ms, own in groupby(lines, key=lambda one: one[0].time_ms):
            texts = [(record.offset, text) for record, text in own]
            for line in source.take_records(self._chooser, texts, time_ms):
                yield line, at.get(line.offset_bytes, lines[-1][0])

    @cached_property
    def _chooser(self) -> Chooser:
        return Chooser(self.choice, self.formats, self._spots)

    def _spots(self, data: bytes, decoder: Decoder) -> list[int]:
        """Return where evidence stands in whole lines."""
        found = self.scanner.findings(Chunk(data, 0, len(data), 0, 1, 0), decoder)
        hits = (hit for hit in found if isinstance(hit, Hit) and hit.signature.kind in _EVIDENCE)
        return [offset for hit in hits for offset in (*hit.likewise, hit.offset)]
