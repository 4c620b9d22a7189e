"""Judgement: how an attempt ended, and by what: by its own verdict, by success, by faults that it did not survive."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from diagnose.correlation.causes import CauseGraph
from diagnose.correlation.comparing import compared, unsaid
from diagnose.correlation.diagnosis import Cast
from diagnose.correlation.evidence import Finding, Resolve, findings
from diagnose.correlation.moments import Entry
from diagnose.correlation.ranking import Ranker, Ranking
from diagnose.correlation.states import ails
from diagnose.correlation.story import Story
from schemas.signal import Signal
from schemas.vocabulary import Kind, Outcome, Severity

WENT_ON_LINES: Final = 2000
"""A log that goes on for so long after an error did not end by it, even where no progress is recognised in it."""


@dataclass(frozen=True)
class Judged:
    """An attempt that has been looked at: its outcome, and why."""

    story: Story
    outcome: Outcome
    reason: str
    findings: tuple[Finding, ...]
    ranking: Ranking | None


@dataclass(frozen=True)
class Judge:
    """Judges the attempts of one job."""

    _resolve: Resolve
    _graph: CauseGraph

    def judged(self, story: Story, ends: Mapping[str, int], cast: Cast, worked_out: Sequence[Finding] = ()) -> Judged:
        """Return the judgement of one attempt, which ends in each source at the line that `ends` tells.

        `cast` is who took part in it. `worked_out` is what no line says: that it has made no progress for too long, or
        who differs from the others.
        """
        found = [*findings(story, self._resolve), *worked_out]
        seen = compared(found, story, self._resolve, cast.arrivals.mismatch)
        verdict = story.verdict(self._is_verdict)
        if verdict and verdict.signal.kind is Kind.FAULT:
            return self._condemned(story, seen, verdict, cast)
        if success := verdict or story.success:
            where = f"{success.signal.source}:{success.signal.last.line}"
            reason = f"{self._resolve(success.signal.signature).title} ({where})"
            return Judged(story, Outcome.SUCCEEDED, reason, tuple(seen), None)
        ranking = self._ranked(seen, story, cast)
        if ranking is None and (bad := _gone_bad(story, seen) or unsaid(seen)):
            return Judged(story, Outcome.FAILED, bad.signature.title, tuple(seen), Ranking(bad, (), ()))
        if ranking is None:
            return Judged(story, Outcome.INCOMPLETE, _stops(story), tuple(seen), None)
        if _survived(ranking, ends):
            return Judged(story, Outcome.INCOMPLETE, _stops(story), tuple(seen), ranking)
        return Judged(story, Outcome.FAILED, ranking.cause.signature.title, tuple(seen), ranking)

    def _ranked(self, seen: Sequence[Finding], story: Story, cast: Cast) -> Ranking | None:
        return Ranker(seen, self._graph, story.last_progress, cast.hosts, cast.hosts_waited_for).ranking()

    def _is_verdict(self, signal: Signal) -> bool:
        """Tell whether a run says by this how it ended: what comes before or after does not change it."""
        final = signal.kind is Kind.SUCCESS or signal.fault == "training.not_converged"
        return final and self._resolve(signal.signature).decisive

    def _condemned(self, story: Story, seen: Sequence[Finding], verdict: Entry, cast: Cast) -> Judged:
        """Return the judgement of an attempt that says itself that it failed: the verdict's finding is not healed."""
        final = [replace(f, healed=False, before_start=False) if verdict in f.entries else f for f in seen]
        ranking = self._ranked(final, story, cast)
        assert ranking is not None
        return Judged(story, Outcome.FAILED, ranking.cause.signature.title, tuple(final), ranking)


def _survived(ranking: Ranking, ends: Mapping[str, int]) -> bool:
    """Tell whether every log with the errors goes on long after them, so that they hardly ended the attempt."""
    told = (ranking.cause, *ranking.alternatives, *(s for s in ranking.symptoms if s.serious))
    if any(f.signature.severity is Severity.CRITICAL for f in told):
        return False
    rests = [ends.get(e.signal.source, 0) - e.last.line for f in told for e in f.entries]
    return min(rests) >= WENT_ON_LINES


def _gone_bad(story: Story, seen: Sequence[Finding]) -> Finding | None:
    """Return the finding of a loss that was NaN again and again to the end: the run advanced, but to nowhere."""
    last = max((e.last for e in story.progress), key=lambda moment: moment.order, default=None)
    nans = (f for f in seen if f.fault == "training.loss_nan" and not ails(f))
    bad = [f for f in nans if (last is None or not last.after(f.last))]
    return min((f for f in bad if f.count > 1), key=lambda f: f.first.first.order, default=None)


def _stops(story: Story) -> str:
    if not story.entries:
        return "nothing in it is known to relight"
    last = max((*story.progress, *story.of(Kind.START)), key=lambda e: e.last.order, default=None)
    if last is None:
        return "neither success nor failure is in the log"
    word = "progress" if last.signal.kind is Kind.PROGRESS else "start"
    return f"the log stops; the last {word} is at {last.signal.source}:{last.signal.last.line}"
