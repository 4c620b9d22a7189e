"""The state of one cluster: what has been read of its logs, and what has been said of its incidents. A fold of facts.

Facts may come twice and in any order between sources: of two statements the one that knew more of its source holds.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import BaseModel, TypeAdapter

from schemas.events import Event
from schemas.history import Happening, IncidentHistory
from schemas.signal import Heard, Placement, Signal, SourceRead, Tick, Withdrawn
from schemas.verdict import IncidentJudged, Verdict, VerdictAdmitted, verdict_of
from schemas.vocabulary import Kind

VERSION: Final = 2
"""Rises when what is kept changes: a state of another version is rebuilt from the beginning."""

FORGET_S: Final = 7 * 86_400.0
FORGET_TICKS: Final = 256
"""So many ticks pass from one look for what can be forgotten to the next."""

JUDGED: Final = 10_000
"""So many verdicts count, the last ones: what was wrong long ago may have been mended."""

_PLACEMENTS: Final = TypeAdapter(list[Placement])


@dataclass(slots=True)
class Cluster:
    """What is known of a cluster. `apply` changes it in place.

    `fresh` tells whether anything has been learned since the last tick; `touched_s` when each source was heard of last,
    `moved_s` when it was found to have made progress last. `verdicts` were admitted and are to be said of their
    incidents; `judged` have been said.
    """

    name: str
    sources: dict[str, SourceRead] = field(default_factory=dict)
    signals: dict[str, dict[str, Signal]] = field(default_factory=lambda: defaultdict(dict))
    withdrawn: dict[str, int] = field(default_factory=dict)
    placements: list[Placement] = field(default_factory=list)
    incidents: dict[str, IncidentHistory] = field(default_factory=dict)
    tick: int = 0
    time_s: float = 0.0
    fresh: bool = False
    touched_s: dict[str, float] = field(default_factory=dict)
    moved_s: dict[str, float] = field(default_factory=dict)
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    judged: dict[str, IncidentJudged] = field(default_factory=dict)

    def apply(self, event: Event) -> None:
        """Take in a fact. What is known already changes nothing."""
        match event.data:
            case Signal():
                self._signal(event.data)
            case Withdrawn():
                self._withdraw(event.data)
            case SourceRead():
                self._source(event.data)
            case Heard():
                for name, heard_s in event.data.sources.items():
                    self._heard(name, heard_s)
            case Placement() if event.data not in self.placements:
                self.placements.append(event.data)
                self.fresh = True
            case Tick() if event.data.number == self.tick + 1:
                self._tick(event.data)
            case VerdictAdmitted():
                self._admit(event.data.verdict)
            case _ if event.sequence is not None:
                self._happened(event, event.sequence)

    def _tick(self, tick: Tick) -> None:
        if not self.tick:  # before it no time was known, so nothing is older than it
            self.touched_s = dict.fromkeys(self.touched_s, tick.time_s)
            self.moved_s = dict.fromkeys(self.moved_s, tick.time_s)
        self.tick, self.time_s, self.fresh = tick.number, max(self.time_s, tick.time_s), False
        if self.tick % FORGET_TICKS == 0:
            self._forget()

    def _signal(self, signal: Signal) -> None:
        self.touched_s[signal.source] = self.time_s
        own = self.signals[signal.source]
        known = own.get(signal.id)
        stale = known is not None and known.read_to > signal.read_to
        if not stale and known != signal and self.withdrawn.get(signal.id, -1) < signal.read_to:
            own[signal.id] = signal
            self.fresh = True
            if signal.kind is Kind.PROGRESS:
                self.moved_s[signal.source] = self.time_s

    def _withdraw(self, withdrawn: Withdrawn) -> None:
        own = self.signals[withdrawn.source]
        known = own.get(withdrawn.id)
        self.withdrawn[withdrawn.id] = max(withdrawn.read_to, self.withdrawn.get(withdrawn.id, 0))
        if known is not None and known.read_to < withdrawn.read_to:
            del own[withdrawn.id]
            self.fresh = True

    def _source(self, source: SourceRead) -> None:
        self.touched_s[source.source] = self.time_s
        known = self.sources.get(source.source)
        if known is None or known.bytes_read <= source.bytes_read:
            self.sources[source.source] = source
            self.fresh = self.fresh or known is None or known.bytes_read < source.bytes_read
        if known is not None and known.heard_s is not None:
            self._heard(source.source, known.heard_s)

    def _heard(self, name: str, heard_s: float) -> None:
        known = self.sources.get(name)
        if known is not None:
            self.touched_s[name] = self.time_s
        if known is not None and (known.heard_s is None or known.heard_s < heard_s):
            self.sources[name] = known.model_copy(update={"heard_s": heard_s})

    def _happened(self, event: Event, sequence: int) -> None:
        """Take in an event of an incident, in its turn, or of a verdict on one."""
        if isinstance(event.data, IncidentJudged):
            self._judge(verdict_of(event.subject), event.data)
            return
        incident = self.incidents.get(event.subject, IncidentHistory(id=event.subject))
        if incident.sequence + 1 == sequence and isinstance(event.data, Happening):
            self.incidents[event.subject] = incident.after(event.data, event.time_s or 0.0)

    def _admit(self, verdict: Verdict) -> None:
        if verdict.id not in self.judged and verdict.id not in self.verdicts:
            self.verdicts[verdict.id] = verdict
            self.fresh = True

    def _judge(self, name: str, judged: IncidentJudged) -> None:
        """Take in what has been said of an incident; what was said long before counts no more."""
        self.verdicts.pop(name, None)
        self.judged[name] = judged
        if len(self.judged) > JUDGED:
            del self.judged[min(self.judged, key=lambda one: (self.judged[one].at_s, one))]

    def _forget(self) -> None:
        """Forget sources of which nothing has come for a week, and incidents that rest on none but these.

        A part of a stream or of a job that still goes on is kept: in it may be how that began. The events of what is
        forgotten stay in the topic; nothing more is said of it.
        """
        silent = {name for name, at in self.touched_s.items() if self.time_s - at > FORGET_S}
        if not silent:
            return
        alive = {key for name in self.touched_s.keys() - silent for key in self._belongings(name)}
        old = {name for name in silent if not self._belongings(name) & alive}
        gone = {key for name in old for key in self.signals.pop(name, {})}
        self.withdrawn = {key: read_to for key, read_to in self.withdrawn.items() if key not in gone}
        for name in old:
            self.sources.pop(name, None)
            del self.touched_s[name]
            self.moved_s.pop(name, None)
        for incident in list(self.incidents.values()):
            if all(evidence.first.source in old for evidence in incident.evidence.values()):
                del self.incidents[incident.id]

    def _belongings(self, name: str) -> set[tuple[str, str]]:
        """Return the stream and the jobs that a source is a part of."""
        told: list[SourceRead | Signal] = [*self.signals.get(name, {}).values()]
        if name in self.sources:
            told.append(self.sources[name])
        return {("stream", one.stream) for one in told} | {("job", one.job) for one in told if one.job}

    def kept(self) -> dict[str, Any]:
        """Return the state as JSON can hold it."""
        return {
            "name": self.name,
            "sources": _plain(self.sources),
            "signals": {source: _plain(own) for source, own in self.signals.items() if own},
            "withdrawn": self.withdrawn,
            "placements": [placed.model_dump(mode="json") for placed in self.placements],
            "incidents": _plain(self.incidents),
            "tick": self.tick,
            "time_s": self.time_s,
            "fresh": self.fresh,
            "touched_s": self.touched_s,
            "moved_s": self.moved_s,
            "verdicts": _plain(self.verdicts),
            "judged": _plain(self.judged),
        }

    @classmethod
    def restored(cls, state: dict[str, Any]) -> "Cluster":
        """Return the cluster whose state was kept.

        Raises:
            ValueError: it is of another version.
        """
        signals: dict[str, dict[str, Signal]] = defaultdict(dict)
        for source, own in state["signals"].items():
            signals[source] = {name: Signal.model_validate(fields) for name, fields in own.items()}
        return cls(
            **state
            | {
                "sources": {name: SourceRead.model_validate(fields) for name, fields in state["sources"].items()},
                "signals": signals,
                "placements": _PLACEMENTS.validate_python(state["placements"]),
                "incidents": {n: IncidentHistory.model_validate(fields) for n, fields in state["incidents"].items()},
                "verdicts": {n: Verdict.model_validate(fields) for n, fields in state.get("verdicts", {}).items()},
                "judged": {n: IncidentJudged.model_validate(fields) for n, fields in state.get("judged", {}).items()},
            }
        )


def _plain(models: Mapping[str, BaseModel]) -> dict[str, Any]:
    return {name: model.model_dump(mode="json") for name, model in models.items()}
