"""Commands for what no stage could read: list dead letters, show one, and let the stages try again."""

import re
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import click

from relight.commands.errors import OneLine, mistakes
from relight.commands.options import with_settings
from schemas.durations import SECONDS_IN
from schemas.record import LATEST_S

if TYPE_CHECKING:
    from relight.deadletters import DeadLetters, Letter
    from relight.settings import Resolved
    from relight.transports.port import EventLog


def _ago(context: click.Context, option: click.Parameter, value: str | None) -> int | None:
    """Return how many milliseconds a duration such as `2h` is."""
    if value is None:
        return None
    found = re.fullmatch(r"([0-9]{1,9})([smhd])", value)
    if found is None:
        raise click.BadParameter(f"{value!r} is no duration: write 30s, 45m, 2h or 7d.", context, option)
    return int(found[1]) * SECONDS_IN[found[2]] * 1000


_stage = click.option("--stage", metavar="NAME", help="Only what this stage refused, such as match.")
_topic = click.option("--topic", metavar="NAME", help="Only records of this topic, such as relight.logs.")


@click.group()
def deadletters() -> None:
    """Records that a stage could not read: what they are, why, and once more."""


@deadletters.command("list")
@_stage
@_topic
@click.option(
    "--since", callback=_ago, metavar="DURATION", help="Only what was refused in the last 30s, 45m, 2h or 7d."
)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="The newest N of them.")
@click.option(
    "--format", "-f", "form", type=click.Choice(["table", "json", "jsonl"]), default="table", show_default=True
)
@with_settings
def list_letters(
    resolved: "Resolved", stage: str | None, topic: str | None, since: int | None, limit: int | None, form: str
) -> None:
    """List dead letters, the newest first.

    Where the output is no terminal, the columns of the table are separated by tabs and nothing is cut.
    """
    import shutil

    import orjson

    from relight.transports.opening import open_log

    with open_log(resolved.settings) as log:
        known = _read(log)
    chosen = known.chosen(stage, topic, 0 if since is None else _now_ms() - since)[:limit]
    if form == "json":
        click.echo(orjson.dumps([told(one) for one in chosen], option=orjson.OPT_INDENT_2).decode())
    elif form == "jsonl":
        for one in chosen:
            click.echo(orjson.dumps(told(one)).decode())
    elif sys.stdout.isatty():
        click.echo(letters_table(chosen, known.prefixes(), shutil.get_terminal_size((80, 24)).columns), nl=False)
    else:
        prefixes = known.prefixes()
        for one in chosen:
            click.echo("\t".join(_row(one, prefixes, _utc(one.refused_ms))))


@deadletters.command()
@click.argument("name", metavar="ID")
@click.option("--raw", is_flag=True, help="Write the bytes of the record's value to standard output, and nothing else.")
@with_settings
def show(resolved: "Resolved", name: str, raw: bool) -> None:
    """Show everything about one dead letter; the beginning of its ID will do.

    The value is shown as text of at most 2,000 characters, with secrets masked.
    """
    from relight.deadletters import NoLetter, whole
    from relight.transports.opening import open_log

    if raw and sys.stdout.isatty():
        raise OneLine("the bytes of a record may hold escape sequences: redirect --raw to a file or a pipe")
    with mistakes(NoLetter), open_log(resolved.settings) as log:
        letter = _read(log).named(name)
        data = whole(log, letter)
    if raw:
        click.echo(data.value or b"", nl=False)
        return
    headers = [("header", f"{key} = {_text(value)}") for key, value in data.headers]
    rows = [*_about(letter), ("key", _text(data.key)), *headers, ("value", _text(data.value))]
    for title, text in rows:
        click.echo(f"{title:<9}{_shown(text)}")


