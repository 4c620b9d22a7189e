"""The state of a followed source as JSON can hold it, and back, so that another process can go on with it."""

from base64 import b64decode, b64encode
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Final

from diagnose.detectors import series
from diagnose.matching.arrivals import Arrivals
from diagnose.matching.lines import Hit
from diagnose.matching.measuring import Detected, Measuring
from diagnose.matching.signals import SourceFold, Span
from diagnose.matching.stream import Run, SourceStream
from schemas.record import Formats, Origin, Source
from schemas.signature import Signature
from schemas.vocabulary import Kind, Provenance

VERSION: Final = 4
"""Rises when what is kept changes: a state of another version is read from the log anew."""

Kept = dict[str, Any]
Resolve = Callable[[str], Signature]


def kept(stream: SourceStream, formats: Formats) -> Kept:
    """Return a source's state. What it has seen and not read is read first."""
    if stream.told is not None:
        stream.fold.settle(formats.decoder(stream.told))
    return {
        "source": asdict(stream.source),
        "told": stream.told,
        "surveyed": stream.surveyed,
        "data": b64encode(stream.data).decode("ascii"),
        "runs": [asdict(run) for run in stream.runs],
        "high": stream.high,
        "line": stream.line,
        "skipping": stream.skipping,
        "fold": _fold(stream.fold),
        "said": stream.said,
        "said_ms": stream.said_ms,
        "said_high": stream.said_high,
        "said_from": stream.said_from,
        "first_s": stream.first_s,
        "heard_s": stream.heard_s,
        "arrivals": asdict(stream.arrivals),
    }


def restored(state: Kept, resolve: Resolve) -> SourceStream:
    """Return the source whose state was kept; `resolve` returns the signature of an id.

    Raises:
        KeyError, TypeError, ValueError: it is of another version, or names a signature that is not known any more.
    """
    fields = dict(state)
    source = fields.pop("source")
    origin = _origin(source.pop("origin"))
    fields["source"] = Source(**source | {"path": tuple(source["path"]), "origin": origin})
    fields["data"] = b64decode(fields["data"])
    fields["runs"] = [Run(**run) for run in fields["runs"]]
    fields["said"] = {name: tuple(digest) for name, digest in fields["said"].items()}
    fields["arrivals"] = _arrived(fields["arrivals"])
    fields["fold"] = _folded(fields["fold"], resolve)
    return SourceStream(**fields, grown=True)


def _arrived(state: Kept) -> Arrivals:
    came = {name: tuple(known) for name, known in state["came"].items()}
    paces = {name: [(time_s, count) for time_s, count in own] for name, own in state["paces"].items()}
    return Arrivals(state["live"], came, paces, state["longest_s"])


def _fold(fold: SourceFold) -> Kept:
    return {
        "faults": [[_plain(key), [_span(span) for span in spans]] for key, spans in fold.faults.items()],
        "places": [[_plain(key), _span(span)] for key, span in fold.places.items()],
        "chapters": [[n, [[s, _span(span)] for s, span in own.items()]] for n, own in fold.chapters.items()],
        "uncounted": dict(fold.uncounted),
        "moved": fold.moved,
        "chapter": fold.chapter,
        "kinds": [kind.value for kind in fold.kinds],
        "measuring": _measuring(fold.measuring),
    }


def _folded(state: Kept, resolve: Resolve) -> SourceFold:
    return SourceFold(
        faults={_key(key): [_spanned(span, resolve) for span in spans] for key, spans in state["faults"]},
        places={_key(key): _spanned(span, resolve) for key, span in state["places"]},
        chapters={n: {s: _spanned(span, resolve) for s, span in own} for n, own in state["chapters"]},
        uncounted=Counter(state["uncounted"]),
        moved=state["moved"],
        chapter=state["chapter"],
        kinds=[Kind(kind) for kind in state["kinds"]],
        measuring=_measured(state["measuring"], resolve),
    )


def _measuring(measuring: Measuring) -> Kept:
    return {
        "series": [[_plain(key), series.kept(own)] for key, own in measuring.series.items()],
        "detected": [
            [_plain(key), [[_hit(one.first), _hit(one.last), one.count, one.over] for one in own]]
            for key, own in measuring.detected.items()
        ],
        "counts": measuring.counts,
        "paces": measuring.paces,
        "longest_s": measuring.longest_s,
        "compared": measuring.compared,
        "after_success": measuring.after_success,
    }


def _measured(state: Kept, resolve: Resolve) -> Measuring:
    return Measuring(
        series={_key(key): series.restored(own) for key, own in state["series"]},
        detected={
            _key(key): [Detected(_hitted(a, resolve), _hitted(b, resolve), count, over) for a, b, count, over in own]
            for key, own in state["detected"]
        },
        counts=state["counts"],
        paces={name: [(time_s, ordinal) for time_s, ordinal in own] for name, own in state["paces"].items()},
        longest_s=state["longest_s"],
        compared=state["compared"],
        after_success=state["after_success"],
    )


def _plain(key: Any) -> Any:
    return [_plain(part) for part in key] if isinstance(key, tuple) else key


def _key(key: Any) -> Any:
    return tuple(_key(part) for part in key) if isinstance(key, list) else key


def _span(span: Span) -> Kept:
    return {
        "first": _hit(span.first),
        "last": _hit(span.last),
        "count": span.count,
        "began": span.began,
        "moved": span.moved,
    }


def _spanned(state: Kept, resolve: Resolve) -> Span:
    first, last = _hitted(state["first"], resolve), _hitted(state["last"], resolve)
    return Span(first, last, state["count"], state["began"], state["moved"])


def _hit(hit: object) -> Kept:
    assert isinstance(hit, Hit), "a fold is settled before it is kept"
    return {
        "signature": hit.signature.id,
        "offset": hit.offset,
        "line": hit.line,
        "text": b64encode(hit.text).decode("ascii"),
        "origin": asdict(hit.origin),
        "captures": hit.captures,
        "unit": hit.unit,
        "timed": hit.timed,
    }


def _hitted(state: Kept, resolve: Resolve) -> Hit:
    return Hit(
        signature=resolve(state["signature"]),
        offset=state["offset"],
        line=state["line"],
        text=b64decode(state["text"]),
        origin=_origin(state["origin"]),
        captures=tuple((name, value) for name, value in state["captures"]),
        unit=tuple(state["unit"]) if state["unit"] else None,
        timed=state["timed"],
    )


def _origin(state: Kept) -> Origin:
    return Origin(**state | {"provenance": Provenance(state["provenance"])})
