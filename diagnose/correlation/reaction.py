"""The reaction: compares what has been said of a cluster's incidents with what now holds, and says the difference.

It is level-triggered: a half-written batch, a crash and a redelivery are one case, for the next tick says what is
missing. It reads no clock: the cluster's time is that of its last tick.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from diagnose.correlation.causes import cause_graph
from diagnose.correlation.cluster import Cluster
from diagnose.correlation.components import Component, components
from diagnose.correlation.difference import Wanted, changes, opening
from diagnose.correlation.evidence import Resolve
from diagnose.correlation.silence import HANG, Heard, Silence, due_s
from diagnose.correlation.telling import Teller, Told
from diagnose.correlation.whereabouts import whereabouts
from diagnose.learning.record import Record, record_of, weighed
from schemas.detect import Score
from schemas.events import Event
from schemas.history import Happening, IncidentHistory, IncidentMerged, IncidentResolved, State
from schemas.signal import derived_id
from schemas.verdict import IncidentJudged, subject_of

Spot = tuple[str, str, int]
"""Where a signature was seen first: its id, the source, the offset. The signal there stays, whatever joins it."""

GONE: Final = "what it rested on has found another explanation"
MOVES: Final = "the run makes progress again"
LIKE_PEERS: Final = "its numbers are those of its peers again"


@dataclass(frozen=True)
class _Looked:
    """A component that was looked at: what of it decided, what happened to it, and which silence may become a hang."""

    state: object
    told: list[Told]
    waits_for: Silence | None


@dataclass
class Correlator:
    """Reacts to ticks. What it remembers between them only saves time.

    `settle_s`: how long an incident must have been quiet before its diagnosis is settled.
    """

    resolve: Resolve
    settle_s: float = 30.0
    _known: dict[tuple[str | None, tuple[str, ...]], _Looked] = field(default_factory=dict)
    _judged: tuple[set[str], Record] = field(default_factory=lambda: (set(), {}))

    def follow(self, cluster: Cluster, fact: Event) -> list[Event]:
        """Let a cluster take in a fact; if it is the next tick, return what is said at it, taken in as well."""
        before = cluster.tick
        cluster.apply(fact)
        said = self.react(cluster) if cluster.tick > before else []
        for event in said:
            cluster.apply(event)
        return said

    def react(self, cluster: Cluster) -> list[Event]:
        """Return what is to be said at the cluster's last tick. The caller applies and appends it."""
        record = self._record(cluster)
        wanted = [Wanted(_weighed(told, record), job) for job, own in self._told(cluster) for told in own]
        spots = [set(_spots(one.told)) for one in wanted]
        owners = _owners(cluster, wanted, spots)
        said: list[Event] = []
        for at, one in enumerate(wanted):
            said += self._about(cluster, one, owners.pop(at, []))
        for incident in owners.pop(-1, []):
            if incident.state is State.OPEN:
                said += _events(cluster, incident, [IncidentResolved(reason=self._why_gone(incident))])
        return [*said, *_judged(cluster)]

    def due_s(self, cluster: Cluster) -> float | None:
        """Return when there is something to say if nothing comes before that, `None` where nothing is waited for.

        A diagnosis settles, or a run has been silent for too long and was heard so late.
        """
        unsettled = (i.touched_s for i in cluster.incidents.values() if i.state is State.OPEN and not i.settled)
        due = [t + self.settle_s for t in unsettled if t is not None]
        sources = cluster.sources.values()
        waiting = (looked.waits_for for looked in self._known.values() if looked.waits_for)
        due += [t for silence in waiting if (t := due_s(silence, sources, cluster.moved_s)) is not None]
        return min(due, default=None)

    def _about(self, cluster: Cluster, one: Wanted, own: Sequence[IncidentHistory]) -> Iterator[Event]:
        """Yield what is to be said of one thing that happened, `own` being the incidents that it was told as."""
        if not own:
            if one.worth_opening:
                incident = IncidentHistory(id=self._name(cluster, one))
                yield from _events(cluster, incident, opening(one, cluster.time_s))
            return
        kept, *others = own
        yield from _events(cluster, kept, changes(kept, one, cluster.time_s, self.settle_s))
        for other in others:
            if other.state is State.OPEN:
                yield from _events(cluster, other, [IncidentMerged(into=kept.id)])

    def _name(self, cluster: Cluster, one: Wanted) -> str:
        """Return the id of a new incident: of cluster, job, attempt and ordinal, or of where it was seen first."""
        if one.job is None:
            return derived_id(cluster.name, one.component, one.first_signal)
        same = [
            incident
            for incident in cluster.incidents.values()
            if incident.opened and (incident.opened.job, incident.opened.attempt) == (one.job, one.told.attempt + 1)
        ]
        return derived_id(cluster.name, one.job, one.told.attempt, len(same), one.first_signal)

    def _told(self, cluster: Cluster) -> Iterator[tuple[str | None, list[Told]]]:
        """Yield what happened to each component that has signals, looking anew only at what has changed."""
        read = cluster.sources.values()
        known_at = whereabouts(read, (s for own in cluster.signals.values() for s in own.values()))
        signals = {source: [known_at.of(s) for s in own.values()] for source, own in cluster.signals.items()}
        known, self._known = self._known, {}
        heard = Heard(cluster.time_s, cluster.moved_s, frozenset(_said_hangs(cluster)))
        for component in components([known_at.at(s) for s in read], signals, cluster.placements):
            if not component.told.signals:
                continue
            key, state = (component.job, component.members), _fingerprint(component)
            looked = known.get(key)
            if looked is None or looked.state != state or self._is_due(cluster, looked.waits_for):
                looked = self._looked_at(component, heard, state)
            self._known[key] = looked
            yield component.job, looked.told

    def _record(self, cluster: Cluster) -> Record:
        """Return the record that verdicts make of signatures, looking anew only when there are others."""
        if self._judged[0] != cluster.judged.keys():
            self._judged = set(cluster.judged), record_of(cluster.judged.items())
        return self._judged[1]

    def _looked_at(self, component: Component, heard: Heard, state: object) -> _Looked:
        teller = Teller(component.told, self.resolve, cause_graph(), heard)
        told = [one for one in teller.told() if one.ranking is not None]
        return _Looked(state, told, teller.waits_for)

    def _why_gone(self, incident: IncidentHistory) -> str:
        signature = incident.diagnosed.diagnosis.signature if incident.diagnosed else ""
        try:
            detect = self.resolve(signature).detect
        except KeyError:  # a rule that is not there any more
            return GONE
        compares = detect is not None and detect.score is Score.PEERS
        return MOVES if signature == HANG else LIKE_PEERS if compares else GONE

    def _is_due(self, cluster: Cluster, silence: Silence | None) -> bool:
        at_s = due_s(silence, cluster.sources.values(), cluster.moved_s) if silence else None
        return at_s is not None and cluster.time_s >= at_s


