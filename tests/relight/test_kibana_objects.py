"""What relight brings for Kibana: data views, searches and a dashboard.

There is no Kibana here: the objects have never been imported into a real one. What can be known without it is: each
query, field and aggregation is run on a real Elasticsearch with real documents.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
from kql import NotUnderstood, fields_of, translated
from lens_on_elasticsearch import RECORDS, aggregations, layer, query, rows

from relight.assets.saved_objects import SavedObject, ndjson, saved_objects
from relight.settings import models
from relight.stores.elastic import ElasticStore
from relight.stores.elastic_setup import layout, setup
from relight.stores.port import Query
from schemas.faults import fault_classes
from schemas.history import State
from schemas.vocabulary import Kept, Severity
from tests.contract.store_stories import START_S, document, line, merged, resolved, settled

PREFIX = "relight"
OBJECTS = saved_objects(PREFIX)
VIEWS = {each.id: each for each in OBJECTS if each.type == "index-pattern"}
SEARCHES = {each.id: each for each in OBJECTS if each.type == "search"}
(DASHBOARD,) = [each for each in OBJECTS if each.type == "dashboard"]
PANELS = json.loads(DASHBOARD.attributes["panelsJSON"])
LENSES = {p["panelIndex"]: p["embeddableConfig"]["attributes"] for p in PANELS if p["type"] == "lens"}
CONTROLS = json.loads(DASHBOARD.attributes["controlGroupInput"]["panelsJSON"])
each_search = pytest.mark.parametrize("name", SEARCHES)
each_lens = pytest.mark.parametrize("name", LENSES)


def source_of(search: SavedObject) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(search.attributes["kibanaSavedObjectMeta"]["searchSourceJSON"])
    return found


def query_of(search: SavedObject) -> str:
    told = source_of(search)
    assert (told["query"]["language"], told["filter"]) == ("kuery", [])
    return str(told["query"]["query"])


def view_of(search: SavedObject) -> str:
    ((kind, view, name),) = search.references
    assert (kind, name) == ("index-pattern", source_of(search)["indexRefName"])
    return view


# What the objects are


def test_a_line_is_an_object_with_all_that_an_export_says_of_it() -> None:
    lines = [json.loads(text) for text in ndjson(PREFIX).decode().splitlines()]
    assert len(lines) == len(OBJECTS) == 3 + 8 + 1
    for told in lines:
        assert set(told) == {
            "type", "id", "attributes", "references", "managed", "coreMigrationVersion", "typeMigrationVersion"
        }  # fmt: skip
        assert re.fullmatch(r"\d+\.\d+\.\d+", told["typeMigrationVersion"])
        assert told["coreMigrationVersion"] == "8.8.0"


def test_the_same_bytes_are_made_every_time() -> None:
    assert ndjson(PREFIX) == ndjson(PREFIX)
    assert ndjson("a") != ndjson("b")


def test_ids_and_titles_are_each_ones_own_and_carry_the_prefix() -> None:
    assert len({(each.type, each.id) for each in OBJECTS}) == len({each.title for each in OBJECTS}) == len(OBJECTS)
    assert [each.id for each in OBJECTS if not each.id.startswith(f"{PREFIX}-")] == []
    assert [each.title for each in OBJECTS if not each.title.startswith(f"[{PREFIX}] ")] == []


def test_another_prefix_stands_everywhere_and_the_default_one_nowhere() -> None:
    text = ndjson("training").decode()
    assert "{prefix}" not in text
    assert re.findall(r"relight-[\w*-]+", text) == []
    assert {json.loads(told)["attributes"]["title"] for told in text.splitlines()[:3]} == {
        "training-incidents", "training-timeline", "training-logs-*"
    }  # fmt: skip


def test_what_an_object_refers_to_comes_before_it() -> None:
    known: set[tuple[str, str]] = set()
    for each in OBJECTS:
        assert {(kind, of) for kind, of, _ in each.references} <= known
        known.add((each.type, each.id))


def test_a_data_view_has_the_time_of_its_documents() -> None:
    assert {view.attributes["timeFieldName"] for view in VIEWS.values()} == {"@timestamp"}


def test_every_reference_of_the_dashboard_is_used_and_every_use_has_one() -> None:
    used = {f"{p['panelIndex']}:{p['panelRefName']}" for p in PANELS if p["type"] == "search"}
    for name, told in LENSES.items():
        ((inner,), (own,)) = told["references"], told["state"]["datasourceStates"]["formBased"]["layers"]
        assert inner["name"] == f"indexpattern-datasource-layer-{own}"
        used.add(f"{name}:{inner['name']}")
    used |= {f"controlGroup_{control}:optionsListDataView" for control in CONTROLS}
    assert {name for _, _, name in DASHBOARD.references} == used
    assert len(DASHBOARD.references) == len(used)


def test_panels_have_their_own_places_on_the_grid() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in PANELS:
        at = panel["gridData"]
        assert at["i"] == panel["panelIndex"]
        assert 0 <= at["x"] < at["x"] + at["w"] <= 48
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells
    height = max(y for _, y in taken) + 1
    assert len(taken) == 48 * height, "the dashboard has holes"


@each_lens
def test_a_drawing_uses_each_of_its_columns(name: str) -> None:
    told = LENSES[name]
    drawn = json.dumps(told["state"]["visualization"])
    assert [column for column in layer(told) if f'"{column}"' not in drawn] == []


def test_queries_name_only_words_that_there_are() -> None:
    words = re.findall(r"relight\.fault: \(([^)]*)\)", query_of(SEARCHES[f"{PREFIX}-dead-hosts"]))
    assert words
    assert set(words[0].split(" or ")) <= set(fault_classes())


# On a real Elasticsearch, with documents as the pipeline makes them


@dataclass
class Filled:
    store: ElasticStore
    objects: dict[str, SavedObject]

    def index(self, view: str) -> str:
        """Return the indices of a data view of the default prefix, with the prefix that these documents have."""
        own = self.objects[view.replace(PREFIX, self.store.prefix, 1)]
        return str(own.attributes["title"])

    def search(self, view: str, **how: Any) -> dict[str, Any]:
        answer = self.store.client.search(index=self.index(view), track_total_hits=True, **how)
        return dict(answer)

    def fields(self, view: str) -> dict[str, dict[str, Any]]:
        """Return the fields with what can be done with them; one that differs between indices has two types."""
        told = self.store.client.field_caps(index=self.index(view), fields="*")["fields"]
        return {name: next(iter(kinds.values())) for name, kinds in told.items() if len(kinds) == 1}


@pytest.fixture(scope="module")
def filled(elasticsearch_url: str) -> Iterator[Filled]:
    """A store with incidents of several hosts, jobs, weeks and ends, and lines of all kinds."""
    own = models.Elasticsearch(hosts=(elasticsearch_url,), prefix=f"t{uuid4().hex[:8]}", replicas=0)
    week_s = 7 * 86_400.0
    incidents = [
        document(1),
        document(2, fault="scheduler.node_fail", host="node07", job="48212", ranks=8),
        document(3, more=[settled(), resolved()]),
        document(4, fault="storage.io_error", severity=Severity.ERROR, job=None, host="node09", more=[resolved()]),
        document(5, more=[merged("x")]),
        document(6, opened_s=START_S + week_s, began_s=START_S + week_s - 5, job="48213",
                 more=[resolved(START_S + week_s + 60)]),
        document(7, severity=Severity.WARNING, fault="gpu.thermal_power", cluster="c2"),
    ]  # fmt: skip
    lines = [line(f"line of {kept}", kept=kept, time_ms=round(START_S * 1000) + n) for n, kept in enumerate(Kept)]
    with ElasticStore(own) as store:
        assert setup(store.client, store.place, own, 30).as_wanted
        assert [*store.put_incidents(incidents), *store.put_lines(lines)] == []
        store.refresh()
        yield Filled(store, {each.id: each for each in saved_objects(own.prefix)})
        store.clear()


def usable(filled: Filled, view: str, *, searched: set[str], counted: set[str]) -> None:
    """Make sure that fields are there, and can be used like this."""
    fields = filled.fields(view)
    assert (searched | counted) - set(fields) == set()
    assert [name for name in searched if not fields[name]["searchable"]] == []
    assert [name for name in counted if not fields[name]["aggregatable"]] == []


@pytest.mark.elasticsearch
@pytest.mark.parametrize("view", VIEWS)
def test_a_data_view_finds_documents_and_formats_fields_that_they_have(filled: Filled, view: str) -> None:
    told, fields = VIEWS[view].attributes, filled.fields(view)
    assert filled.search(view, query={"exists": {"field": told["timeFieldName"]}})["hits"]["total"]["value"] > 0
    assert fields[told["timeFieldName"]]["type"] == "date"
    assert set(json.loads(told["fieldFormatMap"])) <= set(fields)
    hidden = [each["value"].removesuffix("*").removeprefix("relight.") for each in json.loads(told["sourceFilters"])]
    mapped = layout()["components"][view.removeprefix(f"{PREFIX}-")]["mappings"]["properties"]["relight"]["properties"]
    assert set(hidden) <= set(mapped)


@pytest.mark.elasticsearch
@each_search
def test_a_search_finds_documents_that_have_its_columns_in_its_order(filled: Filled, name: str) -> None:
    search, asked = SEARCHES[name], query_of(SEARCHES[name])
    view, attributes = view_of(search), SEARCHES[name].attributes
    usable(
        filled, view, searched=fields_of(asked) | set(attributes["columns"]), counted={f for f, _ in attributes["sort"]}
    )
    order = [{field: direction} for field, direction in attributes["sort"]]
    found = filled.search(view, query=translated(asked), sort=order, fields=attributes["columns"], size=100)
    hits = found["hits"]["hits"]
    assert hits
    assert {column for hit in hits for column in hit["fields"]} == set(attributes["columns"])
    assert [hit["sort"] for hit in hits] == sorted(
        (hit["sort"] for hit in hits), reverse=attributes["sort"][0][1] == "desc"
    )
    everything = filled.search(view, size=0)["hits"]["total"]["value"]
    narrows = asked and not asked.endswith(": *")
    assert (len(hits) < everything) == bool(narrows)


@pytest.mark.elasticsearch
@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("open-incidents", {1, 2, 7}),
        ("critical-incidents", {1, 2, 3, 6}),
        ("incidents-of-host", {1, 2, 3, 4, 6, 7}),
        ("dead-hosts", {1, 2}),
    ],
)
def test_a_search_finds_the_incidents_that_it_is_called_after(filled: Filled, name: str, numbers: set[int]) -> None:
    found = filled.search(f"{PREFIX}-incidents", query=translated(query_of(SEARCHES[f"{PREFIX}-{name}"])), size=100)
    runs = {hit["_source"]["relight"]["run"] for hit in found["hits"]["hits"]}
    assert runs == {f"run {number}" for number in numbers}


@pytest.mark.elasticsearch
def test_the_link_of_an_incident_asks_for_its_timeline(filled: Filled) -> None:
    formats = json.loads(VIEWS[f"{PREFIX}-incidents"].attributes["fieldFormatMap"])
    link = formats["relight.id"]["params"]["urlTemplate"]
    incident = filled.search(f"{PREFIX}-incidents", query=translated("relight.state: resolved"))["hits"]["hits"][0]
    target, asked = re.fullmatch(r"\.\./app/discover#/view/([\w-]+)\?.*query:'([^']*)'\)\)", link).groups()  # type: ignore[union-attr]
    assert target in SEARCHES
    kql = asked.replace("%22", '"').replace("{{value}}", incident["_id"])
    moments = filled.search(view_of(SEARCHES[target]), query=translated(kql))["hits"]["hits"]
    assert {m["_source"]["relight"]["id"] for m in moments} == {incident["_id"]}
    assert len(moments) == len(incident["_source"]["relight"]["timeline"])


@pytest.mark.elasticsearch
@each_lens
def test_a_panel_draws_something_from_fields_that_can_be_counted(filled: Filled, name: str) -> None:
    told, columns = LENSES[name], layer(LENSES[name])
    view = told["references"][0]["id"]
    counted = {column["sourceField"] for column in columns.values()} - {RECORDS}
    wheres = [column["filter"]["query"] for column in columns.values() if "filter" in column]
    named = {field for each in (told["state"]["query"]["query"], *wheres) for field in fields_of(each)}
    usable(filled, view, searched=named, counted=counted)
    answer = filled.search(view, query=query(told), size=0, aggs=aggregations(told))
    drawn = rows(columns, answer.get("aggregations", {}), answer["hits"]["total"]["value"])
    assert drawn
    for column in columns:
        assert any(row[column] for row in drawn), column


@pytest.mark.elasticsearch
def test_figures_are_those_that_the_store_counts(filled: Filled) -> None:
    def figure(name: str) -> Any:
        told = LENSES[name]
        answer = filled.search(f"{PREFIX}-incidents", query=query(told), size=0, aggs=aggregations(told))
        total = answer["hits"]["total"]["value"]
        ((found,),) = [row.values() for row in rows(layer(told), answer.get("aggregations", {}), total)]
        return found

    (all_,) = filled.store.aggregate(Query(states=(State.OPEN, State.RESOLVED)))
    assert figure("count") == all_.count
    assert figure("failed") == all_.failed
    assert figure("lost") == all_.lost_gpu_ms
    assert figure("mttd") == pytest.approx(all_.detection_ms / all_.detected)
    assert figure("mttr") == pytest.approx(all_.recovery_ms / all_.recovered)


@pytest.mark.elasticsearch
def test_weeks_are_drawn_in_their_order_and_the_worst_hosts_first(filled: Filled) -> None:
    def column(panel: str, name: str) -> list[Any]:
        told = LENSES[panel]
        answer = filled.search(f"{PREFIX}-incidents", query=query(told), size=0, aggs=aggregations(told))
        return [row[f"{panel}-{name}"] for row in rows(layer(told), answer["aggregations"], 0)]

    assert column("lost-by-week", "week") == ["2026-W20", "2026-W21"]
    assert column("by-host", "failed") == sorted(column("by-host", "failed"), reverse=True)
    assert column("by-host", "host")[0] == "node03"


@pytest.mark.elasticsearch
@pytest.mark.parametrize("control", CONTROLS)
def test_a_control_offers_values(filled: Filled, control: str) -> None:
    field = CONTROLS[control]["explicitInput"]["fieldName"]
    view = next(of for _, of, name in DASHBOARD.references if name == f"controlGroup_{control}:optionsListDataView")
    usable(filled, view, searched={field}, counted={field})
    answer = filled.search(view, size=0, aggs={"values": {"terms": {"field": field}}})
    assert len(answer["aggregations"]["values"]["buckets"]) > 1


@pytest.mark.elasticsearch
def test_the_times_that_are_restored_are_ones_that_elasticsearch_understands(filled: Filled) -> None:
    spans = [each.attributes["timeRange"] for each in SEARCHES.values() if each.attributes["timeRestore"]]
    spans.append({"from": DASHBOARD.attributes["timeFrom"], "to": DASHBOARD.attributes["timeTo"]})
    assert len(spans) == 2
    for span in spans:
        filled.search(f"{PREFIX}-incidents", query={"range": {"@timestamp": {"gte": span["from"], "lte": span["to"]}}})


# The translation of queries that these tests rest on


def test_queries_are_translated_as_kibana_reads_them() -> None:
    assert translated("a: b and not c: (d or e)") == {
        "bool": {
            "filter": [
                {"match": {"a": "b"}},
                {"bool": {"must_not": [{"bool": {"should": [{"match": {"c": "d"}}, {"match": {"c": "e"}}],
                                                 "minimum_should_match": 1}}]}},
            ]
        }
    }  # fmt: skip
    assert translated("a >= 5 or b: x*") == {
        "bool": {"should": [{"range": {"a": {"gte": "5"}}}, {"wildcard": {"b": "x*"}}], "minimum_should_match": 1}
    }
    assert translated('a: "b c" and d: *') == {
        "bool": {"filter": [{"match_phrase": {"a": "b c"}}, {"exists": {"field": "d"}}]}
    }
    assert fields_of("a: b or (c < 4 and not d: *)") == {"a", "c", "d"}


@pytest.mark.parametrize(
    "asked", ["words", '"some words"', "a: b c: d", "a: (b", "a: b and", "a:{b: c}", "not", "a: and"]
)
def test_what_the_translation_does_not_know_is_an_error(asked: str) -> None:
    with pytest.raises(NotUnderstood):
        translated(asked)
