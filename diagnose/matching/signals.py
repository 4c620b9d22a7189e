"""Signals: the fold of a source's findings into few signals, whatever the number of lines.

What repeats is one signal with a count, its first and its last line. A signal ends where the run moves on, so that
an error before progress and the same error after it stay apart. How the source was cut into chunks leaves no trace.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final

from diagnose.matching.lines import Hit, Sighting, origin_of
from diagnose.matching.measuring import Measuring
from diagnose.matching.scanner import Finding, Stretch
from schemas.captures import Capture
from schemas.record import Decoder, Source
from schemas.signal import Mark, Signal, derived_id
from schemas.vocabulary import Kind, Provenance

SPANS: Final = 8
"""How often a fault of one identity may end and begin again; after that its last span takes all."""

IDENTITIES: Final = 8192
"""How many identities of faults are kept apart in a source; later ones are counted together for each signature.

A thousand ranks may share a log, and each says half a dozen things when a collective times out.
"""

PLACES: Final = 16_384
"""How many places a source tells that are kept: the first ones."""

CHAPTERS: Final = 64
"""How many chapters of a run's story are kept: the last ones."""

Clean = Callable[[bytes], str]
"""Turns a line's bytes into text that may be shown: decoded, masked, without terminal escapes."""

_Key = tuple[Any, ...]


@dataclass(slots=True)
class Span:
    """A signal in the making. `began` and `moved` tell how often the run had moved on at its first and last line."""

    first: Hit | Sighting
    last: Hit | Sighting
    count: int
    began: int = 0
    moved: int = 0

    def extend(self, other: "Span") -> None:
        """Take in the span that follows."""
        self.last, self.moved, self.count = other.last, other.moved, self.count + other.count

    def settle(self, decoder: Decoder) -> None:
        """Read the sightings that it holds, as far as they have not been read."""
        alone = self.last is self.first
        if isinstance(self.first, Sighting):
            self.first = self.first.read(decoder)
        if alone:
            self.last = self.first
        elif isinstance(self.last, Sighting):
            self.last = self.last.read(decoder)


