"""Commands for who asks what went wrong: list incidents, search them, show one, follow them, report, and count."""

import os
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import click

from relight.commands.errors import OneLine, mistakes
from relight.commands.incident_options import filtered, form_of_a_list, ordered
from relight.commands.options import with_settings
from relight.commands.stored import store_errors, stored
from relight.incidents.definitions import DEFINITIONS

if TYPE_CHECKING:
    from relight.incidents.filters import Filters
    from relight.incidents.watching import Change
    from relight.settings import Resolved
    from relight.stores.port import IncidentStore, Query, Sort
    from schemas.document import IncidentDocument

_PIPED_COLUMNS: Final = 100


@click.group()
def incidents() -> None:
    """What went wrong: list, search, show, follow, report and count incidents."""


@incidents.command("list")
@filtered
@ordered
@form_of_a_list
@with_settings
def list_incidents(
    resolved: "Resolved", filters: "Filters", sort: str, ascending: bool, limit: int | None, form: str
) -> None:
    """List incidents, the newest first.

    On a terminal the table fits its width. Where the output is no terminal, tabs are between the columns and nothing is
    cut: id, opened (UTC), state, severity, fault, culprit, job, title. JSON has the incidents in full.
    """
    _list(resolved, filters, "", sort, ascending=ascending, limit=limit, form=form)


@incidents.command()
@click.argument("words", nargs=-1, required=True)
@filtered
@ordered
@form_of_a_list
@with_settings
def search(
    resolved: "Resolved", words: tuple[str, ...], filters: "Filters", sort: str, ascending: bool, limit: int | None,
    form: str,
) -> None:  # fmt: skip
    r"""List the incidents in which all WORDS are, in any order.

    They are looked for in titles, faults, log lines of the evidence, hosts, jobs and ids.

    \b
    '"link down"'    words that stand together: quotation marks inside the shell's
    'nvl*'           any word that begins like that
    'nccl -timeout'  without a word: inside the shell's quotation marks, or behind --
    """
    _list(resolved, filters, " ".join(words), sort, ascending=ascending, limit=limit, form=form)


@incidents.command()
@click.argument("beginning", metavar="ID")
@click.option("--lines", "with_lines", is_flag=True, help="Print log lines around it as well, if the store keeps them.")
@click.option(
    "--format", "-f", "form", type=click.Choice(["text", "json", "markdown", "html"]), default="text", show_default=True
)
@with_settings
def show(resolved: "Resolved", beginning: str, with_lines: bool, form: str) -> None:
    """Show everything about one incident.

    The beginning of its ID will do. Its diagnosis and how sure that is, the culprit, the line that said so first, the
    evidence with the lines around it, what followed, what happened to the incident and when, other diagnoses and why
    not, and what to do; past incidents that were like it, and what helped then; where nothing explains it, the lines
    that stand out. With --lines also the log lines of the sources and hosts of the evidence, from a minute before the
    cause to the last finding.
    """
    import shutil

    from relight.incidents import reporting, showing
    from relight.incidents.account import account_of
    from relight.incidents.around import lines_around
    from relight.incidents.reading import named
    from relight.incidents.text import as_text
    from relight.learning.background import background

    with stored(resolved) as (store, place):
        document = named(store, beginning)
        lines = lines_around(store, document) if with_lines else None
        more = background(store, document)
    account = account_of(document, more.sections)
    if form == "json":
        click.echo(showing.as_json(document, lines, more.plain), nl=False)
    elif form == "html":
        click.echo(reporting.as_html([account], place, lines), nl=False)
    elif form == "markdown":
        click.echo(reporting.as_markdown([account], place, lines), nl=False)
    else:
        width = shutil.get_terminal_size((_PIPED_COLUMNS, 24)).columns if sys.stdout.isatty() else _PIPED_COLUMNS
        click.echo(as_text(account, lines, width=width, colour=_colour()), nl=False)


@incidents.command()
@filtered
@click.option(
    "--interval", type=click.FloatRange(min=0.05), default=1, show_default=True, help="Seconds between looks."
)
@click.option("--format", "-f", "form", type=click.Choice(["text", "jsonl"]), default="text", show_default=True)
@with_settings
def watch(resolved: "Resolved", filters: "Filters", interval: float, form: str) -> None:
    """Follow incidents as they change, until Ctrl-C.

    First come those that are open, then a line for each change: time (UTC), severity, state, fault, culprit, what has
    changed, and the id. Where the output is no terminal, tabs are between them and nothing is cut. If the store is
    away, it is waited for.
    """
    import signal
    import threading

    from relight.incidents.filters import query_of
    from relight.incidents.watching import Watch
    from relight.stores.opening import open_store

    stop = threading.Event()
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, lambda *_: stop.set())
    with store_errors():
        query = query_of(filters, _now_ms(), standing=())
        watched = Watch(
            lambda: open_store(resolved.settings, create=False),
            query,
            lambda text: click.echo(f"relight: {text}", err=True),
        )
        for number, changes in enumerate(watched.changes(stop, interval)):
            if number == 0 and form == "text" and sys.stdout.isatty():
                click.echo(click.style(f"{len(changes) or 'none'} open; following changes, Ctrl-C ends", dim=True))
            for change in changes:
                click.echo(_change(change, form), nl=False)


