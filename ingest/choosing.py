"""Chooses the lines of a followed source that a store keeps, and reads them: all, or those around what is worth it.

Which lines are chosen, and their times, do not depend on how chunks were cut. What is evidence is told from outside.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any, Final, Self

from ingest.redaction import shown
from ingest.whole_lines import Heard, Line, Lines, Piece, When, cut, given
from schemas.record import Decoder, Formats, LogRecord, Source, Told
from schemas.vocabulary import Kept

NEAR_MS: Final = 60_000
"""Lines are near each other only if they came to the log within this time: what is older need not be remembered."""

HEAD_BYTES: Final = 64 * 1024

State = dict[str, Any]
"""The state of a source as JSON can hold it."""

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


@dataclass
class SourceLines:
    """The lines of one source. `key` is what the ids of its lines derive from; `told` its format, once that is known.

    `before` are the last lines that were not chosen, and `after` is how many are still wanted behind one that was, if
    they come until `after_ms`. `heard` is the last time that a line told. `seen_ms` is when something came last.
    """

    source: Source
    cluster: str
    key: str
    told: Told | None = None
    surveyed: int = 0
    head: bytes = b""
    high: int = -1
    before: deque[Line] = field(default_factory=deque)
    after: int = 0
    after_ms: int = 0
    heard: Heard | None = None
    seen_ms: int = 0

    @classmethod
    def restored(cls, source: Source, cluster: str, key: str, state: State) -> Self:
        """Return the lines of a source with the state that was kept of it; `source` is as it is told now."""
        fields = dict(state)
        source = replace(source, modified_s=fields.pop("modified_s"))
        before = deque(Line(at, number, text.encode("latin-1"), *ms) for at, number, text, *ms in fields.pop("before"))
        heard = Heard(*told) if (told := fields.pop("heard")) else None
        head = fields.pop("head").encode("latin-1")
        return cls(source, cluster, key, head=head, before=before, heard=heard, **fields)

    def state(self) -> State:
        """Return the state, so that another process goes on with it as this one would."""
        return {
            "modified_s": self.source.modified_s,
            "told": self.told,
            "surveyed": self.surveyed,
            "head": self.head.decode("latin-1"),
            "high": self.high,
            "before": [
                [one.offset, one.number, one.text.decode("latin-1"), one.observed_ms, one.arrived_ms, one.time_ms]
                for one in self.before
            ],
            "after": self.after,
            "after_ms": self.after_ms,
            "heard": self.heard and [self.heard.time_ms, self.heard.ago],
            "seen_ms": self.seen_ms,
        }

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
            self.after, self.heard = 0, None
        self.high = offset + len(data)
        when = When(observed_ms, arrived_ms)
        yield from self._kept(chooser, cut(data, offset, line), when)

    def take_records(
        self, chooser: Chooser, lines: Sequence[tuple[int, bytes]], observed_ms: int
    ) -> Iterator[LogRecord]:
        """Take lines that came one a record, each with its record's offset, which stands for its place and number."""
        fresh = [(offset, text) for offset, text in lines if offset >= self.high]
        if fresh:
            self.high = fresh[-1][0] + 1
            yield from self._kept(chooser, given(fresh), When(observed_ms, observed_ms))

    def _kept(self, chooser: Chooser, lines: Lines, when: When) -> Iterator[LogRecord]:
        self._forget(when.arrived_ms)
        decoder = self._decoder(chooser.formats, lines.data)
        piece = Piece(lines, when, decoder, self.heard)
        if chooser.choice.every:
            kept = piece.all()
        else:
            kept = self._near(piece, chooser.spots(lines.data, decoder), chooser.choice.around)
        for one, why in kept:
            yield self._record(one, why, piece)
        self.heard = piece.last_heard()

    def _forget(self, arrived_ms: int) -> None:
        """Forget lines that nothing that comes from now on is near to."""
        while self.before and self.before[0].arrived_ms < arrived_ms - NEAR_MS:
            self.before.popleft()

    def _near(self, piece: Piece, spots: Sequence[int], around: int) -> Iterator[tuple[Line, Kept]]:
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
        self.before.extend(piece.remembered(i) for i in range(max(last, piece.count - around), piece.count))
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

    def _record(self, line: Line, why: Kept, piece: Piece) -> LogRecord:
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
