"""A report as a story: what every format shows, in which order and in which words. Formats only lay it out."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from relight.reports.blame import Member, consequence, culprits
from relight.reports.failure import Failure, failure_of
from relight.reports.paths import relative, shared_directory
from relight.reports.phrases import clock, confidence, counted, listed, number, size, where
from schemas.incident import Incident, Problem, Run, Scanned, ScanReport
from schemas.vocabulary import Impact, Outcome

ROWS: Final = 30
"""A table of runs has no more rows than this; those that succeeded give way first."""


class Verdict(StrEnum):
    """What a scan found, from worst to best."""

    FAILED = "failed"
    DEGRADED = "degraded"
    INCOMPLETE = "incomplete"
    SUCCEEDED = "succeeded"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Aside:
    """An incident that ended no run, in one line; `count` incidents of one fault are one aside."""

    impact: str
    sentence: str
    count: int
    confidence: str
    where: str
    time: str
    text: str
    action: str


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run as a row of a table."""

    name: str
    outcome: str
    step: str
    size: str
    reason: str


@dataclass(frozen=True, slots=True)
class Story:
    """Everything a report says. The headline is the answer; failures come with the most likely first."""

    headline: str
    verdict: Verdict
    failures: tuple[Failure, ...]
    asides: tuple[Aside, ...]
    harmless: str
    runs: tuple[RunRow, ...]
    runs_folded: int
    read: str
    skipped: tuple[Problem, ...]
    problems: tuple[Problem, ...]
    version: str


def told(report: ScanReport) -> Story:
    """Return the story of a cleaned report."""
    directory = shared_directory(report)
    report = relative(report, directory)
    runs = {run.name: run for run in report.runs} | {run.id: run for run in report.runs}
    members = [(incident, runs.get(incident.run)) for incident in report.incidents]
    failures = tuple(
        failure_of(group, len(report.runs)) for group in _groups(m for m in members if m[0].impact is Impact.FAILED)
    )
    degraded = [m for m in members if m[0].impact is Impact.DEGRADED]
    rows = _rows(report.runs)
    return Story(
        headline=failures[0].headline if failures else _calm(report, degraded),
        verdict=_verdict(report, bool(failures), bool(degraded)),
        failures=failures,
        asides=tuple(_aside(group, len(report.runs)) for group in _groups(degraded)),
        harmless=_harmless([m for m in members if m[0].impact is Impact.NONE]),
        runs=rows[:ROWS],
        runs_folded=len(rows[ROWS:]),
        read=_read(report.scanned, report.signatures, directory),
        skipped=report.scanned.skipped,
        problems=report.scanned.problems,
        version=report.relight,
    )


def _groups(members: Iterable[Member]) -> list[list[Member]]:
    """Return the incidents of one fault together, groups and incidents in the order of the report."""
    groups: dict[tuple[str, str], list[Member]] = {}
    for member in members:
        groups.setdefault(_likeness(member[0]), []).append(member)
    return list(groups.values())


def _likeness(incident: Incident) -> tuple[str, str]:
    """Return what makes two incidents one: the fault and its signature, or the strangest line where none is known."""
    if incident.fault != "unknown":
        return incident.fault, incident.signature
    return "unknown", incident.surprises[0].template if incident.surprises else incident.id


def _verdict(report: ScanReport, failed: bool, degraded: bool) -> Verdict:
    outcomes = {run.outcome for run in report.runs}
    if failed or Outcome.FAILED in outcomes:
        return Verdict.FAILED
    if Outcome.INCOMPLETE in outcomes:
        return Verdict.INCOMPLETE
    if degraded:
        return Verdict.DEGRADED
    return Verdict.SUCCEEDED if outcomes else Verdict.NOTHING


def _calm(report: ScanReport, degraded: Sequence[Member]) -> str:
    """Return the headline of a report in which no incident ended a run."""
    failed = [run for run in report.runs if run.outcome is Outcome.FAILED]
    unfinished = [run for run in report.runs if run.outcome is Outcome.INCOMPLETE]
    if failed:
        return f"{_runs(failed)} failed: {failed[0].reason.rstrip('.')}"
    if unfinished:
        return f"{_runs(unfinished)} did not finish: {unfinished[0].reason.rstrip('.')}"
    if not report.runs:
        return f"No training run was found in {counted(report.scanned.sources, 'source')}"
    hurt = {incident.run for incident, _ in degraded}
    suffix = f"; {counted(len(hurt), 'run')} degraded" if hurt else "; nothing broke"
    return f"{_runs(report.runs)} succeeded{suffix}"


def _runs(runs: Sequence[Run]) -> str:
    if len(runs) > 4:
        return counted(len(runs), "run")
    return f"{'Run' if len(runs) == 1 else 'Runs'} {listed([run.name for run in runs])}"


def _aside(group: Sequence[Member], runs_total: int) -> Aside:
    lead = group[0][0]
    first = lead.first_cause
    return Aside(
        impact=lead.impact.value,
        sentence=f"{culprits([incident for incident, _ in group])}; {consequence(group, runs_total)}",
        count=len(group),
        confidence=confidence(lead.confidence),
        where=where(first) if first else "",
        time=clock(first.time) if first else "",
        text=first.text if first else "",
        action=lead.action,
    )


def _harmless(members: Sequence[Member]) -> str:
    counts: dict[str, int] = {}
    for incident, _ in members:
        counts[incident.title] = counts.get(incident.title, 0) + 1
    return listed([title if count == 1 else f"{title} (x{count})" for title, count in counts.items()], most=4)


def _rows(runs: Sequence[Run]) -> tuple[RunRow, ...]:
    """Return the runs in the order of the report; where they are too many, those that did not succeed first."""
    ordered = runs if len(runs) <= ROWS else sorted(runs, key=lambda run: run.outcome is Outcome.SUCCEEDED)
    return tuple(_row(run) for run in ordered)


def _row(run: Run) -> RunRow:
    steps = [a.progress.last_step for a in run.attempts if a.progress and a.progress.last_step is not None]
    parts = [counted(len(run.hosts), "host")] * bool(run.hosts) + [counted(run.ranks, "rank")] * bool(run.ranks)
    parts += [counted(len(run.attempts), "attempt")] * (len(run.attempts) > 1)
    return RunRow(
        name=run.name,
        outcome=run.outcome.value,
        step=number(steps[-1]) if steps else "",
        size=", ".join(parts),
        reason=run.reason,
    )


def _read(scanned: Scanned, signatures: int, directory: str) -> str:
    inside = f" in {directory}" if directory else ""
    return (
        f"{counted(scanned.sources, 'source')}{inside}, {counted(scanned.lines, 'line')}, {size(scanned.bytes)}, "
        f"against {counted(signatures, 'signature')}"
    )
