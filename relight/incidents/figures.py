"""The figures of many incidents in words and tables: for a terminal, other programs and documents."""

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Final

import orjson
from rich.cells import cell_len
from rich.text import Text

from relight.incidents.cells import harmless
from relight.incidents.definitions import DEFINITIONS
from relight.incidents.pages import page, text
from relight.incidents.plots import bars, weeks
from relight.incidents.stats import FACETS, Figures, Stats
from relight.incidents.table import clipped, cut, drawn
from relight.incidents.times import iso, length, stamp
from relight.reports.phrases import counted, number

_MORE: Final = {"week": "earlier"}
WORST: Final = 10
"""So many rows of a table are shown on a terminal and in documents; JSON and CSV have all."""
_TITLES: Final = {
    "fault": "By fault class",
    "blamed": "Worst hosts",
    "week": "By week",
    "severity": "By severity",
    "domain": "By domain",
}
COLUMNS: Final = (
    "by", "key", "incidents", "ended_a_run", "share_percent", "first_opened_utc", "last_opened_utc", "mtbf_s", "mttd_s",
    "detected", "mttr_s", "recovered", "lost_gpu_h_at_least", "ranks_known",
)  # fmt: skip
"""The header of CSV."""


def nothing(stats: Stats) -> str:
    """Return what is said where there is no incident."""
    since = f"from {stamp(stats.since_s)} " if stats.since_s is not None else "up "
    return f"No incident {since}to {stamp(stats.until_s)} UTC: there is nothing to count."


def told(stats: Stats, whole: Figures) -> tuple[tuple[str, str, str], ...]:
    """Return the main figures: name, value, and of what it is."""
    ended = counted(whole.ended_a_run, "incident")
    return (
        ("MTBF", length(whole.mtbf_s) or "not known", f"{ended} ended a run in {length(_span_s(stats))}"),
        (
            "MTTD",
            length(whole.mttd_s) or "not known",
            f"of {counted(whole.detected, 'incident')} whose cause has a time",
        ),
        ("MTTR", length(whole.mttr_s) or "not known", f"of {counted(whole.recovered, 'incident')} that are over"),
        ("Lost", _lost(whole), f"of {number(whole.ranks_known)} of them, whose ranks are known"),
    )


def as_table(stats: Stats, width: int, *, colour: bool) -> str:
    """Return the figures for a terminal, at most `width` columns wide."""
    if stats.whole is None:
        return nothing(stats) + "\n"
    figures = told(stats, stats.whole)
    columns = max(len(value) for _, value, _ in figures) + 2
    lines = [Text(headline(stats, stats.whole), "bold"), Text("")]
    lines += [
        Text.assemble(f"  {name:<6}", (f"{value:<{columns}}", "bold"), (of, "dim")) for name, value, of in figures
    ]
    shown = {facet: _shown(facet, stats.by[facet]) for facet, _ in FACETS}
    keys = min(max(cell_len(row.key) for rows in shown.values() for row in rows), 30)
    for facet, _ in FACETS:
        lines += _listed(_TITLES[facet], shown[facet], keys, max(8, min(30, width - keys - 40)))
        if more := len(stats.by[facet]) - len(shown[facet]):
            lines.append(Text(f"  and {number(more)} {_MORE.get(facet, 'more')}", "dim"))
    lines += [Text(""), Text("`relight incidents stats --help` says what each figure means.", "dim")]
    return drawn([clipped(line, width) for line in lines], width, colour=colour)


def as_tabs(stats: Stats) -> str:
    """Return a row for every sort of incident: by what, which, incidents, those that ended a run, share, lost hours."""
    rows = _rows(stats)
    told = ((by, r.key, r.incidents, r.ended_a_run, r.share_percent, r.lost_gpu_h_at_least) for by, r in rows)
    return "".join("\t".join("" if cell is None else str(cell) for cell in row) + "\n" for row in told)


def as_csv(stats: Stats) -> str:
    """Return all figures of every sort of incident, one a row."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for by, row in _rows(stats):
        writer.writerow([by, harmless(row.key), *list(row.plain().values())[1:]])
    return out.getvalue()


def as_json(stats: Stats) -> str:
    """Return all figures, the span that they are of, and what they mean."""
    told = {
        "span": {"since": iso(stats.since_s), "until": iso(stats.until_s)},
        **stats.plain(),
        "definitions": dict(DEFINITIONS),
    }
    return orjson.dumps(told, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()


def as_markdown(stats: Stats) -> str:
    """Return the figures in the dialect of GitHub."""
    return text("stats.md.j2", **_values(stats))


def as_html(stats: Stats, place: str) -> str:
    """Return the figures as a page with plots."""
    plots = {facet: bars(_shown(facet, rows)) for facet, rows in stats.by.items() if facet != "week"}
    return page("stats.html.j2", **_values(stats), plots=plots, weeks=weeks(stats.by["week"]), place=place)


def headline(stats: Stats, whole: Figures) -> str:
    """Return how many incidents there are, and over which span."""
    span = f"from {stamp(stats.since_s)} to {stamp(stats.until_s)} UTC"
    return f"{counted(whole.incidents, 'incident')} {span} ({length(_span_s(stats))})"


def _values(stats: Stats) -> dict[str, object]:
    whole = stats.whole
    return {
        "headline": headline(stats, whole) if whole else nothing(stats),
        "count": counted(whole.incidents, "incident") if whole else "No incident",
        "figures": told(stats, whole) if whole else (),
        "tables": [(facet, _TITLES[facet], name, _shown(facet, stats.by[facet])) for facet, name in FACETS],
        "left_out": {
            facet: f"and {number(more)} {_MORE.get(facet, 'more')}"
            for facet, _ in FACETS
            if (more := len(stats.by[facet]) - WORST) > 0
        },
        "definitions": DEFINITIONS,
        "since": stamp(stats.since_s),
        "until": stamp(stats.until_s),
    }


def _rows(stats: Stats) -> Iterator[tuple[str, Figures]]:
    if stats.whole:
        yield "all", stats.whole
    for facet, _ in FACETS:
        yield from ((facet, row) for row in stats.by[facet])


def _shown(facet: str, rows: Sequence[Figures]) -> Sequence[Figures]:
    return rows[-WORST:] if facet == "week" else rows[:WORST]


def _listed(title: str, rows: Sequence[Figures], keys: int, room: int) -> Iterator[Text]:
    """Yield a table with a bar for every row, its part that ended runs in red; `keys` and `room` are columns."""
    most = max((row.incidents for row in rows), default=1)
    yield Text("")
    yield Text.assemble((cut(title, keys + 4), "bold"), ("incidents  share  ended a run", "dim"))
    for row in rows:
        bar = max(1, round(room * row.incidents / most))
        ended = min(bar, -(-room * row.ended_a_run // most))
        counts = f"{row.incidents:>9,}  {row.share_percent:>4.0f}%  {row.ended_a_run:>11,}"
        yield Text.assemble(f"  {cut(row.key, keys)}  {counts}  ", ("█" * ended, "red"), ("█" * (bar - ended), "dim"))


def _lost(whole: Figures) -> str:
    if whole.lost_gpu_h_at_least is None:
        return "not known"
    return f"at least {whole.lost_gpu_h_at_least:,.1f} GPU hours"


def _span_s(stats: Stats) -> float:
    return max(0.0, stats.until_s - (stats.since_s if stats.since_s is not None else stats.until_s))
