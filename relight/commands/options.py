"""The flags that all commands with settings share, in one place."""

from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any, Final

import click

from relight.commands.errors import mistakes

LEVELS: Final = ("debug", "info", "warning", "error")
"""The levels of what relight says of itself. Not taken from the settings: these are imported when a command runs."""
_SHARED: Final = (
    click.option(
        "--config",
        type=click.Path(dir_okay=False, path_type=Path),
        help="The file with settings.  [default: relight.toml here, in ~/.config/relight, or in /etc/relight]",
    ),
    click.option("--bootstrap", "kafka__bootstrap", metavar="HOST:PORT,...", help="Kafka brokers to begin with."),
    click.option("--embedded", "embedded__path", metavar="PATH", help="Use the log in this SQLite file, not Kafka."),
    click.option("--cluster", "cluster__name", metavar="NAME", help="The cluster that this is about."),
    click.option("--member", "cluster__member", metavar="NAME", help="This process's name in its group."),
    click.option("--metrics-port", "metrics__port", type=int, help="Serve /metrics and /healthz there; 0: do not."),
    click.option("--log-level", "log__level", type=click.Choice(LEVELS), help="The least that is logged."),
)


def with_settings(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the shared flags, and as `resolved` the settings in force (`relight.settings.Resolved`).

    An option of the command's own whose parameter is called like `ship__job` is a flag of the setting `ship.job`: its
    value goes into the settings and not to the command. Mistakes in settings, and a log that does not do what it is
    asked, are one line each.
    """

    @wraps(command)
    def run(flags: Mapping[str, object], config: Path | None, **given: Any) -> Any:
        from relight.metrics import CannotListen
        from relight.settings import Misconfigured, resolve
        from relight.stores.port import StoreError
        from relight.transports.port import LogError

        with mistakes(Misconfigured, LogError, StoreError, CannotListen):
            return command(resolved=resolve(flags, config), **given)

    return with_flags(run)


def with_flags(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the shared flags, and as `flags` and `config` what `relight.settings.resolve` takes."""

    @wraps(command)
    def run(**given: Any) -> Any:
        flags = {name.replace("__", "."): given.pop(name) for name in list(given) if "__" in name}
        return command(flags=flags, **given)

    for option in reversed(_SHARED):
        run = option(run)
    return run
