"""The conclusion: for every job its run with attempts and outcomes, and the incidents, the likeliest cause first."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from diagnose.correlation.causes import CauseGraph, cause_graph
from diagnose.correlation.diagnosis import alternative, diagnosis, evidence, symptom, verified
from diagnose.correlation.evidence import Finding, Resolve
from diagnose.correlation.jobs import Grouping, Job, jobs
from diagnose.correlation.judgement import Judge, Judged
from diagnose.correlation.moments import in_order
from diagnose.correlation.ranking import Ranking
from diagnose.correlation.runs import cast_of, run_of
from diagnose.correlation.story import Story, attempts
from schemas.faults import fault_classes
from schemas.incident import Blamed, Diagnosis, Evidence, Incident, Role, Run, Scope
from schemas.signal import Signal, SourceRead, derived_id
from schemas.vocabulary import Culprit, Impact, Kind, Layer, Outcome, Severity

CLUSTER: Final = "local"
ASIDES: Final = 20
"""How many incidents that did not end a run are reported for it."""

_IMPACT_ORDER: Final = list(Impact)


@dataclass(frozen=True)
class Conclusion:
    """What is concluded from all that was read."""

    runs: tuple[Run, ...]
    incidents: tuple[Incident, ...]


def conclude(
    sources: Iterable[SourceRead], signals: Iterable[Signal], resolve: Resolve, grouping: Grouping = Grouping.AUTO
) -> Conclusion:
    """Return runs and incidents; `resolve` returns the signature of an id.

    The order of the inputs does not matter: the same facts give the same conclusion.
    """
    read = sorted(sources, key=lambda s: (s.path, s.part, s.source))
    told = [_Teller(job, resolve, cause_graph()) for job in jobs(read, signals, grouping)]
    incidents = [incident for teller in told for incident in teller.incidents()]
    incidents.sort(key=lambda i: (_IMPACT_ORDER.index(i.impact), -i.severity.rank, -i.confidence, i.run, i.id))
    return Conclusion(tuple(teller.run() for teller in told), tuple(incidents))


class _Teller:
    """Tells what happened to one job."""

    def __init__(self, job: Job, resolve: Resolve, graph: CauseGraph) -> None:
        self._job = job
        self._graph = graph
        self._entries = in_order(job.signals)
        self._cast = cast_of(job)
        self._id = derived_id(CLUSTER, job.name, *sorted(s.source for s in job.sources))
        judge, stories = Judge(resolve, graph), attempts(self._entries)
        self._judged = [judge.judged(story, ends) for story, ends in zip(stories, _ends(job, stories), strict=True)]

    def run(self) -> Run:
        return run_of(self._id, self._job, self._cast, self._entries, self._judged)

    def incidents(self) -> list[Incident]:
        found: list[Incident] = []
        for at, judged in enumerate(self._judged):
            final = at == len(self._judged) - 1
            if judged.ranking:
                ended = judged.outcome is Outcome.FAILED
                impact = Impact.FAILED if final and ended else Impact.DEGRADED
                found.append(self._incident(at, len(found), judged.ranking, impact))
            elif final and judged.outcome is Outcome.INCOMPLETE and judged.story.of(Kind.START, Kind.PROGRESS):
                found.append(self._unexplained(at, len(found), judged))
            for aside in self._asides(judged):
                found.append(self._incident(at, len(found), Ranking(aside, (), ()), _harm(aside, judged)))
        return found

    def _incident(self, attempt: int, ordinal: int, ranking: Ranking, impact: Impact) -> Incident:
        words = diagnosis(ranking, self._cast)
        return Incident(
            **words.model_dump(),
            id=derived_id(CLUSTER, self._id, attempt, ordinal),
            run=self._job.name,
            attempt=attempt + 1,
            impact=impact,
            provenance_verified=verified(ranking.cause),
            symptoms=tuple(symptom(f) for f in ranking.symptoms),
            alternatives=tuple(alternative(f, ranking) for f in ranking.alternatives[:5]),
            evidence=tuple(_evidence(ranking)),
        )

    def _asides(self, judged: Judged) -> list[Finding]:
        """Return what went wrong without ending the attempt: one finding for each signature, the worst first."""
        ranking = judged.ranking
        told = {id(f) for f in (ranking.cause, *ranking.symptoms, *ranking.alternatives)} if ranking else set()
        rest = [f for f in judged.findings if id(f) not in told and (f.serious or _is_hardware(f))]
        covered = {f.signature.id for f in judged.findings if id(f) in told}
        worst: dict[str, Finding] = {}
        for f in rest:
            if f.signature.id not in covered:
                worst.setdefault(f.signature.id, f)
        explained = [
            f for f in worst.values() if not any(self._graph.explains(o.signature, f.signature) for o in worst.values())
        ]
        return sorted(explained or worst.values(), key=lambda f: (-f.signature.severity.rank, f.first.first.order))[
            :ASIDES
        ]

    def _unexplained(self, attempt: int, ordinal: int, judged: Judged) -> Incident:
        """Return the incident of a run whose log stops and says nothing of a fault."""
        return Incident(
            **_unknown(judged.reason).model_dump(),
            id=derived_id(CLUSTER, self._id, attempt, ordinal),
            run=self._job.name,
            attempt=attempt + 1,
            impact=Impact.DEGRADED,
            provenance_verified=True,
        )


def _ends(job: Job, stories: Sequence[Story]) -> list[dict[str, int]]:
    """Return for each attempt the line of each source at which it ends: where the next one begins, or the last."""
    ends = {source.source: source.lines for source in job.sources}
    found: list[dict[str, int]] = []
    for story in reversed(stories):
        found.append(dict(ends))
        for entry in reversed(story.entries):
            ends[entry.signal.source] = entry.first.line
    return found[::-1]


def _unknown(reason: str) -> Diagnosis:
    known = fault_classes()["unknown"]
    return Diagnosis(
        fault="unknown",
        signature="",
        title="The log stops without a word of success or failure",
        meaning=f"{reason}. The run was cut off, is still running, or hangs.",
        action="Look at the last lines of every rank and at the scheduler's record: is the job still running?",
        playbook=known.first_action,
        severity=Severity.WARNING,
        confidence=0.2,
        culprit=Blamed(kind=Culprit.JOB, name="the job"),
        scope=Scope(summary="", sources=1),
        domain=known.domain,
        retry_outlook=known.retry_outlook,
        first_cause=None,
    )


def _harm(finding: Finding, judged: Judged) -> Impact:
    """Return what a finding did that did not end its attempt."""
    if finding.before_start and not finding.healed:
        return Impact.NONE
    success = judged.story.success
    if success and finding.first.first.after(success.last):
        return Impact.NONE
    return Impact.DEGRADED if finding.serious and finding.healed else Impact.NONE


def _is_hardware(finding: Finding) -> bool:
    layer = fault_classes()[finding.fault].layer
    return layer in (Layer.HARDWARE, Layer.DRIVER) and finding.signature.severity is not Severity.INFO


def _evidence(ranking: Ranking) -> Iterable[Evidence]:
    yield evidence(ranking.cause, Role.CAUSE)
    for finding in ranking.alternatives:
        yield evidence(finding, Role.ALTERNATIVE)
    for finding in ranking.symptoms:
        yield evidence(finding, Role.SYMPTOM)
