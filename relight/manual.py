"""The pages of the manual that are made from the code: the command line and the fault classes.

`python -m relight.manual` writes them; a test compares them with what is in docs/.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click

from relight.cli import main
from schemas.faults import fault_classes

DOCS: Final = Path(__file__).parent.parent / "docs"


def cli_page() -> str:
    """Return `docs/cli.md`: the help of every command, as the command line itself prints it."""
    lines = ["# Commands", "", "What `relight COMMAND --help` says."]
    for path, command in _commands(main, "relight"):
        context = click.Context(command, info_name=path, max_content_width=100, terminal_width=100)
        lines += ["", f"## {path}", "", "```", command.get_help(context).rstrip(), "```"]
    return "\n".join([*lines, ""])


def faults_page() -> str:
    """Return `docs/faults.md`: the fault classes by layer, as a table."""
    rows = [
        f"| `{c.fault}` | {c.layer} | {c.meaning} | {c.first_action} | {c.culprit} | {c.domain} | {c.retry_outlook} |"
        for c in fault_classes().values()
    ]
    head = [
        "# Fault classes",
        "",
        "Every diagnosis names one of these. `relight rules list --fault 'gpu.*'` lists the signatures of a class.",
        "",
        "| fault | layer | what it means | first action | culprit | domain | retry outlook |",
        "|---|---|---|---|---|---|---|",
    ]
    return "\n".join([*head, *rows, ""])


def _commands(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name in sorted(command.commands):
            yield from _commands(command.commands[name], f"{path} {name}")


PAGES: Final = {"cli.md": cli_page, "faults.md": faults_page}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (DOCS / name).write_text(page(), encoding="utf-8")
