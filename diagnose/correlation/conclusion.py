"""The conclusion: for every job its run with attempts and outcomes, and the incidents, the likeliest cause first."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from diagnose.correlation.causes import CauseGraph, cause_graph
from diagnose.correlation.diagnosis import Cast, alternative, diagnosis, evidence, symptom, verified
from diagnose.correlation.evidence import Finding, Resolve, findings
from diagnose.correlation.jobs import Grouping, Job, jobs
from diagnose.correlation.moments import Entry, in_order
from diagnose.correlation.places import date, first_place, last_place
from diagnose.correlation.ranking import Ranker, Ranking
from diagnose.correlation.story import Story, attempts
from schemas.faults import fault_classes
from schemas.incident import Attempt, Blamed, Diagnosis, Evidence, Incident, Lane, Progress, Role, Run, Scope
from schemas.signal import Signal, SourceRead, derived_id
from schemas.vocabulary import Culprit, Impact, Kind, Layer, Outcome, Severity

CLUSTER: Final = "local"
WENT_ON_LINES: Final = 2000
"""A log that goes on for so long after an error did not end by it, even where no progress is recognised in it."""

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


@dataclass(frozen=True)
class _Judged:
    """An attempt that has been looked at: its outcome, and why."""

    story: Story
    outcome: Outcome
    reason: str
    findings: tuple[Finding, ...]
    ranking: Ranking | None


class _Teller:
    """Tells what happened to one job."""

    def __init__(self, job: Job, resolve: Resolve, graph: CauseGraph) -> None:
        self._job = job
        self._resolve = resolve
        self._graph = graph
        self._entries = in_order(job.signals)
        self._cast = _cast(job)
        self._lines = {source.source: source.lines for source in job.sources}
        self._id = derived_id(CLUSTER, job.name, *sorted(s.source for s in job.sources))
        self._judged = [self._judge(story) for story in attempts(self._entries)]

    def run(self) -> Run:
        last = self._judged[-1]
        return Run(
            id=self._id,
            name=self._job.name,
            outcome=last.outcome,
            reason=last.reason,
            attempts=tuple(_attempt(at + 1, judged) for at, judged in enumerate(self._judged)),
            hosts=tuple(
                sorted({h for h in (*(s.host for s in self._job.sources), *(s.host for s in self._job.signals)) if h})
            ),
            ranks=len(self._cast.ranks),
            lanes=tuple(_lanes(self._job.sources, self._entries)),
        )

    def incidents(self) -> list[Incident]:
        found: list[Incident] = []
        for at, judged in enumerate(self._judged):
            final = at == len(self._judged) - 1
            if judged.ranking:
                ended = judged.outcome is Outcome.FAILED
                impact = Impact.FAILED if final and ended else Impact.DEGRADED
                found.append(self._incident(at, len(found), judged, judged.ranking, impact))
            elif final and judged.outcome is Outcome.INCOMPLETE and judged.story.of(Kind.START, Kind.PROGRESS):
                found.append(self._unexplained(at, len(found), judged))
            for aside in self._asides(judged):
                found.append(self._incident(at, len(found), judged, Ranking(aside, (), ()), _harm(aside, judged)))
        return found

    def _judge(self, story: Story) -> _Judged:
        seen = findings(story, self._resolve)
        verdict = story.verdict(self._is_verdict)
        if verdict and verdict.signal.kind is Kind.FAULT:
            return self._condemned(story, seen, verdict)
        if success := verdict or story.success:
            where = f"{success.signal.source}:{success.signal.last.line}"
            reason = f"{self._resolve(success.signal.signature).title} ({where})"
            return _Judged(story, Outcome.SUCCEEDED, reason, tuple(seen), None)
        ranking = Ranker(seen, self._graph).ranking()
        if ranking is None and (bad := _gone_bad(story, seen)):
            return _Judged(story, Outcome.FAILED, bad.signature.title, tuple(seen), Ranking(bad, (), ()))
        if ranking is None:
            return _Judged(story, Outcome.INCOMPLETE, _stops(story), tuple(seen), None)
        if self._survived(ranking):
            return _Judged(story, Outcome.INCOMPLETE, _stops(story), tuple(seen), ranking)
        return _Judged(story, Outcome.FAILED, ranking.cause.signature.title, tuple(seen), ranking)

    def _is_verdict(self, signal: Signal) -> bool:
        """Tell whether a run says by this how it ended: what comes before or after does not change it."""
        final = signal.kind is Kind.SUCCESS or signal.fault == "training.not_converged"
        return final and self._resolve(signal.signature).decisive

    def _condemned(self, story: Story, seen: Sequence[Finding], verdict: Entry) -> _Judged:
        """Return the judgement of an attempt that says itself that it failed: the verdict's finding is not healed."""
        final = [replace(f, healed=False, before_start=False) if verdict in f.entries else f for f in seen]
        ranking = Ranker(final, self._graph).ranking()
        assert ranking is not None
        return _Judged(story, Outcome.FAILED, ranking.cause.signature.title, tuple(final), ranking)

    def _survived(self, ranking: Ranking) -> bool:
        """Tell whether every log with the errors goes on long after them, so that they hardly ended the run."""
        told = (ranking.cause, *ranking.alternatives, *(s for s in ranking.symptoms if s.serious))
        if any(f.signature.severity is Severity.CRITICAL for f in told):
            return False
        rests = [self._lines.get(e.signal.source, 0) - e.last.line for f in told for e in f.entries]
        return min(rests) >= WENT_ON_LINES

    def _incident(self, attempt: int, ordinal: int, judged: _Judged, ranking: Ranking, impact: Impact) -> Incident:
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

    def _asides(self, judged: _Judged) -> list[Finding]:
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

    def _unexplained(self, attempt: int, ordinal: int, judged: _Judged) -> Incident:
        """Return the incident of a run whose log stops and says nothing of a fault."""
        end = judged.story.entries[-1]
        return Incident(
            **_unknown(judged.reason, end).model_dump(),
            id=derived_id(CLUSTER, self._id, attempt, ordinal),
            run=self._job.name,
            attempt=attempt + 1,
            impact=Impact.DEGRADED,
            provenance_verified=True,
        )


