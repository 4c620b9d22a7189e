"""`python -m bench`: measures, writes `RESULTS.md` and prints its tables."""

import re
import shlex
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click

from bench import contest, experiments, machine
from bench.corpus import Corpus, beginning, corpus_of
from bench.measure import ROOT, Bench, relight
from bench.results import Results, markdown
from diagnose.rules import Catalogue
from relight.catalogue import catalogue

PARTS: Final = ("contest", "flatness", "memory", "start", "jobs")
PIPELINE: Final = "\n# The pipeline\n"
"""The heading of what is not written here: below it stand the figures of `bench.pipeline` and `bench.chaos`."""

_UNITS: Final = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9}


def size(text: str) -> int:
    """Return the number of bytes that a text such as `20MB` names."""
    found = re.fullmatch(r"(\d+)\s*([KMG]?B?)", text.upper())
    if found is None or found[2] not in _UNITS:
        raise click.BadParameter(f"{text!r} is not a size such as 20MB or 1GB")
    return int(found[1]) * _UNITS[found[2]]


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--size", "size_bytes", type=size, default="1GB", show_default=True, help="The size of the corpus.")
@click.option("--sample", type=size, help="What slow contestants read; a hundredth of the corpus, at most 1 MB.")
@click.option("--rg-sample", type=size, help="Let rg read only so much; it is labelled then.")
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True)
@click.option("--starts", type=click.IntRange(min=1), default=15, show_default=True, help="Runs of the start-up.")
@click.option("--limit", type=click.IntRange(min=1), help="Seconds for one run; 10, and 2 more for each MB of --size.")
@click.option("--signatures", "sizes", multiple=True, type=click.IntRange(min=1), help="Sizes of the catalogue.")
@click.option("--part", "parts", multiple=True, type=click.Choice(PARTS), help="Measure only this part.")
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--date", help="The day to print; that of the commit unless given.")
@click.option(
    "--cases",
    type=click.Path(path_type=Path),
    default=ROOT.parent / "shared/cases/healthy",
    help="A folder of real healthy logs; synthetic ones are made where it is absent.",
)
@click.option("--output", "-o", type=click.Path(dir_okay=False, path_type=Path), default=ROOT / "bench/RESULTS.md")
def main(
    size_bytes: int,
    sample: int | None,
    rg_sample: int | None,
    rounds: int,
    starts: int,
    limit: int | None,
    sizes: tuple[int, ...],
    parts: tuple[str, ...],
    seed: int,
    date: str | None,
    cases: Path,
    output: Path,
) -> None:
    """Measure relight, and what else could look for the same patterns.

    Writes to a temporary folder (about three times --size), removed afterwards.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="relight-bench-") as name:
        folder = Path(name)
        bench = Bench(
            folder, rounds, limit or 10 + 2 * size_bytes // 10**6, lambda words: click.echo(f"bench: {words}", err=True)
        )
        bench.say("making the corpus")
        corpus = corpus_of(cases, folder, size_bytes, sample or max(1, min(10**6, size_bytes // 100)), seed)
        if corpus.synthetic:
            bench.say("NO REAL LOGS FOUND: the corpus is synthetic, and its figures say little about real logs")
        results = Results(_heading(seed, date), corpus)
        _warm(bench, corpus)
        _measure(results, bench, parts or PARTS, rg_sample, starts, sizes or (50, 200, 600, 1000), seed)
        text = markdown(results)
    output.write_text(text + _rest(output), encoding="utf-8")
    click.echo(text, nl=False)


def _measure(
    results: Results,
    bench: Bench,
    parts: Sequence[str],
    rg_sample: int | None,
    starts: int,
    sizes: Sequence[int],
    seed: int,
) -> None:
    known, corpus, folder = catalogue(), results.corpus, bench.folder
    if "contest" in parts:
        _contest(results, bench, known, rg_sample)
    if "flatness" in parts:
        results.flatness = experiments.flatness(bench, known, corpus, sorted(sizes), folder / "sizes", seed)
    if "memory" in parts:
        results.memory = list(experiments.memory(bench, known, corpus, folder, seed))
    if "start" in parts:
        results.start = experiments.start_up(bench, corpus, folder, starts)
    if "jobs" in parts:
        results.jobs = experiments.jobs(bench, corpus.whole)


def _contest(results: Results, bench: Bench, known: Catalogue, rg_sample: int | None) -> None:
    corpus = results.corpus
    less = beginning(corpus.whole, bench.folder / "rg.log", rg_sample) if rg_sample else None
    everybody, results.notes = contest.contestants(known, corpus, bench.folder, less)
    results.contest = contest.held(bench, everybody)


def _warm(bench: Bench, corpus: Corpus) -> None:
    """Fill relight's cache; the corpus, just written, is in the page cache already."""
    bench.say("compiling the catalogue")
    bench.run(relight("scan", "--format", "json", corpus.sample.path))


def _rest(output: Path) -> str:
    """Return what others have written below the results: the pipeline's figures."""
    before = output.read_text(encoding="utf-8") if output.exists() else ""
    return before[before.index(PIPELINE) :] if PIPELINE in before else ""


def _heading(seed: int, date: str | None) -> dict[str, str]:
    return {
        "date": date or machine.committed_on(),
        "commit": machine.commit(),
        **machine.facts(),
        "load when it began": f"{machine.load()} cores",
        "seed": str(seed),
        "command": f"`{shlex.join(['python', '-m', 'bench', *_arguments()])}`",
    }


def _arguments() -> list[str]:
    """Return the arguments as they were given, but for the place of the output."""
    kept, skip = [], False
    for argument in sys.argv[1:]:
        if skip or argument in ("-o", "--output"):
            skip = not skip
        elif not argument.startswith("--output="):
            kept.append(argument)
    return kept


if __name__ == "__main__":
    main()
