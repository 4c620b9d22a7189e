"""Commands for who teaches relight: say whether a diagnosis is right."""

from typing import TYPE_CHECKING

import click

from relight.commands.completion import fault_names
from relight.commands.errors import mistakes
from relight.commands.options import with_settings
from relight.commands.stored import stored

if TYPE_CHECKING:
    from relight.settings import Resolved


@click.command()
@click.argument("beginning", metavar="ID")
@click.option("--correct", "judgement", flag_value="correct", help="The diagnosis is right.")
@click.option("--wrong", "judgement", flag_value="wrong", help="It is not.")
@click.option(
    "--fault", "actual", metavar="FAULT", shell_complete=fault_names, help="It is not: it really was this fault class."
)
@click.option("--note", default="", metavar="TEXT", help="Why; it is recorded, and shown.")
@click.option("--by", metavar="NAME", help="Who says so; without it, who is logged in.")
@with_settings
def verdict(
    resolved: "Resolved", beginning: str, judgement: str | None, actual: str | None, note: str, by: str | None
) -> None:
    """Say whether the diagnosis of an incident is right.

    The beginning of its ID will do. What is judged is the diagnosis as the store has it now; of several verdicts on an
    incident the latest one holds. Verdicts give each signature its measured precision (`relight rules stats`), and one
    that is often wrong loses confidence. They are signed like other requests, and admitted by `relight remediate`.
    """
    from relight.incidents.reading import named
    from relight.keys import NoKeys, Role, key_file
    from relight.recovery import NoRequest
    from relight.transports.opening import open_log
    from relight.verdicts import given, sent
    from schemas.verdict import Judgement

    with mistakes(NoKeys, NoRequest):
        with stored(resolved) as (store, _):
            document = named(store, beginning)
        said = given(document, Judgement(judgement) if judgement else None, actual, by=by, note=note)
        keys = key_file(resolved.settings, Role.REQUESTS).keys
        with open_log(resolved.settings) as log:
            sent(log, said, keys)
    was = f", it was {said.actual}" if said.actual else ""
    click.echo(f"{said.judgement}: {said.about.fault} ({said.about.signature}){was}; incident {document.id[:8]}")
