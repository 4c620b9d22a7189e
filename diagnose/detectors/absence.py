"""Absence: how long nothing may come before that is a fault, from the pace at which it used to come."""

from collections.abc import Sequence
from statistics import median

from schemas.detect import Detect


def patience_s(detect: Detect, pace_s: float) -> float:
    """Return for how long (seconds) nothing may come where something came every `pace_s` seconds until then."""
    return max(detect.for_s, (detect.above or 0.0) * pace_s)


def silent_too_long(detect: Detect, gaps_s: Sequence[float], silence_s: float) -> float | None:
    """Return how many times the usual gap nothing has come, `None` while that is not too long, or not known."""
    if len(gaps_s) < detect.least:
        return None
    pace_s = median(gaps_s)
    return silence_s / max(pace_s, 1e-9) if silence_s > patience_s(detect, pace_s) else None
