"""What happens to an incident, as events in the past tense, and the fold of them that the incident is.

Every view of an incident (a report, a document in Elasticsearch, a row in SQLite) is this fold and can be rebuilt.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final, assert_never

from pydantic import Field

from schemas.incident import Alternative, Diagnosis, Evidence, Symptom
from schemas.model import Model
from schemas.vocabulary import Impact

_DAY_MS: Final = 86_400_000


class State(StrEnum):
    """Where an incident stands. `merged`: it has proved to be one with another, which goes on for both."""

    OPEN = "open"
    RESOLVED = "resolved"
    MERGED = "merged"


class IncidentOpened(Model):
    """Something went wrong with a job, or on a host without one. `component` is the job, or where it was seen first."""

    component: str
    job: str | None
    run: str
    attempt: int = Field(ge=1)
    signature: str


class EvidenceAdded(Model):
    """An evidence was seen, or more of it: it replaces what was said of the same signature and identity before."""

    key: str
    evidence: Evidence


class EvidenceDropped(Model):
    """An evidence belongs to the incident no more, now that more is known."""

    key: str


class DiagnosisRevised(Model):
    """The diagnosis is this now. It is provisional until it is settled.

    `provenance_verified`: a trusted shipper says from which host the lines of the cause come, and who wrote them,
    unless any program may say such a thing. `witnessed`: it says that the kernel, the scheduler or the fabric wrote
    them. What is not verified never justifies a destructive command, and what is not witnessed none that takes a
    machine away.
    """

    diagnosis: Diagnosis
    impact: Impact
    provenance_verified: bool
    witnessed: bool = False
    symptoms: tuple[Symptom, ...] = ()
    alternatives: tuple[Alternative, ...] = ()


class DiagnosisSettled(Model):
    """The incident has been quiet for long enough, or its evidence is decisive: the diagnosis may be acted on."""

    fault: str
    signature: str


class IncidentResolved(Model):
    """The run goes on, or went on: what it suffered is over.

    `lost_steps`: where a later attempt goes on, how many steps of the one that failed had to be done again, as far as
    both have logged them; `None` where that is not known.
    """

    reason: str
    lost_steps: int | None = Field(None, ge=0)


class IncidentReopened(Model):
    """What was over is not."""

    reason: str


class IncidentMerged(Model):
    """The incident has proved to be one with another."""

    into: str


Happening = (
    IncidentOpened
    | EvidenceAdded
    | EvidenceDropped
    | DiagnosisRevised
    | DiagnosisSettled
    | IncidentResolved
    | IncidentReopened
    | IncidentMerged
)
"""The data of an incident's event."""


class IncidentHistory(Model):
    """An incident: the fold of its events. `sequence` counts them; `touched_s` is the time of the last new finding.

    `lost_steps` are those that had to be done again, of an incident that is over. Times are those of the cluster's
    ticks (Unix, seconds).
    """

    id: str
    sequence: int = 0
    state: State = State.OPEN
    opened: IncidentOpened | None = None
    evidence: dict[str, Evidence] = {}
    diagnosed: DiagnosisRevised | None = None
    settled: bool = False
    merged_into: str | None = None
    opened_s: float | None = None
    touched_s: float | None = None
    ended_s: float | None = None
    lost_steps: int | None = None

    @property
    def began_s(self) -> float | None:
        """Return the time of the first line of the cause, if opening can have followed it: within a day."""
        first = self.diagnosed.diagnosis.first_cause if self.diagnosed else None
        if first is None or first.time is None:
            return None
        time_s = first.time.timestamp()
        since_ms = round((self.opened_s or 0.0) * 1000) - round(time_s * 1000)
        return time_s if 0 <= since_ms <= _DAY_MS else None

    def after(self, happening: Happening, time_s: float) -> "IncidentHistory":
        """Return the incident after one more event."""
        change: dict[str, object] = {"sequence": self.sequence + 1}
        match happening:
            case IncidentOpened():
                change |= {"opened": happening, "opened_s": time_s, "touched_s": time_s}
            case EvidenceAdded():
                change |= {"evidence": self.evidence | {happening.key: happening.evidence}}
            case EvidenceDropped():
                change |= {"evidence": {k: e for k, e in self.evidence.items() if k != happening.key}}
            case DiagnosisRevised():
                change |= {"diagnosed": happening, "settled": False, "touched_s": time_s}
            case DiagnosisSettled():
                change |= {"settled": True}
            case IncidentResolved():
                change |= {"state": State.RESOLVED, "ended_s": time_s, "lost_steps": happening.lost_steps}
            case IncidentReopened():
                change |= {"state": State.OPEN, "ended_s": None, "lost_steps": None, "touched_s": time_s}
            case IncidentMerged():
                change |= {"state": State.MERGED, "merged_into": happening.into, "ended_s": time_s}
            case _:
                assert_never(happening)
        return self.model_copy(update=change)

    @classmethod
    def of(cls, name: str, happenings: Iterable[tuple[Happening, float]]) -> "IncidentHistory":
        """Return the fold of an incident's events, given with their times."""
        incident = cls(id=name)
        for happening, time_s in happenings:
            incident = incident.after(happening, time_s)
        return incident
