"""A series: the points of one metric of one writer, and what the detectors that look at it have seen so far.

Points come in their order, in batches of any size; how they were cut makes no difference to what is detected.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf, isfinite, isnan, nan
from typing import Any, Final

import numpy as np
import orjson
from pydantic import ConfigDict, TypeAdapter

from diagnose.detectors.scores import COMPARING, Numbers, reach, scored, usual
from schemas.detect import Detect, Score

Detectors = Mapping[str, Detect]
"""Detectors by the ids of their signatures."""

_NAMED: Final = ConfigDict(ser_json_inf_nan="strings")


@dataclass(frozen=True, slots=True)
class Point:
    """A value of a metric and the line that tells it: offset in bytes, line from 1, Unix time in seconds."""

    __pydantic_config__ = _NAMED

    offset: int
    line: int
    time_s: float | None
    value: float


@dataclass(slots=True)
class Episode:
    """A time during which a detector's score was out of bounds: its first and last point, and how many there were.

    `said` is what the score was when it fired, in words for people; `usual` what the values were compared with then.
    """

    __pydantic_config__ = _NAMED

    first: Point
    last: Point
    count: int
    said: str
    usual: float = nan


@dataclass(slots=True)
class Watch:
    """What one detector has seen of a series: the points in a row that are out of bounds, and the open episode."""

    streak: int = 0
    began: Point | None = None
    open: Episode | None = None

    def copy(self) -> "Watch":
        """Return a watch that can go on without changing this one."""
        return replace(self, open=replace(self.open) if self.open else None)


@dataclass(slots=True)
class Series:
    """The last points of a series, as many as its detectors look back at, and their watches."""

    __pydantic_config__ = _NAMED

    times_s: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    watches: dict[str, Watch] = field(default_factory=dict)

    def take(
        self, metric: str, points: Sequence[Point], detectors: Detectors, least: int = 0
    ) -> Iterator[tuple[str, Episode]]:
        """Take points in, and yield every episode that has begun or grown by them, with its detector's id.

        At `least` so many of the last points are kept.
        """
        self.times_s += [nan if point.time_s is None else point.time_s for point in points]
        self.values += [point.value for point in points]
        times, values = np.array(self.times_s), np.array(self.values)
        for name, detect in detectors.items():
            watch = self.watches.setdefault(name, Watch())
            scores = scored(detect, times, values, len(points))
            if watch.streak or watch.open or _any_out(detect, scores):
                median = usual(detect, values, len(points))
                yield from ((name, episode) for episode in _watched(watch, detect, metric, points, scores, median))
        kept = max((least, *map(reach, detectors.values())))
        del self.times_s[:-kept], self.values[:-kept]

    def copy(self) -> "Series":
        """Return a series that can go on without changing this one."""
        watches = {name: watch.copy() for name, watch in self.watches.items()}
        return Series([*self.times_s], [*self.values], watches)


def _watched(
    watch: Watch, detect: Detect, metric: str, points: Sequence[Point], scores: Numbers, median: Numbers
) -> Iterable[Episode]:
    """Let a watch see scored points; return the episodes that have begun or grown, each once."""
    grown: dict[int, Episode] = {}
    for point, score, before in zip(points, scores.tolist(), median.tolist(), strict=True):
        episode = _goes_on(watch, detect, point, score) if watch.open else _begins(watch, detect, metric, point, score)
        if episode is not None:
            if isnan(episode.usual):
                episode.usual = before
            grown[id(episode)] = episode
    return grown.values()


def _any_out(detect: Detect, scores: Numbers) -> bool:
    above, below = detect.above, detect.below
    with np.errstate(invalid="ignore"):
        return bool((above is not None and np.any(scores > above)) or (below is not None and np.any(scores < below)))


def _goes_on(watch: Watch, detect: Detect, point: Point, score: float) -> Episode | None:
    """Let an open episode see one point; return it if it has grown."""
    assert watch.open is not None
    if isnan(score) and not isfinite(point.value):
        return None
    if _is_back(detect, point.value, score, watch.open.usual):
        watch.streak, watch.began, watch.open = 0, None, None
        return None
    watch.open.last, watch.open.count = point, watch.open.count + 1
    return watch.open


def _begins(watch: Watch, detect: Detect, metric: str, point: Point, score: float) -> Episode | None:
    """Let a watch see one point; return the episode that begins with it."""
    if isnan(score):
        return None
    if not _is_out(detect, score):
        watch.streak, watch.began = 0, None
        return None
    watch.streak, watch.began = watch.streak + 1, watch.began or point
    if watch.streak < detect.points or not _lasted(detect, watch.began, point):
        return None
    watch.open = Episode(watch.began, point, watch.streak, _said(detect, metric, point, score))
    return watch.open


def _is_out(detect: Detect, score: float) -> bool:
    return (detect.above is not None and score > detect.above) or (detect.below is not None and score < detect.below)


def _is_back(detect: Detect, value: float, score: float, usual_value: float) -> bool:
    """Tell whether a fault is over; one of values that were compared, when they are again what was usual before it."""
    if detect.score is Score.RATIO and usual_value > 0:
        score = value / usual_value
    elif detect.score in COMPARING and isfinite(usual_value):
        return abs(value - usual_value) <= detect.change / 2 * abs(usual_value)
    if detect.until is None:
        return not _is_out(detect, score)
    return score <= detect.until if detect.above is not None else score >= detect.until


def _lasted(detect: Detect, began: Point, now: Point) -> bool:
    if not detect.for_s:
        return True
    if began.time_s is None or now.time_s is None:
        return True  # lines tell no times: the points in a row have to do
    return now.time_s - began.time_s >= detect.for_s


def _said(detect: Detect, metric: str, point: Point, score: float) -> str:
    """Return in words what a detector has seen when it fires."""
    of = f"{metric} is {point.value:.6g}"
    match detect.score:
        case Score.VALUE:
            return f"{of}, {_bound(detect, score)}"
        case Score.RATE:
            return f"{of} and changes by {score:.4g} a second, {_bound(detect, score)}"
        case Score.RATIO:
            return f"{of}, {score:.3g} times the median of what came before"
        case Score.DEVIATION:
            return f"{of}, {abs(score):.1f} deviations {_side(score)} the median of what came before"
        case Score.SHIFT:
            return f"{of}: the level is {abs(score):.1f} deviations {_side(score)} that of what came before"
        case Score.TIME_LEFT:
            return f"{of}, and on its way to {detect.limit:g} in {score / 60:.0f} min"
        case Score.NOT_FINITE | Score.ABSENCE | Score.PEERS:
            return of


def _bound(detect: Detect, score: float) -> str:
    if detect.above is not None and score > detect.above:
        return f"above {detect.above:g}"
    return f"below {detect.below if detect.below is not None else -inf:g}"


def _side(score: float) -> str:
    return "above" if score > 0 else "below"


_SERIES: Final = TypeAdapter(Series)


def kept(series: Series) -> Any:
    """Return a series as JSON can hold it; what is no number is told by its name."""
    return orjson.loads(_SERIES.dump_json(series))


def restored(state: object) -> Series:
    """Return the series that was kept.

    Raises:
        ValueError: it is of another version.
    """
    return _SERIES.validate_python(state)
