"""A source that is being followed: bytes come in any cuts, and what is known of it is said as signals that grow.

What is said in the end does not depend on the cuts. The last kilobytes are scanned again with what follows them, for
a traceback may go on and a line may be half there; so are the first ones, until they are enough to know the format.
Nothing below the high-water mark is read again, so a shipper that starts over changes nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from diagnose.matching.arrivals import Arrivals
from diagnose.matching.lines import Hit
from diagnose.matching.scanner import Scanner
from diagnose.matching.segments import newlines
from diagnose.matching.signals import Clean, SourceFold, Span, signal_id
from diagnose.matching.times import edge_time
from schemas.record import SEGMENT_BYTES, WINDOW_BYTES, Chunk, Decoder, Formats, Source, Told
from schemas.signal import Heard, Signal, SourceRead, Withdrawn
from schemas.vocabulary import Kind

HEAD_BYTES: Final = 64 * 1024
"""So much of a source's beginning decides on its format."""

_AHEAD_BYTES: Final = WINDOW_BYTES // 2
_TAIL_BYTES: Final = 4096
_FIRST_SURVEYS: Final = 1024

Statement = Signal | Withdrawn | SourceRead | Heard
Digest = tuple[int, int, int, int]
"""Of a signal that was said: its last line's offset, its count, and how much there was of that line and its unit."""


@dataclass(frozen=True, slots=True)
class Matcher:
    """What following needs: the catalogue's scanner, the formats, and what makes a line fit to be shown."""

    scanner: Scanner
    formats: Formats
    clean: Clean


@dataclass(slots=True)
class Run:
    """Bytes that follow each other in the source, `start` being their place in the buffer."""

    start: int
    offset: int
    line: int


