"""How the chaos benches say that something was wrong, and where to look."""

from collections.abc import Sequence
from pathlib import Path

import click


def complain(seed: int, complaints: Sequence[str], kept: str, folder: Path) -> None:
    """Print the first complaints, and what is kept in which folder."""
    click.echo(f"WRONG, seed {seed}: {complaints[0]}")
    for complaint in complaints[1:20]:
        click.echo(f"  also: {complaint}")
    click.echo(f"{len(complaints)} complaints; {kept} and what the processes printed are in {folder}")
