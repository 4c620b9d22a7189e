"""`python -m bench.remediation_chaos`: kills planner and agents, and says whether each command was carried out once."""

import shutil
import sys
import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Final

import click

from bench.complaining import complain
from bench.remediation_chaos.campaign import Outcome, Where, campaign
from bench.remediation_chaos.servers import SYSTEMS, kafka_in, systems_in

_COLUMNS: Final = (
    "commands", "succeeded", "unknown", "rejected", "failed", "took effect", "killed over it", "found done",
)  # fmt: skip


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--rounds", type=click.IntRange(min=1), default=20, show_default=True)
@click.option("--log", "kind", type=click.Choice(["embedded", "kafka"]), default="embedded", show_default=True)
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--every", type=click.IntRange(min=1), default=20, show_default=True, help="Rounds from peace to peace.")
@click.option("--system", "names", multiple=True, type=click.Choice(SYSTEMS), default=SYSTEMS, show_default=True)
@click.option("--below", type=click.Path(file_okay=False, path_type=Path), help="Where the campaign has its folder.")
def main(rounds: int, kind: str, seed: int, every: int, names: Sequence[str], below: Path | None) -> None:
    """Kill planner and agents with SIGKILL while incidents ask for commands, and count what the commands do.

    Ends with status 1, and keeps the campaign's folder, if anything was done twice, not at all, or told otherwise.
    """
    folder = Path(tempfile.mkdtemp(prefix="relight-chaos-", dir=below))
    kafka = kafka_in(folder) if kind == "kafka" else nullcontext()
    with kafka as address, systems_in(folder, names, seed, agents=2) as (systems, variables):
        say = partial(_say, f"{kind}, seed {seed}")
        outcome = campaign(Where(folder, address, variables), systems, rounds, seed, every, say)
    _print(outcome, kind)
    if outcome.complaints:
        complain(outcome.seed, outcome.complaints, "topics", folder)
        sys.exit(1)
    shutil.rmtree(folder)
    click.echo("nothing twice, nothing lost")


def _say(whose: str, words: str) -> None:
    click.echo(f"chaos: {whose}: {words}", err=True)


def _print(outcome: Outcome, kind: str) -> None:
    click.echo(f"{kind}, seed {outcome.seed}: {outcome.rounds} rounds in {outcome.seconds:.0f} s")
    for name, number in sorted(outcome.counts.items()):
        click.echo(f"  {number:9,} {name}")
    click.echo(f"| | {' | '.join(_COLUMNS)} |")
    for name, row in outcome.table.items():
        click.echo(f"| {name} | {' | '.join(str(row[column]) for column in _COLUMNS)} |")


if __name__ == "__main__":
    main()
