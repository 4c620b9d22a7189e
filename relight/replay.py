"""`relight replay`: rebuilds incidents and decisions about them from the topics, and says where they differ.

Nothing is written: neither events nor commands.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, get_args

from diagnose.correlation.cluster import Cluster
from diagnose.correlation.evidence import Resolve
from diagnose.correlation.reaction import Correlator
from relight.catalogue import resolver
from relight.scanning import known
from relight.stages.remedies import Restored
from relight.stages.sources import Sources, matcher
from relight.topics import INCIDENTS, LOGS, SIGNALS
from relight.transports.port import EventLog, Partition, Record
from relight.transports.reading import batches
from remediate.planner import Planner
from schemas.events import Event, NotAnEvent, decoded, encoded
from schemas.history import Happening, IncidentHistory, State
from schemas.playbook import Playbook
from schemas.remedy import BreakerClosed, BreakerOpened, Doing
from schemas.signal import Tick

_DECIDED: Final = (*get_args(Doing), BreakerOpened, BreakerClosed)
_AT_REST_S: Final = 365 * 86_400.0


@dataclass(frozen=True)
class Difference:
    """An incident that is not what it was: in words, before and after; `None` where there is none."""

    cluster: str
    incident: str
    before: str | None
    after: str | None

    def __str__(self) -> str:
        """Return it as one line."""
        if self.before is None:
            return f"{self.incident[:8]} would be opened: {self.after}"
        if self.after is None:
            return f"{self.incident[:8]} would not be opened; it was {self.before}"
        return f"{self.incident[:8]} was {self.before}; it would be {self.after}"


@dataclass
class Replayed:
    """What a replay has found. `events` and `incidents` count what was rebuilt, `same` the events with the same bytes.

    `missing` counts the records at the beginning of the input that are not kept any more. `decided` counts the events
    of recovery commands that were decided anew, `decided_alike` those with the same bytes.
    """

    incidents: int = 0
    events: int = 0
    same: int = 0
    missing: int = 0
    decided: int = 0
    decided_alike: int = 0
    differences: list[Difference] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        """Yield what was found, for people."""
        if self.missing:
            yield f"{self.missing} records at the beginning are not kept any more: what rests on them may differ."
        yield from map(str, self.differences)
        if self.events:
            yield f"{self.incidents} incidents, {self.events} events rebuilt: {self.same} have the same bytes."
        else:
            yield f"{self.incidents} incidents: {len(self.differences)} would be others."
        if self.decided:
            yield f"{self.decided} decisions about commands taken anew: {self.decided_alike} have the same bytes."


def rebuilt(log: EventLog, resolve: Resolve, settle_s: float) -> Replayed:
    """Rebuild all incidents from `relight.signals`, and compare every event with the one that was said, byte for byte.

    Raises:
        LogError: the topics cannot be read.
    """
    found = Replayed()
    for number, span in sorted(log.spans(SIGNALS).items()):
        found.missing += span.begin
        recorded = _recorded(log, number)
        clusters = _replayed(log, number, resolve, settle_s)
        for name in sorted(clusters.keys() | recorded.keys()):
            _compare(found, name, recorded.get(name, {}), clusters.get(name, {}))
    return found


def decided(log: EventLog, playbooks: Sequence[Playbook], found: Replayed) -> None:
    """Take every decision about commands anew, from `relight.incidents` alone, and compare it with what was decided.

    No command is issued. Other playbooks, and a change of relight itself, may decide otherwise.

    Raises:
        LogError: the topic cannot be read.
    """
    for number in sorted(log.spans(INCIDENTS)):
        state = Restored()
        planners: dict[str, Planner] = {}
        recorded: dict[str, bytes] = {}
        anew: dict[str, bytes] = {}
        for event, record in _events(log, Partition(INCIDENTS, number)):
            if isinstance(event.data, _DECIDED):
                recorded.setdefault(event.id, record.value or b"")
            with suppress(NotAnEvent):
                for cases in state.concerned(event):
                    planner = planners.setdefault(cases.name, Planner(playbooks))
                    anew |= {said.id: encoded(said) for said in planner.follow(cases, event)}
        found.decided += len(anew)
        found.decided_alike += sum(recorded.get(name) == value for name, value in anew.items())
        for name in sorted(recorded.keys() ^ anew.keys() | {n for n in anew if recorded.get(n) != anew[n]}):
            was, would = (decoded(told[name]) if name in told else None for told in (recorded, anew))
            one = was or would
            assert one is not None, "it is in one of them"
            found.differences.append(Difference(one.cluster, one.subject, _decision(was), _decision(would)))


def tried(log: EventLog, rules: Sequence[Path], tried_rules: Sequence[Path], settle_s: float) -> Replayed:
    """Diagnose the lines in `relight.logs` with the rules in force and with others, and compare what comes of it.

    Raises:
        LogError: the topic cannot be read.
        RuleError: a rule file has a mistake.
    """
    found = Replayed(missing=sum(span.begin for span in log.spans(LOGS).values()))
    before, after = (_diagnosed(log, tuple(paths), settle_s) for paths in (rules, tried_rules))
    for name in sorted(before.keys() | after.keys()):
        was, would = before.get(name, {}), after.get(name, {})
        found.incidents += len(would)
        for spot in sorted(was.keys() | would.keys()):
            one, other = was.get(spot), would.get(spot)
            if _words(one) != _words(other):
                incident = one or other
                assert incident is not None
                found.differences.append(Difference(name, incident.id, _words(one), _words(other)))
    return found


def _replayed(log: EventLog, number: int, resolve: Resolve, settle_s: float) -> dict[str, dict[str, list[bytes]]]:
    """Return the events of a partition's clusters, by incident, as the stage says them."""
    clusters: dict[str, tuple[Cluster, Correlator]] = {}
    said: dict[str, dict[str, list[bytes]]] = defaultdict(lambda: defaultdict(list))
    for event, _ in _events(log, Partition(SIGNALS, number)):
        if event.cluster not in clusters:
            clusters[event.cluster] = Cluster(event.cluster), Correlator(resolve, settle_s)
        cluster, correlator = clusters[event.cluster]
        for happened in correlator.follow(cluster, event):
            said[event.cluster][happened.subject].append(encoded(happened))
    return said


