"""How times and lengths of time of incidents are written: always UTC, and nothing where nothing is known."""

from datetime import UTC, datetime, timedelta
from typing import Final

from relight.reports.phrases import duration
from schemas.record import LATEST_S

_EARLIEST_S: Final = -62_135_596_800


def utc(time_s: float | None) -> datetime | None:
    """Return a time (Unix, seconds) in UTC; one outside the calendar is its nearest end."""
    return None if time_s is None else datetime.fromtimestamp(min(max(time_s, _EARLIEST_S), LATEST_S), UTC)


def stamp(time_s: float | None) -> str:
    """Return `2026-05-12 03:12:04`."""
    time = utc(time_s)
    return f"{time:%Y-%m-%d %H:%M:%S}" if time else ""


def iso(time_s: float | None) -> str | None:
    """Return `2026-05-12T03:12:04Z`."""
    time = utc(time_s)
    return f"{time:%Y-%m-%dT%H:%M:%SZ}" if time else None


def after(time_s: float, opened_s: float | None) -> str:
    """Return how long after the opening a time is, in seconds: `+27 s`, `+0.4 s`, `-3 s`."""
    if opened_s is None:
        return ""
    between = round(time_s - opened_s, 1)
    return f"{between:+,.0f} s" if between == int(between) else f"{between:+,.1f} s"


def length(span_s: float | None) -> str:
    """Return a length of time in its two largest units, `6 h 41 min`; less than ten seconds with a fraction."""
    if span_s is None:
        return ""
    if span_s < 10:
        return f"{span_s:.1f} s"
    return duration(timedelta(seconds=round(min(span_s, 1e9))))
