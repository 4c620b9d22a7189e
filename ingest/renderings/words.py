"""How renderings write what a file holds, so that it stays within one line: texts, times, numbers of ranks."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import pairwise
from typing import Final

_MOST: Final = 160
_UNFIT: Final = re.compile(r"[^\w .,:/<>@+=~%-]+", re.ASCII)
_LAST_NS: Final = 4_102_444_800 * 10**9
"""The year 2100: what is later is no time."""


def word(value: object, most: int = _MOST) -> str:
    """Return a text of a file with nothing in it that could be taken for more than a name; `?` where there is none."""
    text = value[: 4 * most] if isinstance(value, str) else ""
    return _UNFIT.sub("?", text).strip()[:most] or "?"


def moment(time_ns: int) -> str:
    """Return a time (Unix, nanoseconds) as logs have it, in UTC to the microsecond."""
    seconds, rest = divmod(time_ns, 10**9)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest // 1000:06d}Z"


def time_ns(value: object) -> int | None:
    """Return a time in nanoseconds, `None` for what is none: other things, 0, and what lies after 2100."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < _LAST_NS else None


def ranks(numbers: Iterable[int]) -> str:
    """Return numbers as people write them: `0-7,12` and, with a step, `3-59/8`."""
    rest = sorted(set(numbers))
    parts = []
    while rest:
        count = _run(rest)
        step = rest[1] - rest[0] if count > 1 else 1
        if count < 3 and step > 1:
            count = 1
        last = rest[count - 1]
        parts.append(f"{rest[0]}" if count == 1 else f"{rest[0]}-{last}" + (f"/{step}" if step > 1 else ""))
        rest = rest[count:]
    return ",".join(parts)


def _run(numbers: list[int]) -> int:
    """Return how many numbers from the first on lie equally far from each other."""
    steps = [after - before for before, after in pairwise(numbers)]
    return next((at + 1 for at, step in enumerate(steps) if step != steps[0]), len(numbers)) if steps else 1
