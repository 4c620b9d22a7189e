"""Following: bytes go to a source stream in any cuts, and what it says in the end is compared with one reading."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field

from made import resolve

from diagnose.matching.keeping import kept, restored
from diagnose.matching.scanner import Scanner
from diagnose.matching.stream import Matcher, SourceStream, Statement
from ingest.decode import LogFormats
from schemas.record import Source
from schemas.signal import Signal, SourceRead, Withdrawn

SOURCE = Source("gpu-03:/logs/train.log", ("logs", "train.log"), key="c gpu-03 /logs/train.log 1")
EVERY_MS = 5_000


def matcher(scanner: Scanner) -> Matcher:
    return Matcher(scanner, LogFormats(), lambda line: line.decode("utf-8", "replace"))


@dataclass
class Follower:
    """Follows a source, and knows what holds of all that was said."""

    matcher: Matcher
    source: Source = SOURCE
    stream: SourceStream = field(init=False)
    holds: dict[str, Signal] = field(default_factory=dict)
    read: SourceRead | None = None
    now_ms: int = 1_764_000_000_000

    def __post_init__(self) -> None:
        self.stream = SourceStream(self.source)

    def take(
        self, offset: int, line: int, data: bytes, *, at_end: bool = False, later_ms: int = 100
    ) -> list[Statement]:
        """Take bytes, and return what is said then."""
        self.now_ms += later_ms
        self.stream.take(offset, line, data)
        said = self.stream.statements(self.matcher, self.now_ms, every_ms=EVERY_MS, at_end=at_end)
        for one in said:
            if isinstance(one, Signal):
                self.holds[one.id] = one
            elif isinstance(one, Withdrawn):
                del self.holds[one.id]
            elif isinstance(one, SourceRead):
                self.read = one
        return said

    def cut(self, data: bytes, cuts: Iterable[int], restarts: frozenset[int] = frozenset()) -> None:
        """Take all of some bytes, cut at places; at some of these another process takes over."""
        places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
        for begin, end in zip(places, [*places[1:], len(data)], strict=True):
            self.take(begin, 1 + data.count(b"\n", 0, begin), data[begin:end], at_end=end == len(data))
            if begin in restarts:
                self.restart()

    def restart(self) -> None:
        """Let another process take over, with nothing but the state that was kept."""
        state = json.loads(json.dumps(kept(self.stream, self.matcher.formats)))
        self.stream = restored(state, resolve)

    @property
    def signals(self) -> list[Signal]:
        """Return what holds, as one reading of the whole would say it."""
        plain = (signal.model_copy(update={"read_to": 0}) for signal in self.holds.values())
        return sorted(plain, key=lambda s: (s.first.offset_bytes, s.signature, s.last.offset_bytes))