@incidents.command()
@click.argument("beginnings", nargs=-1, metavar="[ID]...")
@filtered
@ordered
@click.option("--format", "-f", "form", type=click.Choice(["html", "markdown"]), default="html", show_default=True)
@click.option("--output", "-o", type=click.Path(dir_okay=False, path_type=Path), help="Write the report to a file.")
@with_settings
def report(
    resolved: "Resolved", beginnings: tuple[str, ...], filters: "Filters", sort: str, ascending: bool,
    limit: int | None, form: str, output: Path | None,
) -> None:  # fmt: skip
    """Write a report of some incidents as one file.

    They are named by the beginnings of their IDs, or chosen by filters. The file needs nothing else: no script, no
    request. Of several incidents an overview comes first; each has its timeline drawn.
    """
    from relight.incidents import reporting
    from relight.incidents.account import account_of
    from relight.incidents.reading import named

    if beginnings and filters.any:
        raise click.UsageError("Name incidents by their IDs or choose them by filters, not both.")
    if not (beginnings or filters.any):
        raise click.UsageError("Name incidents by their IDs, or choose them by filters such as --since 7d.")
    with stored(resolved) as (store, place):
        documents: Sequence[IncidentDocument]
        if beginnings:
            documents = list({one.id: one for one in (named(store, name) for name in beginnings)}.values())
        else:
            documents = _chosen(store, filters, sort, ascending=ascending, limit=limit)
    if not documents:
        raise OneLine(f"no incident is like that in {place}: there is nothing to report")
    render = reporting.as_html if form == "html" else reporting.as_markdown
    written = render([account_of(document) for document in documents], place)
    if output is None:
        click.echo(written, nl=False)
        return
    with mistakes():
        output.write_text(written, encoding="utf-8")
    click.echo(f"{output}: {len(documents)} {'incident' if len(documents) == 1 else 'incidents'}", err=True)


_MEANINGS: Final = "\n\n".join(f"{name}: {sentence}" for name, sentence in DEFINITIONS)


@incidents.command(
    help="Count incidents, and say what they cost.\n\n"
    "How often runs end, how fast that is seen, how long it takes to go on, and how many GPU hours are lost. "
    "By fault class, host, ISO week, severity and domain. Where the output is no terminal, the table has tabs: by "
    f"what, which, incidents, those that ended a run, share in percent, lost GPU hours.\n\n{_MEANINGS}"
)
@filtered
@click.option(
    "--format", "-f", "form", type=click.Choice(["table", "json", "csv", "html", "markdown"]), default="table",
    show_default=True,
)  # fmt: skip
@with_settings
def stats(resolved: "Resolved", filters: "Filters", form: str) -> None:
    """Count incidents."""
    import shutil

    from relight.incidents import figures
    from relight.incidents.filters import query_of
    from relight.incidents.stats import stats_of

    now_ms = _now_ms()
    with stored(resolved) as (store, place):
        found = stats_of(store, query_of(filters, now_ms), now_ms)
    if form == "table" and (sys.stdout.isatty() or found.whole is None):
        written = figures.as_table(found, shutil.get_terminal_size((80, 24)).columns, colour=_colour())
    elif form == "html":
        written = figures.as_html(found, place)
    else:
        forms = {"table": figures.as_tabs, "json": figures.as_json, "csv": figures.as_csv}
        written = forms.get(form, figures.as_markdown)(found)
    click.echo(written, nl=False)


def _list(
    resolved: "Resolved", filters: "Filters", text: str, sort: str, *, ascending: bool, limit: int | None, form: str
) -> None:
    from relight.incidents import formats
    from relight.incidents.filters import query_of
    from relight.incidents.reading import found

    with stored(resolved) as (store, place):
        query = query_of(filters, _now_ms(), text=text)
        result = found(store, query, cast("Sort", sort), ascending=ascending, limit=limit)
        if form == "table":
            narrowed = filters.any or bool(text)
            _table(result.documents, result.total, sort, place, ascending=ascending, narrowed=narrowed)
            return
        forms = {"json": formats.as_json, "jsonl": formats.as_jsonl, "csv": formats.as_csv}
        if form == "html":
            pieces = formats.as_html(result.documents, place, result.total)
        else:
            pieces = forms.get(form, formats.as_markdown)(result.documents)
        for piece in pieces:
            click.echo(piece, nl=False)


def _table(
    documents: "Iterable[IncidentDocument]", total: int, sort: str, place: str, *, ascending: bool, narrowed: bool
) -> None:
    import shutil

    from relight.incidents import table
    from relight.incidents.rows import row_of

    if not sys.stdout.isatty():
        for document in documents:
            click.echo(table.tabbed(row_of(document)))
        if not total:
            click.echo(f"relight: {table.summary(0, 0, sort, place, ascending=ascending, narrowed=narrowed)}", err=True)
        return
    rows = [row_of(document) for document in documents]
    click.echo(table.table(rows, shutil.get_terminal_size((80, 24)).columns, colour=_colour()), nl=False)
    click.echo(table.summary(len(rows), total, sort, place, ascending=ascending, narrowed=narrowed))


def _chosen(
    store: "IncidentStore", filters: "Filters", sort: str, *, ascending: bool, limit: int | None
) -> "Sequence[IncidentDocument]":
    from relight.incidents.filters import query_of
    from relight.incidents.reading import found

    query: Query = query_of(filters, _now_ms())
    result = found(store, query, cast("Sort", sort), ascending=ascending, limit=limit)
    documents = list(result.documents)
    if len(documents) < result.total:
        click.echo(f"relight: {len(documents)} of {result.total} incidents; --limit all takes all of them", err=True)
    return documents


def _change(change: "Change", form: str) -> str:
    import shutil

    from relight.incidents import changes

    if form == "jsonl":
        return changes.as_jsonl(change)
    if not sys.stdout.isatty():
        return changes.as_tabs(change)
    return changes.as_line(change, shutil.get_terminal_size((80, 24)).columns, colour=_colour())


def _colour() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _now_ms() -> int:
    return int(time.time() * 1000)
