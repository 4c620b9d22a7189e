"""Time stamps to Unix seconds, by arithmetic: ISO 8601, syslog's, dates without a year. No clock is read.

A stamp without a zone is read as UTC.
"""

from datetime import date
from functools import lru_cache
from typing import Final

_DAY_S: Final = 86_400
_EPOCH: Final = date(1970, 1, 1).toordinal()
_DIGITS: Final = b"0123456789"
_FIRST_S: Final = 946_684_800
"""2000-01-01: a number below it is a duration or a counter."""
_LAST_S: Final = 4_102_444_800
"""2100-01-01."""

MONTHS: Final[dict[bytes, int]] = {
    name: number for number, name in enumerate(b"Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(), start=1)
}


def read_iso(text: bytes) -> tuple[float, int] | None:
    """Read the stamp with which a text begins: `2024-05-01T04:11:25[.,]123456789+00:00`, a blank for the T too.

    Returns:
        Unix seconds, and how many bytes the stamp has, its zone included.
    """
    if len(text) < 19 or text[16] != 58 or text[13] != 58 or text[10] not in b"T _":
        return None
    midnight = _midnight_s(text[:10])
    clock = clock_s(text[11:19])
    if midnight is None or clock is None:
        return None
    part, end = fraction(text, 19)
    ahead, end = _zone(text, end)
    return midnight + clock + part - ahead, end


@lru_cache(maxsize=1024)
def _midnight_s(day: bytes) -> int | None:
    """Return the first second of `2024-05-01` or `2024/05/01`."""
    parts = day.replace(b"/", b"-").split(b"-")
    if [len(part) for part in parts] != [4, 2, 2] or not all(part.isdigit() for part in parts):
        return None
    return midnight_s(int(parts[0]), int(parts[1]), int(parts[2]))


def midnight_s(year: int, month: int, day: int) -> int | None:
    """Return the Unix time of a day's first second, or `None` where there is no such day since 1970."""
    if not 1970 <= year < 2100:
        return None
    try:
        return (date(year, month, day).toordinal() - _EPOCH) * _DAY_S
    except ValueError:
        return None


@lru_cache(maxsize=4096)
def clock_s(clock: bytes) -> int | None:
    """Return the seconds since midnight of `04:11:25`."""
    hour, minute, second = clock[0:2], clock[3:5], clock[6:8]
    if len(clock) != 8 or clock[2] != 58 or clock[5] != 58 or not (hour + minute + second).isdigit():
        return None
    if hour > b"23" or minute > b"59" or second > b"60":
        return None
    return int(hour) * 3600 + int(minute) * 60 + int(second)


def fraction(text: bytes, at: int) -> tuple[float, int]:
    """Return the fraction of a second (`.123` or `,123`) at a place of the text, and where it ends."""
    if text[at : at + 1] not in (b".", b","):
        return 0.0, at
    window = text[at + 1 : at + 10]
    digits = len(window) - len(window.lstrip(_DIGITS))
    return (int(window[:digits]) / 10**digits, at + 1 + digits) if digits else (0.0, at)


def _zone(text: bytes, at: int) -> tuple[int, int]:
    """Return how many seconds the zone at a place of the text is ahead of UTC, and where it ends."""
    mark = text[at : at + 1]
    if mark == b"Z":
        return 0, at + 1
    if mark not in (b"+", b"-"):
        return 0, at
    hours, minutes, size = text[at + 1 : at + 3], text[at + 3 : at + 5], 5
    if minutes[:1] == b":":
        minutes, size = text[at + 4 : at + 6], 6
    if len(hours + minutes) != 4 or not (hours + minutes).isdigit():
        return 0, at
    ahead = int(hours) * 3600 + int(minutes) * 60
    return (ahead if mark == b"+" else -ahead), at + size


def without_year(month: int, day: int, seconds: float, reference_s: float | None) -> float | None:
    """Return the time of a stamp that has no year: the latest year in which it is at most a day after the reference."""
    if reference_s is None or not 0 <= reference_s < _LAST_S:
        return None
    for midnight in _midnights_s(month, day, int(reference_s // _DAY_S)):
        if midnight + seconds <= reference_s + _DAY_S:
            return midnight + seconds
    return None


@lru_cache(maxsize=1024)
def _midnights_s(month: int, day: int, reference_day: int) -> tuple[int, ...]:
    """Return a date's midnights in the years about a reference, the latest first; a leap day may be 8 years back."""
    year = date.fromordinal(reference_day + _EPOCH).year
    found = (midnight_s(candidate, month, day) for candidate in range(year + 1, year - 9, -1))
    return tuple(midnight for midnight in found if midnight is not None)


def read_syslog(text: bytes, reference_s: float | None) -> tuple[float | None, int] | None:
    """Read `Nov 24 03:12:01` (a fraction may follow): its time, `None` without a year to lean on, and its length."""
    month = MONTHS.get(text[:3])
    day = text[4:6].lstrip()
    if month is None or text[3:4] != b" " or text[6:7] != b" " or not day.isdigit():
        return None
    clock = clock_s(text[7:15])
    if clock is None:
        return None
    part, end = fraction(text, 15)
    return without_year(month, int(day), clock + part, reference_s), end


def from_number(value: float) -> float | None:
    """Return the time that a number tells in s, ms, us or ns since 1970; `None` outside of this century."""
    for scale in (1, 1_000, 1_000_000, 1_000_000_000):
        if _FIRST_S <= value / scale < _LAST_S:
            return value / scale
    return None
