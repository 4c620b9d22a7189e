"""Commands for who decides what is done about failures: list, check and show playbooks, and explain one's choice."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from relight.commands.completion import fault_names
from relight.commands.errors import OneLine, mistakes
from relight.commands.options import with_settings

if TYPE_CHECKING:
    from relight.settings import Resolved

_own = click.option(
    "--playbooks",
    "remediate__playbooks",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="A directory or file with playbooks of your own; they add to the shipped ones or override them by id.",
)


@click.group()
def playbooks() -> None:
    """List, check and show what is done about failures, and explain what is done about one."""


@playbooks.command("list")
@click.option(
    "--fault", default="*", shell_complete=fault_names, help="Only playbooks for faults that match, such as 'gpu.*'."
)
@_own
@with_settings
def list_playbooks(resolved: "Resolved", fault: str) -> None:
    """List the playbooks in force: id, ladder, title."""
    from fnmatch import fnmatchcase

    from relight.playbook_book import listed
    from remediate.playbook_rules import PlaybookError

    with mistakes(PlaybookError):
        click.echo(listed(resolved.settings.remediate.playbooks, lambda name: fnmatchcase(name, fault)))


@playbooks.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@_own
@with_settings
def check(resolved: "Resolved", files: tuple[Path, ...]) -> None:
    """Check playbooks: those in FILES, else your own, else those shipped.

    They are well formed, their ladders can be climbed and end with somebody who is told, each is the first choice for
    something, and every fault class has one. What is only worth knowing is a note.
    """
    from relight.playbook_book import checked
    from remediate.playbook_rules import PlaybookError

    with mistakes(PlaybookError):
        count, complaints, notes = checked(files, resolved.settings.remediate.playbooks)
    if complaints:
        raise OneLine("\n".join(complaints))
    for note in notes:
        click.echo(f"note: {note}")
    click.echo(f"{count} playbooks pass the check.")


@playbooks.command()
@click.argument("playbook", metavar="ID")
@_own
@with_settings
def show(resolved: "Resolved", playbook: str) -> None:
    """Show a playbook as YAML, such as gpu.fallen-off-bus: a beginning for one of your own."""
    from relight.playbook_book import shown
    from remediate.playbook_rules import PlaybookError

    with mistakes(PlaybookError):
        try:
            click.echo(shown(resolved.settings.remediate.playbooks, playbook))
        except KeyError as error:
            raise OneLine(str(error.args[0])) from None


@playbooks.command()
@click.argument("beginning", metavar="INCIDENT")
@_own
@with_settings
def explain(resolved: "Resolved", beginning: str) -> None:
    """Say which playbook applies to an incident and why, and what its rungs come to. Does nothing.

    The beginning of the INCIDENT's id will do. Each rung is shown with what it would be done to, or why it is passed
    over, how long it is given to help, and whether a person has to agree first.
    """
    from relight.incidents.reading import NoIncident, named
    from relight.playbook_book import playbooks as in_force
    from relight.playbook_explaining import earlier, explained
    from relight.stores.opening import open_store
    from remediate.playbook_rules import PlaybookError

    with mistakes(PlaybookError, NoIncident):
        known = in_force(resolved.settings.remediate.playbooks)
        with open_store(resolved.settings, create=False) as store:
            document = named(store, beginning)
            recurrences_s = earlier(store, document, known)
    click.echo(explained(document, known, recurrences_s))
