"""Commands for who runs relight: show the settings, set the topics up, and find out what is wrong."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from relight.commands.options import with_flags, with_settings

if TYPE_CHECKING:
    from relight.settings import Resolved, Setting

_COLOURS: Final = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.group()
def config() -> None:
    """What is set, and where."""


@config.command("show")
@click.option("--format", "-f", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@with_settings
def config_show(resolved: "Resolved", form: str) -> None:
    """Show every setting, its value, and where that comes from.

    Flags win over the environment (RELIGHT_KAFKA__BOOTSTRAP), that over the file, that over the default. Where the
    output is no terminal, the columns are separated by tabs.
    """
    import shutil

    import orjson

    if form == "json":
        told = {s.key: {"value": _plain(s.value), "origin": s.origin} for s in resolved.origins}
        click.echo(orjson.dumps(told, option=orjson.OPT_INDENT_2).decode())
    elif sys.stdout.isatty():
        click.echo(settings_table(resolved, shutil.get_terminal_size((100, 24)).columns), nl=False)
    else:
        for setting in resolved.origins:
            click.echo(f"{setting.key}\t{_shown(setting)}\t{setting.origin}")


@click.command()
@click.option("--apply", is_flag=True, help="Change topics that are there and not as wanted.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@with_settings
def setup(resolved: "Resolved", apply: bool, dry_run: bool) -> None:
    """Create the topics, and say where those that are there are not as wanted.

    Run it as often as you like. It ends with status 0 when everything is as wanted, with 1 when something is not.
    """
    from relight.setup import setup as set_up
    from relight.topics import specs
    from relight.transports.opening import open_log

    topics = resolved.settings.topics
    with open_log(resolved.settings) as log:
        outcome = set_up(log, specs(topics.log_partitions, topics.cluster_partitions), apply=apply, dry_run=dry_run)
    for line in outcome.lines:
        click.echo(line)
    sys.exit(0 if outcome.as_wanted else 1)


@click.command()
@click.option("--write", is_flag=True, help="Append a record that nobody reads, and read it back.")
@with_flags
def doctor(flags: dict[str, object], config: Path | None, write: bool) -> None:
    """Check what a pipeline needs, and say what to do about what is wrong. Changes nothing.

    It ends with status 1 if a check fails.
    """
    from relight.doctor import Sign, examined

    failed = False
    for finding in examined(flags, config, write=write):
        failed = failed or finding.sign is Sign.FAIL
        sign = click.style(f"{finding.sign:<4}", fg=_COLOURS[finding.sign])
        advice = f": {finding.advice}" if finding.advice else ""
        click.echo(f"{sign}  {finding.check}: {finding.seen}{advice}")
    sys.exit(1 if failed else 0)


def settings_table(resolved: "Resolved", width: int) -> str:
    """Return the settings as a table that is at most `width` columns wide."""
    import io

    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("setting", no_wrap=True)
    table.add_column("value", overflow="fold")
    table.add_column("from", overflow="fold")
    for setting in resolved.origins:
        table.add_row(*map(Text, (setting.key, _shown(setting), setting.origin)))
    console = Console(file=io.StringIO(), width=width)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def _shown(setting: "Setting") -> str:
    value = _plain(setting.value)
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _plain(value: Any) -> Any:
    """Return a value as JSON has it. Of a secret there are only asterisks."""
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return value if value is None or isinstance(value, bool | int | float) else str(value)
