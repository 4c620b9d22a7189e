"""What a signature detects that is not one line: how the points of a metric are scored, and when that is a fault."""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from schemas.model import Model

MetricName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=60)]
"""A metric's name, with its unit as the last part where it has one: `step_time_s`, `gpu_memory_free_bytes`."""

Points = Annotated[int, Field(ge=1, le=512)]
Positive = Annotated[float, Field(gt=0)]


class Score(StrEnum):
    """How a point is scored; `diagnose/detectors/scores.py` has the formulas and where they come from.

    `value`: itself. `rate`: its change in a second. `ratio`: how many times the median of what came before it.
    `deviation`: its distance from that median in robust standard deviations. `shift`: the distance of the last few
    points' median from the median of those before them, in the same unit. `time_left`: the seconds until the line
    through the last points reaches a limit. `not_finite`: 1 if it is no number or infinite, else 0.

    Two are not scores of one series but of a whole job. `absence`: for how many times its usual pace nothing has moved.
    `peers`: the distance from the median of what the job's other ranks, GPUs or hosts say at that time, in robust
    standard deviations.
    """

    VALUE = "value"
    RATE = "rate"
    RATIO = "ratio"
    DEVIATION = "deviation"
    SHIFT = "shift"
    TIME_LEFT = "time_left"
    NOT_FINITE = "not_finite"
    ABSENCE = "absence"
    PEERS = "peers"

    @property
    def of_a_job(self) -> bool:
        """Tell whether a whole job is scored, not one series."""
        return self in (Score.ABSENCE, Score.PEERS)


class Detect(Model):
    """A detector: it fires when a score has been out of bounds for long enough, and ends when it is well back.

    `metric`: the metrics that it looks at, each on its own. `above`, `below`: the bounds of the score; one of them, or
    both. `until`: how far the score has to come back for the fault to be over (hysteresis); the bound itself where it
    is not given. `points`, `for_s`: so many points in a row, and so many seconds, the score has to be out of bounds.
    `window`: how many points before are compared with, of which at least `least` must be there. `recent`: how many of
    the last points `shift` and `rate` take. `change`: the least part of the median by which a value has to differ from
    it, however small the deviations are. `limit`: the value that `time_left` waits for.
    """

    metric: Annotated[tuple[MetricName, ...], Field(min_length=1)]
    score: Score = Score.VALUE
    above: float | None = None
    below: float | None = None
    until: float | None = None
    points: Points = 1
    for_s: Annotated[float, Field(ge=0)] = 0.0
    window: Points = 64
    least: Points = 16
    recent: Points = 8
    change: Annotated[float, Field(ge=0)] = 0.0
    limit: float = 0.0

    @model_validator(mode="before")
    @classmethod
    def _one_metric_is_a_list_of_one(cls, fields: object) -> object:
        if isinstance(fields, dict) and isinstance(fields.get("metric"), str):
            return fields | {"metric": [fields["metric"]]}
        return fields

    @model_validator(mode="after")
    def _the_bounds_make_sense(self) -> Self:
        if self.above is None and self.below is None:
            raise ValueError("a detector needs a bound: `above`, `below` or both")
        if self.above is not None and self.below is not None and self.below >= self.above:
            raise ValueError("`below` is less than `above`: between them all is well")
        if self.until is not None and self.above is not None and self.below is not None:
            raise ValueError("`until` goes with one bound; with both the fault is over between them")
        if self.until is not None and (
            (self.above is not None and self.until > self.above) or (self.below is not None and self.until < self.below)
        ):
            raise ValueError("`until` lies on the good side of the bound")
        if self.least > self.window:
            raise ValueError("`least` is at most `window`")
        return self
