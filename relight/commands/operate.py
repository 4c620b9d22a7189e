"""Commands for who runs relight: show the settings, set the topics up, and find out what is wrong."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from relight.commands.errors import OneLine, mistakes
from relight.commands.options import with_flags, with_settings

if TYPE_CHECKING:
    from relight.settings import Resolved, Setting
    from relight.setup import Outcome

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


@click.group(invoke_without_command=True)
@click.option("--apply", is_flag=True, help="Change topics that are there and not as wanted.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@with_flags
@click.pass_context
def setup(context: click.Context, flags: dict[str, object], config: Path | None, apply: bool, dry_run: bool) -> None:
    """Create the topics, and say where those that are there are not as wanted.

    Run it as often as you like. It ends with status 0 when everything is as wanted, with 1 when something is not.
    With a command it sets up what that names instead.
    """
    from relight.settings import Misconfigured, resolve
    from relight.setup import setup as set_up
    from relight.topics import specs
    from relight.transports.opening import open_log
    from relight.transports.port import LogError

    if context.invoked_subcommand is not None:
        _nothing_before(context, context.invoked_subcommand)
        return
    with mistakes(Misconfigured, LogError):
        settings = resolve(flags, config).settings
        topics = settings.topics
        with open_log(settings) as log:
            outcome = set_up(log, specs(topics.log_partitions, topics.cluster_partitions), apply=apply, dry_run=dry_run)
    _tell(outcome)


def _nothing_before(context: click.Context, command: str) -> None:
    """Refuse options that stand before a command's name: they are those of the topics."""
    given = [p for p in context.command.params if _on_the_command_line(context, p.name)]
    if given:
        raise click.UsageError(f"write {', '.join(p.opts[0] for p in given)} behind `{command}`.")


def _on_the_command_line(context: click.Context, name: str | None) -> bool:
    return name is not None and context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE


def _tell(outcome: "Outcome") -> None:
    """Print what was done, and end with the status that says whether everything is as wanted."""
    for line in outcome.lines:
        click.echo(line)
    sys.exit(0 if outcome.as_wanted else 1)


@setup.command("elasticsearch")
@click.option("--elasticsearch", "elasticsearch__hosts", metavar="URL,...", help="Nodes of Elasticsearch.")
@click.option("--apply", is_flag=True, help="Change what is there and not as wanted.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@with_settings
def setup_elasticsearch(resolved: "Resolved", apply: bool, dry_run: bool) -> None:
    """Put templates and indices in place in Elasticsearch, and say where those that are there are not as wanted.

    Run it as often as you like, and after every upgrade. It ends with status 0 when everything is as wanted, with 1
    when something is not.
    """
    from relight.stores.elastic_client import connect
    from relight.stores.elastic_setup import setup as set_up
    from relight.stores.opening import store_place

    settings = resolved.settings
    if not settings.elasticsearch.used:
        raise OneLine(
            "elasticsearch.hosts is not set: say where Elasticsearch is, in the settings (or elasticsearch.cloud_id),"
            " or with --elasticsearch URL. Without it the embedded store is used, which needs no setup"
        )
    with connect(settings.elasticsearch) as client:
        place, days = store_place(settings), settings.index.lines_days
        outcome = set_up(client, place, settings.elasticsearch, days, apply=apply, dry_run=dry_run)
    _tell(outcome)


@setup.command("kibana")
@click.option("--kibana", "kibana__url", metavar="URL", help="Where Kibana is.")
@click.option(
    "--output", "-o", type=click.Path(dir_okay=False, path_type=Path), help="Write the objects to a file instead."
)
@click.option("--dry-run", is_flag=True, help="Look whether it could be done, say what would be, and do nothing.")
@with_settings
def setup_kibana(resolved: "Resolved", output: Path | None, dry_run: bool) -> None:
    """Import data views, searches and a dashboard into Kibana, over those that are there.

    Run it as often as you like. It ends with status 0 when all is imported, with 1 when something is not. With --output
    it asks no Kibana: the file can be imported in Kibana, below Stack Management, Saved Objects.
    """
    from relight.assets.saved_objects import ndjson, saved_objects
    from relight.kibana import KibanaError
    from relight.kibana import setup as set_up

    prefix = resolved.settings.elasticsearch.prefix
    with mistakes(KibanaError):
        if output is not None:
            output.write_bytes(ndjson(prefix))
            return
        outcome = set_up(resolved.settings.kibana, saved_objects(prefix), dry_run=dry_run)
    _tell(outcome)


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
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    from relight.reports.console import laid_out

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("setting", no_wrap=True)
    table.add_column("value", overflow="fold")
    table.add_column("from", overflow="fold")
    for setting in resolved.origins:
        table.add_row(*map(Text, (setting.key, _shown(setting), setting.origin)))
    return laid_out(table, width)


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