@dataclass(slots=True)
class SourceFold:
    """The state of one source. Feed it findings in order, settle it, then ask for the signals.

    A chapter of the story is what lies between two stretches of starts or of successes; within a chapter each story
    signature has one span, or one for each job that its lines name. `places` are the lines that tell where something
    runs. `measuring` is what its lines tell in numbers.
    """

    faults: dict[_Key, list[Span]] = field(default_factory=dict)
    places: dict[_Key, Span] = field(default_factory=dict)
    chapters: dict[int, dict[str, Span]] = field(default_factory=dict)
    uncounted: Counter[str] = field(default_factory=Counter)
    moved: int = 0
    chapter: int = 0
    kinds: list[Kind] = field(default_factory=list)
    measuring: Measuring = field(default_factory=Measuring)

    def add(self, findings: Iterable[Finding]) -> None:
        """Fold findings, which come in the order of their lines."""
        for finding in findings:
            if isinstance(finding, Hit):
                self._hit(finding)
                continue
            if finding.signature.kind is Kind.READING:
                pass  # numbers for detectors: nothing began, went on or ended
            elif finding.first is None or finding.last is None:
                self._pend(finding.signature.id, finding.count)
            else:
                self._turn_to(finding.signature.kind)
                if finding.signature.kind is Kind.SUCCESS:
                    self.measuring = Measuring(after_success=True)
                self._story(self._told_as(finding), Span(finding.first, finding.last, finding.count))
            if finding.measured is not None:
                self.measuring.take(finding.measured)

    def copy(self) -> "SourceFold":
        """Return a fold that can be added to without changing this one."""
        return SourceFold(
            faults={key: [replace(span) for span in spans] for key, spans in self.faults.items()},
            places={key: replace(span) for key, span in self.places.items()},
            chapters={
                number: {signature: replace(span) for signature, span in chapter.items()}
                for number, chapter in self.chapters.items()
            },
            uncounted=self.uncounted.copy(),
            moved=self.moved,
            chapter=self.chapter,
            kinds=[*self.kinds],
            measuring=self.measuring.copy(),
        )

    def settle(self, decoder: Decoder) -> None:
        """Read the sightings that are left, and the lines that tell numbers, as far as they have not been read."""
        for span in self.spans():
            span.settle(decoder)
        self.measuring.read(decoder)

    def measure(self) -> None:
        """Look at the numbers that have been told. The fold must be settled."""
        self.measuring.look()

    def extend(self, later: "SourceFold", lines: int) -> None:
        """Add the fold of the bytes that follow, whose line numbers begin `lines` too low. Both are settled.

        The result is that of one fold over all, as long as no more than `IDENTITIES` are in it.
        """
        for span in later.spans():
            span.first, span.last = _moved_by(span.first, lines), _moved_by(span.last, lines)
        self.measuring = self.measuring.joined(later.measuring, lines)
        self._join_story(later)
        for key, spans in later.faults.items():
            for span in spans:
                span.began, span.moved = span.began + self.moved, span.moved + self.moved
                self._fault(key, span)
        for key, span in later.places.items():
            self._place(key, span)
        self.moved += later.moved

    def signals(self, source: Source, clean: Clean) -> list[Signal]:
        """Return everything seen as signals, in the order of their first lines. The fold must be settled."""
        self.measure()
        spans = sorted(self.spans(), key=lambda s: (s.first.offset, s.first.signature.id, s.last.offset))
        return [self.signal(span, source, clean) for span in spans]

    def signal(self, span: Span, source: Source, clean: Clean) -> Signal:
        """Return a settled span as a signal of its source; one of progress tells the pace."""
        signal = signal_of(span, source, clean)
        if signal.kind is not Kind.PROGRESS:
            return signal
        pace_s, pause_s = self.measuring.pace_s(signal.signature), self.measuring.pause_s(signal.signature)
        return signal.model_copy(update={"pace_s": pace_s, "pause_s": pause_s})

    def times_s(self) -> list[float]:
        """Return the times (Unix, seconds) of all lines that are kept. The fold must be settled."""
        hits = [hit for span in self.spans() for hit in (span.first, span.last) if isinstance(hit, Hit)]
        return [hit.origin.time_s for hit in hits if hit.origin.time_s is not None]

    def spans(self) -> Iterator[Span]:
        """Yield all spans, in no order."""
        for spans in self.faults.values():
            yield from spans
        yield from self.places.values()
        for chapter in self.chapters.values():
            yield from chapter.values()
        for found in self.measuring.found():
            yield Span(found.first, found.last, found.count)

    def _hit(self, hit: Hit) -> None:
        """Fold a hit, and with it the lines before that said the same."""
        count = 1 + len(hit.likewise)
        own = replace(hit, likewise=()) if hit.likewise else hit
        if hit.signature.kind is Kind.PLACE:
            self._place(_key(own), Span(own, own, count))
        else:
            self.kinds = [*self.kinds[:1], Kind.FAULT]
            self._fault(_key(own), Span(own, own, count, self.moved, self.moved))

    def _fault(self, key: _Key, span: Span) -> None:
        """Open a span, or let it extend the last one: where nothing moved in between, or there are too many."""
        most = SPANS
        if key not in self.faults and len(self.faults) >= IDENTITIES:
            key, most = ("overflow", key[0]), 1
        spans = self.faults.setdefault(key, [])
        if spans and (spans[-1].moved == span.began or len(spans) >= most):
            spans[-1].extend(span)
        else:
            spans.append(span)

    def _told_as(self, stretch: Stretch) -> str:
        """Return the key of a stretch in its chapter: jobs are kept apart, as far as they are not too many."""
        signature = stretch.signature.id
        crowded = len(self.chapters.get(self.chapter, ())) >= IDENTITIES
        return signature if stretch.job is None or crowded else f"{signature} {stretch.job}"

    def _place(self, key: _Key, span: Span) -> None:
        """Keep where something runs; it moves nothing, and nothing moves it."""
        if key in self.places:
            self.places[key].extend(span)
        elif len(self.places) < PLACES:
            self.places[key] = span

    def _story(self, signature: str, span: Span) -> None:
        self.moved += 1
        span.count += self.uncounted.pop(signature, 0)
        chapter = self.chapters.setdefault(self.chapter, {})
        if signature in chapter:
            chapter[signature].extend(span)
        else:
            chapter[signature] = span

    def _pend(self, signature: str, count: int) -> None:
        """Count nominations that nothing confirmed with those of the same chapter that something confirms."""
        if span := self.chapters.get(self.chapter, {}).get(signature):
            span.count += count
        else:
            self.uncounted[signature] += count

    def _turn_to(self, kind: Kind) -> None:
        """Begin a new chapter with starts, or with successes, that do not go on from the line before."""
        previous = self.kinds[-1] if self.kinds else None
        if kind is not Kind.PROGRESS and kind is not previous:
            self.chapter += 1
            self.uncounted.clear()
            self.chapters.pop(self.chapter - CHAPTERS, None)
        self.kinds = [self.kinds[0], kind] if self.kinds else [kind]

    def _join_story(self, later: "SourceFold") -> None:
        """Add the chapters that follow. The first one goes on where the last kind here is the first kind there."""
        goes_on = bool(self.kinds and later.kinds and self.kinds[-1] is later.kinds[0] is not Kind.PROGRESS)
        base = self.chapter - (1 if goes_on and later.kinds[0] is not Kind.FAULT else 0)
        moved = self.moved
        for number, chapter in later.chapters.items():
            if base + number != self.chapter:
                self.uncounted.clear()
            self.chapter = base + number
            for old in [n for n in self.chapters if n <= self.chapter - CHAPTERS]:
                del self.chapters[old]
            for signature, span in chapter.items():
                self._story(signature, span)
        self.moved = moved
        if later.chapter:
            self.chapter = base + later.chapter
            self.uncounted.clear()
        for signature, count in later.uncounted.items():
            self._pend(signature, count)
        self.kinds = [*(self.kinds or later.kinds)[:1], *later.kinds[-1:]] if later.kinds else self.kinds


