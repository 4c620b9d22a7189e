"""The log lines around an incident, as the store keeps them: from before the cause to the last finding."""

from collections.abc import Iterator
from typing import Final

from relight.incidents.cleaning import clean
from relight.incidents.times import stamp
from relight.stores.port import IncidentStore, LineQuery
from schemas.document import IncidentDocument
from schemas.record import LogRecord

BEFORE_S: Final = 60
LIMIT: Final = 500
"""No more lines than this are shown."""


def lines_around(store: IncidentStore, document: IncidentDocument) -> list[str]:
    """Return the lines of the sources and hosts of the evidence; where there are none, a sentence.

    Raises: StoreError.
    """
    query = around(document)
    if query is None:
        return ["No line around it can be asked for: nothing in this incident has a time, a source or a host."]
    known = store.lines(query)
    if not known:
        return [
            "The store keeps no line around it: `index.lines` says which lines are kept, `index.lines_days` how long."
        ]
    more = [f"These are the first {LIMIT:,} lines; there are more."] if len(known) > LIMIT else []
    return [*map(_told, known[:LIMIT]), *more]


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
