"""Signals: the fold of a source's findings into few signals, whatever the number of lines.

What repeats is one signal with a count, its first and its last line. A signal ends where the run moves on, so that
an error before progress and the same error after it stay apart. How the source was cut into chunks leaves no trace.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from diagnose.matching.lines import Hit, Sighting
from diagnose.matching.scanner import Finding
from schemas.record import Decoder, Origin, Source
from schemas.signal import Mark, Signal, derived_id
from schemas.vocabulary import Kind, Provenance

SPANS: Final = 8
"""How often a fault of one identity may end and begin again; after that its last span takes all."""

IDENTITIES: Final = 2000
"""How many identities of faults are kept apart in a source; later ones are counted together for each signature."""

CHAPTERS: Final = 64
"""How many chapters of a run's story are kept: the last ones."""

Clean = Callable[[bytes], str]
"""Turns a line's bytes into text that may be shown: decoded, masked, without terminal escapes."""

_Key = tuple[Any, ...]


@dataclass(slots=True)
class _Span:
    """An open signal. `began` and `moved` are how often the run had moved on at its first and its last line."""

    first: Hit | Sighting
    last: Hit | Sighting
    count: int
    began: int = 0
    moved: int = 0

    def extend(self, other: "_Span") -> None:
        self.last, self.moved, self.count = other.last, other.moved, self.count + other.count


@dataclass(slots=True)
class SourceFold:
    """The state of one source. Feed it findings in order, settle it, then ask for the signals.

    A chapter of the story is what lies between two stretches of starts or of successes; within a chapter each story
    signature has one span.
    """

    _faults: dict[_Key, list[_Span]] = field(default_factory=dict)
    _chapters: dict[int, dict[str, _Span]] = field(default_factory=dict)
    _uncounted: Counter[str] = field(default_factory=Counter)
    _moved: int = 0
    _chapter: int = 0
    _kinds: list[Kind] = field(default_factory=list)

    def add(self, findings: Iterable[Finding]) -> None:
        """Fold findings, which come in the order of their lines."""
        for finding in findings:
            if isinstance(finding, Hit):
                self._kinds = [*self._kinds[:1], Kind.FAULT]
                self._fault(_key(finding), _Span(finding, finding, 1, self._moved, self._moved))
            elif finding.first is None or finding.last is None:
                self._pend(finding.signature.id, finding.count)
            else:
                self._turn_to(finding.signature.kind)
                self._story(finding.signature.id, _Span(finding.first, finding.last, finding.count))

    def settle(self, decoder: Decoder) -> None:
        """Read the sightings that are left, as far as they have not been read."""
        for span in self._all():
            if isinstance(span.first, Sighting):
                span.first = span.first.read(decoder)
            if isinstance(span.last, Sighting):
                span.last = span.last.read(decoder)

    def extend(self, later: "SourceFold", lines: int) -> None:
        """Add the fold of the bytes that follow, whose line numbers begin `lines` too low. Both are settled.

        The result is that of one fold over all, as long as no more than `IDENTITIES` are in it.
        """
        for span in later._all():
            span.first, span.last = _moved_by(span.first, lines), _moved_by(span.last, lines)
        self._join_story(later)
        for key, spans in later._faults.items():
            for span in spans:
                span.began, span.moved = span.began + self._moved, span.moved + self._moved
                self._fault(key, span)
        self._moved += later._moved

    def signals(self, source: Source, clean: Clean) -> list[Signal]:
        """Return everything seen as signals, in the order of their first lines. The fold must be settled."""
        spans = sorted(self._all(), key=lambda s: (s.first.offset, s.first.signature.id, s.last.offset))
        return [_signal(span, source, clean) for span in spans]

    def times_s(self) -> list[float]:
        """Return the times (Unix, seconds) of all lines that are kept. The fold must be settled."""
        hits = [hit for span in self._all() for hit in (span.first, span.last) if isinstance(hit, Hit)]
        return [hit.origin.time_s for hit in hits if hit.origin.time_s is not None]

    def _all(self) -> Iterator[_Span]:
        for spans in self._faults.values():
            yield from spans
        for chapter in self._chapters.values():
            yield from chapter.values()

    def _fault(self, key: _Key, span: _Span) -> None:
        """Open a span, or let it extend the last one: where nothing moved in between, or there are too many."""
        most = SPANS
        if key not in self._faults and len(self._faults) >= IDENTITIES:
            key, most = ("overflow", key[0]), 1
        spans = self._faults.setdefault(key, [])
        if spans and (spans[-1].moved == span.began or len(spans) >= most):
            spans[-1].extend(span)
        else:
            spans.append(span)

    def _story(self, signature: str, span: _Span) -> None:
        self._moved += 1
        span.count += self._uncounted.pop(signature, 0)
        chapter = self._chapters.setdefault(self._chapter, {})
        if signature in chapter:
            chapter[signature].extend(span)
        else:
            chapter[signature] = span

    def _pend(self, signature: str, count: int) -> None:
        """Count nominations that nothing confirmed with those of the same chapter that something confirms."""
        if span := self._chapters.get(self._chapter, {}).get(signature):
            span.count += count
        else:
            self._uncounted[signature] += count

    def _turn_to(self, kind: Kind) -> None:
        """Begin a new chapter with starts, or with successes, that do not go on from the line before."""
        previous = self._kinds[-1] if self._kinds else None
        if kind is not Kind.PROGRESS and kind is not previous:
            self._chapter += 1
            self._uncounted.clear()
            self._chapters.pop(self._chapter - CHAPTERS, None)
        self._kinds = [self._kinds[0], kind] if self._kinds else [kind]

    def _join_story(self, later: "SourceFold") -> None:
        """Add the chapters that follow. The first one goes on where the last kind here is the first kind there."""
        goes_on = bool(self._kinds and later._kinds and self._kinds[-1] is later._kinds[0] is not Kind.PROGRESS)
        base = self._chapter - (1 if goes_on and later._kinds[0] is not Kind.FAULT else 0)
        moved = self._moved
        for number, chapter in later._chapters.items():
            self._chapter = base + number
            for old in [n for n in self._chapters if n <= self._chapter - CHAPTERS]:
                del self._chapters[old]
            for signature, span in chapter.items():
                self._story(signature, span)
        self._moved = moved
        if later._chapter:
            self._chapter = base + later._chapter
            self._uncounted.clear()
        for signature, count in later._uncounted.items():
            self._pend(signature, count)
        self._kinds = [*(self._kinds or later._kinds)[:1], *later._kinds[-1:]] if later._kinds else self._kinds


