"""Conditions in SQL for what is wanted of the embedded store. Values are always parameters, never part of the SQL."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from relight.stores.port import LineQuery, Query
from relight.stores.words import Wanted, wanted


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition, and the values of its parameters."""

    sql: str
    values: tuple[Any, ...]

    def also(self, sql: str, *values: Any) -> "Condition":
        """Return the condition that is true if this one and another are."""
        return Condition(f"{self.sql} and {sql}", (*self.values, *values))


def condition_of(query: Query) -> Condition:
    """Return the condition for incidents."""
    return _all(_conditions(query))


def line_condition(query: LineQuery) -> Condition:
    """Return the condition for log lines."""
    return _all(_line_conditions(query))


def _all(conditions: Iterator[Condition]) -> Condition:
    found = list(conditions)
    return Condition(" and ".join(c.sql for c in found) or "true", tuple(v for c in found for v in c.values))


def _conditions(query: Query) -> Iterator[Condition]:
    yield from _span("opened_ms", query.since_ms, query.until_ms)
    for column, patterns in (("cluster", query.clusters), ("fault", query.faults), ("job", query.jobs)):
        if patterns:
            yield _any(f"{column} glob ?", patterns)
    if query.hosts:
        inner = _any("host glob ?", query.hosts)
        yield Condition(f"number in (select number from incident_hosts where {inner.sql})", inner.values)  # noqa: S608 - made of constants
    if query.states:
        yield Condition(f"state in ({', '.join('?' * len(query.states))})", tuple(map(str, query.states)))
    if query.severity:
        yield Condition("severity >= ?", (query.severity.rank,))
    yield from _text("incident_words", query.text)


def _line_conditions(query: LineQuery) -> Iterator[Condition]:
    if query.cluster is not None:
        yield Condition("cluster = ?", (query.cluster,))
    if query.sources or query.hosts:
        marks = [f"{column} in ({', '.join('?' * len(names))})" for column, names in _places(query)]
        yield Condition(f"({' or '.join(marks)})", (*query.sources, *query.hosts))
    yield from _span("at_ms", query.since_ms, query.until_ms)
    yield from _text("line_words", query.text)


def _places(query: LineQuery) -> Iterator[tuple[str, Sequence[str]]]:
    if query.sources:
        yield "source", query.sources
    if query.hosts:
        yield "host", query.hosts


def _span(column: str, since_ms: int | None, until_ms: int | None) -> Iterator[Condition]:
    if since_ms is not None:
        yield Condition(f"{column} >= ?", (since_ms,))
    if until_ms is not None:
        yield Condition(f"{column} < ?", (until_ms,))


def _any(sql: str, patterns: Sequence[str]) -> Condition:
    globs = tuple(pattern.replace("[", "[[]") for pattern in patterns)
    return Condition(f"({' or '.join([sql] * len(globs))})", globs)


def _text(table: str, text: str) -> Iterator[Condition]:
    inside = f"select rowid from {table} where {table} match ?"  # noqa: S608 - made of constants
    found = wanted(text)
    if sought := [one for one in found if not one.without]:
        yield Condition(f"number in ({inside})", (" ".join(map(_matched, sought)),))
    for one in found:
        if one.without:
            yield Condition(f"number not in ({inside})", (_matched(one),))


def _matched(one: Wanted) -> str:
    """Return words as FTS5 asks for them; they are letters and digits, so quotation marks are all that is needed."""
    return f'"{" ".join(one.words)}"{"*" if one.beginning else ""}'