@dataclass(slots=True)
class SourceStream:
    """The state of one source.

    `data[runs[0].start:]` has been scanned but may have to be scanned again; before it lie the bytes to look back at.
    What was before is in `fold`. `high` is the high-water mark. `skipping`: the end of an over-long line is awaited.
    `said` is what was said of each signal, at `said_ms`; of what lies before `said_from` nothing can be withdrawn.
    """

    source: Source
    told: Told | None = None
    surveyed: int = 0
    data: bytes = b""
    runs: list[Run] = field(default_factory=list)
    high: int = 0
    line: int = 1
    skipping: bool = False
    fold: SourceFold = field(default_factory=SourceFold)
    said: dict[str, Digest] = field(default_factory=dict)
    said_ms: int = 0
    said_high: int = -1
    said_from: int = 0
    grown: bool = False
    first_s: float | None = None
    heard_s: float | None = None
    arrivals: Arrivals = field(default_factory=Arrivals)

    def take(self, offset: int, line: int, data: bytes) -> None:
        """Take bytes from a place in the source; what lies below the high-water mark is dropped.

        Where bytes are missing, what comes after them is scanned all the same.
        """
        fresh = data[max(0, self.high - offset) :]
        if not fresh:
            return
        at = offset + len(data) - len(fresh)
        if at != self.high or not self.runs:
            self.high, self.line = at, line + newlines(data, 0, len(data) - len(fresh))
            self._break_off()
            self.skipping = False
        self._add(fresh)
        self.grown = True

    @property
    def unsettled_bytes(self) -> int:
        """Return how much of what was taken has not been settled."""
        return len(self.data) - self.runs[0].start if self.runs else 0

    def absorb(self, matcher: Matcher) -> None:
        """Settle what can be settled, saying nothing yet: what was taken need not be kept."""
        decoder = self._decoder(matcher.formats, at_end=False)
        if self.surveyed >= HEAD_BYTES or not self._in_head():
            self._settle(matcher.scanner, decoder)

    def statements(self, matcher: Matcher, observed_ms: int, *, every_ms: int, at_end: bool) -> list[Statement]:
        """Scan what has come, and return what is new of it: new signals at once, growth at most every `every_ms`.

        Args:
            matcher: What to scan with.
            observed_ms: When the shipper read the last bytes (Unix, milliseconds).
            every_ms: How long growth may wait. It does not when the source is `at_end`, or when there is something new.
            at_end: The shipper found nothing more to read.
        """
        if at_end:
            self.heard_s = max(self.heard_s or 0.0, observed_ms / 1000)
        if not self.data:
            return [Heard(sources={self.source.name: self.heard_s})] if self.heard_s else []
        decoder = self._decoder(matcher.formats, at_end)
        if self.grown and (self.surveyed >= HEAD_BYTES or not self._in_head()):
            self._settle(matcher.scanner, decoder)
        self.grown = False
        now = self._provisional(matcher.scanner, decoder)
        return self._news(now, matcher, decoder, observed_ms, every_ms, at_end)

    def _add(self, fresh: bytes) -> None:
        """Append bytes to the buffer, without the parts of over-long lines that are not looked at."""
        while fresh:
            if self.skipping:
                fresh = self._skip(fresh)
                continue
            end = _segment_end(fresh)
            room = SEGMENT_BYTES - self._begun()
            if end <= room:
                longest = _first_long(fresh, end)
                self._append(fresh[:longest])
                fresh = fresh[longest:]
            else:
                self._append(fresh[:room])
                fresh, self.skipping = fresh[room:], True

    def _begun(self) -> int:
        """Return how much of the last line is there, if its end is not."""
        low = max(self.runs[-1].start, len(self.data) - SEGMENT_BYTES)
        return len(self.data) - max(self.data.rfind(b"\n", low), self.data.rfind(b"\r", low), low - 1) - 1

    def _append(self, taken: bytes) -> None:
        self.data += taken
        self.high += len(taken)
        self.line += newlines(taken, 0, len(taken))

    def _skip(self, fresh: bytes) -> bytes:
        """Pass over the rest of an over-long line, and return what comes after it."""
        end = _segment_end(fresh)
        self.high += end
        if end == len(fresh):
            return b""
        self._append(fresh[end : end + 1])
        self.skipping = False
        self.runs.append(Run(len(self.data), self.high, self.line))
        return fresh[end + 1 :]

    def _break_off(self) -> None:
        """Begin a new run at the high-water mark."""
        if self.data and not self.data.endswith((b"\n", b"\r")):
            self.data += b"\n"
        self.runs.append(Run(len(self.data), self.high, self.line))

    def _decoder(self, formats: Formats, at_end: bool) -> Decoder:
        """Return the decoder: the format is looked at anew whenever the head has doubled, and at the source's end."""
        size = min(len(self.data), HEAD_BYTES)
        if self.told is None or (self.surveyed < HEAD_BYTES and self._in_head()):
            wanted = size if at_end else _threshold(size)
            if self.told is None or wanted > self.surveyed:
                told, self.surveyed = formats.survey(self.source, self.data[:wanted]), wanted
                if told != self.told:  # all that was said may have to be said otherwise
                    self.said = {name: (digest[0], -1, -1, -1) for name, digest in self.said.items()}
                    self.told, self.grown = told, True
        return formats.decoder(self.told)

    def _in_head(self) -> bool:
        return self.runs[0].start == 0

    def _provisional(self, scanner: Scanner, decoder: Decoder) -> SourceFold:
        """Return the fold with what is not settled added."""
        now = self.fold.copy()
        for chunk in self._chunks(len(self.data)):
            now.add(scanner.findings(chunk, decoder))
        now.measuring.read(decoder)
        now.measure()
        return now

    def _settle(self, scanner: Scanner, decoder: Decoder) -> None:
        """Fold what has all the bytes behind it that may bear on it, and forget what need not be looked back at."""
        limit = len(self.data) - _AHEAD_BYTES
        if limit <= self.runs[0].start:
            return
        border = self.data.rfind(b"\n", self.runs[0].start, limit) + 1
        if border <= self.runs[0].start:
            return
        for chunk in self._chunks(border):
            self.fold.add(scanner.findings(chunk, decoder))
        self.fold.measuring.read(decoder)
        self.fold.measure()
        if self._in_head():
            self.first_s = edge_time(self.data[:HEAD_BYTES], decoder, from_end=False)
        self._forget(border)

    def _forget(self, border: int) -> None:
        """Begin the unsettled bytes at `border`, and drop what lies too far before it."""
        run = next(run for run in reversed(self.runs) if run.start <= border)
        lines = newlines(self.data, run.start, border)
        begun = Run(border, run.offset + border - run.start, run.line + lines)
        self.runs = [begun, *(other for other in self.runs if other.start > border)]
        dropped = max(0, border - WINDOW_BYTES)
        self.data = self.data[dropped:]
        for other in self.runs:
            other.start -= dropped

    def _chunks(self, border: int) -> Iterator[Chunk]:
        """Yield the unsettled bytes before a border: one chunk for each run."""
        ends = [*(run.start for run in self.runs[1:]), len(self.data)]
        for run, beyond in zip(self.runs, ends, strict=True):
            end = min(beyond, border)
            if end > run.start:
                lines = newlines(self.data, run.start, end)
                yield Chunk(self.data, run.start, end, run.offset, run.line, lines)

    def _news(
        self,
        now: SourceFold,
        matcher: Matcher,
        decoder: Decoder,
        observed_ms: int,
        every_ms: int,
        at_end: bool,
    ) -> list[Statement]:
        spans = {signal_id(span, self.source): span for span in now.spans()}
        if self.source.complete and not spans and not self.said:
            return []  # that it has been read matters to nobody: no run goes on in it, and nothing is waited for
        digests = {name: _digest(span) for name, span in spans.items()}
        self.arrivals.note(_read(spans, decoder), observed_ms / 1000, at_end=at_end)
        gone = [name for name in self.said if name not in spans]
        withdrawn = [name for name in gone if self.said[name][0] >= self.said_from]
        changed = [name for name, digest in digests.items() if self.said.get(name) != digest]
        is_new = bool(withdrawn) or any(name not in self.said for name in changed)
        if not (is_new or at_end or observed_ms - self.said_ms >= every_ms):
            return []
        if at_end and self.heard_s and not (changed or withdrawn) and self.said_high == self.high:
            return [Heard(sources={self.source.name: self.heard_s})]
        self.said_ms, self.said_high, self.said_from = observed_ms, self.high, self.runs[0].offset
        self.fold.settle(decoder)  # so that none of its sightings is read twice
        now.settle(decoder)
        self.said = {name: self.said[name] for name in self.said if name in spans} | {n: digests[n] for n in changed}
        ordered = sorted((spans[name] for name in changed), key=lambda s: (s.first.offset, s.first.signature.id))
        told = (now.signal(s, self.source, matcher.clean).model_copy(update={"read_to": self.high}) for s in ordered)
        signals = [self.arrivals.dated(signal.id, signal) for signal in told]
        ended = [Withdrawn(id=name, source=self.source.name, read_to=self.high) for name in sorted(withdrawn)]
        return [*ended, *signals, self._read(decoder, now)]

    def _read(self, decoder: Decoder, now: SourceFold) -> SourceRead:
        """Return how far the source is known."""
        first = edge_time(self.data, decoder, from_end=False) if self._in_head() else self.first_s
        last = edge_time(self.data[-_TAIL_BYTES:], decoder, from_end=True)
        marks = now.times_s()
        origin = self.source.origin
        return SourceRead(
            source=self.source.name,
            path=self.source.path,
            stream=self.source.stream or self.source.name,
            part=self.source.part,
            host=origin.host,
            rank=origin.rank,
            gpu=origin.gpu,
            job=origin.job,
            attempt=origin.attempt,
            placed=self.source.placed,
            lines=self.line - 1,
            bytes_read=self.high,
            first_s=min([t for t in (first, *marks) if t is not None], default=None),
            last_s=max([t for t in (last, *marks) if t is not None], default=None),
            heard_s=self.heard_s,
            complete=self.source.complete,
            levels=now.measuring.levels(),
        )


