"""`relight commands`: recovery commands as they stand, and what people ask for about them."""

import sys
from typing import TYPE_CHECKING

import click

from relight.commands.errors import OneLine, mistakes
from relight.commands.options import with_settings
from schemas.durations import SECONDS_IN

if TYPE_CHECKING:
    from relight.recovery import Desk
    from relight.settings import Resolved

_reason = click.option("--reason", default="", metavar="TEXT", help="Why; it is recorded, and shown.")
_by = click.option("--by", metavar="NAME", help="Who asks; without it, who is logged in.")
_everywhere = click.option("--everywhere", is_flag=True, help="In all clusters, not only in the one of the settings.")


def _span(context: click.Context, option: click.Parameter, value: str | None) -> float | None:
    """Return how many seconds a duration such as `2h` is."""
    if value is None:
        return None
    number, unit = value[:-1], value[-1:]
    if not (number.isascii() and number.isdigit() and unit in SECONDS_IN and len(number) < 7):
        raise click.BadParameter(f"{value!r} is no duration: write 30s, 45m, 2h or 7d.", context, option)
    return float(int(number) * SECONDS_IN[unit])


_for = click.option("--for", "span_s", callback=_span, metavar="DURATION", help="For so long: 45m, 2h. Else for ever.")


@click.group()
def commands() -> None:
    """Recovery commands: what is planned, held back, issued and done; and what people say to it."""


@commands.command("list")
@click.option("--all", "every", is_flag=True, help="Those too that are over.")
@click.option(
    "--format", "-f", "form", type=click.Choice(["table", "json", "jsonl"]), default="table", show_default=True
)
@with_settings
def list_commands(resolved: "Resolved", every: bool, form: str) -> None:
    """List recovery commands, the newest first, and whatever holds all of them back."""
    import orjson

    from relight.recovery import listed, table

    desk = _desk(resolved)
    found = listed(desk, every=every)
    if form == "json":
        click.echo(orjson.dumps([one.told for one in found], option=orjson.OPT_INDENT_2).decode())
    elif form == "jsonl":
        for one in found:
            click.echo(orjson.dumps(one.told).decode())
    else:
        click.echo(table(desk, found, sys.stdout.isatty()), nl=False)


