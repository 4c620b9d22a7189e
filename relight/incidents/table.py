"""The list for a terminal: one line for an incident, never wider than the terminal, the most needed columns first."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from relight.incidents.reading import SHORT
from relight.incidents.rows import Row
from relight.incidents.times import stamp, utc
from relight.reports.console import console
from relight.reports.phrases import number

SEVERITIES: Final = {"critical": "bold red", "error": "red", "warning": "yellow", "info": "dim"}
STATES: Final = {"open": "bold", "resolved": "green", "merged": "dim"}
_GAP: Final = 1
_ORDERS: Final = {
    "opened": ("the newest first", "the oldest first"),
    "updated": ("the last changed first", "the longest unchanged first"),
    "severity": ("the worst first", "the mildest first"),
    "confidence": ("the surest first", "the least sure first"),
    "lost": ("the costliest first", "the cheapest first"),
}


def cut(text: str, room: int) -> str:
    """Return a text that takes exactly `room` columns: filled with spaces, or cut with an ellipsis."""
    return set_cell_size(text, room) if cell_len(text) <= room else set_cell_size(text, room - 1) + "…"


def cut_inside(text: str, room: int) -> str:
    """Return a text that takes exactly `room` columns; of a long one the end stays, such as the host behind a GPU."""
    if cell_len(text) <= room or not text.isascii():
        return cut(text, room)
    end = room * 2 // 3
    return f"{text[: room - end - 1]}…{text[-end:]}"


@dataclass(frozen=True, slots=True)
class _Column:
    """A column: its cell of a row, how it looks, the least and the most that it takes of what room is left."""

    title: str
    cell: Callable[[Row], str]
    style: Callable[[Row], str] = lambda _: ""
    least: int = 0
    most: int = 0
    cutting: Callable[[str, int], str] = cut


def table(rows: Sequence[Row], width: int, *, colour: bool) -> str:
    """Return the rows as lines that are at most `width` columns wide, under a line of titles."""
    if not rows:
        return ""
    columns = _fitted(rows, width)
    lines = [Text((" " * _GAP).join(set_cell_size(c.title, w) for c, w in columns).rstrip(), "dim")]
    for row in rows:
        line = Text()
        for column, room in columns:
            line.append(column.cutting(column.cell(row), room), column.style(row))
            line.append(" " * _GAP)
        line.rstrip()
        lines.append(line)
    return drawn(lines, width, colour=colour)


def drawn(lines: Sequence[Text], width: int, *, colour: bool) -> str:
    """Return lines as a terminal takes them."""
    out = console(width, colour=colour)
    with out.capture() as capture:
        for line in lines:
            out.print(line, no_wrap=True, overflow="ellipsis", crop=False, soft_wrap=True)
    return capture.get()


def clipped(line: Text, room: int) -> Text:
    """Return a line that takes at most `room` columns."""
    if line.cell_len > room:
        line.truncate(room, overflow="ellipsis")
    return line


def tabbed(row: Row) -> str:
    """Return a row for other programs: nothing is cut, and tabs are between the columns."""
    cells = (row.id, stamp(row.opened_s), row.state, row.severity, row.fault, row.culprit, row.job or "", row.title)
    return "\t".join(cells)


def summary(shown: int, total: int, sort: str, place: str, *, ascending: bool, narrowed: bool) -> str:
    """Return the line below a list: how many there are, in which order, and how to see more."""
    if not total:
        wanted = "No incident is like that" if narrowed else "There are no incidents"
        return f"{wanted} in {place}."
    order = _ORDERS[sort][ascending]
    noun = "incident" if total == 1 else "incidents"
    if shown >= total:
        return (
            f"{number(total)} {noun}{f', {order}' if total > 1 else ''}. `relight incidents show ID` tells more of one."
        )
    return f"{number(shown)} of {number(total)} {noun}, {order}; `--limit all` shows all."


def _columns(rows: Sequence[Row]) -> list[_Column]:
    years = {time.year for row in rows if (time := utc(row.opened_s))}
    part = slice(5, 16) if len(years) == 1 else slice(0, 16)
    heading = f"UTC {years.pop()}" if len(years) == 1 else "opened (UTC)"
    return [
        _Column("id", lambda row: row.id[:SHORT], lambda _: "cyan"),
        _Column(heading, lambda row: stamp(row.opened_s)[part] or "-"),
        _Column("state", lambda row: row.state, lambda row: STATES[row.state]),
        _Column("severity", lambda row: row.severity, lambda row: SEVERITIES[row.severity]),
        _Column("fault", lambda row: row.fault, least=10, most=28),
        _Column("culprit", lambda row: row.culprit, least=10, most=30, cutting=cut_inside),
        _Column("job", lambda row: row.job or "-", least=6, most=14),
        _Column("title", lambda row: row.title, lambda _: "dim", least=16, most=200),
    ]


def _fitted(rows: Sequence[Row], width: int) -> list[tuple[_Column, int]]:
    """Return the columns that there is room for, with their widths; what has no limit is as wide as it must be."""
    room, fitted = width + _GAP, []
    for column in _columns(rows):
        wanted = max(cell_len(column.title), _usual([cell_len(column.cell(row)) for row in rows], column))
        given = min(wanted, column.most or wanted, max(room - _GAP, 1))
        if given < min(column.least, wanted):
            break
        fitted.append((column, given))
        room -= given + _GAP
    return fitted


def _usual(lengths: list[int], column: _Column) -> int:
    """Return how wide a column has to be; where cells may be cut, a few long ones do not count."""
    return sorted(lengths)[-1 - len(lengths) // 10] if column.most else max(lengths)
