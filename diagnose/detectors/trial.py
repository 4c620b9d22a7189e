"""Trials: the series that a detector's author writes as its tests, in a notation of one line, and whether it fires.

`2.0~0.1 x64, 9 x3` are 64 values around 2.0 that differ from it by 0.1 at most, and then three nines; `80..0 x40`
runs from 80 to 0 in 40 values. The values of a series are ten seconds apart. For `absence` they are the seconds from
one line of progress to the next, the last one being the silence; for `peers` they are what the peers say at one time.
"""

import re
from collections.abc import Iterator
from math import inf, nan
from typing import Final

from diagnose.detectors.absence import silent_too_long
from diagnose.detectors.peers import strangers
from diagnose.detectors.series import Point, Series
from schemas.detect import Detect, Score

APART_S: Final = 10.0
_MOST: Final = 2000
_NUMBER: Final = r"[+-]?(?:\d+(?:\.\d+)?(?:e[+-]?\d+)?|nan|inf)"
_ITEM: Final = re.compile(rf"({_NUMBER})(?:~({_NUMBER})|\.\.({_NUMBER}))?(?: x(\d+))?")


class TrialError(ValueError):
    """A series is not in the notation; the message says what is wrong."""


def fires(detect: Detect, series: str) -> bool:
    """Tell whether a detector fires on a series.

    Raises:
        TrialError: the series is not in the notation.
    """
    numbers = list(values(series))
    if detect.score is Score.ABSENCE:
        return silent_too_long(detect, numbers[:-1], numbers[-1]) is not None
    if detect.score is Score.PEERS:
        return bool(strangers(detect, {str(at): number for at, number in enumerate(numbers)}))
    points = [Point(at, at + 1, at * APART_S, number) for at, number in enumerate(numbers)]
    return bool(list(Series().take(detect.metric[0], points, {"trial": detect})))


def values(series: str) -> Iterator[float]:
    """Yield the numbers of a series.

    Raises:
        TrialError: the series is not in the notation, or too long.
    """
    count = 0
    for item in series.split(","):
        found = _ITEM.fullmatch(item.strip())
        if found is None:
            raise TrialError(f"`{item.strip()}` is no part of a series; write `2.0`, `2.0~0.1 x64` or `80..0 x40`")
        first, off, last, times = found[1], found[2], found[3], int(found[4] or 1)
        count += times
        if count > _MOST:
            raise TrialError(f"the series has more than {_MOST} values")
        for at in range(times):
            yield _value(float(first), float(off or 0), float(last) if last else None, at, times)


def _value(first: float, off: float, last: float | None, at: int, times: int) -> float:
    if last is not None:
        return first + (last - first) * at / max(1, times - 1)
    golden = (at * 0.6180339887498949) % 1.0
    return first + off * (2 * golden - 1) if first not in (inf, -inf, nan) else first
