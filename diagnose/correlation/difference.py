"""The difference between an incident as it has been said and what happened as it is known now, in events.

Growth alone (a count, one more rank of many) is not worth an event while an incident is young; when it settles or is
over, it is said exactly.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from diagnose.correlation.telling import Told
from schemas.faults import fault_classes
from schemas.history import (
    DiagnosisRevised,
    DiagnosisSettled,
    EvidenceAdded,
    EvidenceDropped,
    Happening,
    IncidentHistory,
    IncidentOpened,
    IncidentReopened,
    IncidentResolved,
    State,
)
from schemas.incident import Evidence
from schemas.signal import Signal, derived_id
from schemas.vocabulary import Impact, Layer, Provenance

_WITNESSES: Final = frozenset((Provenance.KERNEL, Provenance.SCHEDULER, Provenance.FABRIC))
"""Writers that no job can imitate, where a shipper knows that it is they."""
EVIDENCES: Final = 50
"""How many evidences an incident holds at most: the cause first, then alternatives, then symptoms."""


@dataclass(frozen=True)
class Wanted:
    """Something that happened and should be an incident; `job` is the id of the job that it happened to."""

    told: Told
    job: str | None

    @property
    def worth_opening(self) -> bool:
        """Tell whether it is worth an incident: it harmed a run, or hardware complained."""
        if self.told.impact is not Impact.NONE:
            return True
        cause = self.told.diagnosis
        return cause.severity.serious and fault_classes()[cause.fault].layer is Layer.HARDWARE

    @property
    def component(self) -> str:
        """Return the job, or the stream in which its cause was seen first."""
        return self.job or self._first.stream

    @property
    def first_signal(self) -> str:
        """Return the id of the signal that says its cause first."""
        return self._first.id

    @cached_property
    def evidence(self) -> dict[str, Evidence]:
        """Return its evidence by key: what stands where it was seen first."""
        found = [evidence for _, evidence in self.told.evidence()][:EVIDENCES]
        return {_key(evidence): evidence for evidence in found}

    @cached_property
    def diagnosed(self) -> DiagnosisRevised:
        """Return its diagnosis."""
        incident, ranking = self.told.incident(""), self.told.ranking
        assert ranking is not None
        signals = [entry.signal for entry in ranking.cause.entries]
        any_program = Provenance.APP in ranking.cause.signature.provenance
        vouched = all(one.vouched and (any_program or one.attested) for one in signals)
        return DiagnosisRevised(
            diagnosis=self.told.diagnosis,
            impact=self.told.impact,
            provenance_verified=incident.provenance_verified and vouched,
            witnessed=all(one.vouched and one.attested and one.provenance in _WITNESSES for one in signals),
            symptoms=incident.symptoms[:EVIDENCES],
            alternatives=incident.alternatives,
        )

    @property
    def decisive(self) -> bool:
        """Tell whether its cause leaves no doubt."""
        assert self.told.ranking is not None
        return self.told.ranking.cause.signature.decisive

    @property
    def _first(self) -> Signal:
        assert self.told.ranking is not None
        return self.told.ranking.cause.first.signal


def opening(wanted: Wanted, time_s: float) -> list[Happening]:
    """Return the first events of a new incident."""
    told = wanted.told
    opened = IncidentOpened(
        component=wanted.component,
        job=wanted.job,
        run=told.run,
        attempt=told.attempt + 1,
        signature=told.diagnosis.signature,
    )
    fresh = IncidentHistory(id="").after(opened, time_s)
    return [opened, *changes(fresh, wanted, time_s, 0.0 if wanted.decisive else float("inf"))]


def changes(said: IncidentHistory, wanted: Wanted, time_s: float, settle_s: float) -> list[Happening]:
    """Return the events that bring an incident up to date.

    Args:
        said: The incident as it has been said.
        wanted: What it tells of, as it is known now.
        time_s: The time of the deciding tick (Unix, seconds).
        settle_s: How long nothing must have changed before the diagnosis is settled.
    """
    found: list[Happening] = []
    over = wanted.told.over
    if said.state is State.RESOLVED and over is None:
        found.append(IncidentReopened(reason="it has happened again, or goes on"))
    found += _news(said, wanted, exactly=False)
    is_new = any(isinstance(one, DiagnosisRevised) for one in found)
    quiet = not is_new and said.touched_s is not None and time_s - said.touched_s >= settle_s
    settles = (quiet or wanted.decisive) and (is_new or not said.settled) and over is None
    ends = over is not None and said.state is State.OPEN
    if settles or ends:
        found = [*(one for one in found if isinstance(one, IncidentReopened)), *_news(said, wanted, exactly=True)]
        if settles:
            found.append(DiagnosisSettled(fault=wanted.told.diagnosis.fault, signature=wanted.told.diagnosis.signature))
    if ends and over is not None:
        found.append(IncidentResolved(reason=over, lost_steps=wanted.told.lost_steps))
    return found


def _news(said: IncidentHistory, wanted: Wanted, *, exactly: bool) -> Iterator[Happening]:
    """Yield what is new of the evidence and of the diagnosis."""
    for key in sorted(said.evidence.keys() - wanted.evidence.keys()):
        yield EvidenceDropped(key=key)
    for key, evidence in wanted.evidence.items():
        before = said.evidence.get(key)
        if before is None or (evidence != before if exactly else _matter(evidence) != _matter(before)):
            yield EvidenceAdded(key=key, evidence=evidence)
    now, then = wanted.diagnosed, said.diagnosed
    if then is None or (now != then if exactly else _gist(now) != _gist(then)):
        yield now


def _key(evidence: Evidence) -> str:
    return derived_id("evidence", evidence.signature, evidence.first.source, evidence.first.offset_bytes)


def _matter(evidence: Evidence) -> object:
    """Return what of an evidence is worth saying at once: a count only when it has doubled."""
    return evidence.role, evidence.hosts, evidence.ranks, evidence.gpus, evidence.count.bit_length()


def _gist(revised: DiagnosisRevised) -> object:
    """Return what of a diagnosis is worth saying at once: not that the number which a detector compares has changed."""
    found = revised.diagnosis
    first = found.first_cause
    return (
        found.fault,
        found.signature,
        found.culprit,
        (first.source, first.offset_bytes) if first else None,
        found.scope.hosts,
        found.scope.ranks,
        revised.impact,
        [symptom.signature for symptom in revised.symptoms],
        [alternative.signature for alternative in revised.alternatives],
    )
