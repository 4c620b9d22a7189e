"""`python -m bench.chaos`: holds rounds of chaos, and says whether anything was lost or said twice."""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import click

from bench.chaos.campaign import Outcome, Where, campaign
from bench.complaining import complain
from tests.servers.kafka_server import KafkaServer

_ROUNDS: Final = 50
"""So many rounds are one campaign: a cluster that has had thousands of faults in minutes is slow, and no real one."""


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--rounds", type=click.IntRange(min=1), default=20, show_default=True)
@click.option("--log", "kind", type=click.Choice(["embedded", "kafka"]), default="embedded", show_default=True)
@click.option("--seed", type=int, default=1, show_default=True, help="Every 50 rounds begin anew with the next one.")
@click.option("--every", type=click.IntRange(min=1), default=10, show_default=True, help="Rounds from peace to peace.")
@click.option("--below", type=click.Path(file_okay=False, path_type=Path), help="Where campaigns have their folders.")
def main(rounds: int, kind: str, seed: int, every: int, below: Path | None) -> None:
    """Kill, freeze and double the pipeline's processes while faults are written, and look for each of them.

    Ends with status 1, and keeps the campaign's folder, if anything is lost, doubled or invented.
    """
    total = Outcome(seed)
    for number, begun in enumerate(range(0, rounds, _ROUNDS)):
        folder = Path(tempfile.mkdtemp(prefix="relight-chaos-", dir=below))
        say = partial(_say, f"{kind}, seed {seed + number}")
        with _where(folder, kind) as where:
            outcome = campaign(where, min(_ROUNDS, rounds - begun), seed + number, every, say)
        total.rounds += outcome.rounds
        total.seconds += outcome.seconds
        total.counts += outcome.counts
        if outcome.complaints:
            _print(total, kind)
            complain(outcome.seed, outcome.complaints, "logs, topics", folder)
            sys.exit(1)
        shutil.rmtree(folder)
    _print(total, kind)
    click.echo("nothing lost, nothing twice, nothing invented")


def _say(whose: str, words: str) -> None:
    click.echo(f"chaos: {whose}: {words}", err=True)


@contextmanager
def _where(folder: Path, kind: str) -> Iterator[Where]:
    if kind == "embedded":
        yield Where(folder)
        return
    (folder / "kafka").mkdir()
    server = KafkaServer(folder / "kafka")
    server.start()
    try:
        yield Where(folder, server.address, server)
    finally:
        server.kill()


def _print(total: Outcome, kind: str) -> None:
    click.echo(f"{kind}, from seed {total.seed} on: {total.rounds} rounds in {total.seconds:.0f} s")
    for name, number in sorted(total.counts.items()):
        click.echo(f"  {number:9,} {name}")


if __name__ == "__main__":
    main()
