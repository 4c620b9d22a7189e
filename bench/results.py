"""The results in words and tables: `RESULTS.md`, and the goals beside what was measured."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from bench.contest import Entry
from bench.corpus import Corpus
from bench.experiments import Jobs, Load, Size, Start
from bench.measure import Spread

PEAK_BYTES: Final = 300_000_000
START_S: Final = 0.5
_TOO_SHORT_S: Final = 0.05
FLAT: Final = 0.9
"""Flat: with the most signatures at least this share of the throughput with the fewest."""


@dataclass(slots=True)
class Results:
    """Everything that was measured. A part that was not asked for is empty."""

    heading: dict[str, str]
    corpus: Corpus
    notes: list[str] = field(default_factory=list)
    contest: list[Entry] = field(default_factory=list)
    flatness: list[Size] = field(default_factory=list)
    memory: list[Load] = field(default_factory=list)
    start: Start | None = None
    jobs: Jobs | None = None


@dataclass(frozen=True, slots=True)
class Goal:
    """A goal and whether it was met; `None` where it was not measured."""

    what: str
    measured: str
    met: bool | None


def markdown(results: Results) -> str:
    """Return `RESULTS.md`."""
    return "\n".join([*_top(results), *_goals(results), *_contest(results), *_flatness(results), *_memory(results),
                      *_start(results), *_jobs(results)]) + "\n"  # fmt: skip


def goals(results: Results) -> list[Goal]:
    """Return the goals beside what was measured."""
    return [_faster(results), _flat(results), _small(results), _quick(results)]


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return a Markdown table; all columns but the first are numbers, to the right."""
    rule = ["---", *["---:"] * (len(heads) - 1)]
    return [f"| {' | '.join(cells)} |" for cells in (heads, rule, *rows)] + [""]


def contest_rows(results: Results) -> Iterator[tuple[str, ...]]:
    """Yield name, MB/s, lines/s, ratio to rg, seconds for the corpus, lines found, size read."""
    against = _named(results, "rg")
    for entry in results.contest:
        who = entry.contestant
        name = f"{who.name} {who.version}".strip() + (" (sample)" if who.sampled else "")
        if not entry.runs:
            yield name, f"not measured: {entry.problem}", *[""] * 5
            continue
        if who.sampled and entry.reading_s < _TOO_SHORT_S:
            yield name, "sample too small to tell", *[""] * 5
            continue
        seconds = results.corpus.whole.size_bytes / entry.bytes_per_s
        yield (
            name,
            _rate(entry.bytes_per_s),
            f"{_rounded(entry.lines_per_s)}",
            f"{_rounded(entry.bytes_per_s / against.bytes_per_s)}x" if against else "",
            f"{_rounded(seconds)} (extrapolated)" if who.sampled else _seconds(entry.wall_s),
            "" if entry.found is None else f"{entry.found:,}",
            _size(who.text.size_bytes),
        )


def _top(results: Results) -> list[str]:
    corpus = results.corpus
    made = "Made by `python -m bench`, down to the pipeline; do not edit that. MB are millions of bytes."
    lines = ["# Results", "", made, ""]
    if corpus.synthetic:
        lines += [
            "> **The corpus is synthetic.** No real logs were found: these figures say little about real ones.",
            "",
        ]
    lines += [f"- {key}: {value}" for key, value in results.heading.items()]
    return [*lines, f"- corpus: {corpus.origin}; {_size(corpus.whole.size_bytes)}, {corpus.whole.lines:,} lines; as "
            f"one file, and as a directory of {corpus.many.files:,} files", ""]  # fmt: skip


def _goals(results: Results) -> list[str]:
    words = {True: "yes", False: "**no**", None: "not measured"}
    return [
        "## Goals",
        "",
        *table(("goal", "measured", "met"), ((g.what, g.measured, words[g.met]) for g in goals(results))),
    ]


def _contest(results: Results) -> list[str]:
    if not results.contest:
        return []
    heads = ("contestant", "MB/s", "lines/s", "against rg", "seconds for the corpus", "found", "read")
    ways = [f"- {e.contestant.name}: `{e.contestant.shown}`" for e in results.contest]
    return [
        "## The same patterns, one core", "",
        "Each in a process of its own on one core, files in the page cache, in turns; medians of "
        f"{max(len(e.runs) for e in results.contest)} rounds, with the range. relight reads, decides, correlates and "
        "writes its JSON report; the others only find lines, and their time begins at zero too. (sample): too slow "
        "for the corpus, so blocks of lines drawn from all over it were read, the time on an empty file was taken off, "
        "and the seconds are extrapolated. `found` counts lines (Hyperscan: nominations, several a line; Drain3: "
        "templates); engines see whole lines, relight what is behind their prefixes.", "",
        *table(heads, contest_rows(results)), *ways, "", *(f"- {note}" for note in results.notes), "",
    ]  # fmt: skip


