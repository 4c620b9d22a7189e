"""The lines of a partition of `relight.logs` that are kept in a store, and the state that choosing them needs."""

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from diagnose.matching.lines import Hit
from diagnose.matching.scanner import Scanner
from ingest.choosing import HEAD_BYTES, NEAR_MS, Choice, Chooser, SourceLines
from ingest.foreign import foreign_line
from relight.stages.sources import foreign_key, key_of, source_of, told_of
from relight.topics import LOGS
from relight.transports.port import Record
from schemas.record import Chunk, Decoder, Formats, LogRecord
from schemas.shipped import Shipped
from schemas.vocabulary import Kind

_EVIDENCE: Final = frozenset({Kind.FAULT, Kind.TEARDOWN})
_MARK_MS: Final = 1000

Kept = tuple[LogRecord, Record]
"""A line and the record that it came in."""


@dataclass
class Lines:
    """The sources of a partition. `cluster` is that of foreign records; headers are believed on `trusted` topics only.

    `told` has the formats of sources that were restored, `changed` those whose format has become known since the last
    snapshot. `marks` are offsets and times of records: the oldest one is where choosing has to begin again.
    """

    choice: Choice
    scanner: Scanner
    formats: Formats
    cluster: str = "default"
    trusted: Sequence[str] = (LOGS,)
    sources: dict[str, SourceLines] = field(default_factory=dict)
    told: dict[str, Any] = field(default_factory=dict)
    changed: set[str] = field(default_factory=set)
    marks: deque[tuple[int, int]] = field(default_factory=deque)

    def take(self, records: Iterable[Record]) -> Iterator[Kept]:
        """Take records, and yield the lines that are to be kept. What cannot be read is a dead letter of matching's."""
        foreign: dict[str, list[tuple[Record, bytes]]] = defaultdict(list)
        for record in records:
            self._mark(record)
            try:
                if (shipped := Shipped.from_headers(record.headers)) is not None:
                    yield from self._chunk(record, shipped)
                else:
                    self._line(record, foreign)
            except ValueError:
                continue
        for key, lines in foreign.items():
            yield from self._lines(key, lines)

    def formats_told(self) -> Iterator[tuple[str, Any]]:
        """Yield the formats that have become known, by source."""
        for key in sorted(self.changed):
            yield key, self.sources[key].told
        self.changed.clear()

    @property
    def floor(self) -> int | None:
        """Return the offset from which records have to be read again to choose as now, `None` where there are none."""
        return self.marks[0][0] if self.marks else None

    def silent(self, before_ms: int) -> list[str]:
        """Forget the sources that have said nothing since a time, and return their keys."""
        names = [key for key, source in self.sources.items() if source.seen_ms < before_ms]
        for key in names:
            del self.sources[key]
            self.told.pop(key, None)
            self.changed.discard(key)
        return names

    def _mark(self, record: Record) -> None:
        if not self.marks or record.time_ms - self.marks[-1][1] >= _MARK_MS:
            self.marks.append((record.offset, record.time_ms))
        while len(self.marks) > 1 and self.marks[1][1] < record.time_ms - NEAR_MS:
            self.marks.popleft()

    def _chunk(self, record: Record, shipped: Shipped) -> Iterator[Kept]:
        if not record.value:
            return
        key = key_of(shipped)
        lines = self._source(key, shipped, record, record.topic in self.trusted)
        yield from self._kept(
            key,
            record,
            lines.take(
                self._chooser, record.value, shipped.offset_bytes, shipped.line, shipped.observed_ms, record.time_ms
            ),
        )

    def _line(self, record: Record, foreign: dict[str, list[tuple[Record, bytes]]]) -> None:
        """Put the line of a foreign shipper to those of its source. Raises: ValueError."""
        line = foreign_line(record.value or b"", record.key, record.time_ms)
        key = foreign_key(line, self.cluster, record)
        self._source(key, told_of(line, self.cluster, record), record, trusted=False)
        foreign[key].append((record, line.segment))

    def _lines(self, key: str, lines: Sequence[tuple[Record, bytes]]) -> Iterator[Kept]:
        """Yield what is to be kept of a foreign shipper's lines, those that came in one millisecond at once."""
        at = {record.offset: record for record, _ in lines}
        apart: dict[int, list[tuple[int, bytes]]] = defaultdict(list)
        for record, text in lines:
            apart[record.time_ms].append((record.offset, text))
        for time_ms, own in sorted(apart.items()):
            for line in self.sources[key].take_records(self._chooser, own, time_ms):
                yield line, at.get(line.offset_bytes, lines[-1][0])
        self._settle(key)

    def _kept(self, key: str, record: Record, lines: Iterable[LogRecord]) -> Iterator[Kept]:
        for line in lines:
            yield line, record
        self._settle(key)

    def _source(self, key: str, shipped: Shipped, record: Record, trusted: bool) -> SourceLines:
        found = self.sources.get(key)
        if found is None:
            told = self.told.get(key)
            surveyed = HEAD_BYTES if told is not None else 0
            found = SourceLines(source_of(shipped, key, trusted), shipped.cluster, key, told, surveyed)
            self.sources[key] = found
            self.told[key] = told
        found.seen_ms = record.time_ms
        return found

    def _settle(self, key: str) -> None:
        if self.sources[key].told is not self.told.get(key):
            self.told[key] = self.sources[key].told
            self.changed.add(key)

    @cached_property
    def _chooser(self) -> Chooser:
        return Chooser(self.choice, self.formats, self._spots)

    def _spots(self, data: bytes, decoder: Decoder) -> list[int]:
        """Return where evidence stands in whole lines."""
        found = self.scanner.findings(Chunk(data, 0, len(data), 0, 1, 0), decoder)
        return [hit.offset for hit in found if isinstance(hit, Hit) and hit.signature.kind in _EVIDENCE]
