"""Scores what relight reports of a simulation against its truth: right fault, right host, right line, how soon.

What is counted, exactly:

- A reported incident is about a true one if it names its job, or rests on a file of it, or, doing neither, if it
  names a host of it. Of several the first that ended the run is judged, else the first that does not begin long before
  the true one: it is what a person reads first.
- `fault_top1`: its fault is the true one, or one of those that can be defended as well.
- `host_top1`: its culprit is on the true host; `host_top5`: that host is among the first five that it names, culprit
  first, then those of the alternatives, then those of the evidence. Only incidents whose truth names a host count.
- `first_line`: its first cause is a line that tells of the incident, said within the truth's `near_s`, and
  what clocks are wrong by, of the first that does.
  Only incidents with a line that was not lost count.
- False: impact failed or degraded, and either about no true incident, or begun long before it with a line that is none
  of those that the run is known to have survived.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from relight.sim.truth import TrueIncident, TrueLine, TrueRun, Truth
from schemas.incident import Incident, Place, Role, ScanReport
from schemas.model import Model
from schemas.vocabulary import Impact

_EARLY_S: Final = 600.0
"""What begins so long before a true incident has nothing to do with it."""
_HOSTS: Final = 5


class Score(Model):
    """How well one true incident was reported. `None`: it does not count for that. `delay_s` is from its true time."""

    seed: int
    scenario: str
    variant: str
    fault: str
    reported: bool
    told_fault: str | None = None
    told_host: str | None = None
    told_line: str | None = None
    fault_top1: bool
    host_top1: bool | None
    host_top5: bool | None
    first_line: bool | None
    delay_s: float | None = None


class FalseAlarm(Model):
    """An incident that was reported where none was."""

    seed: int
    fault: str
    title: str
    impact: str
    line: str


@dataclass(frozen=True, slots=True)
class Judged:
    """A report, judged."""

    scores: tuple[Score, ...]
    false_alarms: tuple[FalseAlarm, ...]


def detected_at(report: ScanReport, incident: Incident) -> datetime | None:
    """Return when an incident was detected. A scan knows no time of its own: the first line of its evidence counts."""
    times = [evidence.first.time for evidence in incident.evidence if evidence.first.time is not None]
    if incident.first_cause is not None and incident.first_cause.time is not None:
        times.append(incident.first_cause.time)
    return min(times, default=None)


def judged(truth: Truth, report: ScanReport, logs: Path, variant: str = "alone") -> Judged:
    """Compare a report on the logs of a simulation with its truth."""
    real = [one for one in report.incidents if one.impact is not Impact.NONE]
    scores, known = list[Score](), set[str]()
    for true in truth.incidents:
        own = [one for one in real if about(true, truth, one)]
        first = _first(true, own)
        known.update(one.id for one in own if one is first or not early(true, one) or _survived(true, one, logs))
        scores.append(_score(truth, true, first, report, logs, variant))
    return Judged(tuple(scores), tuple(_alarm(truth, one) for one in real if one.id not in known))


def _first(true: TrueIncident, own: Sequence[Incident]) -> Incident | None:
    """Return the incident that a person reads first: of a run that died, the one that is said to have ended it."""
    if true.ended_run and (fatal := [one for one in own if one.impact is Impact.FAILED]):
        return fatal[0]
    return next((one for one in own if not early(true, one)), None)


def _alarm(truth: Truth, one: Incident) -> FalseAlarm:
    line = one.first_cause.text[:300] if one.first_cause else ""
    return FalseAlarm(seed=truth.seed, fault=one.fault, title=one.title, impact=one.impact, line=line)


def about(true: TrueIncident, truth: Truth, told: Incident) -> bool:
    """Tell whether a reported incident is about the job of a true one: by its name, its files, or its hosts."""
    if len(truth.runs) == 1:
        return True
    named = [run.job for run in truth.runs if run.job in told.run] or [
        run.job for run in truth.runs if any(_of_job(place.source, run) for place in _places(told))
    ]
    if named:
        return true.run in named
    hosts = next(run.hosts for run in truth.runs if run.job == true.run)
    return bool({told.culprit.host, *told.scope.hosts} & set(hosts))


def _places(told: Incident) -> list[Place]:
    causes = [evidence.first for evidence in told.evidence if evidence.role is Role.CAUSE]
    return [told.first_cause, *causes] if told.first_cause is not None else causes


def _of_job(source: str, run: TrueRun) -> bool:
    """Tell whether a file is a job's: its name, or that of one of its hosts, is part of the path."""
    parts = Path(source).parts
    return run.job in source or any(part == host or part.startswith(f"{host}.") for part in parts for host in run.hosts)


def early(true: TrueIncident, told: Incident) -> bool:
    """Tell whether a reported incident began too long before a true one to be about it."""
    began = told.first_cause.time if told.first_cause is not None else None
    return began is not None and began < true.happened - timedelta(seconds=_EARLY_S)


def _survived(true: TrueIncident, told: Incident, logs: Path) -> bool:
    """Tell whether a reported incident is a similar error that the run is known to have survived."""
    place = told.first_cause
    return place is not None and any(_stands_at(line, place, logs) for line in true.survived)


def _score(
    truth: Truth, true: TrueIncident, told: Incident | None, report: ScanReport, logs: Path, variant: str
) -> Score:
    line_counts = true.first_line is not None
    score = Score(
        seed=truth.seed,
        scenario=true.scenario,
        variant=variant,
        fault=true.fault,
        reported=told is not None,
        fault_top1=False,
        host_top1=False if true.host else None,
        host_top5=False if true.host else None,
        first_line=False if line_counts else None,
    )
    if told is None:
        return score
    detected, hosts = detected_at(report, told), list(_hosts(told))
    return score.model_copy(
        update={
            "told_fault": told.fault,
            "told_host": told.culprit.host,
            "told_line": told.first_cause.text[:300] if told.first_cause else None,
            "fault_top1": told.fault in (true.fault, *true.also),
            "host_top1": told.culprit.host == true.host if true.host else None,
            "host_top5": true.host in hosts[:_HOSTS] if true.host else None,
            "first_line": _same_line(true, told.first_cause, logs, truth.skew_s) if line_counts else None,
            "delay_s": (detected - true.happened).total_seconds() if detected else None,
        }
    )


def _hosts(told: Incident) -> Iterator[str]:
    """Yield the hosts that an incident names, the likeliest first, each once."""
    of_alternatives = [e.hosts for a in told.alternatives for e in told.evidence if e.first == a.first_cause]
    named = [told.culprit.host, *(h for hosts in of_alternatives for h in hosts[:1])]
    named += [host for evidence in told.evidence for host in evidence.hosts]
    yield from dict.fromkeys(name for name in named if name)


def _same_line(true: TrueIncident, place: Place | None, logs: Path, skew_s: float) -> bool:
    """Tell whether a place is a line that tells of the incident; a traceback counts as one line."""
    if place is None or true.first_line is None:
        return False
    latest = true.first_line.said + timedelta(seconds=true.near_s + skew_s)
    return any(line.said <= latest and _stands_at(line, place, logs) for line in true.lines)


def _stands_at(line: TrueLine, place: Place, logs: Path) -> bool:
    first, last = place.unit or (place.line, place.line)
    return Path(place.source) == logs / line.file and first <= line.line <= last