def _read(spans: dict[str, Span], decoder: Decoder) -> dict[str, Span]:
    """Return the stretches of progress among spans, read so far that it is known whether they tell times."""
    moving = {name: span for name, span in spans.items() if span.first.signature.kind is Kind.PROGRESS}
    for span in moving.values():
        span.settle(decoder)
    return moving


def _digest(span: Span) -> Digest:
    last = span.last
    if isinstance(last, Hit):
        return (
            last.offset,
            span.count,
            len(last.text) + len(last.captures),
            last.unit[1] - last.unit[0] if last.unit else 0,
        )
    return last.offset, span.count, len(last.segment), 0


def _threshold(size: int) -> int:
    """Return the largest doubling of a kilobyte that is not above a size, or the size where it is smaller."""
    return size if size < _FIRST_SURVEYS else 1 << (size.bit_length() - 1)


def _segment_end(data: bytes) -> int:
    """Return where the first line end is in some bytes, or their length."""
    newline = data.find(b"\n")
    newline = len(data) if newline < 0 else newline
    carriage = data.find(b"\r", 0, newline)
    return newline if carriage < 0 else carriage


def _first_long(data: bytes, end: int) -> int:
    """Return how many bytes can be taken before a line that is too long, the first line ending at `end`."""
    at = end
    while len(data) - at > SEGMENT_BYTES:
        beyond = at + SEGMENT_BYTES + 1
        found = max(data.rfind(b"\n", at, beyond), data.rfind(b"\r", at, beyond))
        if found <= at:
            break
        at = found
    return at + 1 if len(data) - at > SEGMENT_BYTES else len(data)
