"""Takes the prefixes off a segment, one after another, and says what they told. The prefixes themselves: `formats`."""

import re
from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import partial
from itertools import islice, pairwise
from typing import Final, NamedTuple

from ingest.formats.launchers import host_label
from ingest.formats.plain import without_escapes
from ingest.formats.recogniser import NOTHING, Format, Hints
from ingest.formats.table import candidates
from ingest.formats.training import mllog_time
from schemas.record import Decoded, Decoder, Origin, Source, Told
from schemas.vocabulary import Provenance

HEAD_BYTES: Final = 64 * 1024
"""How much of a source's beginning is looked at."""

_LINES: Final = 120
_DATE: Final = re.compile(rb"20(?<=\b20)\d\d[-/]\d\d[-/]\d\d[ T_]\d\d:\d\d:\d\d")
_DEPTH: Final = 8
_WHOLE: Final = 0.8
"""The share of lines from which a source is a format as a whole; the rest are continuations and a shell's echo."""
_MOST_OF_A_YEAR_S: Final = 355 * 86_400.0
_ZONE_S: Final = 15 * 60
"""No two zones differ by less: stamps that do are of one zone, and the inner is the truer one."""

_TRY_ALL: Final = Hints(syslog=True, kernel=True, journal=True, json=True, bracket_rank=True)


class _Tried(NamedTuple):
    """A line of the head under trial: what stays of it, its formats that are not inside of another, its time."""

    rest: bytes
    names: list[str]
    time_s: float | None


def decoder_for(source: Source, head: bytes) -> Decoder:
    """Return the decoder for a source.

    Args:
        source: Its time of last change lends a year to stamps that have none.
        head: The source's beginning. It decides which ambiguous prefixes are real here; those that cannot be
            mistaken are taken off wherever they appear.
    """
    hints = survey(head, source.modified_s)
    return partial(decode, outer=hints, inner=hints.inside())


class LogFormats:
    """The formats of logs, as matching is given them while it follows sources (see `schemas.record.Formats`)."""

    def survey(self, source: Source, head: bytes) -> Told:
        """Return what a source's beginning tells of its format, and who writes it if a shipper vouches for that."""
        hints = survey(head, source.modified_s)
        told: Told = asdict(hints) | {"hosts": sorted(host.decode("latin-1") for host in hints.hosts)}
        return told | {"provenance": source.origin.provenance.value if source.vouched else Provenance.UNKNOWN.value}

    def decoder(self, told: Told) -> Decoder:
        """Return the decoder for what a survey told."""
        fields = dict(told)
        provenance = Provenance(fields.pop("provenance"))
        hints = Hints(**fields | {"hosts": frozenset(host.encode("latin-1") for host in fields["hosts"])})
        known = partial(decode, outer=hints, inner=hints.inside())
        return known if provenance is Provenance.UNKNOWN else partial(_vouched, decoder=known, provenance=provenance)


def _vouched(segment: bytes, *, decoder: Decoder, provenance: Provenance) -> Decoded:
    """Decode a segment of a source for whose provenance a shipper vouches: what a line says of it does not count."""
    decoded = decoder(segment)
    return replace(decoded, origin=replace(decoded.origin, provenance=provenance))


def decode(segment: bytes, *, outer: Hints, inner: Hints) -> Decoded:
    """Take the prefixes off one segment.

    `inner` are the hints for what stands within a prefix that wraps the output of one program.
    """
    message, origin, label, _ = _peel(without_escapes(segment), outer, inner)
    if origin.time_s is None and (at := message.find(b":::MLL")) >= 0 and (time_s := mllog_time(message, at)):
        origin = Origin(time_s=time_s).over(origin)
    return Decoded(message, origin, label)


def _peel(rest: bytes, outer: Hints, inner: Hints) -> tuple[bytes, Origin, str, list[str]]:
    """Return the rest, what its prefixes told, the writer's label, and the formats that were not inside of another."""
    told: list[tuple[Origin, bool]] = []
    label, names, hints = "", [], outer
    last: Format | None = None
    for _ in range(_DEPTH):
        for row in candidates(rest):
            if (row is not last or row.repeats) and (peeled := row.recognise(rest, hints)) is not None:
                break
        else:
            break
        behind, origin, writer = peeled
        taken = len(behind) != len(rest)
        label = f"{label}/{writer}" if label and writer and taken else label or writer
        if origin is not NOTHING:
            told.append((origin, row.zoned))
        if hints is outer:
            names.append(row.name)
        if not taken:
            break
        last, rest, hints = row, behind, hints if row.carries else inner
    return rest, _together(told), label, names


