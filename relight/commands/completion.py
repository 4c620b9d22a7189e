"""Completion by the shell: the script that turns it on, and what values of options can be completed to."""

from collections.abc import Callable
from typing import Final

import click
from click.shell_completion import CompletionItem, ShellComplete, get_completion_class

SHELLS: Final = ("bash", "zsh", "fish")
_HOW: Final = """
\b
bash: relight completion bash > ~/.local/share/bash-completion/completions/relight
zsh:  relight completion zsh > "${fpath[1]}/_relight"
fish: relight completion fish > ~/.config/fish/completions/relight.fish
"""

Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


@click.command(help=f"Print the script that completes relight's commands and options in a shell.\n{_HOW}")
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print a shell's completion script."""
    from relight.cli import main

    made = get_completion_class(shell)
    assert made is not None, f"click has no completion for {shell}"
    # That of bash looks for a bash first, and complains of an old one; the script may be for another machine.
    click.echo(ShellComplete.source(made(main, {}, "relight", "_RELIGHT_COMPLETE")))


def fault_names(context: click.Context, option: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the fault classes that begin like what is typed, with what they mean."""
    from schemas.faults import fault_classes

    known = fault_classes().values()
    return [CompletionItem(one.fault, help=one.meaning) for one in known if one.fault.startswith(incomplete)]


def texts(*known: str) -> Completer:
    """Return what completes to some fixed texts."""

    def complete(context: click.Context, option: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return [CompletionItem(text) for text in known if text.startswith(incomplete)]

    return complete
