"""Commands that run the pipeline: each stage as a process of its own, or all of them in one."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from relight.commands.options import with_settings

if TYPE_CHECKING:
    from threading import Event

    from relight.settings import Resolved
    from relight.stages.building import Built

_paths = click.argument("paths", nargs=-1, metavar="FILE|DIRECTORY|GLOB...")
_SHIP = (
    click.option("--host", "ship__host", metavar="NAME", help="The host that the lines are from."),
    click.option("--job", "ship__job", metavar="ID", help="The job that writes them."),
    click.option("--attempt", "ship__attempt", metavar="N", help="The attempt of the job."),
    click.option("--rank", "ship__rank", type=int, help="The rank that writes them."),
    click.option("--provenance", "ship__provenance", metavar="WHO", help="Who writes them: kernel, app, scheduler."),
)


def _shipping(command: click.decorators.FC) -> click.decorators.FC:
    for option in reversed(_SHIP):
        command = option(command)
    return command


@click.command()
@_paths
@click.option("--once", is_flag=True, help="End when everything that is there has been sent.")
@_shipping
@with_settings
def ship(resolved: "Resolved", paths: tuple[str, ...], once: bool) -> None:
    """Send lines as they are written: of files, of all files below directories, of the journal and the kernel's log.

    Files may be rotated, truncated, removed and made anew. While the log is out of reach, lines wait in a spool. Files
    of numbers and dumps are sent as the lines that a scan reads them as.
    """
    import threading

    from relight.stages.building import ship as built

    stop = threading.Event()
    _run(resolved, [built(paths, resolved.settings, stop, once=once)], stop)


@click.command()
@click.option("--address", "receive__address", metavar="ADDRESS", help="The address to listen at.")
@click.option("--port", "receive__port", type=int, help="The port to listen at.")
@click.option("--token-file", "receive__token_file", metavar="PATH", help="File with the token of the Alertmanager.")
@with_settings
def receive(resolved: "Resolved") -> None:
    """Receive the alerts of an Alertmanager at /alertmanager, and send each as a log line.

    Who posts has to bear the token in receive.token_file, or receive.token. It is answered when the log has the alerts.
    """
    import threading

    from relight.stages.building import receive as built

    stop = threading.Event()
    _run(resolved, [built(resolved.settings, stop)], stop)


@click.group()
def diagnose() -> None:
    """Find out what is wrong, from the lines that come."""


@diagnose.command()
@with_settings
def match(resolved: "Resolved") -> None:
    """Match lines with the catalogue, and say what they signal. Start it as often as there are partitions of logs."""
    _stage("match", resolved)


@diagnose.command()
@with_settings
def correlate(resolved: "Resolved") -> None:
    """Correlate signals into incidents with their causes. Start it as often as there are partitions of clusters."""
    _stage("correlate", resolved)


@click.command()
@with_settings
def index(resolved: "Resolved") -> None:
    """Keep incidents, and log lines around what is worth it, where people search: in Elasticsearch, or on this host.

    Elasticsearch is used where elasticsearch.hosts or cloud_id is set, else the store in the embedded log's file.
    """
    _stage("index", resolved)


@click.command()
@click.option("--dry-run/--no-dry-run", "remediate__dry_run", default=None, help="Issue nothing, or do.")
@with_settings
def remediate(resolved: "Resolved") -> None:
    """Plan what is done about incidents, and issue signed commands: none, until remediate.dry_run is turned off."""
    _stage("remediate", resolved)


@click.command()
@with_settings
def agent(resolved: "Resolved") -> None:
    """Carry out recovery commands, and report what became of them: the reference orchestrator.

    What it can do follows from the settings: [process], [slurm], [kubernetes], [exec], [webhook] and [notify].
    """
    import threading

    from relight.agent.opening import agent as built

    stop = threading.Event()
    _run(resolved, [built(resolved.settings, stop)], stop)


@click.command()
@_paths
@_shipping
@click.option("--dry-run/--no-dry-run", "remediate__dry_run", default=None, help="Issue no commands, or do.")
@with_settings
def run(resolved: "Resolved", paths: tuple[str, ...]) -> None:
    """Run all stages in one process, on the embedded log: all that one machine needs. Ships PATHS, if any are given.

    Receives alerts as well, if receive.token_file or receive.token is set.
    """
    import threading

    from relight.setup import setup as set_up
    from relight.stages.building import STAGES, stage
    from relight.stages.building import receive as receiving
    from relight.stages.building import ship as shipping
    from relight.topics import specs
    from relight.transports.opening import open_log

    settings, stop = resolved.settings, threading.Event()
    with open_log(settings) as log:
        set_up(
            log, specs(settings.topics.log_partitions, settings.topics.cluster_partitions), apply=False, dry_run=False
        )
    built = [stage(name, settings, stop) for name in STAGES]
    if paths:
        built.insert(0, shipping(paths, settings, stop))
    if settings.receive.token_file or settings.receive.token:
        built.append(receiving(settings, stop))
    _run(resolved, built, stop)


@click.command()
@click.option(
    "--rules",
    "tried_rules",
    multiple=True,
    type=click.Path(path_type=Path, exists=True),
    help="Try these rules on the lines that are kept: what would have been diagnosed otherwise?",
)
@click.option("--into", type=click.Choice(["store"]), help="Write incidents and lines into the store, as index does.")
@click.option("--fresh", is_flag=True, help="Empty the store before.")
@click.option("--format", "-f", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@with_settings
def replay(resolved: "Resolved", tried_rules: tuple[Path, ...], into: str | None, fresh: bool, form: str) -> None:
    """Rebuild all incidents from the topics, and compare them with what was said. Writes nothing but --into a store.

    Without --rules every event is rebuilt from the recorded signals and compared byte for byte, and every decision
    about recovery commands is taken anew, from the recorded incidents; no command is ever issued. It ends with status 1
    if anything differs: rules have changed since, or settings of the correlation, or relight itself.
    """
    if into and tried_rules:
        raise click.UsageError("--into and --rules exclude each other: what rules are tried on is not written.")
    if fresh and not into:
        raise click.UsageError("--fresh empties a store: give it with --into store.")
    if into:
        _into_store(resolved, fresh)
        return
    import orjson

    from relight.catalogue import resolver
    from relight.playbook_book import playbooks
    from relight.replay import decided, rebuilt, tried
    from relight.scanning import known
    from relight.transports.opening import open_log

    settings = resolved.settings
    with open_log(settings) as log:
        if tried_rules:
            rules = tuple(settings.match.rules)
            found = tried(log, rules, (*rules, *tried_rules), settings.correlate.settle_s)
        else:
            found = rebuilt(log, resolver(known(tuple(settings.match.rules))), settings.correlate.settle_s)
            decided(log, playbooks(tuple(settings.remediate.playbooks)), found)
    if form == "json":
        click.echo(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode())
    else:
        for line in found.lines():
            click.echo(line)
    sys.exit(1 if found.differences else 0)


def _into_store(resolved: "Resolved", fresh: bool) -> None:
    """Write all that the topics hold into the store."""
    from relight.progress import progress
    from relight.rebuild import rebuild, size
    from relight.stores.opening import open_store, store_place
    from relight.transports.opening import open_log

    settings = resolved.settings
    with open_log(settings) as log, open_store(settings) as store:
        store.check()
        if fresh:
            store.clear()
        with progress(size(log), "indexing", "records", 20_000) as advance:
            done = rebuild(log, store, settings, advance)
        store.refresh()
    click.echo(f"{store_place(settings)}: wrote {done.incidents} incidents and {done.lines} log lines")
    for reason in done.refused:
        click.echo(f"relight: {reason}", err=True)
    sys.exit(1 if done.refused else 0)


def _stage(name: str, resolved: "Resolved") -> None:
    import threading

    from relight.stages.building import stage

    stop = threading.Event()
    _run(resolved, [stage(name, resolved.settings, stop)], stop)


def _run(resolved: "Resolved", built: Sequence["Built"], stop: "Event") -> None:
    """Run workers with logs and metrics as the settings say."""
    import gc
    from contextlib import ExitStack

    from relight.logs import configure
    from relight.metrics import serve
    from relight.stages.process import run as run_workers

    gc.enable()
    settings = resolved.settings
    configure(settings.log.level, settings.log.format, settings.secrets.values())
    with ExitStack() as stack:
        if settings.metrics.port:
            for number, one in enumerate(built):
                stack.enter_context(serve(one.metrics, settings.metrics.port + number, settings.metrics.address))
        run_workers([one.worker for one in built], stop)
