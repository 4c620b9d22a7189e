"""Panels of Kibana's Lens, drawn from short descriptions. Only what Lens has had unchanged since Kibana 8.9 is used.

The structures follow the objects that Kibana itself ships as sample data.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

Json = dict[str, Any]

_RECORDS: Final = "___records___"
_TIME: Final = "@timestamp"
_KUERY: Final = "kuery"
_SHAPES: Final = {"number": "lnsMetric", "table": "lnsDatatable"}
"""How a shape is called; any other is a series of the XY chart."""


def lens(panel: Mapping[str, Any], view: str) -> Json:
    """Return the attributes of a Lens panel on the data view with this id."""
    layer, columns = panel["id"], panel["columns"]
    ids = {column["id"]: f"{layer}-{column['id']}" for column in columns}
    fields = {ids[column["id"]]: _column(column, ids, columns) for column in columns}
    drawn = {"columnOrder": list(fields), "columns": fields, "incompleteColumns": {}}
    return {
        "title": panel["title"],
        "description": "",
        "visualizationType": _SHAPES.get(panel["shape"], "lnsXY"),
        "type": "lens",
        "references": [{"type": "index-pattern", "id": view, "name": layer_reference(layer)}],
        "state": {
            "visualization": _visualization(panel, ids),
            "query": {"query": panel["query"], "language": _KUERY},
            "filters": [],
            "datasourceStates": {"formBased": {"layers": {layer: drawn}}, "textBased": {"layers": {}}},
            "internalReferences": [],
            "adHocDataViews": {},
        },
    }


def layer_reference(layer: str) -> str:
    """Return the name by which Lens refers to the data view of a layer."""
    return f"indexpattern-datasource-layer-{layer}"


def _column(column: Mapping[str, Any], ids: Mapping[str, str], columns: Sequence[Mapping[str, Any]]) -> Json:
    common = {"label": column["label"], "customLabel": True}
    if column["of"] == "time":
        how = {"interval": "auto", "includeEmptyRows": True, "dropPartials": False}
        return common | {
            "dataType": "date", "operationType": "date_histogram", "sourceField": _TIME, "isBucketed": True,
            "scale": "interval", "params": how,
        }  # fmt: skip
    if column["of"] == "terms":
        return common | {
            "dataType": "string", "operationType": "terms", "sourceField": column["field"], "isBucketed": True,
            "scale": "ordinal", "params": _terms(column, ids, columns),
        }  # fmt: skip
    where = {"filter": {"query": column["where"], "language": _KUERY}} if "where" in column else {}
    return common | where | {
        "dataType": "number", "operationType": column["of"], "sourceField": column.get("field", _RECORDS),
        "isBucketed": False, "scale": "ratio", "params": {} if column["of"] == "average" else {"emptyAsNull": False},
    }  # fmt: skip


def _terms(column: Mapping[str, Any], ids: Mapping[str, str], columns: Sequence[Mapping[str, Any]]) -> Json:
    first = next(other["id"] for other in columns if other["as"] == "value")
    order = column.get("order", first)
    by_key = {"type": "alphabetical", "fallback": False}
    return {
        "size": column["size"],
        "orderBy": by_key if order == "key" else {"type": "column", "columnId": ids[order]},
        "orderDirection": "asc" if order == "key" else "desc",
        "otherBucket": column.get("others", False),
        "missingBucket": False,
        "parentFormat": {"id": "terms"},
    }


def _visualization(panel: Mapping[str, Any], ids: Mapping[str, str]) -> Json:
    layer, shape = panel["id"], panel["shape"]
    parts: dict[str, list[str]] = {}
    for column in panel["columns"]:
        parts.setdefault(column["as"], []).append(ids[column["id"]])
    if shape == "number":
        return {"layerId": layer, "layerType": "data", "metricAccessor": parts["value"][0]}
    if shape == "table":
        shown = [{"columnId": name, "isTransposed": False} for name in (*parts["row"], *parts["value"])]
        return {"layerId": layer, "layerType": "data", "columns": shown}
    series = {"layerId": layer, "layerType": "data", "seriesType": shape, "accessors": parts["value"]}
    series |= {"xAccessor": parts["x"][0]} | ({"splitAccessor": parts["split"][0]} if "split" in parts else {})
    axes = {"x": True, "yLeft": True, "yRight": True}
    return {
        "legend": {"isVisible": True, "position": "right"},
        "valueLabels": "hide",
        "preferredSeriesType": shape,
        "fittingFunction": "None",
        "axisTitlesVisibilitySettings": {"x": False, "yLeft": False, "yRight": False},
        "tickLabelsVisibilitySettings": axes,
        "gridlinesVisibilitySettings": axes,
        "layers": [series],
    }
