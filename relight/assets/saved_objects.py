"""Kibana's saved objects, made of the sources in `kibana/`: data views, searches and a dashboard, as exports have them.

Each says the version of its form that it is written in, so that a newer Kibana brings it up to its own. What is
`managed` cannot be changed in Kibana, only copied: `relight setup kibana` would undo the change.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Final

import orjson
import yaml

from relight.assets.lens import Json, layer_reference, lens

_CORE: Final = "8.8.0"
_FORMS: Final = {"index-pattern": "8.0.0", "search": "8.0.0", "dashboard": "8.7.0"}
"""The versions of the forms: the oldest that have all that is used, so that every Kibana since 8.9 can read them."""
_PANEL: Final = "8.9.0"
_KUERY: Final = "kuery"
_OPTIONS: Final = {
    "useMargins": True,
    "syncColors": True,
    "syncCursor": True,
    "syncTooltips": False,
    "hidePanelTitles": False,
}


@dataclass(frozen=True, slots=True)
class SavedObject:
    """An object as Kibana takes it. `references` are the names by which it refers to others, with those."""

    type: str
    id: str
    title: str
    attributes: Json
    references: tuple[tuple[str, str, str], ...] = ()

    def line(self) -> bytes:
        """Return it as a line of an export."""
        told = {
            "type": self.type,
            "id": self.id,
            "attributes": self.attributes,
            "references": [{"type": kind, "id": of, "name": name} for kind, of, name in self.references],
            "managed": True,
            "coreMigrationVersion": _CORE,
            "typeMigrationVersion": _FORMS[self.type],
        }
        return orjson.dumps(told) + b"\n"


def saved_objects(prefix: str) -> tuple[SavedObject, ...]:
    """Return all objects for indices with this prefix: what is referred to comes first."""
    return (*_data_views(prefix), *_searches(prefix), _dashboard(prefix))


def ndjson(prefix: str) -> bytes:
    """Return all objects as Kibana imports them, a line each."""
    return b"".join(found.line() for found in saved_objects(prefix))


@cache
def _source(name: str) -> Any:
    text = resources.files("relight.assets").joinpath(f"kibana/{name}.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text)


def _data_views(prefix: str) -> Iterator[SavedObject]:
    for name, told in _source("data_views").items():
        attributes = {
            "title": _put(told["indices"], prefix),
            "name": _put(told["name"], prefix),
            "timeFieldName": "@timestamp",
            "fields": "[]",
            "fieldAttrs": "{}",
            "fieldFormatMap": _put(_text(told["formats"]), prefix),
            "sourceFilters": _text([{"value": field} for field in told["hidden"]]),
            "runtimeFieldMap": "{}",
            "typeMeta": "{}",
        }
        yield SavedObject("index-pattern", f"{prefix}-{name}", attributes["name"], attributes)


def _searches(prefix: str) -> Iterator[SavedObject]:
    source = "kibanaSavedObjectMeta.searchSourceJSON.index"
    for name, told in _source("searches").items():
        title = f"[{prefix}] {told['title']}"
        attributes = {
            "title": title,
            "description": told["description"],
            "columns": told["columns"],
            "sort": [[field, direction] for field, direction in told["sort"].items()],
            "grid": {},
            "hideChart": False,
            "isTextBasedQuery": False,
            "kibanaSavedObjectMeta": {"searchSourceJSON": _text({**_search(told["query"]), "indexRefName": source})},
            "timeRestore": "since" in told,
        }
        if "since" in told:
            attributes["timeRange"] = {"from": told["since"], "to": "now"}
        references = (("index-pattern", f"{prefix}-{told['view']}", source),)
        yield SavedObject("search", f"{prefix}-{name}", title, attributes, references)


def _dashboard(prefix: str) -> SavedObject:
    told = _source("dashboard")
    view = f"{prefix}-incidents"
    panels = [_panel(panel, view) for panel in told["panels"]]
    title = f"[{prefix}] {told['title']}"
    attributes = {
        "title": title,
        "description": told["description"],
        "timeRestore": True,
        "timeFrom": told["since"],
        "timeTo": "now",
        "refreshInterval": {"pause": False, "value": told["refresh_s"] * 1000},
        "controlGroupInput": _controls(told["controls"]),
        "panelsJSON": _text(panels),
        "optionsJSON": _text(_OPTIONS),
        "kibanaSavedObjectMeta": {"searchSourceJSON": _text(_search(""))},
        "version": 1,
    }
    references = [_reference(panel, prefix) for panel in told["panels"]]
    references += [
        ("index-pattern", view, f"controlGroup_{control['id']}:optionsListDataView") for control in told["controls"]
    ]
    return SavedObject("dashboard", f"{prefix}-{told['id']}", title, attributes, tuple(references))


def _panel(panel: Mapping[str, Any], view: str) -> Json:
    x, y, width, height = panel["at"]
    found: Json = {
        "version": _PANEL,
        "type": "search" if "search" in panel else "lens",
        "gridData": {"x": x, "y": y, "w": width, "h": height, "i": panel["id"]},
        "panelIndex": panel["id"],
        "embeddableConfig": {"enhancements": {}},
        "title": panel["title"],
    }
    if "search" in panel:
        return found | {"panelRefName": f"panel_{panel['id']}"}
    found["embeddableConfig"]["attributes"] = lens(panel, view)
    return found


def _reference(panel: Mapping[str, Any], prefix: str) -> tuple[str, str, str]:
    name = panel["id"]
    if "search" in panel:
        return "search", f"{prefix}-{panel['search']}", f"{name}:panel_{name}"
    return "index-pattern", f"{prefix}-incidents", f"{name}:{layer_reference(name)}"


def _controls(controls: list[Mapping[str, Any]]) -> Json:
    panels = {
        control["id"]: {
            "order": order,
            "width": "medium",
            "grow": True,
            "type": "optionsListControl",
            "explicitInput": {
                "id": control["id"],
                "fieldName": control["field"],
                "title": control["title"],
                "enhancements": {},
            },
        }
        for order, control in enumerate(controls)
    }
    ignored = {f"ignore{what}": False for what in ("Filters", "Query", "Timerange", "Validations")}
    return {
        "controlStyle": "oneLine",
        "chainingSystem": "HIERARCHICAL",
        "panelsJSON": _text(panels),
        "ignoreParentSettingsJSON": _text(ignored),
    }


def _search(query: str) -> Json:
    return {"query": {"query": query, "language": _KUERY}, "filter": []}


def _text(value: object) -> str:
    """Return a value as the JSON in a string that Kibana keeps much in."""
    return orjson.dumps(value).decode()


def _put(text: str, prefix: str) -> str:
    """Put the prefix in; Kibana's own `{{value}}` stays."""
    return text.replace("{prefix}", prefix)
