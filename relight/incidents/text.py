"""One incident for a terminal: fields with their labels, log lines under the numbers they have in their files."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from relight.incidents.account import Account, Told
from relight.incidents.table import SEVERITIES
from relight.reports.console import console
from relight.reports.failure import Exhibit, Failure
from schemas.incident import ContextLine

_LABEL_COLUMNS: Final = 11
_LEAST_COLUMNS: Final = 40


def as_text(account: Account, lines: Sequence[str] | None, *, width: int, colour: bool) -> str:
    """Return an incident wrapped at `width` columns (40 at least), the answer in its first line.

    `lines` are the log lines around it; `None` where they are not asked for.
    """
    out = console(max(width, _LEAST_COLUMNS), colour=colour)
    with out.capture() as capture:
        for renderable in _renderables(account, lines):
            out.print(renderable, overflow="fold")
    return "".join(line.rstrip(" ") + "\n" for line in capture.get().splitlines())


def _renderables(account: Account, lines: Sequence[str] | None) -> Iterator[RenderableType]:
    failure = account.failure
    yield Text(account.headline, SEVERITIES[account.row.severity] if account.diagnosed else "bold")
    yield Text(f"incident {account.row.id}", "dim")
    yield ""
    yield from (_field(label, text) for label, text in account.facts if text)
    if account.diagnosed:
        yield from _diagnosis(account, failure)
    yield from _listed("Evidence", _exhibits(failure.exhibits))
    yield from _listed("Symptoms", map(Text, _symptoms(failure)))
    yield from _listed("Timeline", _timeline(account.moments, account.left_out))
    yield from _listed("Commands", [_moments(account.commands) if account.commands else Text("none issued")])
    for title, texts in account.sections:
        yield from _listed(title, map(Text, texts))
    yield from _listed("Less likely", map(Text, _rivals(failure)))
    if lines is not None:
        yield from _listed("Log lines around it", [Text(line) for line in lines])


def _diagnosis(account: Account, failure: Failure) -> Iterator[RenderableType]:
    yield _field("Confidence", failure.confidence)
    yield from (_field("", f"- {reason}") for reason in account.reasons)
    yield _field("Meaning", failure.meaning)
    yield _field("Scope", failure.scope)
    if failure.unverified:
        yield _field("Trust", "provenance was not verified: nothing vouches for these lines")
    yield ""
    if failure.first:
        yield _field("First line", f"{failure.first.time}{' ' if failure.first.time else ''}{failure.first.where}")
        yield _field("", failure.first.text, "cyan")
    yield _field("Do now", failure.action, "bold")
    yield _field("Playbook", failure.playbook)
    yield _field("Retry", failure.retry)


def _field(label: str, text: str, style: str = "") -> RenderableType:
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(width=_LABEL_COLUMNS, style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(label, Text(text, style))
    return grid


def _listed(title: str, parts: Iterable[RenderableType]) -> Iterator[RenderableType]:
    """Yield a title and what belongs to it; nothing where nothing does."""
    for number, part in enumerate(parts):
        if number == 0:
            yield ""
            yield Text(title, "bold")
        yield Padding(part, (0, 0, 0, 2))


def _exhibits(exhibits: Sequence[Exhibit]) -> Iterator[RenderableType]:
    for number, exhibit in enumerate(exhibits):
        if number:
            yield ""
        yield from _exhibit(exhibit)


def _exhibit(exhibit: Exhibit) -> Iterator[RenderableType]:
    said = ", ".join(filter(None, [f"{exhibit.lines:,} {'line' if exhibit.lines == 1 else 'lines'}", exhibit.names]))
    style = {"cause": "bold red", "symptom": "yellow"}.get(exhibit.role, "")
    yield Text.assemble((exhibit.role, style), f": {exhibit.title} ", (f"({said})", "dim"))
    yield Text(f"{exhibit.spot.where}{f' at {exhibit.spot.time}' if exhibit.spot.time else ''}", "dim")
    yield _excerpt(exhibit.context)


def _excerpt(context: Sequence[ContextLine]) -> RenderableType:
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(justify="right", style="dim", no_wrap=True)
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for line in context:
        grid.add_row(str(line.line), ">" if line.evidence else "", Text(line.text, "cyan" if line.evidence else ""))
    return grid


def _symptoms(failure: Failure) -> Iterator[str]:
    for item in failure.consequences:
        at = f"first {item.spot.time} {item.spot.where}" if item.spot.time else f"first {item.spot.where}"
        yield f"{item.who}: {item.title}, {at}"


def _rivals(failure: Failure) -> Iterator[str]:
    for item in failure.rivals:
        yield f"{item.title}, confidence {item.confidence}, {item.spot.where}: {item.why_not}"


def _timeline(moments: Sequence[Told], left_out: int) -> Iterator[RenderableType]:
    if moments:
        yield _moments(moments)
    if left_out:
        yield Text(f"{left_out:,} moments in the middle are not kept", "dim")


def _moments(moments: Sequence[Told]) -> RenderableType:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(justify="right", no_wrap=True)
    grid.add_column(justify="right", style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for moment in moments:
        grid.add_row(moment.time, moment.after, Text(moment.text))
    return grid