def _gone_bad(story: Story, seen: Sequence[Finding]) -> Finding | None:
    """Return the finding of a loss that was NaN again and again to the end: the run advanced, but to nowhere."""
    last = max((e.last for e in story.progress), key=lambda moment: moment.order, default=None)
    bad = [f for f in seen if f.fault == "training.loss_nan" and (last is None or not last.after(f.last))]
    return min((f for f in bad if f.count > 1), key=lambda f: f.first.first.order, default=None)


def _unknown(reason: str, end: Entry) -> Diagnosis:
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


def _stops(story: Story) -> str:
    if not story.entries:
        return "nothing in it is known to relight"
    last = max((*story.progress, *story.of(Kind.START)), key=lambda e: e.last.order, default=None)
    if last is None:
        return "neither success nor failure is in the log"
    word = "progress" if last.signal.kind is Kind.PROGRESS else "start"
    return f"the log stops; the last {word} is at {last.signal.source}:{last.signal.last.line}"


def _harm(finding: Finding, judged: _Judged) -> Impact:
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


def _attempt(ordinal: int, judged: _Judged) -> Attempt:
    times = [t for e in judged.story.entries for t in (e.first.time_s, e.last.time_s) if t is not None]
    return Attempt(
        ordinal=ordinal,
        outcome=judged.outcome,
        reason=judged.reason,
        started=date(min(times, default=None)),
        ended=date(max(times, default=None)),
        progress=_progress(judged.story.progress),
    )


def _progress(stretches: Sequence[Entry]) -> Progress | None:
    if not stretches:
        return None
    first = min(stretches, key=lambda e: e.first.order)
    last = max(stretches, key=lambda e: e.last.order)
    steps = [int(step) for e in stretches if (step := e.signal.captures.get("last_step", "")).isdigit()]
    return Progress(
        count=sum(e.signal.count for e in stretches),
        first=first_place(first),
        last=last_place(last),
        last_step=max(steps, default=None),
    )


def _lanes(sources: Sequence[SourceRead], entries: Iterable[Entry]) -> Iterable[Lane]:
    progress: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        if entry.signal.kind is Kind.PROGRESS:
            progress[entry.signal.source].append(entry)
    for source in sources:
        own = progress[source.source]
        yield Lane(
            source=source.source,
            host=source.host,
            rank=source.rank,
            started=date(source.first_s),
            ended=date(source.last_s),
            progressed_from=date(min((e.first.time_s for e in own if e.first.time_s is not None), default=None)),
            progressed_to=date(max((e.last.time_s for e in own if e.last.time_s is not None), default=None)),
            lines=source.lines,
        )


def _cast(job: Job) -> Cast:
    heard: list[SourceRead | Signal] = [*job.sources, *job.signals]
    ranks = {s.rank for s in heard if s.rank is not None}
    host_of = {s.rank: s.host for s in heard if s.rank is not None and s.host}
    if ranks and 2 * len(ranks) > max(ranks) + 1:
        ranks |= set(range(max(ranks)))  # a rank of which nothing was heard is there all the same
    return Cast(host_of=host_of, ranks=tuple(sorted(ranks)))
