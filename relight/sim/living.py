"""Living: a simulation through the living core, in process and on event time: what is told, and at which tick.

Lines come when they reach their files, heartbeats of shippers in between, and a tick where there is something to
decide. Nothing else is left out but the topics.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Final

from pydantic import BaseModel

from diagnose.correlation.cluster import Cluster
from diagnose.correlation.reaction import Correlator
from diagnose.matching.lines import Hit
from diagnose.matching.stream import Matcher, SourceStream
from relight.sim.writing import Text
from relight.stages.sources import key_of, source_of
from schemas.events import Event
from schemas.history import DiagnosisRevised, IncidentHistory
from schemas.record import Chunk
from schemas.shipped import Shipped
from schemas.signal import Heard, Tick
from schemas.vocabulary import Kind

TICK_S: Final = 2.0
"""How often it is looked whether something has come."""
HEARTBEAT_S: Final = 6.0
"""How often shippers say that they have found nothing new."""
EVERY_MS: Final = 5_000
_ROOT: Final = "/var/log/sim"


@dataclass(frozen=True, slots=True)
class Telling:
    """An incident as it stood at a tick (Unix, seconds) at which it was opened, or its diagnosis became another."""

    time_s: float
    incident: IncidentHistory


class Followed:
    """A file that grows. `telling` are the times (Unix, seconds) at which a line comes that may matter."""

    def __init__(self, text: Text, cluster: str, matcher: Matcher) -> None:
        """Take a file of a simulation."""
        told = Shipped(
            cluster=cluster,
            host=text.host,
            stream=f"{_ROOT}/{text.path}",
            generation="sim",
            offset_bytes=0,
            line=1,
            observed_ms=int(text.lines[0][0] * 1000) if text.lines else 0,
        )
        self.stream = SourceStream(source_of(told, key_of(told), trusted=True))
        self._times = [time_s for time_s, _ in text.lines]
        self._data = "".join(f"{line}\n" for _, line in text.lines).encode()
        self._ends = [*accumulate(len(line.encode()) + 1 for _, line in text.lines)]
        self._at = 0
        self.telling = [self._times[at] for at in sorted(self._telling(matcher))]

    @property
    def name(self) -> str:
        """Return what signals call it."""
        return self.stream.source.name

    def until(self, now_s: float, matcher: Matcher) -> list[BaseModel]:
        """Follow it up to a time, and return what is said of it then."""
        at = bisect_right(self._times, now_s)
        begin = self._ends[self._at - 1] if self._at else 0
        if at > self._at:
            self.stream.take(begin, self._at + 1, self._data[begin : self._ends[at - 1]])
            self._at = at
        return [*self.stream.statements(matcher, int(now_s * 1000), every_ms=EVERY_MS, at_end=True)]

    def _telling(self, matcher: Matcher) -> set[int]:
        """Return the lines, from 0, that the catalogue knows; of progress all from the first one to the last."""
        if not self._data:
            return set()
        decoder = matcher.formats.decoder(matcher.formats.survey(self.stream.source, self._data[: 64 * 1024]))
        found: set[int] = set()
        for one in matcher.scanner.findings(Chunk(self._data, 0, len(self._data), 0, 1, len(self._times)), decoder):
            if isinstance(one, Hit):
                found |= {self._line(offset) for offset in (*one.likewise, one.offset)}
            elif one.first is not None and one.last is not None:
                first, last = self._line(one.first.offset), self._line(one.last.offset)
                found |= set(range(first, last + 1)) if one.signature.kind is Kind.PROGRESS else {first, last}
        return found

    def _line(self, offset: int) -> int:
        return bisect_right(self._ends, offset)


@dataclass
class Living:
    """The living core of a simulated cluster. `tellings` is what it has told so far."""

    correlator: Correlator
    matcher: Matcher
    cluster: Cluster
    tellings: list[Telling] = field(default_factory=list)
    ticks: int = 0

    def live(self, texts: Iterable[Text], until_s: float) -> list[Telling]:
        """Live through the lines of a simulation, and on to a time (Unix, seconds). Returns what was told."""
        followed = [Followed(text, self.cluster.name, self.matcher) for text in texts]
        due: dict[int, list[Followed]] = defaultdict(list)
        for one in followed:
            for beat in dict.fromkeys(int(time_s // TICK_S) + 1 for time_s in one.telling):
                due[beat].append(one)
        if due:
            last = max(int(until_s // TICK_S), max(due))
            for beat in range(min(due), last + 1):
                self._beat(beat, due.get(beat, ()))
        return self.tellings

    def _beat(self, beat: int, followed: Sequence[Followed]) -> None:
        now_s = beat * TICK_S
        for one in followed:
            self._learn(one.until(now_s, self.matcher))
        resting = beat % int(HEARTBEAT_S // TICK_S) == 0
        if resting and self.cluster.moved_s:
            self._learn([Heard(sources=dict.fromkeys(self.cluster.moved_s, now_s))])
        if self.cluster.fresh or (resting and self._is_due(now_s)):
            self._tick(now_s)

    def _is_due(self, now_s: float) -> bool:
        due_s = self.correlator.due_s(self.cluster)
        return due_s is not None and due_s <= now_s

    def _learn(self, facts: Iterable[BaseModel]) -> None:
        for fact in facts:
            self.cluster.apply(Event("sim", self.cluster.name, "sim", None, fact))

    def _tick(self, now_s: float) -> None:
        self.ticks += 1
        tick = Tick(number=self.cluster.tick + 1, time_s=now_s)
        said = self.correlator.follow(self.cluster, Event("sim", self.cluster.name, "sim", now_s, tick))
        revised = dict.fromkeys(event.subject for event in said if isinstance(event.data, DiagnosisRevised))
        self.tellings += [Telling(now_s, self.cluster.incidents[name]) for name in revised]
