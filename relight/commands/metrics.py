"""Commands about numbers that are kept elsewhere: fetched from a Prometheus, they are read like logs."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from relight.commands.errors import OneLine, mistakes
from relight.commands.options import with_settings

if TYPE_CHECKING:
    from relight.fetching import Fetching
    from relight.settings import Resolved


@click.group()
def metrics() -> None:
    """Bring numbers to where logs are read."""


@metrics.command()
@click.argument("prometheus__url", metavar="[URL]", required=False)
@click.option(
    "--output", "-o", required=True, type=click.Path(file_okay=False, path_type=Path), help="The folder to write to."
)
@click.option(
    "--since", default="1h", show_default=True, metavar="TIME", help="From when on: 45m or 2h ago, or a time."
)
@click.option("--until", metavar="TIME", help="Up to when; written as with --since.  [default: now]")
@click.option("--step", "prometheus__step_s", type=int, metavar="SECONDS", help="How far apart values are.")
@click.option("--queries", "prometheus__queries", metavar="PATH", help="YAML file of what to ask for instead.")
@click.option("--follow", is_flag=True, help="Go on with what is measured from now on, or from where it was left.")
@click.option("--every", default=30, show_default=True, type=click.IntRange(min=1), help="How often, in seconds.")
@with_settings
def fetch(resolved: "Resolved", output: Path, since: str, until: str | None, follow: bool, every: int) -> None:
    """Fetch series of GPUs and hosts from a Prometheus, and write them as lines that scan and ship read.

    The folder gets one folder for each host. Credentials are settings: [prometheus] token, or username and password.
    """
    import time

    from ingest.series import QueriesWrong
    from relight.fetched_folder import FetchedFolder, PositionDamaged
    from relight.fetching import Fetching, queries
    from relight.incidents.filters import Unclear, moment_ms
    from relight.prometheus import Prometheus, PrometheusError

    settings = resolved.settings.prometheus
    if follow and until:
        raise click.UsageError("--follow and --until exclude each other.")
    with mistakes(PrometheusError, QueriesWrong, Unclear, PositionDamaged, OSError):
        now_ms = int(time.time() * 1000)
        begin_s = moment_ms("--since", since, now_ms) / 1000
        end_s = moment_ms("--until", until, now_ms) / 1000 if until else now_ms / 1000
        asked = queries(settings.queries)
        if begin_s >= end_s:
            raise OneLine("--since is not before --until: nothing lies between them")
        with Prometheus(settings) as source:
            _into(output, follow)
            fetching = Fetching(source, asked, FetchedFolder(output), settings.step_s)
            if follow:
                _follow(resolved, fetching, begin_s, every)
            else:
                _once(fetching, begin_s, end_s)


def _into(folder: Path, follow: bool) -> None:
    """Make the folder; what is in it already would be there twice."""
    folder.mkdir(parents=True, exist_ok=True)
    if not follow and any(folder.iterdir()):
        raise OneLine(f"{folder} is not empty: name a folder that is, or go on in this one with --follow")


def _once(fetching: "Fetching", begin_s: float, end_s: float) -> None:
    from relight.progress import progress

    with progress(int(end_s - begin_s) // fetching.step_s, "fetching", "steps", 500) as advance:
        done = fetching.fetch(begin_s, end_s, advance)
    if not done.lines:
        raise OneLine("Prometheus has none of the series in that time: check --since and --until, or name --queries")
    folder = fetching.folder.folder
    click.echo(f"{folder}: wrote {done.lines} lines of {len(done.hosts)} hosts; `relight scan` reads them")


def _follow(resolved: "Resolved", fetching: "Fetching", begin_s: float, every_s: int) -> None:
    import signal
    import threading

    from relight.logs import configure

    settings, stop = resolved.settings, threading.Event()
    configure(settings.log.level, settings.log.format, settings.secrets.values())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    fetching.follow(begin_s, every_s, stop.wait)
