"""`relight commands`: recovery commands as they stand, and what people ask for about them."""

import sys
from typing import TYPE_CHECKING, Any

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
    if not (number.isascii() and number.isdigit() and int(number) and unit in SECONDS_IN and len(number) < 7):
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
        from relight.recovery import NoCommand
        from schemas.command import RequestKind

        desk = _desk(resolved)
        with mistakes(NoCommand):
            found = [desk.named(name) for name in names]
            for one in found:
                one.refuse(RequestKind(kind))
        for one in found:
            _ask(resolved, kind, by, cluster=one.cluster, reason=reason, command=one.command.id)
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
    from relight.recovery import until

    cluster = None if everywhere else resolved.settings.cluster.name
    _ask(resolved, "pause", by, cluster=cluster, reason=reason, until_s=until(span_s))
    click.echo(f"paused: {'all clusters' if everywhere else cluster}")


@commands.command()
@_everywhere
@_reason
@_by
@with_settings
def resume(resolved: "Resolved", everywhere: bool, reason: str, by: str | None) -> None:
    """End a pause."""
    cluster = None if everywhere else resolved.settings.cluster.name
    _ask(resolved, "resume", by, cluster=cluster, reason=reason)
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
    from relight.recovery import NoMatcher, parsed_matchers, until

    with mistakes(NoMatcher):
        parsed = parsed_matchers(matchers)
    cluster = resolved.settings.cluster.name
    name = _ask(resolved, "silence", by, cluster=cluster, reason=reason, matchers=parsed, until_s=until(span_s))
    click.echo(f"silenced: {', '.join(map(str, parsed))} ({name[:8]})")


@commands.command()
@click.argument("name", metavar="ID")
@_reason
@_by
@with_settings
def unsilence(resolved: "Resolved", name: str, reason: str, by: str | None) -> None:
    """End a silence; the beginning of its ID will do."""
    from relight.incidents.cleaning import clean
    from relight.recovery import NoCommand

    with mistakes(NoCommand):
        found = _desk(resolved).silence(name)
    _ask(resolved, "unsilence", by, cluster=found.cluster, reason=reason, silence=found.id)
    click.echo(f"ended: {clean(', '.join(map(str, found.matchers)))}")


@commands.command()
@click.argument("hosts", nargs=-1, required=True, metavar="HOST...")
@_reason
@_by
@with_settings
def restore(resolved: "Resolved", hosts: tuple[str, ...], reason: str, by: str | None) -> None:
    """Say that hosts are back in service: they count no more for the circuit breaker."""
    desk, cluster = _desk(resolved), resolved.settings.cluster.name
    unknown = [host for host in hosts if host not in desk.out(cluster)]
    if unknown:
        raise OneLine("\n".join(f"{host} is not out of service by a command" for host in unknown))
    for host in hosts:
        _ask(resolved, "restore", by, cluster=cluster, reason=reason, host=host)
        click.echo(f"back in service: {host}")


def _desk(resolved: "Resolved") -> "Desk":
    from relight.recovery import Desk
    from relight.stages.remedies import present
    from relight.transports.opening import open_log

    with open_log(resolved.settings) as log:
        return Desk(present(log))


def _ask(resolved: "Resolved", kind: str, by: str | None, **about: Any) -> str:
    """Put a request on the topic, and return its id."""
    from relight.keys import NoKeys, Role, key_file
    from relight.recovery import NoRequest, asked, sent
    from relight.transports.opening import open_log
    from schemas.command import RequestKind

    with mistakes(NoKeys, NoRequest), open_log(resolved.settings) as log:
        request = asked(RequestKind(kind), by, **about)
        sent(log, request, key_file(resolved.settings, Role.REQUESTS).keys)
    return request.id
