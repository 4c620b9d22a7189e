"""The state of remediation, read from the topics: for the stage that has a partition, and for people who look at it."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from relight.stages.snapshots import newest
from relight.topics import INCIDENTS
from relight.transports.port import EventLog, Partition
from relight.transports.reading import batches
from remediate import keeping
from remediate.cases import EVERYWHERE, Cases
from schemas.events import Event, NotAnEvent, decoded, encoded
from schemas.remedy import RequestAdmitted

NAME: Final = "remediate"
FLOOR: Final = "\0floor"
"""The key of the snapshot that says from where the partition is to be read; no cluster is called so."""


@dataclass
class Restored:
    """The clusters of a partition, and the requests that are for all clusters, in order."""

    clusters: dict[str, Cases] = field(default_factory=dict)
    everywhere: list[Event] = field(default_factory=list)

    def concerned(self, event: Event) -> list[Cases]:
        """Return the clusters that an event is about; what is for all of them is kept for those to come.

        Raises:
            NotAnEvent: it is for all of them, and none that can be.
        """
        if event.cluster != EVERYWHERE:
            return [self.cluster(event.cluster)]
        if not isinstance(event.data, RequestAdmitted):
            raise NotAnEvent("only requests can be for all clusters")
        self.everywhere.append(event)
        return list(self.clusters.values())

    def take(self, event: Event) -> None:
        """Take in an event. Raises `NotAnEvent` as `concerned` does."""
        for cases in self.concerned(event):
            cases.apply(event)

    def cluster(self, name: str) -> Cases:
        """Return a cluster. One that was not heard of begins here: what was for all of them is for it too."""
        if name not in self.clusters:
            cases = self.clusters[name] = Cases(name)
            for event in self.everywhere:
                cases.apply(event)
        return self.clusters[name]

    @property
    def everywhere_kept(self) -> dict[str, Any]:
        """Return the requests that are for all clusters as JSON can hold them."""
        return {"everywhere": [encoded(event).decode() for event in self.everywhere]}


def restored(log: EventLog, number: int, until: int | None = None) -> Restored:
    """Return the clusters of a partition: from their snapshots, and the events since, up to an offset.

    Raises:
        LogError: the topics cannot be read.
    """
    kept = newest(log, NAME, number, keeping.VERSION)
    floor = kept.pop(FLOOR, None)
    found = Restored({name: keeping.restored(snapshot.state) for name, snapshot in kept.items()})
    if floor is not None:
        found.everywhere = [decoded(value.encode()) for value in floor.state["everywhere"]]
    covered = {name: snapshot.covers for name, snapshot in kept.items()} | {EVERYWHERE: floor.covers if floor else 0}
    for records in batches(log, Partition(INCIDENTS, number), floor.covers if floor else None, until):
        for record in records:
            with suppress(NotAnEvent):  # it was refused when it was read first
                event = decoded(record.value)
                if record.offset >= covered.get(event.cluster, 0):
                    found.take(event)
    return found


def present(log: EventLog) -> Mapping[str, Cases]:
    """Return the state of all clusters as it is now. Raises: LogError."""
    found: dict[str, Cases] = {}
    for number in sorted(log.spans(INCIDENTS)):
        found |= restored(log, number).clusters
    return found