def _flatness(results: Results) -> list[str]:
    if not results.flatness:
        return []
    first = results.flatness[0].bytes_per_s.median
    rows = (
        (f"{s.signatures:,}", f"{s.invented:,}", f"{_rate(s.bytes_per_s.median)} ({_rate(s.bytes_per_s.least)}-"
         f"{_rate(s.bytes_per_s.most)})", f"{s.bytes_per_s.median / first:.0%}")
        for s in results.flatness
    )  # fmt: skip
    return [
        "## More signatures", "",
        "`relight scan` end to end on the corpus as one file. Every size holds the signatures of progress, whose lines "
        "are the many that match; made-up signatures are shipped ones with other letters.", "",
        *table(("signatures", "made up", "MB/s", "of the first"), rows),
    ]  # fmt: skip


def _memory(results: Results) -> list[str]:
    if not results.memory:
        return []
    rows = (
        (load.name, _size(load.text.size_bytes), f"{load.cost.peak_bytes / 1e6:.0f} MB",
         load.problem or f"{load.cost.wall_s:.1f}")
        for load in results.memory
    )  # fmt: skip
    return ["## Memory", "", "The peak resident set of one `relight scan --jobs 1`.", "",
            *table(("what", "size", "peak", "seconds"), rows)]  # fmt: skip


def _start(results: Results) -> list[str]:
    if (start := results.start) is None:
        return []
    return [
        "## Start-up", "",
        f"`relight scan` of {start.size_bytes} bytes: {_seconds(start.warm_s)} s, the median of {start.runs} runs; "
        f"once {start.cold_s:.2f} s without relight's cache, when the catalogue is read and compiled anew.", "",
    ]  # fmt: skip


def _jobs(results: Results) -> list[str]:
    if (jobs := results.jobs) is None:
        return []
    return [
        "## More processes", "",
        f"`relight scan` of the corpus as one file: `--jobs 1` {_seconds(jobs.one_s)} s, `--jobs {jobs.cores}` "
        f"{_seconds(jobs.all_s)} s; the largest process of the latter had {jobs.largest_process_bytes / 1e6:.0f} MB. "
        f"The JSON reports are {'byte-identical' if jobs.identical else '**not identical**'}.", "",
    ]  # fmt: skip


def _faster(results: Results) -> Goal:
    own, other = _named(results, "relight, one file"), _named(results, "rg")
    if not own or not other:
        return Goal("faster than rg, end to end", "", None)
    ratio = own.bytes_per_s / other.bytes_per_s
    return Goal("faster than rg, end to end", f"{_rounded(ratio)} times as fast", ratio > 1)


def _flat(results: Results) -> Goal:
    if len(results.flatness) < 2:
        return Goal("flat from the fewest signatures to the most", "", None)
    first, last = results.flatness[0], results.flatness[-1]
    share = last.bytes_per_s.median / first.bytes_per_s.median
    what = f"flat from {first.signatures:,} to {last.signatures:,} signatures (at least {FLAT:.0%})"
    return Goal(what, f"{share:.0%}", share >= FLAT)


def _small(results: Results) -> Goal:
    what = f"peak memory under {PEAK_BYTES // 1_000_000} MB"
    if not results.memory:
        return Goal(what, "", None)
    most = max(results.memory, key=lambda load: load.cost.peak_bytes)
    broken = [load.name for load in results.memory if load.problem]
    measured = f"{most.cost.peak_bytes / 1e6:.0f} MB ({most.name})"
    measured += f"; not finished: {', '.join(broken)}" if broken else ""
    return Goal(what, measured, most.cost.peak_bytes < PEAK_BYTES and not broken)


def _quick(results: Results) -> Goal:
    what = f"1 kB scanned in under {START_S} s, with a warm cache"
    if results.start is None:
        return Goal(what, "", None)
    median = results.start.warm_s.median
    return Goal(what, f"{median:.2f} s", median < START_S)


def _named(results: Results, name: str) -> Entry | None:
    return next((e for e in results.contest if e.contestant.name == name and e.runs), None)


def _seconds(values: Spread) -> str:
    return f"{values.median:.2f} ({values.least:.2f}-{values.most:.2f})"


def _rate(bytes_per_s: float) -> str:
    return _rounded(bytes_per_s / 1e6)


def _rounded(value: float) -> str:
    """Return a number with about three digits that mean something."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:,.1f} MB" if size_bytes < 1e8 else f"{size_bytes / 1e6:,.0f} MB"