@commands.command()
@click.argument("name", metavar="ID")
@click.option("--format", "-f", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@with_settings
def show(resolved: "Resolved", name: str, form: str) -> None:
    """Show everything about one command; the beginning of its ID will do."""
    import orjson

    from relight.recovery import NoCommand, described

    with mistakes(NoCommand):
        found = _desk(resolved).named(name)
    if form == "json":
        click.echo(orjson.dumps(found.told, option=orjson.OPT_INDENT_2).decode())
    else:
        click.echo(described(found))


def _about(kind: str, help_text: str) -> click.Command:
    """Return the command that asks for something about recovery commands."""

    @click.command(kind, help=help_text)
    @click.argument("names", nargs=-1, required=True, metavar="ID...")
    @_reason
    @_by
    @with_settings
    def ask(resolved: "Resolved", names: tuple[str, ...], reason: str, by: str | None) -> None:
        from relight.recovery import NoCommand, asked
        from schemas.command import RequestKind

        desk = _desk(resolved)
        with mistakes(NoCommand):
            found = [desk.named(name) for name in names]
            for one in found:
                one.refuse(RequestKind(kind))
        for one in found:
            _send(resolved, asked(RequestKind(kind), by, cluster=one.cluster, reason=reason, command=one.command.id))
            click.echo(f"{kind}: {one.words}")

    return ask


for kind, text in (
    ("approve", "Agree to commands that wait for it."),
    ("deny", "Refuse commands: nothing more is done about their incidents; they are left to people."),
    ("cancel", "Cancel commands that have not begun: nothing more is done about their incidents."),
):
    commands.add_command(_about(kind, text))


@commands.command()
@_for
@_everywhere
@_reason
@_by
@with_settings
def pause(resolved: "Resolved", span_s: float | None, everywhere: bool, reason: str, by: str | None) -> None:
    """Issue no commands until `resume`. What has begun goes on, and people are told all the same."""
    from relight.recovery import asked, until
    from schemas.command import RequestKind

    cluster = None if everywhere else resolved.settings.cluster.name
    _send(resolved, asked(RequestKind.PAUSE, by, cluster=cluster, reason=reason, until_s=until(span_s)))
    click.echo(f"paused: {'all clusters' if everywhere else cluster}")


@commands.command()
@_everywhere
@_reason
@_by
@with_settings
def resume(resolved: "Resolved", everywhere: bool, reason: str, by: str | None) -> None:
    """End a pause."""
    from relight.recovery import asked
    from schemas.command import RequestKind

    cluster = None if everywhere else resolved.settings.cluster.name
    _send(resolved, asked(RequestKind.RESUME, by, cluster=cluster, reason=reason))
    click.echo(f"resumed: {'all clusters' if everywhere else cluster}")


@commands.command()
@click.argument("matchers", nargs=-1, required=True, metavar="MATCHER...")
@_for
@_reason
@_by
@with_settings
def silence(resolved: "Resolved", matchers: tuple[str, ...], span_s: float | None, reason: str, by: str | None) -> None:
    """Issue no commands for incidents that match, and tell nobody of them.

    A matcher is LABEL=VALUE, LABEL!=VALUE, LABEL=~PATTERN or LABEL!~PATTERN; labels are fault, host, job, signature,
    severity and action. All of them must hold.
    """
    from relight.recovery import NoMatcher, asked, parsed_matchers, until
    from schemas.command import RequestKind

    with mistakes(NoMatcher):
        parsed = parsed_matchers(matchers)
    cluster = resolved.settings.cluster.name
    request = asked(RequestKind.SILENCE, by, cluster=cluster, reason=reason, matchers=parsed, until_s=until(span_s))
    _send(resolved, request)
    click.echo(f"silenced: {', '.join(map(str, parsed))} ({request.id[:8]})")


@commands.command()
@click.argument("name", metavar="ID")
@_reason
@_by
@with_settings
def unsilence(resolved: "Resolved", name: str, reason: str, by: str | None) -> None:
    """End a silence; the beginning of its ID will do."""
    from relight.recovery import NoCommand, asked
    from schemas.command import RequestKind

    with mistakes(NoCommand):
        found = _desk(resolved).silence(name)
    _send(resolved, asked(RequestKind.UNSILENCE, by, cluster=found.cluster, reason=reason, silence=found.id))
    click.echo(f"ended: {', '.join(map(str, found.matchers))}")


@commands.command()
@click.argument("hosts", nargs=-1, required=True, metavar="HOST...")
@_reason
@_by
@with_settings
def restore(resolved: "Resolved", hosts: tuple[str, ...], reason: str, by: str | None) -> None:
    """Say that hosts are back in service: they count no more for the circuit breaker."""
    from relight.recovery import asked
    from schemas.command import RequestKind

    desk, cluster = _desk(resolved), resolved.settings.cluster.name
    unknown = [host for host in hosts if host not in desk.out(cluster)]
    if unknown:
        raise OneLine("\n".join(f"{host} is not out of service by a command" for host in unknown))
    for host in hosts:
        _send(resolved, asked(RequestKind.RESTORE, by, cluster=cluster, reason=reason, host=host))
        click.echo(f"back in service: {host}")


def _desk(resolved: "Resolved") -> "Desk":
    from relight.recovery import Desk
    from relight.stages.remedies import present
    from relight.transports.opening import open_log

    with open_log(resolved.settings) as log:
        return Desk(present(log))


def _send(resolved: "Resolved", request: object) -> None:
    from relight.keys import NoKeys, Role, key_file
    from relight.recovery import sent
    from relight.transports.opening import open_log

    with mistakes(NoKeys), open_log(resolved.settings) as log:
        sent(log, request, key_file(resolved.settings, Role.REQUESTS).keys)  # type: ignore[arg-type]
