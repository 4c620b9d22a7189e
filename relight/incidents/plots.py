"""The geometry of plots of figures, in percent of their width and pixels of their height. The template draws them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from relight.incidents.stats import Figures
from relight.reports.phrases import counted

HEIGHT: Final = 120
"""Pixels of the highest column."""
WEEKS: Final = 53
"""So many weeks are drawn, the last ones."""
_WIDEST: Final = 7.0
_LABELS: Final = 8
_LABEL: Final = 40


@dataclass(frozen=True, slots=True)
class Bar:
    """A row: its label, how wide is what ended a run, and how wide the rest, with its figures."""

    row: Figures
    label: str
    ended: float
    other: float
    told: str


@dataclass(frozen=True, slots=True)
class Column:
    """A week: where it stands, how wide, how high its two parts are, and its label where there is room for one."""

    x: float
    width: float
    ended: float
    other: float
    label: str
    told: str


@dataclass(frozen=True, slots=True)
class Weeks:
    """The columns of weeks, and the most incidents that one of them has."""

    columns: tuple[Column, ...]
    most: int


def bars(rows: Sequence[Figures]) -> tuple[Bar, ...]:
    """Return a bar for every row."""
    most = max((row.incidents for row in rows), default=1)
    return tuple(
        Bar(
            row=row,
            label=row.key if len(row.key) <= _LABEL else f"{row.key[: _LABEL - 1]}…",
            ended=_share(row.ended_a_run, most),
            other=_share(row.incidents - row.ended_a_run, most),
            told=_told(row),
        )
        for row in rows
    )


def weeks(rows: Sequence[Figures]) -> Weeks:
    """Return a column for every week from the first to the last, also for those without an incident."""
    known = {row.key: row for row in rows}
    names = _between(rows[0].key, rows[-1].key) if rows else []
    most = max((row.incidents for row in rows), default=1)
    step = -(-len(names) // _LABELS) or 1
    slot = min(100 / len(names), _WIDEST) if names else 0.0
    return Weeks(
        tuple(
            Column(
                x=round(slot * place, 3),
                width=round(slot * 0.8, 3),
                ended=round(HEIGHT * row.ended_a_run / most, 1) if row else 0,
                other=round(HEIGHT * (row.incidents - row.ended_a_run) / most, 1) if row else 0,
                label=name.partition("-")[2] if place % step == 0 else "",
                told=_told(row) if row else f"{name}: no incident",
            )
            for place, name in enumerate(names)
            for row in [known.get(name)]
        ),
        most,
    )


def _between(first: str, last: str) -> list[str]:
    """Return the names of the weeks from one to another, such as `2026-W21`: at most `WEEKS`, the last ones."""
    at, end = _monday(first), _monday(last)
    at = max(at, end - timedelta(weeks=WEEKS - 1))
    found = []
    while at <= end:
        year, week, _ = at.isocalendar()
        found.append(f"{year}-W{week:02d}")
        at += timedelta(weeks=1)
    return found


def _monday(week: str) -> date:
    year, _, number = week.partition("-W")
    return date.fromisocalendar(int(year), int(number), 1)


def _told(row: Figures) -> str:
    return f"{row.key}: {counted(row.incidents, 'incident')}, {row.ended_a_run:,} ended a run"


def _share(count: int, most: int) -> float:
    return round(100 * count / most, 2)
