"""Unexplained incidents as the store tells of them: which lines stand out, and which incidents are of one kind.

What can be compared is what the store keeps: with `index.lines = around` those are the lines around findings, warnings
and errors. Surprises are computed when they are asked for, and kept nowhere.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

from diagnose.learning.kinds import UNEXPLAINED, Kind, Member, kinds, shapes
from ingest.redaction import shown
from relight.incidents.around import around
from relight.incidents.reading import found
from relight.stores.port import LINES, IncidentStore, LineQuery, Query
from schemas.document import IncidentDocument
from schemas.incident import Surprise
from schemas.record import LogRecord
from schemas.vocabulary import Impact, Provenance

LIMIT: Final = 50
"""So many unexplained incidents are looked at, the newest ones, unless more are asked for."""
MOST_LINES: Final = 2_000
"""Of an incident so many lines are compared: the last ones of its end, and the first ones of what was before."""

_HOUR_MS: Final = 3_600_000
_EARLIER_MS: Final = 7 * 24 * _HOUR_MS


@dataclass(frozen=True)
class Unknown:
    """An unexplained incident: the lines that stand out, who wrote their sources, and lines from when all was well."""

    document: IncidentDocument
    surprises: tuple[Surprise, ...]
    writers: dict[str, Provenance]
    healthy: tuple[str, ...]

    @property
    def hosts(self) -> tuple[str, ...]:
        """Return the hosts that the incident is about."""
        return hosts_of(self.document)

    @cached_property
    def member(self) -> Member:
        """Return it as a kind knows it."""
        texts = shapes((one.place.text for one in self.surprises), self.hosts)
        return Member(self.document.id, self.document.history.opened_s or 0.0, texts)


@dataclass(frozen=True)
class Unknowns:
    """Unexplained incidents and their kinds; `total` counts those that are in the store."""

    total: int
    by_id: dict[str, Unknown]

    @cached_property
    def kinds(self) -> list[Kind]:
        """Return the kinds, the most frequent first."""
        return kinds(one.member for one in self.by_id.values())

    @property
    def without_lines(self) -> int:
        """Return how many incidents are of no kind, for no line of them stands out in the store."""
        return sum(not one.member.shapes for one in self.by_id.values())

    def of(self, kind: Kind) -> list[Unknown]:
        """Return the incidents of a kind, the oldest first."""
        return [self.by_id[member.id] for member in kind.members]


def is_unexplained(document: IncidentDocument) -> bool:
    """Tell whether nothing in the catalogue explains an incident that harmed a run."""
    diagnosed = document.history.diagnosed
    return diagnosed is not None and diagnosed.diagnosis.fault in UNEXPLAINED and diagnosed.impact is not Impact.NONE


def unknowns(store: IncidentStore, query: Query, limit: int | None = LIMIT) -> Unknowns:
    """Return the newest unexplained incidents that a query finds. Raises: StoreError."""
    wanted = replace(query, faults=query.faults or tuple(sorted(UNEXPLAINED)))
    result = found(store, wanted, "opened", ascending=False, limit=limit)
    documents = [document for document in result.documents if is_unexplained(document)]
    return Unknowns(result.total, {document.id: unknown_of(store, document) for document in documents})


def unknown_of(store: IncidentStore, document: IncidentDocument) -> Unknown:
    """Return the lines of an incident that stand out, as far as the store keeps them. Raises: StoreError."""
    query = around(document)
    if query is None:
        return Unknown(document, (), {}, ())
    since_ms = (query.since_ms or 0) - _waited_ms(document)
    end = store.lines(replace(query, since_ms=since_ms, limit=LINES))[-MOST_LINES:]
    before = store.lines(replace(query, since_ms=since_ms - _HOUR_MS, until_ms=since_ms, limit=MOST_LINES))
    earlier = _earlier(store, query, since_ms, document)
    evidence = [place.text for e in document.history.evidence.values() for place in (e.first, e.last)]
    return Unknown(
        document=document,
        surprises=_surprises(end, before, earlier, evidence),
        writers={line.source: line.provenance for line in end},
        healthy=tuple(dict.fromkeys(shown(line.text) for line in before)),
    )


def hosts_of(document: IncidentDocument) -> tuple[str, ...]:
    """Return the hosts that an incident is about, sorted."""
    diagnosed = document.history.diagnosed
    told = {host for evidence in document.history.evidence.values() for host in evidence.hosts}
    if diagnosed:
        told |= {*diagnosed.diagnosis.scope.hosts, *filter(None, [diagnosed.diagnosis.culprit.host])}
    return tuple(sorted(told))


def _surprises(
    end: Sequence[LogRecord], before: Sequence[LogRecord], earlier: Sequence[Sequence[str]], evidence: Iterable[str]
) -> tuple[Surprise, ...]:
    from diagnose.correlation.surprise import Sample, surprises  # costs a fifth of a second, and is rarely needed

    first = {line.source: line for line in reversed([*before, *end])}
    beginnings, ends = _by_source(before), _by_source(end)
    samples = [
        Sample(
            source=source,
            host=line.host or source,
            beginning=[one.text for one in beginnings[source]],
            end=[(one.line, one.offset_bytes, one.text) for one in ends[source]],
            rank=line.rank,
        )
        for source, line in sorted(first.items())
    ]
    return surprises(samples, shown, earlier, evidence)


def _by_source(lines: Iterable[LogRecord]) -> dict[str, list[LogRecord]]:
    found: dict[str, list[LogRecord]] = defaultdict(list)
    for line in lines:
        found[line.source].append(line)
    return found


def _earlier(store: IncidentStore, query: LineQuery, since_ms: int, document: IncidentDocument) -> list[Sequence[str]]:
    """Return the lines of earlier jobs on the same hosts, those of each job by themselves."""
    if not query.hosts:
        return []
    own = document.history.opened.job if document.history.opened else None
    wanted = replace(query, sources=(), since_ms=since_ms - _EARLIER_MS, until_ms=since_ms - _HOUR_MS)
    runs: dict[str, list[str]] = defaultdict(list)
    for line in store.lines(replace(wanted, limit=MOST_LINES)):
        if line.job is not None and line.job != own:
            runs[line.job].append(line.text)
    return [runs[job] for job in sorted(runs)]


def _waited_ms(document: IncidentDocument) -> int:
    """Return for how long the first timeout of an incident has waited: what broke, broke so much earlier."""
    return max((_timeout_ms(e.captures) for e in document.history.evidence.values()), default=0)


def _timeout_ms(captures: dict[str, str]) -> int:
    for name, scale in (("timeout_ms", 1), ("timeout_s", 1000)):
        if (text := captures.get(name, "")).isdecimal() and len(text) < 9:
            return min(int(text) * scale, 2 * _HOUR_MS)
    return 0
