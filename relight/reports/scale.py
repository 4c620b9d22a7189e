"""The scale of a timeline: times to percent of its width, in one or two linear pieces, and the round times on it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

_BEFORE: Final = 35.0
"""Percent of the width left to the time before the failure, where the failure is but the end of a long run."""

_STEPS_S: Final = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, 86_400)


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time from `x`, `width` wide, in percent."""

    x: float
    width: float


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps times to percent, in two linear pieces that meet at `middle`."""

    begin: datetime
    middle: datetime
    end: datetime
    seam: float

    def at(self, time: datetime) -> float:
        """Return the place of a time in percent; times outside lie on the edge."""
        if time < self.middle:
            return _share(self.begin, time, self.middle) * self.seam
        return self.seam + _share(self.middle, time, self.end) * (100 - self.seam)

    def span(self, first: datetime, last: datetime) -> Span:
        """Return the stretch between two times."""
        x = round(self.at(first), 2)
        return Span(x, round(max(0.0, self.at(last) - x), 2))


def scale_over(begin: datetime, end: datetime, cause: datetime | None, said: Sequence[datetime]) -> Scale:
    """Return a scale that gives the failure its room: in a run of hours it is but the last minutes.

    It reaches from `begin` to `end`, and over the cause and what was `said` after it.
    """
    times = [time for time in said if cause is None or time >= cause] + ([cause] if cause else [])
    begin, end = min([begin, *times]), max([end, *times])
    if cause is None or not timedelta(seconds=2) < end - cause < (end - begin) / 5:
        return Scale(begin, begin, end, 0.0)
    return Scale(begin, cause - (end - cause) / 6, end, _BEFORE)


def ticks(scale: Scale) -> Iterable[tuple[float, str]]:
    """Yield round times with their places, about five to a piece of the scale."""
    pieces = [(scale.begin, scale.middle, 2)] * bool(scale.seam) + [(scale.middle, scale.end, 4)]
    for begin, end, most in pieces:
        whole_s = (end - begin).total_seconds()
        step_s = next((s for s in _STEPS_S if whole_s / s <= most), 86_400 * max(1, int(whole_s / 86_400 / most) + 1))
        first_s = -(-int(begin.timestamp() + 1) // step_s) * step_s
        for time_s in range(first_s, int(end.timestamp()), step_s):
            time = datetime.fromtimestamp(time_s, UTC)
            yield round(scale.at(time), 2), f"{time:%H:%M:%S}" if step_s < 60 else f"{time:%H:%M}"


def _share(begin: datetime, time: datetime, end: datetime) -> float:
    whole = (end - begin).total_seconds()
    return min(1.0, max(0.0, (time - begin).total_seconds() / whole)) if whole > 0 else 0.0
