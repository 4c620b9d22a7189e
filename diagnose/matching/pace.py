"""Pace: how long a run takes from one line of progress to the next, from the last lines whose times are known."""

from collections.abc import Sequence
from itertools import pairwise
from statistics import median
from typing import Final

PACES: Final = 33
"""From so many lines the pace of a run is worked out: the last ones."""

Passed = tuple[float, int]
"""When a line of progress was written or read (Unix, seconds), and its place among all lines of progress."""


def passed(own: list[Passed], time_s: float, ordinal: int) -> None:
    """Add a line to those that a pace is worked out from, and forget what lies too far back."""
    own.append((time_s, ordinal))
    del own[:-PACES]


def pace_s(own: Sequence[Passed]) -> float | None:
    """Return the median time from one line of progress to the next, in seconds; `None` where it is not known."""
    gaps = [(t - s) / (n - m) for (s, m), (t, n) in pairwise(own) if n > m and t >= s]
    return median(gaps) if gaps else None
