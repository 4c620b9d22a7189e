"""Scores what the living core tells of a simulation: how soon, and what it tells that is not so.

- `opened_s`: from the true time to the first tick at which an incident of the job is told, with impact failed or
  degraded.
- `named_s`: the same, to the first tick at which one names the true fault or one that can be defended.
- A hang has a goal of its own: `GOAL_STEPS` times what a step takes, and `GOAL_S` more. Of a job that does not log each
  step nothing can be known so soon: `gap_s` is the time between two of its lines, and what the goal would be then
  counts apart.
- False: told as failed or degraded, and about no true incident: before it and its first line, of another job, or of
  none. What is opened again and again as one incident counts once.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from relight.sim.living import Telling
from relight.sim.scoring import FalseAlarm, about, early
from relight.sim.training import logged_every
from relight.sim.truth import TrueIncident, Truth
from relight.sim.world import World
from schemas.history import IncidentHistory
from schemas.incident import Incident
from schemas.model import Model
from schemas.vocabulary import Impact

GOAL_STEPS: Final = 3
GOAL_S: Final = 60.0


class LiveScore(Model):
    """How soon one true incident was told. Times are in seconds; `None`: it was not told, or is no hang."""

    seed: int
    scenario: str
    variant: str
    fault: str
    opened_s: float | None = None
    named_s: float | None = None
    hangs: bool = False
    step_s: float | None = None
    gap_s: float | None = None

    @property
    def within_goal(self) -> bool | None:
        """Tell whether a hang was told within the goal; `None` of what is none."""
        return self._within(self.step_s)

    @property
    def within_gap_goal(self) -> bool | None:
        """Tell whether it was within the goal that its lines allow."""
        return self._within(self.gap_s)

    def _within(self, pace_s: float | None) -> bool | None:
        if not self.hangs or pace_s is None:
            return None
        return self.opened_s is not None and self.opened_s <= GOAL_STEPS * pace_s + GOAL_S


def live_scores(
    world: World, truth: Truth, tellings: Sequence[Telling], variant: str
) -> tuple[list[LiveScore], list[FalseAlarm]]:
    """Compare what was told of a simulation with its truth."""
    real = [(one, told_as(one.incident)) for one in tellings if _hurts(one.incident)]
    scores, right = [], set[str]()
    for stage, true in zip(world.stages, truth.incidents, strict=True):
        own = [(one, told) for one, told in real if about(true, truth, told) and _in_time(true, one, told)]
        right |= {one.incident.id for one, _ in own} | {one.incident.id for one, told in real if _survived(true, told)}
        named = [one for one, told in own if told.fault in (true.fault, *true.also)]
        hangs = stage.scenario.spread.kind == "hang" and stage.scenario.when == "running"
        scores.append(
            LiveScore(
                seed=truth.seed,
                scenario=true.scenario,
                variant=variant,
                fault=true.fault,
                opened_s=_delay_s(true, [one for one, _ in own]),
                named_s=_delay_s(true, named),
                hangs=hangs,
                step_s=round(stage.job.step_s, 1),
                gap_s=round(stage.job.step_s * logged_every(stage.job), 1),
            )
        )
    return scores, list(_alarms(truth, real, right))


def told_as(history: IncidentHistory) -> Incident:
    """Return an incident that lives as one of a report."""
    assert history.opened is not None
    assert history.diagnosed is not None
    return Incident(
        **history.diagnosed.diagnosis.model_dump(),
        id=history.id,
        run=history.opened.job or history.opened.run,
        attempt=history.opened.attempt,
        impact=history.diagnosed.impact,
        provenance_verified=history.diagnosed.provenance_verified,
        symptoms=history.diagnosed.symptoms,
        alternatives=history.diagnosed.alternatives,
        evidence=tuple(history.evidence.values()),
    )


def _hurts(history: IncidentHistory) -> bool:
    return history.diagnosed is not None and history.diagnosed.impact is not Impact.NONE


def _in_time(true: TrueIncident, one: Telling, told: Incident) -> bool:
    said = true.first_line.said if true.first_line else true.happened  # a machine may say it before it hurts
    return one.time_s >= min(said, true.happened).timestamp() and not early(true, told)


def _survived(true: TrueIncident, told: Incident) -> bool:
    """Tell whether an incident is a similar error that the run is known to have survived."""
    place = told.first_cause
    return place is not None and any(
        line.line == place.line and Path(place.source).match(f"*/{line.file}") for line in true.survived
    )


def _delay_s(true: TrueIncident, own: Sequence[Telling]) -> float | None:
    times = [one.time_s for one in own]
    return round(min(times) - true.happened.timestamp(), 1) if times else None


def _alarms(truth: Truth, real: Sequence[tuple[Telling, Incident]], right: set[str]) -> Iterator[FalseAlarm]:
    seen = set(right)
    for one, told in real:
        if one.incident.id not in seen:
            seen.add(one.incident.id)
            line = told.first_cause.text[:300] if told.first_cause else ""
            yield FalseAlarm(seed=truth.seed, fault=told.fault, title=told.title, impact=told.impact, line=line)