@deadletters.command()
@click.argument("names", nargs=-1, metavar="ID...")
@click.option("--all", "every", is_flag=True, help="Retry all that were not retried yet, or with --again all.")
@_stage
@_topic
@click.option("--again", is_flag=True, help="Retry also what was retried already.")
@with_settings
def retry(
    resolved: "Resolved", names: tuple[str, ...], every: bool, stage: str | None, topic: str | None, again: bool
) -> None:
    """Append the records of dead letters to their topics once more, as they were.

    All stages that read the topic read the record again. Who still cannot read it refuses it again: that is a new dead
    letter, with the new place. A chunk whose source has been read further by then is passed over.

    What the store refused (stage index) is not retried so: `relight replay --into store` writes it again. Neither is
    what never became a record (stages receive and ship): who sent it sends it again.
    """
    from relight.deadletters import AlreadyRetried, NoLetter, require_fresh
    from relight.deadletters import retry as retried
    from relight.transports.opening import open_log

    if every == bool(names):
        raise click.UsageError("Name dead letters by their IDs, or all of them with --all.")
    if not every and (stage or topic):
        raise click.UsageError("--stage and --topic choose among --all.")
    with mistakes(NoLetter, AlreadyRetried), open_log(resolved.settings) as log:
        known = _read(log)
        if every:
            letters = [one for one in known.chosen(stage, topic) if again or one.retried_ms is None]
        else:
            letters = list(dict.fromkeys(known.named(name) for name in names))
        readable = [one for one in letters if not (one.stored or one.outside)]
        if not (every or again):
            require_fresh(readable)
        prefixes = known.prefixes()
        for one in retried(log, readable, _now_ms()):
            click.echo(f"{_shown(prefixes[one.id])} is appended to {_shown(f'{one.topic}/{one.partition}')} again")
    if not letters:
        click.echo("There is nothing to retry.")
    if left := [
        *_left([one for one in letters if one.stored], _STORED, each=not every),
        *_left([one for one in letters if one.outside], _OUTSIDE, each=not every),
    ]:
        raise OneLine("\n".join(left))


_STORED: Final = "what the store refused: when the cause is mended, `relight replay --into store` writes it again"
_OUTSIDE: Final = "what never became a record: when the cause is mended, whatever sent it has to send it again"


def _left(letters: Sequence["Letter"], why: str, each: bool) -> list[str]:
    """Return why letters are not retried, and what to do: a line for each, or one for all."""
    if each or not letters:
        return [f"the dead letter {_shown(one.id)} is {why}" for one in letters]
    return [f"{len(letters)} dead letters are {why}"]


def letters_table(letters: Iterable["Letter"], prefixes: Mapping[str, str], width: int) -> str:
    """Return letters as a table that is at most `width` columns wide, one line each. Reasons are cut to fit."""
    from rich.table import Table
    from rich.text import Text

    from relight.reports.console import laid_out

    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for title in ("id", "UTC", "stage", "place", "size", "retried"):
        table.add_column(title, no_wrap=True)
    table.add_column("reason")
    for letter in letters:
        cells = _row(letter, prefixes, _utc(letter.refused_ms)[5:16])
        cells[3] = cells[3].removeprefix("relight.")
        table.add_row(*(Text(cell, no_wrap=True, overflow="ellipsis") for cell in cells))
    return laid_out(table, width)


def told(letter: "Letter") -> dict[str, object]:
    """Return a letter as JSON has it, with texts as they may be shown."""
    return {
        "id": _shown(letter.id),
        "refused": _utc(letter.refused_ms, "T", "Z"),
        "retried": None if letter.retried_ms is None else _utc(letter.retried_ms, "T", "Z"),
        "cluster": _shown(letter.cluster),
        "stage": _shown(letter.stage),
        "topic": _shown(letter.topic),
        "partition": letter.partition,
        "offset": letter.offset,
        "size_bytes": letter.size_bytes,
        "reason": _shown(letter.reason),
    }


def _row(letter: "Letter", prefixes: Mapping[str, str], when: str) -> list[str]:
    from relight.reports.phrases import size

    retried = "no" if letter.retried_ms is None else "yes"
    texts = (prefixes[letter.id], when, letter.stage, letter.place, size(letter.size_bytes), retried, letter.reason)
    return [_shown(text) for text in texts]


def _about(letter: "Letter") -> list[tuple[str, str]]:
    return [
        ("id", letter.id),
        ("refused", f"{_utc(letter.refused_ms)} UTC by {letter.stage}"),
        ("reason", letter.reason),
        ("place", letter.place),
        ("cluster", letter.cluster),
        ("size", f"{letter.size_bytes:,} bytes"),
        ("retried", "no" if letter.retried_ms is None else f"{_utc(letter.retried_ms)} UTC"),
    ]


def _read(log: "EventLog") -> "DeadLetters":
    """Return all dead letters, and tell of records among them that are none."""
    from relight.deadletters import read

    known = read(log)
    if known.others:
        click.echo(f"relight: {known.others} records among the dead letters are none; they are passed over", err=True)
    return known


def _text(data: bytes | None) -> str:
    return "(none)" if data is None else _shown(data)


def _shown(text: str | bytes) -> str:
    from ingest.redaction import shown

    return shown(text)


def _utc(time_ms: int, between: str = " ", end: str = "") -> str:
    return datetime.fromtimestamp(min(time_ms // 1000, LATEST_S), UTC).strftime(f"%Y-%m-%d{between}%H:%M:%S") + end


def _now_ms() -> int:
    return int(time.time() * 1000)