def _moved_by(hit: Hit | Sighting, lines: int) -> Hit:
    assert isinstance(hit, Hit), "a fold is settled before it is joined"
    return hit.moved_by(lines)


def _signal(span: _Span, source: Source, clean: Clean) -> Signal:
    first, last = span.first, span.last
    assert isinstance(first, Hit), "a fold is settled before its signals are asked for"
    assert isinstance(last, Hit), "a fold is settled before its signals are asked for"
    signature = first.signature
    origin = first.origin.over(source.origin).over(_told(first))
    return Signal(
        id=derived_id(source.name, first.offset, signature.id),
        signature=signature.id,
        kind=signature.kind,
        severity=signature.severity,
        fault=signature.fault,
        source=source.name,
        stream=source.stream or source.name,
        part=source.part,
        first=_mark(first, clean),
        last=_mark(last, clean),
        count=span.count,
        host=origin.host,
        rank=origin.rank,
        gpu=origin.gpu,
        job=origin.job,
        attempt=origin.attempt,
        captures=_captures(first, last),
        provenance=origin.provenance if origin.provenance in signature.provenance else Provenance.UNKNOWN,
    )


def _mark(hit: Hit, clean: Clean) -> Mark:
    return Mark(
        offset_bytes=hit.offset,
        line=hit.line,
        text=clean(hit.text),
        time_s=hit.origin.time_s,
        clock_s=hit.origin.clock_s,
        unit=hit.unit,
        timed=hit.timed,
    )


def _key(hit: Hit) -> _Key:
    captures = dict(hit.captures)
    identity = tuple(captures.get(name) for name in hit.signature.identity)
    return hit.signature.id, identity, hit.origin.host, hit.origin.rank, hit.origin.gpu, hit.origin.job


def _captures(first: Hit, last: Hit) -> dict[str, str]:
    """Return the captures of a span's first line, and the step that its last line tells."""
    told = dict(last.captures)
    return dict(first.captures) | ({"last_step": told["step"]} if "step" in told else {})


def _told(hit: Hit) -> Origin:
    """Return what the message itself says about its writer, for lines whose prefix and source are silent."""
    captures = dict(hit.captures)
    return Origin(host=captures.get("host"), rank=_number(captures.get("rank")), gpu=_number(captures.get("gpu")))


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() and len(text) < 8 else None
