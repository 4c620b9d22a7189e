"""Chooses the lines of a followed source that a store keeps, and reads them: all, or those around what is worth it.

Which lines are chosen does not depend on how chunks were cut. What is evidence is told from outside.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import islice
from typing import Any, Final

import numpy as np
import re2

from ingest.redaction import shown
from schemas.record import Decoded, Decoder, Formats, LogRecord, Source, Told
from schemas.vocabulary import Kept

NEAR_MS: Final = 60_000
"""Lines are near each other only if they came to the log within this time: what is older need not be remembered."""

HEAD_BYTES: Final = 64 * 1024
_TEXT_BYTES: Final = 4096
_LOOK_BACK: Final = 20
_WORST: Final = re2.compile(
    rb"(?i)\b(?:warn(?:ing)?|err(?:or)?|crit(?:ical)?|fatal|emerg|alert|panic|severe|traceback|exception|failed|failure"
    rb"|abort(?:ed)?|killed|segfault|oops)\b|\b(?-i:\w+(?:Error|Exception))\b|(?m:^[EFW][01][0-9][0-3][0-9] )"
)

Spots = Callable[[bytes, Decoder], Sequence[int]]
"""Returns where in some whole lines evidence stands: places in the lines that hold it, in rising order."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which lines are wanted: all, or evidence, warnings, errors, and so many lines before and after each."""

    every: bool
    around: int


@dataclass(frozen=True, slots=True)
class Chooser:
    """What choosing needs: which lines are wanted, how formats are found out, and where evidence stands."""

    choice: Choice
    formats: Formats
    spots: Spots


@dataclass(frozen=True, slots=True)
class _Line:
    """A line that has come: where it is, its beginning, and when its chunk came to the log."""

    offset: int
    number: int
    text: bytes
    observed_ms: int
    arrived_ms: int


@dataclass
class SourceLines:
    """The lines of one source. `key` is what the ids of its lines derive from; `told` its format, once that is known.

    `before` are the last lines that were not chosen, and `after` is how many are still wanted behind one that was, if
    they come until `after_ms`. `seen_ms` is when something came last.
    """

    source: Source
    cluster: str
    key: str
    told: Told | None = None
    surveyed: int = 0
    head: bytes = b""
    high: int = -1
    before: deque[_Line] = field(default_factory=deque)
    after: int = 0
    after_ms: int = 0
    seen_ms: int = 0

    def take(
        self, chooser: Chooser, data: bytes, offset: int, line: int, observed_ms: int, arrived_ms: int
    ) -> Iterator[LogRecord]:
        """Take whole lines from a place in the source, and yield those that are to be kept, in order.

        Bytes that were there already are dropped. Where bytes are missing, nothing before them is near.
        """
        if 0 <= offset < self.high:
            known = data[: self.high - offset]
            data, line, offset = data[len(known) :], line + known.count(b"\n"), offset + len(known)
        if not data:
            return
        if offset != self.high:
            self.before.clear()
            self.after = 0
        self.high = offset + len(data)
        when = _When(observed_ms, arrived_ms)
        yield from self._kept(chooser, _cut(data, offset, line), when)

    def take_records(
        self, chooser: Chooser, lines: Sequence[tuple[int, bytes]], observed_ms: int
    ) -> Iterator[LogRecord]:
        """Take lines that came one a record, each with its record's offset, which stands for its place and number."""
        fresh = [(offset, text) for offset, text in lines if offset >= self.high]
        if fresh:
            self.high = fresh[-1][0] + 1
            yield from self._kept(chooser, _given(fresh), _When(observed_ms, observed_ms))

    def _kept(self, chooser: Chooser, lines: "_Lines", when: "_When") -> Iterator[LogRecord]:
        self._forget(when.arrived_ms)
        decoder = self._decoder(chooser.formats, lines.data)
        piece = _Piece(lines, when, decoder, tuple(self.before))
        if chooser.choice.every:
            kept = piece.all()
            self.before = deque(piece.line(index) for index in range(max(0, piece.count - _LOOK_BACK), piece.count))
        else:
            kept = self._near(piece, chooser.spots(lines.data, decoder), chooser.choice.around)
        for one, why in kept:
            yield self._record(one, why, piece)

    def _forget(self, arrived_ms: int) -> None:
        """Forget lines that nothing that comes from now on is near to."""
        while self.before and self.before[0].arrived_ms < arrived_ms - NEAR_MS:
            self.before.popleft()

    def _near(self, piece: "_Piece", spots: Sequence[int], around: int) -> Iterator[tuple[_Line, Kept]]:
        """Yield the lines that are worth it and those near them; remember what may be near to what comes."""
        why = piece.worth(spots)
        if piece.when.arrived_ms > self.after_ms:
            self.after = 0
        last = 0
        for index in sorted(why):
            for near in range(last, min(last + self.after, index)):
                yield piece.line(near), Kept.CONTEXT
            last = min(last + self.after, index)
            held = [*self.before, *(piece.line(i) for i in range(max(last, index - around), index))][-around:]
            for line in held if around else ():
                yield line, Kept.CONTEXT
            yield piece.line(index), why[index]
            self.before.clear()
            self.after, self.after_ms, last = around, piece.when.arrived_ms + NEAR_MS, index + 1
        for near in range(last, min(last + self.after, piece.count)):
            yield piece.line(near), Kept.CONTEXT
        taken = min(self.after, piece.count - last)
        self.after, last = self.after - taken, last + taken
        self.before.extend(piece.line(i) for i in range(max(last, piece.count - around), piece.count))
        while len(self.before) > around:
            self.before.popleft()

    def _decoder(self, formats: Formats, data: bytes) -> Decoder:
        """Return the decoder: the format is looked at anew whenever there is twice as much of the head."""
        if self.surveyed < HEAD_BYTES:
            self.head += data[: HEAD_BYTES - len(self.head)]
            if self.told is None or len(self.head) >= min(HEAD_BYTES, 2 * self.surveyed):
                self.told, self.surveyed = formats.survey(self.source, self.head), len(self.head)
            if self.surveyed >= HEAD_BYTES:
                self.head = b""
        assert self.told is not None, "what was restored has been surveyed"
        return formats.decoder(self.told)

    def _record(self, line: _Line, why: Kept, piece: "_Piece") -> LogRecord:
        source, decoded = self.source, piece.decoded(line)
        named = source.origin
        origin = named.over(decoded.origin) if source.vouched else decoded.origin.over(named)
        return LogRecord(
            id=blake2b(f"{self.key}\0{line.offset}".encode(), digest_size=16).hexdigest(),
            cluster=self.cluster,
            source=source.name,
            stream=source.stream.partition(":")[2] or source.stream,
            line=line.number,
            offset_bytes=line.offset,
            text=shown(line.text),
            observed_ms=line.observed_ms,
            time_ms=piece.time_ms(line),
            host=origin.host,
            rank=origin.rank,
            gpu=origin.gpu,
            job=origin.job,
            attempt=origin.attempt,
            level=origin.level,
            provenance=origin.provenance,
            kept=why,
        )


