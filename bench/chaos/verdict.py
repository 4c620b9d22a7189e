"""The verdict: whether what was said of incidents is what the oracle has issued: all of it, once, and nothing else.

It is pure: it judges what others have read.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from bench.chaos.story import NUMBER, Issued
from schemas.events import Event
from schemas.history import Happening, IncidentHistory, State


@dataclass(frozen=True)
class Said:
    """The events of incidents in the order of their topic, and what is among the dead letters."""

    events: Sequence[Event]
    letters: Sequence[str] = ()

    @cached_property
    def incidents(self) -> dict[str, IncidentHistory]:
        """Return the folds of the events, of each event as often as it was said."""
        by_incident: dict[str, list[tuple[Happening, float]]] = defaultdict(list)
        for event in self.events:
            if isinstance(event.data, Happening):
                by_incident[event.subject].append((event.data, event.time_s or 0.0))
        return {name: IncidentHistory.of(name, happened) for name, happened in by_incident.items()}

    @cached_property
    def clusters(self) -> dict[str, str]:
        """Return the cluster of each incident."""
        return {event.subject: event.cluster for event in self.events}

    @cached_property
    def live(self) -> list[IncidentHistory]:
        """Return the incidents that are not merged into others."""
        return [incident for incident in self.incidents.values() if incident.state is not State.MERGED]

    @cached_property
    def holders(self) -> dict[int, list[IncidentHistory]]:
        """Return the incidents that hold each number in their evidence."""
        found: dict[int, list[IncidentHistory]] = defaultdict(list)
        for incident in self.live:
            for number in sorted(_numbers(incident)):
                found[number].append(incident)
        return found

    def conclusions(self) -> Counter[tuple[object, ...]]:
        """Return what is concluded, whatever the way to it: cluster, job, attempt, signature and first line."""
        found: Counter[tuple[object, ...]] = Counter()
        for incident in self.live:
            if incident.opened is not None and incident.diagnosed is not None:
                diagnosis, opened = incident.diagnosed.diagnosis, incident.opened
                place = diagnosis.first_cause
                line = None if place is None else (place.source, place.line, place.offset_bytes, place.text)
                found[self.clusters[incident.id], opened.job, opened.attempt, diagnosis.signature, line] += 1
        return found


def complaints(issued: Mapping[int, Issued], said: Said) -> Iterator[str]:
    """Yield what is wrong, a sentence each."""
    for number, fault in issued.items():
        yield from _about(fault, said.holders.get(number, []), said)
    for number in sorted(said.holders.keys() - issued.keys()):
        yield f"number {number} was never issued, and stands in incident {said.holders[number][0].id}"
    yield from _doubles(said.events)
    yield from (f"dead letter: {letter}" for letter in said.letters)


def differences(said: Said, undisturbed: Said) -> Iterator[str]:
    """Yield where conclusions are not those that were drawn without disturbance."""
    one, other = said.conclusions(), undisturbed.conclusions()
    yield from (f"concluded, but not without disturbance: {found}" for found in (one - other).elements())
    yield from (f"concluded without disturbance only: {found}" for found in (other - one).elements())


def missing(issued: Iterable[int], said: Said) -> list[int]:
    """Return the numbers that no incident holds yet."""
    return [number for number in issued if number not in said.holders]


def _about(fault: Issued, holders: Sequence[IncidentHistory], said: Said) -> Iterator[str]:
    name = f"number {fault.number} ({fault.signature}, job {fault.job} of {fault.cluster})"
    if len(holders) != 1:
        listed = ", ".join(f"{i.id} ({i.state})" for i in holders) or "nowhere"
        yield f"{name} should stand in one incident, and stands in {listed}"
        return
    (incident,) = holders
    if incident.opened is None or incident.diagnosed is None:
        yield f"{name}: incident {incident.id} was never opened or never diagnosed"
        return
    found = incident.diagnosed.diagnosis
    text = found.first_cause.text if found.first_cause else None
    concluded = said.clusters[incident.id], incident.opened.job, found.signature, text
    if concluded != (fault.cluster, fault.job, fault.signature, fault.text):
        yield f"{name}: incident {incident.id} concludes {concluded}, the line was {fault.text!r}"


def _doubles(events: Iterable[Event]) -> Iterator[str]:
    """Yield events that were said twice or out of turn."""
    seen: set[str] = set()
    last: dict[str, int] = {}
    for event in events:
        if event.id in seen:
            yield f"event {event.id} ({event.type.name} of incident {event.subject}) was said twice"
        seen.add(event.id)
        expected = last.get(event.subject, 0) + 1
        if event.sequence != expected:
            what = f"{event.type.name} of incident {event.subject}"
            yield f"{what} has the sequence {event.sequence}, where {expected} should follow"
        last[event.subject] = event.sequence or expected


def _numbers(incident: IncidentHistory) -> set[int]:
    texts = [
        text for one in incident.evidence.values() for text in (one.first.text, one.last.text, *one.captures.values())
    ]
    return {int(number) for text in texts for number in NUMBER.findall(text)}
