"""Peers: who differs from all others that do the same work at the same time."""

from collections.abc import Mapping
from math import isfinite
from statistics import median
from typing import TypeVar

from diagnose.detectors.scores import SIGMA
from schemas.detect import Detect

Who = TypeVar("Who")


def strangers(detect: Detect, levels: Mapping[Who, float], whole: float = 0.0) -> dict[Who, float]:
    """Return those whose level is out of bounds, with their robust distance from the median of all.

    The distance is the modified z-score of Iglewicz and Hoaglin (1993). A level has to differ from the median by
    `change` of it as well, and `least` peers must be there; where more than a third differ there is no usual level.
    Where the levels are those of a part, it has to differ by `change` of the `whole`.
    """
    known = {who: level for who, level in levels.items() if isfinite(level)}
    if len(known) < detect.least:
        return {}
    usual = median(known.values())
    sigma = SIGMA * median(abs(level - usual) for level in known.values())
    floor = max(abs(usual) * 1e-2, 1e-12)  # peers that agree exactly still differ by a hundredth without meaning it
    far = {who: (level - usual) / max(sigma, floor) for who, level in known.items()}
    out = {who: score for who, score in far.items() if _out(detect, score, known[who] - usual, max(abs(usual), whole))}
    return out if 3 * len(out) <= len(known) else {}


def _out(detect: Detect, score: float, apart: float, whole: float) -> bool:
    if abs(apart) < detect.change * whole:
        return False
    return (detect.above is not None and score > detect.above) or (detect.below is not None and score < detect.below)
