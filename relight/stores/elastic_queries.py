"""Searches as Elasticsearch takes them. They find what the embedded store finds: words are taken apart here."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from relight.stores.port import BUCKETS, Bucket, Facet, LineQuery, Query, Sort
from relight.stores.words import Wanted, wanted
from schemas.vocabulary import Impact, Severity

Dsl = dict[str, Any]

SORTED: Final[Mapping[Sort, str]] = {
    "opened": "@timestamp",
    "updated": "relight.updated",
    "severity": "event.severity",
    "confidence": "relight.confidence",
    "lost": "relight.lost_gpu_ms",
}
_FACETS: Final[Mapping[Facet, str]] = {
    "fault": "relight.fault",
    "host": "host.name",
    "blamed": "relight.culprit.host",
    "week": "relight.week",
    "severity": "event.severity",
    "state": "relight.state",
    "job": "relight.job",
    "signature": "relight.signature",
    "domain": "relight.domain",
    "cluster": "orchestrator.cluster.name",
}


def incident_query(query: Query) -> Dsl:
    """Return the query for incidents."""
    patterns = (
        ("orchestrator.cluster.name", query.clusters),
        ("relight.fault", query.faults),
        ("host.name", query.hosts),
        ("relight.job", query.jobs),
    )
    needed = [_any(field, values) for field, values in patterns if values]
    needed += _span(query.since_ms, query.until_ms)
    if query.states:
        needed.append({"terms": {"relight.state": [state.value for state in query.states]}})
    if query.severity:
        needed.append({"range": {"event.severity": {"gte": query.severity.rank}}})
    return _all(needed, query.text)


def line_query(query: LineQuery) -> Dsl:
    """Return the query for log lines."""
    needed = _span(query.since_ms, query.until_ms)
    if query.cluster is not None:
        needed.append({"term": {"orchestrator.cluster.name": query.cluster}})
    places = [("relight.source", query.sources), ("host.name", query.hosts)]
    if found := [{"terms": {field: list(names)}} for field, names in places if names]:
        needed.append({"bool": {"should": found, "minimum_should_match": 1}})
    return _all(needed, query.text)


def _all(needed: Sequence[Dsl], text: str) -> Dsl:
    sought = wanted(text)
    words = [_words(one) for one in sought if not one.without]
    return {"bool": {"filter": [*needed, *words], "must_not": [_words(one) for one in sought if one.without]}}


def _words(one: Wanted) -> Dsl:
    if one.beginning:
        return {"prefix": {"relight.words": one.words[0]}}
    if len(one.words) == 1:
        return {"term": {"relight.words": one.words[0]}}
    return {"match_phrase": {"relight.words": " ".join(one.words)}}


def _span(since_ms: int | None, until_ms: int | None) -> list[Dsl]:
    found: Dsl = {}
    if since_ms is not None:
        found["gte"] = since_ms
    if until_ms is not None:
        found["lt"] = until_ms
    return [{"range": {"@timestamp": found | {"format": "epoch_millis"}}}] if found else []


def _any(field: str, patterns: Sequence[str]) -> Dsl:
    plain = [pattern for pattern in patterns if not set(pattern) & set("*?")]
    found: list[Dsl] = [{"wildcard": {field: {"value": p.replace("\\", "\\\\")}}} for p in patterns if p not in plain]
    if plain:
        found.append({"terms": {field: plain}})
    return {"bool": {"should": found, "minimum_should_match": 1}}


def counting(by: Facet | None) -> Dsl:
    """Return the aggregations that count by a facet."""
    figures: Dsl = {
        "failed": {"filter": {"term": {"relight.impact": Impact.FAILED.value}}},
        "first": {"min": {"field": "@timestamp"}},
        "last": {"max": {"field": "@timestamp"}},
    }
    for name in ("detection", "recovery", "lost_gpu"):
        figures[name] = {"sum": {"field": f"relight.{name}_ms"}}
        figures[f"{name}_n"] = {"value_count": {"field": f"relight.{name}_ms"}}
    if by is None:
        return figures
    order = [{"_count": "desc"}, {"_key": "asc"}]
    return {"buckets": {"terms": {"field": _FACETS[by], "size": BUCKETS, "order": order}, "aggs": figures}}


def buckets(by: Facet | None, found: Dsl, total: int) -> Iterator[Bucket]:
    """Yield the buckets that aggregations have found."""
    rows = found["buckets"]["buckets"] if by is not None else [found | {"key": "all", "doc_count": total}]
    for row in rows:
        if row["doc_count"]:
            yield Bucket(
                key=list(Severity)[row["key"]].value if by == "severity" else str(row["key"]),
                count=row["doc_count"],
                failed=row["failed"]["doc_count"],
                first_ms=int(row["first"]["value"]),
                last_ms=int(row["last"]["value"]),
                detection_ms=int(row["detection"]["value"]),
                detected=row["detection_n"]["value"],
                recovery_ms=int(row["recovery"]["value"]),
                recovered=row["recovery_n"]["value"],
                lost_gpu_ms=int(row["lost_gpu"]["value"]),
                with_ranks=row["lost_gpu_n"]["value"],
            )
