"""A living cluster: facts come one by one, ticks in between, and what is said of incidents is kept in order."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from made import BEGIN_S, read, resolve
from pydantic import BaseModel

from diagnose.correlation.cluster import Cluster
from diagnose.correlation.reaction import Correlator
from schemas.events import Event, decoded, encoded
from schemas.history import IncidentHistory
from schemas.signal import Signal, Tick

SETTLE_S = 30.0


@dataclass
class Living:
    """What the stage does around the core. `said` are the events of incidents as bytes."""

    cluster: Cluster = field(default_factory=lambda: Cluster("c"))
    correlator: Correlator = field(default_factory=lambda: Correlator(resolve, SETTLE_S))
    said: list[bytes] = field(default_factory=list)

    def learn(self, *facts: BaseModel) -> "Living":
        """Take in facts."""
        for fact in facts:
            self.cluster.apply(Event("x", "c", "s", None, fact))
        return self

    def story(self, *signals: Signal, at: float) -> list[str]:
        """Take in signals with their sources, and let a tick pass `at` seconds into the story."""
        known = [s for own in self.cluster.signals.values() for s in own.values()]
        self.learn(
            *signals,
            *(read(name, [*known, *signals], placed=False) for name in dict.fromkeys(s.source for s in signals)),
        )
        return self.tick(at)

    def tick(self, at: float) -> list[str]:
        """Let a tick pass, and return the types of the events that it gives."""
        time_s = BEGIN_S + at
        tick = Event("t", "c", "c", time_s, Tick(number=self.cluster.tick + 1, time_s=time_s))
        self.cluster.apply(tick)
        return self.react()

    def react(self) -> list[str]:
        """React to the last tick, and return the types of the events that it gives."""
        events = self.correlator.react(self.cluster)
        for event in events:
            self.said.append(encoded(event))
            self.cluster.apply(decoded(self.said[-1]))
        return [event.type.name for event in events]

    def incidents(self, state: str = "open") -> list[IncidentHistory]:
        """Return the incidents in a state."""
        return [i for i in self.cluster.incidents.values() if i.state == state]

    @property
    def only(self) -> IncidentHistory:
        """Return the only incident that is not merged into another."""
        (incident,) = [i for i in self.cluster.incidents.values() if i.state != "merged"]
        return incident


def gist(incidents: Iterable[IncidentHistory]) -> list[tuple[object, ...]]:
    """Return what matters of incidents, whatever the way to it: what, where, who, and where it stands."""
    found = []
    for incident in incidents:
        assert incident.diagnosed is not None
        diagnosis = incident.diagnosed.diagnosis
        keys = tuple(sorted(incident.evidence))
        found.append((diagnosis.signature, str(diagnosis.first_cause), diagnosis.culprit.name, incident.state, keys))
    return sorted(found)