def _recorded(log: EventLog, number: int) -> dict[str, dict[str, list[bytes]]]:
    """Return the events that were said of a partition's clusters, by incident, each once."""
    said: dict[str, dict[str, list[bytes]]] = defaultdict(lambda: defaultdict(list))
    seen: set[str] = set()
    for event, record in _events(log, Partition(INCIDENTS, number)):
        if event.id not in seen and event.type.writer == "correlate":
            seen.add(event.id)
            said[event.cluster][event.subject].append(record.value or b"")
    return said


def _compare(
    found: Replayed, cluster: str, recorded: Mapping[str, list[bytes]], now: Mapping[str, list[bytes]]
) -> None:
    for incident in sorted(recorded.keys() | now.keys()):
        was, would = recorded.get(incident, []), now.get(incident, [])
        found.incidents += "/" not in incident  # else it is a verdict
        found.events += len(would)
        found.same += sum(one == other for one, other in zip(was, would, strict=False))
        if was != would:
            found.differences.append(
                Difference(cluster, incident, _words(_fold(incident, was)), _words(_fold(incident, would)))
            )


def _diagnosed(log: EventLog, rules: tuple[Path, ...], settle_s: float) -> dict[str, dict[str, IncidentHistory]]:
    """Return what comes of all lines with some rules: the incidents at rest, by cluster and by where their cause is."""
    resolve, matching = resolver(known(rules)), matcher(rules)
    clusters: dict[str, Cluster] = {}
    for number in sorted(log.spans(LOGS)):
        sources = Sources(matching, every_ms=0)
        for records in batches(log, Partition(LOGS, number)):
            for event in sources.said(sources.take(records, lambda record, reason: None)):
                clusters.setdefault(event.cluster, Cluster(event.cluster)).apply(event)
    found: dict[str, dict[str, IncidentHistory]] = {}
    for name, cluster in clusters.items():
        latest = max((s.last_s for s in cluster.sources.values() if s.last_s is not None), default=0.0)
        for number, time_s in enumerate((latest, latest + settle_s + _AT_REST_S), 1):
            tick = Event("tick", name, name, time_s, Tick(number=number, time_s=time_s))
            Correlator(resolve, settle_s).follow(cluster, tick)
        found[name] = {_spot(i): i for i in cluster.incidents.values() if i.state is not State.MERGED}
    return found


def _spot(incident: IncidentHistory) -> str:
    """Return what tells an incident apart whatever its diagnosis: its run and attempt, and what it did to them."""
    opened, diagnosed = incident.opened, incident.diagnosed
    if opened is None or diagnosed is None:
        return incident.id
    ended = diagnosed.impact == "failed"
    return f"{opened.run}\0{opened.attempt}\0{'' if ended else diagnosed.diagnosis.signature}"


def _fold(name: str, events: Sequence[bytes]) -> IncidentHistory | None:
    if not events:
        return None
    happened = [(e.data, e.time_s or 0.0) for e in map(decoded, events)]
    return IncidentHistory.of(name, [(data, time_s) for data, time_s in happened if isinstance(data, Happening)])


def _decision(event: Event | None) -> str | None:
    return None if event is None else f"{event.type.name} at {event.time_s:.0f}"


def _words(incident: IncidentHistory | None) -> str | None:
    """Return an incident in one line."""
    if incident is None or incident.diagnosed is None:
        return None
    found = incident.diagnosed.diagnosis
    where = f" at {found.first_cause.source}:{found.first_cause.line}" if found.first_cause else ""
    return f"{found.signature} ({found.culprit.name}, {incident.diagnosed.impact}, {incident.state}){where}"


def _events(log: EventLog, partition: Partition) -> Iterator[tuple[Event, Record]]:
    for records in batches(log, partition):
        for record in records:
            try:
                yield decoded(record.value), record
            except NotAnEvent:
                continue  # it is among the dead letters
