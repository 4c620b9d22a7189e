"""How a change of an incident is told: a line for a person, columns for a pipe, or JSON."""

from typing import Final

import orjson
from rich.text import Text

from relight.incidents.cleaning import clean
from relight.incidents.reading import SHORT
from relight.incidents.rows import row_of
from relight.incidents.table import SEVERITIES, STATES, clipped, drawn
from relight.incidents.times import iso, stamp
from relight.incidents.watching import Change, words

_INDENT: Final = 15
"""Columns of the time, below which words go on."""


def as_line(change: Change, width: int, *, colour: bool) -> str:
    """Return a change for a terminal `width` columns wide: one line, or two where the words do not fit in."""
    row = row_of(change.document)
    head = Text.assemble(
        f"{stamp(_time_s(change))[5:] or '-':<14} ",
        (f"{row.severity:<8} ", SEVERITIES[row.severity]),
        (f"{row.state:<8} ", STATES[row.state]),
        f"{row.fault}  {row.culprit}",
    )
    said = Text(row.title if change.begun else clean(words(change)), "dim")
    behind = Text(f"  {row.id[:SHORT]}", "cyan")
    whole = Text.assemble(head, "  ", said, behind)
    if whole.cell_len <= width:
        return drawn([whole], width, colour=colour)
    first = clipped(head, width - behind.cell_len).append_text(behind)
    return drawn([first, clipped(Text.assemble(" " * _INDENT, said), width)], width, colour=colour)


def as_tabs(change: Change) -> str:
    """Return a change for other programs: nothing is cut, and tabs are between the columns."""
    row = row_of(change.document)
    told = clean(words(change))
    return "\t".join((stamp(_time_s(change)), row.severity, row.state, row.fault, row.culprit, told, row.id)) + "\n"


def as_jsonl(change: Change) -> str:
    """Return a change as a line of JSON."""
    row = row_of(change.document)
    told = {
        "change": "begun" if change.begun else "changed",
        "time": iso(_time_s(change)),
        "id": row.id,
        "version": row.version,
        "cluster": row.cluster,
        "severity": row.severity.value,
        "state": row.state,
        "fault": row.fault,
        "culprit": row.culprit,
        "job": row.job,
        "title": row.title,
        "what": clean(words(change)),
        "moments": [
            {"event": clean(m.event), "time": iso(m.time.timestamp()), "text": clean(m.text)} for m in change.moments
        ],
    }
    return orjson.dumps(told, option=orjson.OPT_APPEND_NEWLINE).decode()


def _time_s(change: Change) -> float | None:
    """Return when it changed, and of one that was there at the beginning when it was opened."""
    if change.begun:
        return change.document.history.opened_s
    return change.moments[-1].time.timestamp() if change.moments else change.document.updated_s
