"""The pipeline without transports: what one process makes of records in one order. All else is compared with it."""

from collections.abc import Iterable, Sequence

from lines import NOW_MS, as_read

from diagnose.correlation.cluster import Cluster
from diagnose.correlation.reaction import Correlator
from diagnose.matching.scanner import Scanner
from diagnose.matching.stream import Matcher
from ingest.decode import LogFormats
from ingest.redaction import shown
from relight.catalogue import catalogue, resolver
from relight.stages.sources import Sources
from relight.transports.port import Outgoing, Record
from schemas.events import Event, decoded, encoded
from schemas.history import IncidentHistory, State
from schemas.signal import Tick


def folded(scanner: Scanner, records: Sequence[Outgoing], batch: int = 20) -> dict[str, Cluster]:
    """Return the clusters at rest: everything read, ticks after every batch, and all diagnoses settled."""
    sources = Sources(Matcher(scanner, LogFormats(), shown))
    correlator = {}
    clusters: dict[str, Cluster] = {}
    read = list(as_read(records))
    for at in range(0, len(read), batch):
        for event in _said(sources, read[at : at + batch]):
            clusters.setdefault(event.cluster, Cluster(event.cluster)).apply(event)
        for name, cluster in clusters.items():
            known = correlator.setdefault(name, Correlator(resolver(catalogue())))
            tick(cluster, known, at_s=float(at) / len(read))
    for name, cluster in clusters.items():
        for hours in (0, 1, 2):
            tick(cluster, correlator[name], NOW_MS / 1000 + 3600 * hours)
    return clusters


def tick(cluster: Cluster, correlator: Correlator, at_s: float) -> list[Event]:
    """Let a tick pass, and return what is said then, as it is read again."""
    said = correlator.follow(cluster, Event("t", cluster.name, "c", at_s, Tick(number=cluster.tick + 1, time_s=at_s)))
    return [decoded(encoded(event)) for event in said]


def _said(sources: Sources, records: Iterable[Record]) -> list[Event]:
    refused: list[str] = []
    events = list(sources.said(sources.take(records, lambda record, reason: refused.append(reason))))
    assert refused == []
    return events


def open_incidents(cluster: Cluster) -> list[IncidentHistory]:
    """Return the incidents that are open."""
    return [incident for incident in cluster.incidents.values() if incident.state is State.OPEN]


def gist(incidents: Iterable[IncidentHistory]) -> list[tuple[str, ...]]:
    """Return what matters of incidents, whatever the way to it."""
    found = []
    for incident in incidents:
        if incident.state is State.MERGED:
            continue
        assert incident.diagnosed is not None, incident
        diagnosis, evidence = incident.diagnosed.diagnosis, sorted(incident.evidence)
        first = diagnosis.first_cause
        where = f"{first.source}:{first.line}" if first else ""
        settled = "settled" if incident.settled else "provisional"
        words = (incident.state.value, settled, incident.diagnosed.impact.value, diagnosis.culprit.name)
        found.append((diagnosis.signature, where, *words, *evidence))
    return sorted(found)
