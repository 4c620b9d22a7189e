"""The options of the commands about incidents: which ones, in which order, how many, and in which format."""

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any, Final

import click

from relight.commands.completion import fault_names, texts
from schemas.vocabulary import Severity

SORTS: Final = ("opened", "updated", "severity", "confidence", "lost")
STATES: Final = ("open", "resolved", "merged")
"""Those of `schemas.history.State`, which takes a hundredth of a second to import."""
LISTED: Final = ("table", "json", "jsonl", "csv", "html", "markdown")
_TIME: Final = "45m, 2h or 7d ago, or 2026-05-12 or 2026-05-12T03:00Z"
_FILTERS: Final = (
    click.option("--since", metavar="TIME", help=f"Opened at that time or later: {_TIME}."),
    click.option("--until", metavar="TIME", help="Opened before that time; written as with --since."),
    click.option(
        "--fault", "faults", multiple=True, metavar="PATTERN", shell_complete=fault_names,
        help="A fault class, such as gpu.fallen_off_bus or 'gpu.*'; more than one: any of them.",
    ),
    click.option("--host", "hosts", multiple=True, metavar="PATTERN", help="A host it is about, such as 'node1*'."),
    click.option("--job", "jobs", multiple=True, metavar="PATTERN", help="The job that it happened to."),
    click.option("--in-cluster", "clusters", multiple=True, metavar="PATTERN", help="The cluster that it happened in."),
    click.option(
        "--state", "states", multiple=True, type=click.Choice(STATES),
        help="Where it stands.  [default: open and resolved]",
    ),
    click.option("--severity", type=click.Choice([s.value for s in Severity]), help="At least so bad."),
)  # fmt: skip


def how_many(context: click.Context, option: click.Parameter, value: str) -> int | None:
    """Return how many are wanted; `None` is all of them."""
    if value in ("all", "0"):
        return None
    if value.isascii() and value.isdigit() and len(value) < 10:
        return int(value)
    raise click.BadParameter(f"{value!r} is no number: write 50, or all.", context, option)


_ORDERED: Final = (
    click.option("--sort", type=click.Choice(SORTS), default="opened", show_default=True, help="What comes first."),
    click.option("--ascending", is_flag=True, help="The other way round: the oldest, mildest, ... first."),
    click.option(
        "--limit", callback=how_many, metavar="N|all", default="50", show_default=True, help="At most so many.",
        shell_complete=texts("50", "all"),
    ),
)  # fmt: skip
form_of_a_list = click.option("--format", "-f", "form", type=click.Choice(LISTED), default="table", show_default=True)


def filtered(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the filters, and as `filters` what was typed."""

    @wraps(command)
    def run(**given: Any) -> Any:
        from relight.incidents.filters import Filters

        names = ("since", "until", "faults", "hosts", "jobs", "clusters", "states", "severity")
        return command(filters=Filters(**{name: given.pop(name) for name in names}), **given)

    return _with(run, _FILTERS)


def ordered(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command an order and a limit, as `sort`, `ascending` and `limit`."""
    return _with(command, _ORDERED)


def _with(command: Callable[..., Any], options: Iterable[Callable[..., Any]]) -> Callable[..., Any]:
    for option in reversed(tuple(options)):
        command = option(command)
    return command
