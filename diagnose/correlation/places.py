"""Places: marks of signals as what a person is shown, and times as dates."""

from datetime import UTC, datetime

from diagnose.correlation.moments import Entry
from schemas.incident import Place
from schemas.record import LATEST_S
from schemas.signal import Mark


def place(source: str, mark: Mark) -> Place:
    """Return a mark of a source as a place."""
    return Place(
        source=source,
        line=mark.line,
        offset_bytes=mark.offset_bytes,
        text=mark.text,
        time=date(mark.time_s),
        unit=mark.unit,
    )


def first_place(entry: Entry) -> Place:
    """Return where an entry begins."""
    return place(entry.signal.source, entry.signal.first)


def last_place(entry: Entry) -> Place:
    """Return where an entry ends."""
    return place(entry.signal.source, entry.signal.last)


def date(time_s: float | None) -> datetime | None:
    """Return a Unix time as a date in UTC, `None` where there is none that a calendar knows."""
    if time_s is None or not 0 <= time_s <= LATEST_S:
        return None
    return datetime.fromtimestamp(round(time_s, 3), UTC)