@dataclass(frozen=True, slots=True)
class _When:
    """When lines were read by their shipper, and when they came to the log (Unix, milliseconds)."""

    observed_ms: int
    arrived_ms: int


@dataclass(frozen=True, slots=True)
class _Lines:
    """Lines in one piece of bytes, as arrays: where each begins and ends in it, its offset in the source, its number.

    `told` tells whether a line without a time has that of the line before it.
    """

    data: bytes
    starts: Any
    ends: Any
    offsets: Any
    numbers: Any
    told: bool = True


def _cut(data: bytes, offset: int, first: int) -> _Lines:
    """Return the lines of bytes from a place in the source; blank ones count for nothing."""
    raw = np.frombuffer(data, np.uint8)
    newline = raw == 10
    ends = np.flatnonzero(newline | (raw == 13))
    if not len(ends) or ends[-1] != len(raw) - 1:
        ends = np.append(ends, len(raw))
    starts = np.append(0, ends[:-1] + 1)
    before = np.cumsum(newline)[np.maximum(starts - 1, 0)] * (starts > 0)
    full = ends > starts
    return _Lines(data, starts[full], ends[full], starts[full] + offset, before[full] + first)


def _given(lines: Sequence[tuple[int, bytes]]) -> _Lines:
    """Return lines that are apart already: what is one record is one line, whatever is in it."""
    sizes = np.array([len(text) + 1 for _, text in lines])
    offsets = np.array([offset for offset, _ in lines])
    ends = np.cumsum(sizes) - 1
    data = b"".join(text + b"\n" for _, text in lines)
    return _Lines(data, ends - sizes + 1, ends, offsets, offsets + 1, told=False)


@dataclass
class _Piece:
    """Whole lines that have come at once, decoded only where it is needed. `earlier` are some from before them."""

    lines: _Lines
    when: _When
    decoder: Decoder
    earlier: tuple[_Line, ...]
    _decoded: dict[int, Decoded] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Return the number of lines."""
        return len(self.lines.starts)

    def line(self, index: int) -> _Line:
        """Return a line."""
        lines = self.lines
        start, end = int(lines.starts[index]), int(lines.ends[index])
        text = lines.data[start : min(end, start + _TEXT_BYTES)]
        number, offset = int(lines.numbers[index]), int(lines.offsets[index])
        return _Line(offset, number, text, self.when.observed_ms, self.when.arrived_ms)

    def all(self) -> Iterator[tuple[_Line, Kept]]:
        """Yield every line."""
        for index in range(self.count):
            yield self.line(index), Kept.ALL

    def worth(self, spots: Sequence[int]) -> dict[int, Kept]:
        """Return which lines are worth keeping, and why."""
        found = {_last(self.lines.starts, match.start()): Kept.LEVEL for match in _WORST.finditer(self.lines.data)}
        return found | {_last(self.lines.starts, spot): Kept.EVIDENCE for spot in spots}

    def decoded(self, line: _Line) -> Decoded:
        """Return what a line says without its prefixes."""
        if line.offset not in self._decoded:
            self._decoded[line.offset] = self.decoder(line.text)
        return self._decoded[line.offset]

    def time_ms(self, line: _Line) -> int | None:
        """Return a line's time, or, where that is meant, that of the nearest line before it that has one."""
        for one in islice(self._backwards(line), _LOOK_BACK if self.lines.told else 1):
            time_s = self.decoded(one).origin.time_s
            if time_s is not None:
                return round(time_s * 1000)
        return None

    def _backwards(self, line: _Line) -> Iterator[_Line]:
        yield line
        before = _last(self.lines.offsets, line.offset)
        yield from (self.line(index) for index in range(before - 1, -1, -1))
        yield from (one for one in reversed(self.earlier) if one.offset < line.offset)


def _last(places: Any, wanted: int) -> int:
    """Return the index of the last of some rising places that is not after a wanted one, -1 if there is none."""
    return int(np.searchsorted(places, wanted, side="right")) - 1
