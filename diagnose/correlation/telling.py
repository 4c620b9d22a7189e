"""Telling: what happened to one job: its run, and of each attempt what ended it and what else went wrong."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from diagnose.correlation.causes import CauseGraph
from diagnose.correlation.diagnosis import Cast, alternative, diagnosis, evidence, symptom, verified
from diagnose.correlation.evidence import Finding, Resolve
from diagnose.correlation.jobs import Job
from diagnose.correlation.judgement import Judge, Judged
from diagnose.correlation.moments import Entry, in_order
from diagnose.correlation.placement import placed
from diagnose.correlation.ranking import Ranking
from diagnose.correlation.runs import cast_of, run_of
from diagnose.correlation.silence import NOTHING, Heard, Silence, silence, too_long
from diagnose.correlation.states import ails, grounds
from diagnose.correlation.story import Story, attempts
from diagnose.correlation.strangers import compared_levels
from schemas.captures import Capture
from schemas.faults import fault_classes
from schemas.incident import Blamed, Diagnosis, Evidence, Incident, Role, Run, Scope
from schemas.vocabulary import Culprit, Impact, Kind, Layer, Outcome, Severity

_WORSE: Final = (Impact.NONE, Impact.DEGRADED, Impact.FAILED)
ASIDES: Final = 20
"""How many incidents that did not end a run are reported for it."""
STEP_DIGITS: Final = 16
"""A number with as many digits counts no steps."""


@dataclass(frozen=True)
class Told:
    """Something that happened to a job, `attempt` counted from 0. Without a ranking the log just stops.

    `over` says why the run does not suffer from it any more, if it does not; `lost_steps` how many steps a later
    attempt had to do again, where that is known.
    """

    run: str
    attempt: int
    impact: Impact
    diagnosis: Diagnosis
    ranking: Ranking | None
    over: str | None = None
    lost_steps: int | None = None

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Return all findings that it rests on."""
        return (self.ranking.cause, *self.ranking.alternatives, *self.ranking.symptoms) if self.ranking else ()

    def incident(self, name: str) -> Incident:
        """Return it as an incident with an id."""
        ranking = self.ranking
        return Incident(
            **self.diagnosis.model_dump(),
            id=name,
            run=self.run,
            attempt=self.attempt + 1,
            impact=self.impact,
            provenance_verified=verified(ranking.cause) if ranking else True,
            symptoms=tuple(symptom(f) for f in ranking.symptoms) if ranking else (),
            alternatives=tuple(alternative(f, ranking) for f in ranking.alternatives[:5]) if ranking else (),
            evidence=tuple(e for _, e in self.evidence()),
        )

    def evidence(self) -> Iterable[tuple[Finding, Evidence]]:
        """Yield every finding as the evidence that it is to this."""
        if self.ranking is not None:
            yield self.ranking.cause, evidence(self.ranking.cause, Role.CAUSE)
            for finding in self.ranking.alternatives:
                yield finding, evidence(finding, Role.ALTERNATIVE)
            for finding in self.ranking.symptoms:
                yield finding, evidence(finding, Role.SYMPTOM)


