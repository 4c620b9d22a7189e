"""The contest: relight and what else could look for the same patterns, in turns on one core."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from bench.corpus import Corpus, Text
from bench.measure import Bench, Cost, FailedError, Spread, relight, spread
from bench.patterns import for_python, for_ripgrep, patterns_of, write, write_sec_rules
from diagnose.rules import Catalogue

NOTHING = Path("/dev/null")


@dataclass(frozen=True, slots=True)
class Contestant:
    """A command that reads a text, whose path goes where `text_argument` has `{}`.

    `shown` is the command or the way in words. `sampled`: the text is a sample. `counts`: it prints what it found.
    `missing` says why it cannot take part.
    """

    name: str
    version: str
    text: Text
    command: tuple[str, ...]
    shown: str
    text_argument: str = "{}"
    sampled: bool = False
    counts: bool = False
    missing: str = ""
    fine: tuple[int, ...] = (0,)

    def reading(self, path: Path) -> list[str]:
        """Return the command that reads a path."""
        return [*self.command, self.text_argument.format(path)]


@dataclass(slots=True)
class Entry:
    """A contestant's runs. `idle` are its runs on an empty file; `problem` says why there are none."""

    contestant: Contestant
    runs: list[Cost] = field(default_factory=list)
    idle: list[Cost] = field(default_factory=list)
    found: int | None = None
    problem: str = ""

    @property
    def wall_s(self) -> Spread:
        """Return how long a run took."""
        return spread([run.wall_s for run in self.runs])

    @property
    def reading_s(self) -> float:
        """Return the median time to scan: of a sample without the start, which a large text would hide."""
        started = spread([run.wall_s for run in self.idle]).median if self.idle else 0.0
        return max(self.wall_s.median - started, 1e-9)

    @property
    def bytes_per_s(self) -> float:
        """Return the throughput."""
        return self.contestant.text.size_bytes / self.reading_s

    @property
    def lines_per_s(self) -> float:
        """Return the throughput in lines."""
        return self.contestant.text.lines / self.reading_s


def held(bench: Bench, contestants: Sequence[Contestant]) -> list[Entry]:
    """Run everybody once a round, in turns, so that what disturbs one disturbs all."""
    entries = [Entry(c, problem=c.missing) for c in contestants]
    for number in range(bench.rounds):
        for entry in entries:
            bench.say(f"contest, round {number + 1} of {bench.rounds}: {entry.contestant.name}")
            _attempt(bench, entry, entry.runs, entry.contestant.text.path)
            if entry.contestant.sampled:
                _attempt(bench, entry, entry.idle, NOTHING)
    return entries


def contestants(
    catalogue: Catalogue, corpus: Corpus, folder: Path, ripgrep_sample: Text | None
) -> tuple[list[Contestant], list[str]]:
    """Return who takes part, and what to know about the patterns that each was given."""
    patterns = patterns_of(catalogue)
    python = for_python(patterns)
    files = {
        "python": write(folder / "python.txt", python.kept),
        "sec": write_sec_rules(folder / "sec.conf", python.kept),
        "ripgrep": folder / "ripgrep.txt",
    }
    notes = [f"The catalogue has {len(catalogue.signatures)} signatures with {len(patterns)} different patterns."]
    notes += [f"Left out for Python and sec: `{p}`" for p in python.left_out]
    if shutil.which("rg"):
        ripgrep = for_ripgrep(patterns)
        write(files["ripgrep"], ripgrep.kept)
        notes += [f"Left out for rg: `{p}`" for p in ripgrep.left_out]
    everybody = [*_relights(corpus), *_engines(corpus, files["python"])]
    everybody += [_ripgrep(ripgrep_sample or corpus.whole, files["ripgrep"], ripgrep_sample is not None)]
    everybody += [_sec(corpus.sample, files["sec"])]
    return everybody, notes


def _attempt(bench: Bench, entry: Entry, kept: list[Cost], path: Path) -> None:
    """Run a contestant once; one that has failed is not asked again."""
    if entry.problem:
        return
    try:
        cost = bench.run(entry.contestant.reading(path), fine=entry.contestant.fine)
    except FailedError as failure:
        entry.problem = str(failure)
        return
    kept.append(cost)
    if entry.contestant.counts and path != NOTHING:
        entry.found = int(cost.output.read_text() or 0)


def _relights(corpus: Corpus) -> Iterator[Contestant]:
    command = tuple(relight("scan", "--format", "json", "--jobs", "1"))
    for name, text in (("relight, one file", corpus.whole), ("relight, a directory", corpus.many)):
        yield Contestant(name, version("relight"), text, command, "relight scan --format json --jobs 1 CORPUS")


def _engines(corpus: Corpus, patterns: Path) -> Iterator[Contestant]:
    def engine(name: str, key: str, of: str, text: Text, shown: str) -> Contestant:
        return Contestant(
            name, of, text, (sys.executable, "-m", "bench.engines", key, str(patterns)), shown,
            sampled=text is not corpus.whole, counts=True, missing="" if of else "not installed",
        )  # fmt: skip

    python, drain = ".".join(map(str, sys.version_info[:3])), _version("drain3")
    automaton = "all patterns in one automaton, 1 MiB at a time, nominations counted"
    yield engine("Hyperscan alone, no diagnosis", "hyperscan", _version("hyperscan"), corpus.whole, automaton)
    yield engine(
        "Python `re`, one alternation", "python-alternation", python, corpus.sample, "line by line, first match"
    )
    yield engine("Python `re`, pattern by pattern", "python-each", python, corpus.sample, "line by line, first match")
    yield engine("Drain3, templates only", "drain3", drain, corpus.larger, "line by line, default settings")


def _ripgrep(text: Text, patterns: Path, sampled: bool) -> Contestant:
    options = ("-c", "-a", "-j1", "--no-unicode", "--dfa-size-limit", "1G", "--regex-size-limit", "1G", "-f")
    return Contestant(
        "rg", _said("rg", "--version"), text, ("rg", *options, str(patterns)),
        f"rg {' '.join(options)} PATTERNS CORPUS", sampled=sampled, counts=True, fine=(0, 1),
        missing="" if shutil.which("rg") else "not installed",
    )  # fmt: skip


def _sec(text: Text, rules: Path) -> Contestant:
    return Contestant(
        "sec", _said("sec", "--version"), text, ("sec", f"--conf={rules}", "--notail"),
        "sec --conf=RULES --notail --input=SAMPLE", "--input={}", sampled=True,
        missing="" if shutil.which("sec") else "not installed",
    )  # fmt: skip


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _said(*command: str) -> str:
    """Return the version that a program tells, the first number with dots in what it says."""
    if not shutil.which(command[0]):
        return ""
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return found[0] if (found := re.search(r"\d+(?:\.\d+)+", said)) else ""
