"""Illustration: incidents get the lines around their evidence, and unexplained ones the lines that stand out.

Sources are read again for it, a few kilobytes at the places that matter.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from diagnose.correlation.conclusion import Conclusion
from ingest.errors import Unreadable
from ingest.excerpts import excerpts, head, tail
from ingest.redaction import shown
from ingest.sources import Input
from schemas.incident import ContextLine, Evidence, Incident, Place, Role, Surprise
from schemas.signal import SourceRead
from schemas.vocabulary import Impact

CONTEXT_LINES: Final = 4
EVIDENCES_WITH_CONTEXT: Final = 12
_UNIT_LINES: Final = 40
_UNEXPLAINED: Final = frozenset({"unknown", "launcher.worker_exit", "comm.collective_timeout", "comm.peer_reset"})
_SAMPLE_BYTES: Final = 32 * 1024
_SAMPLES_BYTES: Final = 1024 * 1024

_Spot = tuple[str, int]
_Context = Mapping[_Spot, tuple[ContextLine, ...]]


def illustrated(concluded: Conclusion, inputs: Sequence[Input], read: Sequence[SourceRead]) -> Iterator[Incident]:
    """Yield the incidents with context lines, and those that nothing explains with their surprises."""
    by_name = {found.source.name: found for found in inputs}
    lines = {source.source: source.lines for source in read}
    sources_of = {run.name: [lane.source for lane in run.lanes] for run in concluded.runs}
    context = _context(_worth_context(concluded.incidents), by_name)
    for incident in concluded.incidents:
        update: dict[str, object] = {"evidence": tuple(_with_context(e, context) for e in incident.evidence)}
        if incident.fault in _UNEXPLAINED and incident.impact is not Impact.NONE:
            update["surprises"] = _surprises([by_name[name] for name in sources_of[incident.run]], lines)
        yield incident.model_copy(update=update)


def _with_context(evidence: Evidence, context: _Context) -> Evidence:
    return evidence.model_copy(update={"context": context.get(_spot(evidence.first), ())})


def _spot(place: Place) -> _Spot:
    return place.source, place.offset_bytes


def _worth_context(incidents: Iterable[Incident]) -> list[Evidence]:
    """Return the evidence to show context for: causes first, then the rest as far as there is room."""
    every = [e for incident in incidents for e in incident.evidence]
    return sorted(every, key=lambda e: e.role is not Role.CAUSE)[:EVIDENCES_WITH_CONTEXT]


def _context(evidence: Sequence[Evidence], by_name: Mapping[str, Input]) -> _Context:
    wanted: dict[str, list[Place]] = defaultdict(list)
    for e in evidence:
        wanted[e.first.source].append(e.first)
    lines: dict[_Spot, tuple[ContextLine, ...]] = {}
    for name, places in wanted.items():
        try:
            around = excerpts(by_name[name], [_window(place) for place in places])
        except (Unreadable, OSError):
            continue  # its problem is in the report already; the evidence is shown without its neighbours
        for place, excerpt in zip(places, around, strict=True):
            lines[_spot(place)] = tuple(
                ContextLine(line=place.line + delta, text=shown(text), evidence=delta == 0) for delta, text in excerpt
            )
    return lines


def _window(place: Place) -> tuple[int, int, int]:
    """Return the offset and how many lines to show before and after: the whole unit where it is not too long."""
    first, last = place.unit or (place.line, place.line)
    before, after = min(place.line - first, _UNIT_LINES), min(last - place.line, _UNIT_LINES)
    return place.offset_bytes, before + CONTEXT_LINES, after + CONTEXT_LINES


def _surprises(inputs: Sequence[Input], lines: Mapping[str, int]) -> tuple[Surprise, ...]:
    """Compare the ends of sources with their beginnings."""
    from diagnose.correlation.surprise import Sample, surprises  # costs a fifth of a second, and is rarely needed

    inputs = [found for found in inputs if not found.rendered]  # a dump's lines do not change towards its end
    samples, each = [], max(2048, min(_SAMPLE_BYTES, _SAMPLES_BYTES // max(1, len(inputs))))
    for found in inputs[: _SAMPLES_BYTES // each]:
        try:
            beginning, end = head(found, each), tail(found, each)
        except (Unreadable, OSError):
            continue  # its problem is in the report already
        samples.append(
            Sample(
                source=found.source.name,
                host=found.source.origin.host or found.source.name,
                beginning=beginning.decode(errors="replace").splitlines()[:-1],
                end=tuple(_numbered(end, lines[found.source.name], found.source.size_bytes or 0)),
            )
        )
    return surprises(samples, shown)


def _numbered(end: bytes, lines: int, size_bytes: int) -> Iterator[tuple[int, int, str]]:
    """Yield (line, offset in bytes, text) of a source's last lines; the first one may be cut and is left out."""
    line, offset = lines - end.count(b"\n") + 1, max(0, size_bytes - len(end))
    for number, raw in enumerate(end.split(b"\n")):
        for piece in raw.split(b"\r"):
            if piece.strip() and (number or line == 1):
                yield max(1, line), offset, piece.decode(errors="replace")
        line, offset = line + 1, offset + len(raw) + 1