def _moved_by(hit: Hit | Sighting, lines: int) -> Hit:
    assert isinstance(hit, Hit), "a fold is settled before it is joined"
    return hit.moved_by(lines)


def signal_of(span: Span, source: Source, clean: Clean) -> Signal:
    """Return a settled span as a signal of its source."""
    first, last = span.first, span.last
    assert isinstance(first, Hit), "a fold is settled before its signals are asked for"
    assert isinstance(last, Hit), "a fold is settled before its signals are asked for"
    signature = first.signature
    origin = first.origin.over(source.origin).over(origin_of(dict(first.captures)))
    begin = _mark(first, clean)
    return Signal(
        id=signal_id(span, source),
        signature=signature.id,
        kind=signature.kind,
        severity=signature.severity,
        fault=signature.fault,
        source=source.name,
        stream=source.stream or source.name,
        part=source.part,
        first=begin,
        last=begin if last is first else _mark(last, clean),
        count=span.count,
        host=origin.host,
        rank=origin.rank,
        gpu=origin.gpu,
        job=origin.job if _of_one_job(first, last) else None,
        attempt=origin.attempt,
        captures=_captures(first, last),
        provenance=origin.provenance if origin.provenance in signature.provenance else Provenance.UNKNOWN,
        vouched=source.vouched and origin.host == source.origin.host,
        attested=source.attested,
    )


def _of_one_job(first: Hit, last: Hit) -> bool:
    """Tell whether the lines of a span name one job, or none: what a scheduler repeats may be about another."""
    return dict(first.captures).get(Capture.JOB) == dict(last.captures).get(Capture.JOB)


def signal_id(span: Span, source: Source) -> str:
    """Return the id of a span's signal: it follows from the source, the first byte and the signature."""
    return derived_id(source.key or source.name, span.first.offset, span.first.signature.id)


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
    """Return the captures of a span's first line, the step that its last line tells, and whether it is over."""
    told = dict(last.captures)
    later = {Capture.LAST_STEP.value: told.get(Capture.STEP), Capture.OVER.value: told.get(Capture.OVER)}
    return dict(first.captures) | {name: value for name, value in later.items() if value is not None}
