"""The log lines around an incident, as the store keeps them: from before the cause to the last finding."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from relight.incidents.cleaning import clean
from relight.incidents.times import stamp
from relight.stores.keeping import at_ms
from relight.stores.port import LINES, IncidentStore, LineQuery
from schemas.document import IncidentDocument
from schemas.incident import Place
from schemas.record import LogRecord

BEFORE_S: Final = 60
LIMIT: Final = 500
"""No more lines than this are shown: those nearest to the cause, from before it and from then on."""

_BEFORE: Final = LIMIT // 4
_NEAR: Final = 50
"""So many lines of the cause's own source are shown before and after it, whatever else was written then."""
_NEAR_MS: Final = 1000


def lines_around(store: IncidentStore, document: IncidentDocument) -> list[str]:
    """Return the lines of the sources and hosts of the evidence; where there are none, a sentence.

    Raises: StoreError.
    """
    query = around(document)
    if query is None:
        return ["No line around it can be asked for: nothing in this incident has a time, a source or a host."]
    first = document.history.diagnosed.diagnosis.first_cause if document.history.diagnosed else None
    known, more = _nearest(store, query, first)
    if not known:
        return [
            "The store keeps no line around it: `index.lines` says which lines are kept, `index.lines_days` how long."
        ]
    told = [_told(line) for line in sorted(known, key=lambda line: (at_ms(line), line.source, line.offset_bytes))]
    return [*told, *([f"These are {len(told):,} lines, those nearest to the cause; there are more."] if more else [])]


def _nearest(store: IncidentStore, query: LineQuery, first: Place | None) -> tuple[list[LogRecord], bool]:
    """Return the lines nearest to the cause, and whether there are more: its own first, then before, then after it."""
    cause_ms = (query.since_ms or 0) + BEFORE_S * 1000
    own = _own(store, query, first, cause_ms) if first else []
    before, more = _before(store, query, cause_ms)
    after = store.lines(replace(query, since_ms=cause_ms))
    found = {line.id: line for line in (*own, *before, *after)}
    return list(found.values())[:LIMIT], more or len(found) > LIMIT


def _own(store: IncidentStore, query: LineQuery, first: Place, cause_ms: int) -> list[LogRecord]:
    """Return the lines of the cause's source next to it: many others may have been written in the same second."""
    own = replace(query, sources=(first.source,), hosts=(), limit=LINES)
    lines = store.lines(replace(own, since_ms=cause_ms - _NEAR_MS, until_ms=cause_ms + _NEAR_MS))
    return [line for line in lines if abs(line.line - first.line) <= _NEAR]


def _before(store: IncidentStore, query: LineQuery, cause_ms: int) -> tuple[Sequence[LogRecord], bool]:
    """Return the last lines before the cause, and whether there are more.

    A store gives the earliest lines of a span. Where they are too many to have them all, the span is halved until it
    holds enough of them and not too many.
    """

    def last(window_ms: int) -> Sequence[LogRecord]:
        return store.lines(replace(query, since_ms=cause_ms - window_ms, until_ms=cause_ms, limit=LINES))

    few_ms, many_ms = 0, BEFORE_S * 1000
    found = last(many_ms)
    if len(found) < LINES:
        return found[-_BEFORE:], len(found) > _BEFORE
    found = ()
    while many_ms - few_ms > 1 and len(found) < _BEFORE:
        window_ms = (few_ms + many_ms) // 2
        lines = last(window_ms)
        if len(lines) < LINES:
            few_ms, found = window_ms, lines
        else:
            many_ms = window_ms
    return found[-_BEFORE:], True


def around(document: IncidentDocument) -> LineQuery | None:
    """Return which lines are around an incident; `None` where that cannot be told."""
    history = document.history
    times = [time.timestamp() for e in history.evidence.values() for time in (e.first.time, e.last.time) if time]
    first = history.diagnosed.diagnosis.first_cause if history.diagnosed else None
    cause_s = first.time.timestamp() if first and first.time else min(times, default=history.opened_s)
    last_s = max(times, default=history.touched_s)
    sources = sorted({place.source for e in history.evidence.values() for place in (e.first, e.last)})
    hosts = sorted({host for e in history.evidence.values() for host in e.hosts})
    if cause_s is None or last_s is None or not (sources or hosts):
        return None
    return LineQuery(
        cluster=document.cluster,
        sources=tuple(sources),
        hosts=tuple(hosts),
        since_ms=round((cause_s - BEFORE_S) * 1000),
        until_ms=round(max(cause_s, last_s) * 1000) + 1,
        limit=LIMIT + 1,
    )


def _told(line: LogRecord) -> str:
    return " ".join(_parts(line))


def _parts(line: LogRecord) -> Iterator[str]:
    if line.time_ms is not None:
        yield stamp(line.time_ms / 1000).partition(" ")[2]
    yield f"{clean(line.source)}:{line.line}"
    yield clean(line.text)