def _fingerprint(component: Component) -> object:
    job = component.told
    return (
        [(s.source, s.lines, s.first_s, s.last_s) for s in job.sources],
        [(s.id, s.read_to) for s in job.signals],
    )


def _weighed(told: Told, record: Record) -> Told:
    diagnosis = weighed(told.diagnosis, record)
    return told if diagnosis is told.diagnosis else replace(told, diagnosis=diagnosis)


def _said_hangs(cluster: Cluster) -> Iterator[tuple[str, int]]:
    """Yield the lines after which a run was said to make no progress any more, unless it was seen to do so later."""
    for incident in cluster.incidents.values():
        for evidence in incident.evidence.values() if incident.state is not State.RESOLVED else ():
            if evidence.signature == HANG:
                yield evidence.first.source, evidence.first.offset_bytes


def _spots(told: Told) -> Iterator[Spot]:
    for finding in told.findings:
        for entry in finding.entries:
            signal = entry.signal
            yield signal.signature, signal.source, signal.first.offset_bytes


def _owners(cluster: Cluster, wanted: Sequence[Wanted], spots: Sequence[set[Spot]]) -> dict[int, list[IncidentHistory]]:
    """Return which incidents each thing that happened was told as, the one that goes on first; -1 for none."""
    at_spot: dict[Spot, list[int]] = defaultdict(list)
    for at, own in enumerate(spots):
        for spot in own:
            at_spot[spot].append(at)
    owners: dict[int, list[IncidentHistory]] = defaultdict(list)
    for incident in _in_order(cluster.incidents.values()):
        owners[_best(incident, wanted, at_spot)].append(incident)
    return owners


def _best(incident: IncidentHistory, wanted: Sequence[Wanted], at_spot: Mapping[Spot, Sequence[int]]) -> int:
    """Return the thing that an incident tells of: by its cause, else by most of its evidence."""
    score: dict[int, tuple[int, int]] = defaultdict(lambda: (0, 0))
    cause = incident.diagnosed.diagnosis.signature if incident.diagnosed else ""
    for evidence in incident.evidence.values():
        spot = (evidence.signature, evidence.first.source, evidence.first.offset_bytes)
        for at in at_spot.get(spot, ()):
            is_cause = evidence.signature == cause == wanted[at].told.diagnosis.signature
            before = score[at]
            score[at] = (before[0] or int(is_cause), before[1] + 1)
    return max(score, key=lambda at: (*score[at], -at), default=-1)


def _in_order(incidents: Iterable[IncidentHistory]) -> list[IncidentHistory]:
    """Return incidents that are not merged: the open ones first, the oldest first."""
    live = (incident for incident in incidents if incident.state is not State.MERGED)
    return sorted(live, key=lambda i: (i.state is not State.OPEN, i.opened_s or 0.0, i.id))


def _judged(cluster: Cluster) -> Iterator[Event]:
    """Yield what people have said of incidents and has not been said of these. They may be forgotten here by now."""
    for verdict in sorted(cluster.verdicts.values(), key=lambda one: (one.at_s, one.id)):
        told = IncidentJudged(**{name: getattr(verdict, name) for name in IncidentJudged.model_fields})
        name = derived_id("judged", cluster.name, verdict.id)
        yield Event(name, cluster.name, subject_of(verdict.incident, verdict.id), cluster.time_s, told, 1)


def _events(cluster: Cluster, incident: IncidentHistory, happenings: Iterable[Happening]) -> list[Event]:
    """Return happenings as the next events of an incident."""
    return [
        Event(
            id=derived_id("event", incident.id, sequence),
            cluster=cluster.name,
            subject=incident.id,
            time_s=cluster.time_s,
            data=happening,
            sequence=sequence,
        )
        for sequence, happening in enumerate(happenings, incident.sequence + 1)
    ]
