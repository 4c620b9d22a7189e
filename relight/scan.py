"""`relight scan`: from paths to a report. The composition root of reading, matching, correlation and what is shown."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from diagnose.correlation.conclusion import NOBODY, conclude
from diagnose.correlation.grouping import Grouping
from diagnose.learning.record import Record
from ingest import sources
from ingest.names import origin_of
from ingest.sources import Discovery, discover
from relight import __version__
from relight.catalogue import resolver
from relight.illustration import illustrated
from relight.scanning import Advance, known, scanned
from schemas.incident import Problem, Scanned, ScanReport
from schemas.signal import Signal, SourceRead


class NothingToScan(Exception):
    """No path that was named could be read; `problems` says of each why."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        """Keep the problems."""
        super().__init__("; ".join(f"{p.path}: {p.reason}" for p in problems))
        self.problems = tuple(problems)


def found(paths: Sequence[str]) -> Discovery:
    """Return what can be read below the paths.

    Raises:
        NothingToScan: nothing can.
    """
    discovery = discover(paths, origin_of)
    if not discovery.inputs:
        raise NothingToScan([_reported(p) for p in discovery.problems])
    return discovery


def scan(
    discovery: Discovery,
    rules: Sequence[Path] = (),
    grouping: Grouping = Grouping.AUTO,
    jobs: int = 1,
    advance: Advance = lambda count: None,
    record: Record = NOBODY,
) -> ScanReport:
    """Scan what was discovered; `record` says how often each signature was right before.

    Raises:
        RuleError: a rule file has a mistake.
        NothingToScan: every source failed before its first line.
    """
    catalogue = known(tuple(rules))
    read: list[SourceRead] = []
    signals: list[Signal] = []
    for source, said in scanned(discovery.inputs, rules, jobs, advance):
        read.append(source)
        signals.extend(said)
    problems = list(_problems(discovery, read))
    if problems and not any(source.lines or not source.problem for source in read):
        raise NothingToScan(problems)
    concluded = conclude(read, signals, resolver(catalogue), grouping, record)
    return ScanReport(
        relight=__version__,
        runs=concluded.runs,
        incidents=tuple(illustrated(concluded, discovery.inputs, read)),
        scanned=Scanned(
            sources=len(read),
            damaged=sum(source.problem is not None for source in read),
            lines=sum(source.lines for source in read),
            bytes=sum(source.bytes_read for source in read),
            skipped=tuple(Problem(path=s.path, reason=s.reason) for s in discovery.skipped),
            problems=tuple(problems),
        ),
        signatures=len(catalogue.signatures),
    )


def _problems(discovery: Discovery, read: Iterable[SourceRead]) -> Iterator[Problem]:
    yield from map(_reported, discovery.problems)
    for source in read:
        if source.problem:
            yield Problem(path=source.source, reason=source.problem)


def _reported(problem: sources.Problem) -> Problem:
    advice = f". {problem.advice}" if problem.advice else ""
    return Problem(path=problem.path, reason=problem.what + advice)
