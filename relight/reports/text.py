"""The report for a terminal: the template says the words row by row, rich lays the rows out."""

import re
from collections.abc import Iterator
from itertools import groupby
from typing import Final

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from relight.reports.console import console
from relight.reports.engine import environment
from relight.reports.story import Story

_LABEL_COLUMNS: Final = 12
_LEAST_COLUMNS: Final = 40

_STYLES: Final = {
    "failed": "bold red",
    "degraded": "bold yellow",
    "incomplete": "bold yellow",
    "succeeded": "bold green",
    "nothing": "bold",
    "head": "bold",
    "line": "cyan",
    "do": "bold",
    "note": "dim",
    "field": "",
}
_TAIL: Final = re.compile(r"(?:\x1b\[[0-9;]*m| )+$")
"""What rich fills a line up with: spaces, and the escapes among them."""

_ASCII: Final = str.maketrans(
    {"\u2026": "...", "\u00b7": "-", "\u2013": "-", "\u2014": "-", "\u2019": "'", "\ufffd": "?"}
)


def as_text(story: Story, *, width: int, colour: bool, unicode: bool) -> str:
    """Return the story wrapped at `width` columns (40 at least), the answer in its first line."""
    out = console(max(width, _LEAST_COLUMNS), colour=colour)
    with out.capture() as drawn:
        for renderable in _renderables(_rows(story, unicode=unicode)):
            out.print(renderable, overflow="fold")
    lines = (_TAIL.sub(lambda tail: tail[0].replace(" ", ""), line) for line in drawn.get().splitlines())
    return "\n".join(lines).rstrip("\n") + "\n"


def _rows(story: Story, *, unicode: bool) -> list[list[str]]:
    """Return the template's rows as lists of style and cells. No value holds a tab: `shown` took them out."""
    template = environment(html=False).get_template("report.txt.j2")
    said = template.render(story=story, row=_row)
    if not unicode:
        said = said.translate(_ASCII).encode("ascii", "backslashreplace").decode()
    return [line.split("\t") for line in said.split("\n") if line]


def _row(style: str, *cells: object) -> str:
    """Return a row for the layout; a field without a value is no row at all."""
    texts = [str(cell) for cell in cells]
    return "" if style != "gap" and not texts[-1] and style != "run" else "\t".join([style, *texts])


def _renderables(rows: list[list[str]]) -> Iterator[RenderableType]:
    for style, group in groupby(rows, key=lambda row: row[0]):
        cells = [row[1:] for row in group]
        if style == "gap":
            yield ""
        elif style == "run":
            yield _table(cells)
        else:
            yield from (_drawn(style, row) for row in cells)


def _drawn(style: str, cells: list[str]) -> RenderableType:
    """Return a row with a label as a field, and one without as a paragraph of its own."""
    if len(cells) == 1:
        return Text(cells[0], style=_STYLES[style])
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(width=_LABEL_COLUMNS, style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(cells[0], Text(cells[1], style=_STYLES[style]))
    return grid


def _table(rows: list[list[str]]) -> RenderableType:
    """Return the runs as a table: narrow columns as wide as they must be, the last takes what is left."""
    table = Table.grid(padding=(0, 2, 0, 0))
    for number in range(len(rows[0]) - 1):
        table.add_column(no_wrap=number > 0, overflow="fold", max_width=36 if number == 0 else None)
    table.add_column(overflow="fold")
    for name, outcome, *rest in rows:
        table.add_row(Text(name), Text(outcome, style=_STYLES.get(outcome, "dim")), *map(Text, rest))
    return Padding(table, (0, 0, 0, 2))
