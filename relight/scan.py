"""`relight scan`: from paths to a report. The composition root of reading, matching, correlation and what is shown."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from diagnose.correlation.conclusion import Conclusion, conclude
from diagnose.correlation.jobs import Grouping
from ingest.excerpts import excerpts, head, tail
from ingest.names import origin_of
from ingest.redaction import shown
from ingest.sources import Discovery, Input, Unreadable, discover
from relight import __version__
from relight.catalogue import catalogue, resolver
from relight.scanning import Advance, scanned
from schemas.incident import (
    ContextLine,
    Evidence,
    Impact,
    Incident,
    Place,
    Problem,
    Role,
    Scanned,
    ScanReport,
    Surprise,
)
from schemas.signal import Signal, SourceRead

CONTEXT_LINES: Final = 4
EVIDENCES_WITH_CONTEXT: Final = 12
_UNEXPLAINED: Final = frozenset({"unknown", "launcher.worker_exit", "comm.collective_timeout", "comm.peer_reset"})
_SAMPLE_BYTES: Final = 48 * 1024
_SAMPLED_SOURCES: Final = 200


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
        raise NothingToScan([Problem(path=p.path, reason=_reason(p.what, p.advice)) for p in discovery.problems])
    return discovery


def scan(
    discovery: Discovery,
    rules: Sequence[Path] = (),
    grouping: Grouping = Grouping.AUTO,
    jobs: int = 1,
    advance: Advance = lambda count: None,
) -> ScanReport:
    """Scan what was discovered.

    Raises:
        RuleError: a rule file has a mistake.
        NothingToScan: every source failed before its first line.
    """
    known = catalogue(rules)
    read: list[SourceRead] = []
    signals: list[Signal] = []
    for source, said in scanned(discovery.inputs, rules, jobs, advance):
        read.append(source)
        signals.extend(said)
    problems = list(_problems(discovery, read))
    if problems and not any(source.lines or not source.problem for source in read):
        raise NothingToScan(problems)
    concluded = conclude(read, signals, resolver(known), grouping)
    return ScanReport(
        relight=__version__,
        runs=concluded.runs,
        incidents=tuple(_illustrated(concluded, discovery.inputs)),
        scanned=Scanned(
            sources=len(read),
            lines=sum(source.lines for source in read),
            bytes=sum(source.bytes_read for source in read),
            skipped=tuple(Problem(path=s.path, reason=s.reason) for s in discovery.skipped),
            problems=tuple(problems),
        ),
        signatures=len(known.signatures),
    )


def _problems(discovery: Discovery, read: Iterable[SourceRead]) -> Iterator[Problem]:
    for p in discovery.problems:
        yield Problem(path=p.path, reason=_reason(p.what, p.advice))
    for source in read:
        if source.problem:
            yield Problem(path=source.source, reason=source.problem)


def _reason(what: str, advice: str) -> str:
    return f"{what}. {advice}" if advice else what


def _illustrated(concluded: Conclusion, inputs: Sequence[Input]) -> Iterator[Incident]:
    """Yield the incidents with context lines, and those that nothing explains with their surprises."""
    by_name = {found.source.name: found for found in inputs}
    sources_of = {run.name: [lane.source for lane in run.lanes] for run in concluded.runs}
    context = _context(_worth_context(concluded.incidents), by_name)
    for incident in concluded.incidents:
        shown_evidence = tuple(
            e.model_copy(update={"context": context.get(_spot(e.first), ())}) for e in incident.evidence
        )
        update: dict[str, object] = {"evidence": shown_evidence}
        if incident.fault in _UNEXPLAINED and incident.impact is not Impact.NONE:
            own = [by_name[name] for name in sources_of[incident.run] if name in by_name]
            update["surprises"] = _surprises(own)
        yield incident.model_copy(update=update)


_Spot = tuple[str, int]


def _spot(place: Place) -> _Spot:
    return place.source, place.offset_bytes


def _worth_context(incidents: Iterable[Incident]) -> list[Evidence]:
    causes = [e for i in incidents for e in i.evidence if e.role is Role.CAUSE]
    others = [e for i in incidents for e in i.evidence if e.role is not Role.CAUSE]
    return [*causes[:EVIDENCES_WITH_CONTEXT], *others[: max(0, EVIDENCES_WITH_CONTEXT - len(causes))]]


def _context(evidence: Sequence[Evidence], by_name: dict[str, Input]) -> dict[_Spot, tuple[ContextLine, ...]]:
    wanted: dict[str, list[Place]] = defaultdict(list)
    for e in evidence:
        wanted[e.first.source].append(e.first)
    lines: dict[_Spot, tuple[ContextLine, ...]] = {}
    for name, places in wanted.items():
        try:
            around = excerpts(by_name[name], [_window(place) for place in places])
        except (Unreadable, OSError):
            continue
        for place, excerpt in zip(places, around, strict=True):
            lines[_spot(place)] = tuple(
                ContextLine(line=place.line + delta, text=shown(text), evidence=delta == 0) for delta, text in excerpt
            )
    return lines


def _window(place: Place) -> tuple[int, int, int]:
    """Return the offset and how many lines to show before and after: the whole unit where it is not too long."""
    first, last = place.unit or (place.line, place.line)
    before, after = min(place.line - first, 40), min(last - place.line, 40)
    return place.offset_bytes, before + CONTEXT_LINES, after + CONTEXT_LINES


def _surprises(inputs: Sequence[Input]) -> tuple[Surprise, ...]:
    """Compare the ends of sources with their beginnings."""
    from diagnose.correlation.surprise import Sample, surprises  # costs a fifth of a second, and is rarely needed

    samples = []
    for found in inputs[:_SAMPLED_SOURCES]:
        try:
            beginning, end = head(found, _SAMPLE_BYTES), tail(found, _SAMPLE_BYTES)
        except (Unreadable, OSError):
            continue
        host = found.source.origin.host or found.source.name
        samples.append(Sample(host, [shown(line) for line in beginning.splitlines()[:-1]], _places(found, end)))
    return surprises(samples)


def _places(found: Input, end: bytes) -> list[Place]:
    """Return the lines of a source's end as places; their numbers and offsets are found by reading the source once."""
    lines = end.split(b"\n")[1:] if end.count(b"\n") > 1 else end.split(b"\n")
    total_bytes, total_lines = _size(found)
    at_line, at_byte = total_lines - end.count(b"\n") + 1, total_bytes - len(end)
    if lines is not None and end.count(b"\n") > 1:
        at_line, at_byte = at_line + 1, at_byte + end.index(b"\n") + 1
    places = []
    for raw in lines:
        for piece in raw.split(b"\r"):
            if piece.strip():
                places.append(
                    Place(
                        source=found.source.name, line=max(1, at_line), offset_bytes=max(0, at_byte), text=shown(piece)
                    )
                )
        at_line, at_byte = at_line + 1, at_byte + len(raw) + 1
    return places


def _size(found: Input) -> tuple[int, int]:
    size = lines = 0
    with found.open() as stream:
        while block := stream.read(1 << 20):
            size += len(block)
            lines += block.count(b"\n")
    return size, lines