def _together(told: list[tuple[Origin, bool]]) -> Origin:
    """Lay what inner prefixes told over the outer ones, which come first; a flag says that the zone of a time is known.

    The outer ones keep the word on the host and on who wrote the line: a line cannot vouch for itself. A time whose
    zone is a guess does not replace one that is hours away from it.
    """
    if len(told) < 2:
        return told[0][0] if told else NOTHING
    host = rank = gpu = job = attempt = time_s = clock_s = level = None
    provenance = Provenance.UNKNOWN
    for origin, zoned in told:
        host = origin.host if host is None else host
        rank = rank if origin.rank is None else origin.rank
        gpu = gpu if origin.gpu is None else origin.gpu
        job = job if origin.job is None else origin.job
        attempt = attempt if origin.attempt is None else origin.attempt
        clock_s = clock_s if origin.clock_s is None else origin.clock_s
        level = level if origin.level is None else origin.level
        provenance = origin.provenance if provenance is Provenance.UNKNOWN else provenance
        if origin.time_s is not None and (time_s is None or zoned or abs(origin.time_s - time_s) < _ZONE_S):
            time_s = origin.time_s
    return Origin(host, rank, gpu, job, attempt, time_s, clock_s, level, provenance)


def survey(head: bytes, modified_s: float | None) -> Hints:
    """Return what the head of a source says about its ambiguous prefixes."""
    lines = _lines(head[:HEAD_BYTES])
    if not lines:
        return Hints(modified_s=modified_s)
    peeled = _trial(lines, _TRY_ALL)
    hosts = _hosts([tried.rest for tried in peeled])
    if hosts:
        peeled = _trial(lines, replace(_TRY_ALL, hosts=hosts))

    def share(name: str) -> float:
        return sum(name in tried.names for tried in peeled) / len(lines)

    journal = sum(b'"__REALTIME_TIMESTAMP"' in line for line in lines) / len(lines)
    return Hints(
        syslog=share("syslog") >= _WHOLE,
        kernel=share("kernel") >= _WHOLE,
        journal=share("record") >= _WHOLE and journal >= _WHOLE,
        json=share("record") >= 0.5,
        bracket_rank=share("prepended") >= 0.5,
        hosts=hosts,
        modified_s=_year_reference_s(head[:HEAD_BYTES], peeled, modified_s),
    )


def _year_reference_s(head: bytes, trial: list[_Tried], modified_s: float | None) -> float | None:
    """Return what stamps without a year lean on: a dated line of the source, else the time of its last change.

    Copying a file may change that time. What a source says after a dated line, it says within most of a year.
    """
    first = next((tried.time_s for tried in trial if tried.time_s is not None), None)
    if first is None:
        first = next(_dated(head), None)
    return modified_s if first is None else first + _MOST_OF_A_YEAR_S


def _dated(head: bytes) -> Iterator[float]:
    """Yield the times of lines that hold a date; not every date is the line's own."""
    for date in islice(_DATE.finditer(head), _LINES):
        line = head[head.rfind(b"\n", 0, date.start()) + 1 : head.find(b"\n", date.end())]
        time_s = decode(line, outer=_TRY_ALL, inner=_TRY_ALL.inside()).origin.time_s
        if time_s is not None:
            yield time_s


def _trial(lines: list[bytes], hints: Hints) -> list[_Tried]:
    """Return what each line is under hints that know no year: what has a time then, is dated."""
    inner = hints.inside()
    found = (_peel(line, hints, inner) for line in lines)
    return [_Tried(rest, names, origin.time_s) for rest, origin, _, names in found]


def _lines(head: bytes) -> list[bytes]:
    """Return the first lines of a head that are not blank, without one that the head's end cuts."""
    segments = head.replace(b"\r", b"\n").split(b"\n")
    if len(head) == HEAD_BYTES and len(segments) > 1:
        segments.pop()
    lines = (line for segment in segments if (line := without_escapes(segment)).strip())
    return list(islice(lines, _LINES))


def _hosts(lines: list[bytes]) -> frozenset[bytes]:
    """Return the stems of the hosts that label the lines, if hosts they are.

    They are if most lines have such a label, or if labels return after another one was there, as writers do.
    """
    found = [label for line in lines if (label := host_label(line)) is not None]
    switches = sum(before != after for before, after in pairwise(label for label, _ in found))
    returns = switches - len({label for label, _ in found}) + 1
    if 2 * len(found) > len(lines) or (returns >= 3 and 10 * len(found) >= len(lines)):
        return frozenset(stem for _, stem in found)
    return frozenset()
