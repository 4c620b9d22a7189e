"""Commands for the keys that messages are signed with: make and replace them, and list their ids."""

from typing import TYPE_CHECKING

import click

from relight.commands.errors import mistakes
from relight.commands.options import with_settings

if TYPE_CHECKING:
    from relight.settings import Resolved

_ROLES = ("commands", "outcomes", "requests")


@click.group()
def keys() -> None:
    """The keys that commands, outcomes and requests are signed with."""


@keys.command()
@click.argument("roles", nargs=-1, type=click.Choice(_ROLES), metavar="[commands|outcomes|requests]...")
@click.option("--missing", is_flag=True, help="Only where there is no key yet.")
@with_settings
def new(resolved: "Resolved", roles: tuple[str, ...], missing: bool) -> None:
    """Make a new key for each of ROLES, or for all: where the file is, it signs from now on. Older ones are believed.

    Make it first where it is only checked: that of commands on the host of an agent, those of outcomes and requests on
    the host of remediate. Copy the file to all others who check, and last to who signs. Files are read again as they
    change.
    """
    from relight.keys import NoKeys, Role, place, renew

    with mistakes(NoKeys):
        for role in roles or _ROLES:
            path = place(resolved.settings, Role(role))
            if missing and path.exists():
                continue
            click.echo(f"{renew(path)} signs {role}: {path}")


@keys.command("list")
@with_settings
def list_keys(resolved: "Resolved") -> None:
    """List the ids of all keys, and which one signs. Secrets are never shown."""
    from relight.keys import KeyFile, NoKeys, Role, place

    for role in Role:
        path = place(resolved.settings, role)
        try:
            found = KeyFile(path).keys
        except NoKeys as error:
            click.echo(f"{role}: {error}")
            continue
        for key_id in found.secrets:
            click.echo(f"{role}: {key_id} {'signs' if key_id == found.signing else 'is believed'}")
