"""Scores: what a metric's points are worth to a detector, each from the points before it and from nothing else.

All functions take times (Unix, seconds) and values, the last `count` of which are to be scored, and return `count`
scores; a score that cannot be told yet is NaN, and out of no bounds. How the points came in makes no difference, as
long as a window of points before them is there.
"""

import warnings
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from schemas.detect import Detect, Score

COMPARING: Final = frozenset({Score.RATIO, Score.DEVIATION, Score.SHIFT})
"""Scores that compare a value with what was usual before it."""

Numbers = np.ndarray[Any, np.dtype[np.float64]]

SIGMA: Final = 1.4826
"""The median absolute deviation of a normal distribution times this is its standard deviation (Hampel, 1974)."""


def scored(detect: Detect, times_s: Numbers, values: Numbers, count: int) -> Numbers:
    """Return the scores of the last `count` points, for the scores that are of one series."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)  # a window of nothing but NaN has a NaN for its median
        return _SCORES[detect.score](detect, times_s, values, count)


def _value(detect: Detect, times_s: Numbers, values: Numbers, count: int) -> Numbers:
    return values[len(values) - count :]


def _not_finite(detect: Detect, times_s: Numbers, values: Numbers, count: int) -> Numbers:
    scores: Numbers = (~np.isfinite(values[len(values) - count :])).astype(np.float64)
    return scores


def _rate(detect: Detect, times_s: Numbers, values: Numbers, count: int) -> Numbers:
    """Return the change in a second over the last `recent` points."""
    ago = detect.recent
    before_s, before = _behind(times_s, count, ago)[:, 0], _behind(values, count, ago)[:, 0]
    took_s = times_s[len(times_s) - count :] - before_s
    scores: Numbers = np.where(took_s > 0, (values[len(values) - count :] - before) / took_s, np.nan)
    return scores


def _ratio(detect: Detect, times_s: Numbers, values: Numbers, count: int) -> Numbers:
    """Return each value as a multiple of the median of the window before it."""
    median, _ = _usual(detect, values, count)
    scores: Numbers = np.where(median > 0, values[len(values) - count :] / median, np.nan)
    return scores


def _deviation(detect: Detect, times_s: Numbers, values: Numbers, count: int) -> Numbers:
    """Return the modified z-score: the distance from the median in robust standard deviations.

    Iglewicz and Hoaglin, How to Detect and Handle Outliers (1993), call points beyond 3.5 outliers.
    """
    median, sigma = _usual(detect, values, count)
    return _distance(detect, values[len(values) - count :], median, sigma)


def _shift(detect: Detect, times_s: Numbers, values: Numbers, count: int) -> Numbers:
    """Return by how much the level has changed: the median of the last few points against those before them.

    Two adjoining windows are the offline change-point cost of a single change (Truong, Oudre and Vayatis, 2020), with
    medians for means, so that a single outlier is no change.
    """
    recent = _behind(values, count, detect.recent - 1)
    earlier = values[: max(0, len(values) - detect.recent)]
    median, sigma = _usual(detect, np.append(earlier, np.nan), count)
    level = np.where(np.isnan(recent).any(axis=1), np.nan, np.median(recent, axis=1))
    return _distance(detect, level, median, sigma)


def _time_left(detect: Detect, times_s: Numbers, values: Numbers, count: int) -> Numbers:
    """Return in how many seconds the least-squares line through the window reaches the limit; infinite if it does not.

    It is trusted only where it explains 80 % of what the values do (R squared), as a rule of thumb of capacity
    planning has it; elsewhere the score is not known.
    """
    times = _behind(times_s, count, detect.window - 1)
    window = _behind(values, count, detect.window - 1)
    known = np.isfinite(window) & np.isfinite(times)
    enough = known.sum(axis=1) >= detect.least
    x = np.where(known, times - times[:, -1:], np.nan)
    x_mean, y_mean = np.nanmean(x, axis=1, keepdims=True), np.nanmean(np.where(known, window, np.nan), axis=1)[:, None]
    x_off, y_off = np.where(known, x - x_mean, 0.0), np.where(known, window - y_mean, 0.0)
    xx, yy, xy = (x_off**2).sum(axis=1), (y_off**2).sum(axis=1), (x_off * y_off).sum(axis=1)
    slope = np.where(xx > 0, xy / xx, np.nan)
    straight = np.where((xx > 0) & (yy > 0), xy**2 / (xx * yy), 0.0) >= 0.8
    now = y_mean[:, 0] - slope * x_mean[:, 0]
    left = (detect.limit - now) / slope
    scores: Numbers = np.where(enough & straight, np.where(left >= 0, left, np.inf), np.nan)
    return scores


def _usual(detect: Detect, values: Numbers, count: int) -> tuple[Numbers, Numbers]:
    """Return the median and the robust standard deviation of the window before each point."""
    window = _behind(values, count, detect.window)[:, :-1]
    window = np.where(np.isfinite(window), window, np.nan)
    enough = np.isfinite(window).sum(axis=1) >= detect.least
    median = np.where(enough, np.nanmedian(window, axis=1), np.nan)
    return median, SIGMA * np.nanmedian(np.abs(window - median[:, None]), axis=1)


def _distance(detect: Detect, values: Numbers, median: Numbers, sigma: Numbers) -> Numbers:
    off = values - median
    floor = np.maximum(np.abs(median) * 1e-3, 1e-12)  # what has never moved has no deviation to be measured in
    enough = np.abs(off) >= detect.change * np.abs(median)
    scores: Numbers = np.where(np.isnan(off), np.nan, np.where(enough, off / np.maximum(sigma, floor), 0.0))
    return scores


def _behind(numbers: Numbers, count: int, behind: int) -> Numbers:
    """Return for each of the last `count` numbers a row: the `behind` numbers before it, and itself at the end.

    What is not there is NaN.
    """
    padded = np.concatenate([np.full(behind + max(0, count - len(numbers)), np.nan), numbers])
    rows: Numbers = np.lib.stride_tricks.sliding_window_view(padded, behind + 1)[-count:]
    return rows


_Scoring = Callable[[Detect, Numbers, Numbers, int], Numbers]
_SCORES: Final[dict[Score, _Scoring]] = {
    Score.VALUE: _value,
    Score.NOT_FINITE: _not_finite,
    Score.RATE: _rate,
    Score.RATIO: _ratio,
    Score.DEVIATION: _deviation,
    Score.SHIFT: _shift,
    Score.TIME_LEFT: _time_left,
}


def usual(detect: Detect, values: Numbers, count: int) -> Numbers:
    """Return what was usual before each of the last `count` points, for scores that compare with that; NaN for others.

    It is the median of the window before; for `shift`, of the window before the last few points.
    """
    if detect.score not in COMPARING:
        return np.full(count, np.nan)
    late = detect.recent if detect.score is Score.SHIFT else 0
    earlier = values[: max(0, len(values) - late)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return _usual(detect, np.append(earlier, np.nan) if late else values, count)[0]


def reach(detect: Detect) -> int:
    """Return how many points before a point its score may depend on."""
    return detect.window + detect.recent + 1
