"""What is measured of relight alone: more signatures, memory, start-up, more processes."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.catalogues import invented, thinned
from bench.corpus import Corpus, Text, beginning, one_line, storm
from bench.measure import Bench, Cost, FailedError, Spread, relight, spread
from diagnose.rules import Catalogue


@dataclass(frozen=True, slots=True)
class Size:
    """The throughput of a scan with so many signatures, of which `invented` are made up."""

    signatures: int
    invented: int
    bytes_per_s: Spread


@dataclass(frozen=True, slots=True)
class Load:
    """The peak memory of a scan of some text; `problem` says why it did not come to its end."""

    name: str
    text: Text
    cost: Cost
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Start:
    """How long a scan of about a kilobyte takes: with relight's cache filled, and once without."""

    size_bytes: int
    runs: int
    warm_s: Spread
    cold_s: float


@dataclass(frozen=True, slots=True)
class Jobs:
    """One process against as many as there are cores, and whether both said the same."""

    cores: int
    one_s: Spread
    all_s: Spread
    largest_process_bytes: int
    identical: bool


def flatness(
    bench: Bench, catalogue: Catalogue, corpus: Corpus, sizes: Sequence[int], folder: Path, seed: int
) -> list[Size]:
    """Scan with fewer and with more signatures than there are, in turns."""
    shipped, text = len(catalogue.signatures), corpus.whole
    commands = {size: _command(catalogue, size, text.path, folder / str(size), seed) for size in sizes}
    runs: dict[int, list[float]] = {size: [] for size in sizes}
    for size, (command, below) in commands.items():
        bench.say(f"{size} signatures: compiling")
        bench.run([*command[:-1], str(corpus.sample.path)], below=below)
    for number in range(bench.rounds):
        bench.say(f"more and fewer signatures, round {number + 1} of {bench.rounds}")
        for size, (command, below) in commands.items():
            runs[size].append(text.size_bytes / bench.run(command, below=below).wall_s)
    return [Size(size, max(0, size - shipped), spread(runs[size])) for size in sizes]


def memory(bench: Bench, catalogue: Catalogue, corpus: Corpus, folder: Path, seed: int) -> Iterator[Load]:
    """Scan more and more of the corpus, one endless line, and nothing but errors."""
    size = corpus.whole.size_bytes
    for part in (size // 100, size // 10):
        yield _load(bench, "real logs" if not corpus.synthetic else "synthetic logs",
                    beginning(corpus.whole, folder / "part.log", part))  # fmt: skip
    yield _load(bench, "the whole corpus, one file", corpus.whole)
    yield _load(bench, "the whole corpus, a directory", corpus.many)
    yield _load(bench, "one line", one_line(folder / "part.log", size // 10))
    yield _load(bench, "every line an error", storm(catalogue, folder / "part.log", size, seed))


def start_up(bench: Bench, corpus: Corpus, folder: Path, runs: int) -> Start:
    """Scan a kilobyte again and again."""
    bench.say("start-up")
    text = beginning(corpus.whole, folder / "small.log", 1024)
    command = relight("scan", "--format", "json", text.path)
    cold = bench.run(command, cache="cold-cache")
    warm = spread([bench.run(command).wall_s for _ in range(runs)])
    return Start(text.size_bytes, runs, warm, cold.wall_s)


def jobs(bench: Bench, text: Text) -> Jobs:
    """Scan with one process and with all cores, in turns."""
    one: list[Cost] = []
    every: list[Cost] = []
    said: set[str] = set()
    for number in range(bench.rounds):
        bench.say(f"--jobs, round {number + 1} of {bench.rounds}")
        for count, kept in ((1, one), (len(bench.cores), every)):
            command = relight("scan", "--format", "json", "--jobs", count, text.path)
            kept.append(bench.run(command, all_cores=True))
            said.add(_digest(kept[-1].output))
    return Jobs(
        cores=len(bench.cores),
        one_s=spread([run.wall_s for run in one]),
        all_s=spread([run.wall_s for run in every]),
        largest_process_bytes=max(run.peak_bytes for run in every),
        identical=len(said) == 1,
    )


def _command(catalogue: Catalogue, size: int, path: Path, folder: Path, seed: int) -> tuple[list[str], Path]:
    """Return the command that scans with so many signatures, and the folder that its code is in."""
    below = thinned(catalogue, size, folder / "code", seed)
    missing = size - len(catalogue.signatures)
    more = ["--rules", str(invented(catalogue, missing, folder / "rules", seed))] if missing > 0 else []
    return relight("scan", "--format", "json", "--jobs", "1", *more, path), below


def _load(bench: Bench, name: str, text: Text) -> Load:
    bench.say(f"memory: {name}, {text.size_bytes / 1e6:.0f} MB")
    try:
        return Load(name, text, bench.run(relight("scan", "--format", "json", "--jobs", "1", text.path)))
    except FailedError as failure:
        return Load(name, text, failure.cost, str(failure))


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
