"""Lens panels as aggregations of Elasticsearch: built from their columns, as far as relight's assets use them.

A stand-in for what Kibana makes of a panel: buckets in the order of the columns, values inside of the last one.
"""

from typing import Any

from kql import translated

Json = dict[str, Any]

RECORDS = "___records___"
_VALUES = {"sum": "sum", "average": "avg", "unique_count": "cardinality"}


def layer(panel: Json) -> Json:
    """Return the columns of a panel's only layer, in their order."""
    (found,) = panel["state"]["datasourceStates"]["formBased"]["layers"].values()
    assert sorted(found["columnOrder"]) == sorted(found["columns"])
    return {name: found["columns"][name] for name in found["columnOrder"]}


def query(panel: Json) -> Json:
    """Return the query of a panel, in which a time range would stand too."""
    assert panel["state"]["query"]["language"] == "kuery"
    assert panel["state"]["filters"] == []
    return translated(panel["state"]["query"]["query"])


def aggregations(panel: Json) -> Json:
    """Return a panel as aggregations."""
    columns = layer(panel)
    found = {name: value for name, column in columns.items() if (value := _value(column)) is not None}
    for name in reversed([name for name, column in columns.items() if column["isBucketed"]]):
        found = {name: _buckets(columns, name) | {"aggs": found}} if found else {name: _buckets(columns, name)}
    return found


def _value(column: Json) -> Json | None:
    """Return the aggregation of a column of values; a count without a filter is in every bucket anyhow."""
    if column["isBucketed"]:
        return None
    kind, where = column["operationType"], column.get("filter")
    if kind == "count":
        assert column["sourceField"] == RECORDS
        return None if where is None else {"filter": translated(where["query"])}
    assert where is None, "a value of a part is not translated"
    return {_VALUES[kind]: {"field": column["sourceField"]}}


def _buckets(columns: Json, name: str) -> Json:
    column = columns[name]
    params = column["params"]
    if column["operationType"] == "date_histogram":
        assert params["interval"] == "auto"
        return {"date_histogram": {"field": column["sourceField"], "fixed_interval": "1h", "min_doc_count": 1}}
    assert column["operationType"] == "terms"
    order, direction = params["orderBy"], params["orderDirection"]
    by = "_key"
    if order["type"] == "column":
        target = columns[order["columnId"]]
        by = order["columnId"] if target["operationType"] != "count" or "filter" in target else "_count"
    return {"terms": {"field": column["sourceField"], "size": params["size"], "order": {by: direction}}}


def rows(columns: Json, answer: Json, hits: int) -> list[dict[str, Any]]:
    """Return the rows that a panel would draw: the keys of the buckets, and the values in the last ones."""
    buckets = [name for name, column in columns.items() if column["isBucketed"]]
    return list(_rows(columns, answer, buckets, hits))


def _rows(columns: Json, answer: Json, buckets: list[str], count: int) -> list[dict[str, Any]]:
    if not buckets:
        values = {name: column for name, column in columns.items() if not column["isBucketed"]}
        return [{name: _read(column, answer.get(name), count) for name, column in values.items()}]
    first, *others = buckets
    return [
        {first: bucket["key"], **row}
        for bucket in answer[first]["buckets"]
        for row in _rows(columns, bucket, others, bucket["doc_count"])
    ]


def _read(column: Json, answer: Json | None, count: int) -> Any:
    if column["operationType"] == "count":
        return count if answer is None else answer["doc_count"]
    assert answer is not None
    return answer["value"]