class Teller:
    """Tells what happened to one job."""

    def __init__(self, job: Job, resolve: Resolve, graph: CauseGraph, heard: Heard = NOTHING) -> None:
        """Judge the attempts of a job, of which more may have been heard than its logs say.

        `waits_for` is since when nothing moves in the last attempt, if that may become a hang.
        """
        known = placed(job)
        self.job = job = known.job
        self._graph = graph
        self._entries = in_order(job.signals)
        self._cast: Cast = cast_of(known)
        self.waits_for: Silence | None = None
        self._judged: list[Judged] = []
        self._casts: list[Cast] = []
        judge, stories = Judge(resolve, graph), attempts(self._entries)
        for story, ends in zip(stories, _ends(job, stories), strict=True):
            found = silence(story, job.sources, resolve)
            final = story is stories[-1]
            lasted = found is not None and too_long(found, story, job.sources, heard, final=final)
            worked_out = [found.finding()] if found and lasted else []
            worked_out += compared_levels(job.sources, resolve) if final else []
            self._casts.append(self._cast.during(story))
            self._judged.append(judge.judged(story, ends, self._casts[-1], worked_out))
            going_on = final and not lasted and self._judged[-1].outcome is not Outcome.SUCCEEDED
            self.waits_for = found if going_on else None

    def run(self, name: str) -> Run:
        """Return the job's run; `name` is its id."""
        return run_of(name, self.job, self._cast, self._entries, self._judged)

    def told(self) -> list[Told]:
        """Return what happened, attempt by attempt: first what ended it, then what else went wrong."""
        found: list[Told] = []
        for at, judged in enumerate(self._judged):
            final = at == len(self._judged) - 1
            if judged.ranking:
                ended = judged.outcome is Outcome.FAILED
                impact = Impact.FAILED if final and ended else Impact.DEGRADED
                survived = None if ended else "the log goes on long after it"
                over, lost = self._went_on(at) or survived, self._lost(at)
                found.append(self._told(at, judged.ranking, impact, over, lost))
            elif final and judged.outcome is Outcome.INCOMPLETE and judged.story.of(Kind.START, Kind.PROGRESS):
                found.append(Told(self.job.name, at, Impact.NONE, _unknown(judged.reason), None))
            for aside, states in grounds(self._asides(judged), judged.findings, self._graph):
                passed = aside.healed and not states and not aside.lasting
                over = self._went_on(at) or ("the run went on after it" if passed else None)
                if judged.outcome is Outcome.SUCCEEDED:
                    over = over or "the run succeeded"
                impact = max((_harm(one, judged) for one in (aside, *states)), key=_WORSE.index)
                found.append(self._told(at, Ranking(aside, (), states, states), impact, over))
        return found

    def _told(self, attempt: int, ranking: Ranking, impact: Impact, over: str | None, lost: int | None = None) -> Told:
        told = diagnosis(ranking, self._casts[attempt])
        return Told(self.job.name, attempt, impact, told, ranking, over, lost)

    def _lost(self, attempt: int) -> int | None:
        """Return how many steps of an attempt a later one had to do again."""
        later = self._later(attempt)
        return None if later is None else lost_steps(self._judged[attempt].story, self._judged[later].story)

    def _went_on(self, attempt: int) -> str | None:
        """Return that a later attempt made progress, or succeeded, if one did."""
        later = self._later(attempt)
        return None if later is None else f"attempt {later + 1} made progress"

    def _later(self, attempt: int) -> int | None:
        """Return the first later attempt that made progress, or succeeded."""
        for at, judged in enumerate(self._judged[attempt + 1 :], attempt + 1):
            if judged.story.progress or judged.outcome is Outcome.SUCCEEDED:
                return at
        return None

    def _asides(self, judged: Judged) -> list[Finding]:
        """Return what went wrong without ending the attempt: one finding for each signature, the worst first."""
        ranking = judged.ranking
        told = {id(f) for f in (ranking.cause, *ranking.symptoms, *ranking.alternatives)} if ranking else set()
        rest = [f for f in judged.findings if id(f) not in told and _worth(f)]
        covered = {f.signature.id for f in judged.findings if id(f) in told}
        worst: dict[str, Finding] = {}
        for f in sorted(rest, key=lambda f: not f.lasting):
            if f.signature.id not in covered:
                worst.setdefault(f.signature.id, f)
        roots = [f for f in worst.values() if not any(self._stands_for(o, f) for o in worst.values())]
        return sorted(roots, key=lambda f: (-f.signature.severity.rank, f.first.first.order))[:ASIDES]

    def _stands_for(self, one: Finding, other: Finding) -> bool:
        """Tell whether one aside is enough of two: it explains the other, and comes first where that goes both ways."""
        if not self._graph.explains(one.signature, other.signature) or (ails(other) and not ails(one)):
            return False  # what a run suffers from is told under its grounds
        if other.lasting and not one.lasting:
            return False
        mutual = self._graph.explains(other.signature, one.signature)
        return not mutual or one.first.first.order < other.first.first.order


def lost_steps(failed: Story, later: Story) -> int | None:
    """Return how many steps of an attempt that failed a later one did again, as far as both have logged them.

    Only the steps of one signature are compared. Those that are counted anew in each epoch tell nothing.
    """
    last: dict[str, int] = {}
    for entry in failed.progress:
        if (step := _last_step(entry)) is not None:
            last[entry.signal.signature] = max(step, last.get(entry.signal.signature, 0))
    for entry in later.progress:
        before, first = last.get(entry.signal.signature), _step(entry, Capture.STEP)
        if before is not None and first is not None:
            return max(0, before - (first - 1))
    return None


def _last_step(entry: Entry) -> int | None:
    step = _step(entry, Capture.LAST_STEP)
    return _step(entry, Capture.STEP) if step is None else step


def _step(entry: Entry, name: Capture) -> int | None:
    told = entry.signal.captures
    step = told.get(name, "")
    return int(step) if step.isdecimal() and len(step) < STEP_DIGITS and Capture.EPOCH not in told else None


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
    """Return what a finding did that did not end its attempt.

    An error of a program that it survived did no harm: what is tried again fails now and then. A machine that has
    failed once, on the other hand, will do so again.
    """
    if finding.before_start and not finding.healed and not finding.lasting:
        return Impact.NONE
    success = judged.story.success
    if success and finding.first.first.after(success.last):
        return Impact.NONE
    if finding.lasting:
        return Impact.DEGRADED
    if ails(finding):
        return Impact.NONE if finding.healed else Impact.DEGRADED
    return Impact.DEGRADED if finding.serious and finding.healed and _is_hardware(finding) else Impact.NONE


def _worth(finding: Finding) -> bool:
    """Tell whether what did not end an attempt is worth a word."""
    return finding.serious or finding.lasting or ails(finding) or _is_hardware(finding)


def _is_hardware(finding: Finding) -> bool:
    layer = fault_classes()[finding.fault].layer
    return layer in (Layer.HARDWARE, Layer.DRIVER) and finding.signature.severity is not Severity.INFO
