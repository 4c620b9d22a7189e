"""Illustration: incidents get the lines around their evidence, and unexplained ones the lines that stand out.

Sources are read again for it, a few kilobytes at the places that matter.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from diagnose.correlation.conclusion import Conclusion
from diagnose.learning.kinds import UNEXPLAINED
from ingest.errors import Unreadable
from ingest.excerpts import excerpts, head, tail
from ingest.redaction import shown
from ingest.sources import Input
from schemas.incident import ContextLine, Evidence, Incident, Place, Role, Surprise
from schemas.signal import SourceRead
from schemas.vocabulary import Impact, Outcome

CONTEXT_LINES: Final = 4
EVIDENCES_WITH_CONTEXT: Final = 12
_UNIT_LINES: Final = 40
_SAMPLE_BYTES: Final = 32 * 1024
_SAMPLES_BYTES: Final = 1024 * 1024
_HEALTHY_BYTES: Final = 8 * 1024
_HEALTHY_SOURCES: Final = 4
"""Of a run that went well so much is read of the beginning and of the end of so many sources."""
_SILENT_S: Final = 60.0

_Read = tuple[Input, SourceRead]
_Spot = tuple[str, int]
_Context = Mapping[_Spot, tuple[ContextLine, ...]]


def illustrated(concluded: Conclusion, inputs: Sequence[Input], read: Sequence[SourceRead]) -> Iterator[Incident]:
    """Yield the incidents with context lines, and those that nothing explains with their surprises."""
    by_name = {found.source.name: found for found in inputs}
    reads = {source.source: (by_name[source.source], source) for source in read}
    sources_of = {run.name: _logs(reads[lane.source] for lane in run.lanes) for run in concluded.runs}
    healthy = [sources_of[run.name] for run in concluded.runs if run.outcome is Outcome.SUCCEEDED]
    context = _context(_worth_context(concluded.incidents), by_name)
    for incident in concluded.incidents:
        update: dict[str, object] = {"evidence": tuple(_with_context(e, context) for e in incident.evidence)}
        if incident.fault in UNEXPLAINED and incident.impact is not Impact.NONE:
            update["surprises"] = _surprises(incident, sources_of[incident.run], healthy)
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


def _logs(sources: Iterable[_Read]) -> list[_Read]:
    """Return the sources that are logs: a dump's lines do not change towards its end."""
    return [(found, read) for found, read in sources if not found.rendered]


def _surprises(incident: Incident, own: Sequence[_Read], healthy: Sequence[Sequence[_Read]]) -> tuple[Surprise, ...]:
    """Compare the ends of a run's sources with their beginnings, with each other, and with runs that went well."""
    from diagnose.correlation.surprise import EARLIER, Sample, surprises  # costs a fifth of a second, rarely needed

    each = max(2048, min(_SAMPLE_BYTES, _SAMPLES_BYTES // max(1, len(own))))
    quiet_s = _quiet_s(source for _, source in own)
    samples = []
    for found, read in own[: _SAMPLES_BYTES // each]:
        if (ends := _ends(found, each)) is not None:
            lines = tuple(_numbered(ends[1], read.lines, found.source.size_bytes or 0))
            samples.append(
                Sample(
                    source=found.source.name,
                    host=found.source.origin.host or found.source.name,
                    beginning=_texts(ends[0]),
                    end=lines,
                    rank=read.rank,
                    silent=quiet_s is not None and read.last_s is not None and read.last_s <= quiet_s,
                )
            )
    said = (place.text for e in incident.evidence for place in (e.first, e.last))
    return surprises(samples, shown, [_run(one) for one in healthy[:EARLIER]], said)


def _run(sources: Sequence[_Read]) -> list[str]:
    """Return lines of a run that went well."""
    ends = (_ends(found, _HEALTHY_BYTES) for found, _ in sources[:_HEALTHY_SOURCES])
    return [line for pair in ends if pair is not None for part in pair for line in _texts(part)]


def _ends(found: Input, size: int) -> tuple[bytes, bytes] | None:
    """Return the first and the last bytes of a source; `None` where it cannot be read, which was reported already."""
    try:
        return head(found, size), tail(found, size)
    except (Unreadable, OSError):
        return None


def _texts(data: bytes) -> list[str]:
    return data.decode(errors="replace").splitlines()[:-1]


def _quiet_s(sources: Iterable[SourceRead]) -> float | None:
    """Return when (Unix, seconds) a source must have ended to be one that fell silent: well before most others."""
    ends = sorted(source.last_s for source in sources if source.last_s is not None)
    return ends[len(ends) // 2] - _SILENT_S if len(ends) > 2 else None


def _numbered(end: bytes, lines: int, size_bytes: int) -> Iterator[tuple[int, int, str]]:
    """Yield (line, offset in bytes, text) of a source's last lines; the first one may be cut and is left out."""
    line, offset = lines - end.count(b"\n") + 1, max(0, size_bytes - len(end))
    for number, raw in enumerate(end.split(b"\n")):
        for piece in raw.split(b"\r"):
            if piece.strip() and (number or line == 1):
                yield max(1, line), offset, piece.decode(errors="replace")
        line, offset = line + 1, offset + len(raw) + 1
