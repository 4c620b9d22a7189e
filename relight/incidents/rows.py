"""What a list shows of an incident: one row of plain values, cleaned, with their units in their names."""

from dataclasses import dataclass

from relight.incidents.cleaning import clean
from relight.incidents.times import iso
from relight.stores.facets import facets
from schemas.document import IncidentDocument
from schemas.vocabulary import Severity

_HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Row:
    """The values. `title` is the diagnosis in words. Times are Unix seconds; `None` is what is not known."""

    id: str
    version: int
    cluster: str
    state: str
    settled: bool
    opened_s: float | None
    updated_s: float | None
    ended_s: float | None
    fault: str
    severity: Severity
    impact: str
    domain: str
    confidence: float | None
    culprit: str
    job: str | None
    hosts: tuple[str, ...]
    ranks: int
    title: str
    detection_s: float | None
    recovery_s: float | None
    lost_gpu_h: float | None
    merged_into: str | None
    signature: str
    week: str


def row_of(document: IncidentDocument) -> Row:
    """Return the row of an incident. One that has no diagnosis yet is blamed on where it was seen."""
    history, known = document.history, facets(document)
    found = history.diagnosed.diagnosis if history.diagnosed else None
    component = history.opened.component if history.opened else ""
    return Row(
        id=clean(document.id),
        version=document.version,
        cluster=clean(document.cluster),
        state=history.state.value,
        settled=history.settled,
        opened_s=history.opened_s,
        updated_s=document.updated_s,
        ended_s=history.ended_s,
        fault=clean(known.fault),
        severity=list(Severity)[known.severity],
        impact=known.impact,
        domain=known.domain,
        confidence=found.confidence if found else None,
        culprit=clean(found.culprit.name if found else component),
        job=None if known.job is None else clean(known.job),
        hosts=tuple(map(clean, known.hosts)),
        ranks=known.ranks,
        title=clean(found.title) if found else "not diagnosed yet",
        detection_s=_seconds(known.detection_ms),
        recovery_s=_seconds(known.recovery_ms),
        lost_gpu_h=None if known.lost_gpu_ms is None else round(known.lost_gpu_ms / _HOUR_MS, 3),
        merged_into=clean(history.merged_into) if history.merged_into else None,
        signature=clean(known.signature),
        week=known.week,
    )


def computed(row: Row) -> dict[str, object]:
    """Return what is computed of an incident, as JSON has it beside the document."""
    return {
        "state": row.state,
        "settled": row.settled,
        "opened": iso(row.opened_s),
        "updated": iso(row.updated_s),
        "ended": iso(row.ended_s),
        "week": row.week if row.opened_s is not None else None,
        "fault": row.fault,
        "signature": row.signature,
        "severity": row.severity.value,
        "impact": row.impact,
        "domain": row.domain,
        "confidence": row.confidence,
        "culprit": row.culprit,
        "title": row.title,
        "job": row.job,
        "hosts": row.hosts,
        "ranks": row.ranks,
        "detection_s": row.detection_s,
        "recovery_s": row.recovery_s,
        "lost_gpu_h_at_least": row.lost_gpu_h,
    }


def _seconds(time_ms: int | None) -> float | None:
    return None if time_ms is None else time_ms / 1000
