"""What relight brings for Kibana, and `relight setup kibana`.

There is no Kibana here: the objects have never been imported into a real one. What can be known without it is: each
query, field and aggregation is run on a real Elasticsearch with real documents, and the import against a stand-in.
"""

import json
import re
import subprocess
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from shutil import which
from typing import Any
from uuid import uuid4

import pytest
from click.testing import CliRunner, Result
from kibana_stand_in import Kibana, basic, kibana_stand_in
from kql import NotUnderstood, fields_of, translated
from lens_on_elasticsearch import RECORDS, aggregations, layer, query, rows

from relight import kibana
from relight.assets.saved_objects import SavedObject, ndjson, saved_objects
from relight.cli import main
from relight.kibana import KibanaRefused, KibanaUnavailable
from relight.settings import models
from relight.stores.elastic import ElasticStore
from relight.stores.elastic_setup import layout, setup
from relight.stores.port import Query
from schemas.faults import fault_classes
from schemas.history import State
from schemas.vocabulary import Kept, Severity
from tests.contract.store_stories import START_S, document, line, merged, resolved, settled
from tests.servers.process import free_ports

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


# The import, against a stand-in


@pytest.fixture
def stand_in() -> Iterator[Kibana]:
    with kibana_stand_in() as found:
        yield found


def told_to(found: Kibana, **more: object) -> models.Kibana:
    return models.Kibana.model_validate({"url": found.url} | more)


def relight_setup(found: Kibana, *arguments: str, **more: str) -> Result:
    environment = {f"RELIGHT_KIBANA__{name.upper()}": value for name, value in more.items()}
    words = ["setup", "kibana", "--kibana", found.url, *arguments]
    return CliRunner(env=environment).invoke(main, words, catch_exceptions=False)


def refusal(result: Result) -> str:
    assert (result.exit_code, result.stdout) == (2, "")
    (said,) = result.stderr.splitlines()
    return said


def test_all_objects_are_imported_and_told(stand_in: Kibana) -> None:
    result = relight_setup(stand_in)
    assert result.exit_code == 0, result.output
    first, *others = result.stdout.splitlines()
    assert first == f"Kibana at {stand_in.url}: version 9.5.3"
    assert others[0] == "data view [relight] Incidents: imported"
    assert others[-1] == "dashboard [relight] Overview of incidents: imported"
    assert len(others) == len(OBJECTS)
    assert list(stand_in.spaces["default"].values()) == [json.loads(told) for told in ndjson(PREFIX).splitlines()]


def test_twice_leaves_the_same(stand_in: Kibana) -> None:
    relight_setup(stand_in)
    before = deepcopy(stand_in.spaces)
    assert relight_setup(stand_in).exit_code == 0
    assert stand_in.spaces == before


def test_a_dry_run_looks_and_sends_nothing(stand_in: Kibana) -> None:
    result = relight_setup(stand_in, "--dry-run")
    assert result.exit_code == 1
    assert result.stdout.count(": would be imported\n") == len(OBJECTS)
    assert stand_in.asked == [("GET", "/api/status")]
    assert stand_in.spaces == {"default": {}}


def test_the_objects_can_be_written_to_a_file_without_a_kibana(tmp_path: Path) -> None:
    path = tmp_path / "relight.ndjson"
    result = CliRunner().invoke(main, ["setup", "kibana", "--output", str(path)], catch_exceptions=False)
    assert (result.exit_code, result.output) == (0, "")
    assert path.read_bytes() == ndjson(PREFIX)


def test_they_go_into_the_space_that_is_set(stand_in: Kibana) -> None:
    stand_in.spaces["training"] = {}
    result = relight_setup(stand_in, space="training")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Kibana at {stand_in.url}, space training: version")
    assert {name: len(there) for name, there in stand_in.spaces.items()} == {"default": 0, "training": len(OBJECTS)}


def test_a_slash_at_the_end_of_the_address_does_no_harm(stand_in: Kibana) -> None:
    stand_in.url += "/"
    assert relight_setup(stand_in).exit_code == 0


def test_a_space_that_is_missing_is_told_before_anything_is_sent(stand_in: Kibana) -> None:
    said = refusal(relight_setup(stand_in, space="nowhere"))
    assert "there is no space nowhere. Make it in Kibana, or correct kibana.space" in said
    assert [method for method, _ in stand_in.asked] == ["GET", "GET"]


def test_a_user_with_a_password_is_let_in(stand_in: Kibana) -> None:
    stand_in.allowed = (basic("änn", "pass:word"),)
    assert relight_setup(stand_in, username="änn", password="pass:word").exit_code == 0


def test_an_api_key_is_let_in(stand_in: Kibana) -> None:
    stand_in.allowed = ("ApiKey a2V5",)
    assert relight_setup(stand_in, api_key="a2V5").exit_code == 0


@pytest.mark.parametrize("space", [None, "default"])
def test_wrong_credentials_are_told_with_what_to_check_and_never_shown(stand_in: Kibana, space: str | None) -> None:
    stand_in.allowed = (basic("ann", "right"),)
    said = refusal(relight_setup(stand_in, username="ann", password="wr0ng", **({"space": space} if space else {})))
    assert "does not let relight in (401, [security_exception]: unable to authenticate user)" in said
    assert "Check kibana.username and password, or api_key" in said
    assert "wr0ng" not in said


def test_a_user_without_the_privilege_is_told_which_one_it_is(stand_in: Kibana) -> None:
    stand_in.may_import = False
    said = refusal(relight_setup(stand_in))
    assert "does not allow that (403, Unable to bulk_create" in said
    assert "the privilege all for Saved Objects Management in this space" in said


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"username": "ann"}, "kibana.username and kibana.password belong together"),
        ({"password": "x"}, "kibana.username and kibana.password belong together"),
        ({"username": "ann", "password": "x", "api_key": "k"}, "exclude each other"),
        ({"ca_file": "/nowhere/ca.pem"}, "kibana.ca_file: there is no file /nowhere/ca.pem"),
    ],
)
def test_settings_that_cannot_work_are_told(stand_in: Kibana, more: dict[str, str], said: str) -> None:
    assert said in refusal(relight_setup(stand_in, **more))
    assert stand_in.asked == []


def test_without_an_address_the_command_says_what_to_set() -> None:
    result = CliRunner().invoke(main, ["setup", "kibana"], catch_exceptions=False)
    assert "kibana.url is not set" in refusal(result)
    assert "--kibana URL" in result.stderr


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({"starting": True}, "is not ready (503, Kibana server is not ready yet): try again later"),
        ({"status": 503, "level": "unavailable"}, "is not ready (503, unavailable): try again later"),
        ({"level": "critical"}, "is not ready (critical): try again later"),
    ],
)
def test_a_kibana_that_is_not_ready_is_told_as_one(stand_in: Kibana, state: dict[str, Any], said: str) -> None:
    vars(stand_in).update(state)
    with pytest.raises(KibanaUnavailable, match=re.escape(said)):
        kibana.setup(told_to(stand_in), OBJECTS)
    assert stand_in.spaces == {"default": {}}


def test_a_kibana_that_is_degraded_takes_the_objects(stand_in: Kibana) -> None:
    stand_in.level = "degraded"
    assert kibana.setup(told_to(stand_in), OBJECTS).as_wanted


def test_a_kibana_that_is_too_old_is_told(stand_in: Kibana) -> None:
    stand_in.version = "7.17.9"
    with pytest.raises(KibanaRefused, match=r"is Kibana 7\.17\.9\. relight needs Kibana 8 or newer"):
        kibana.setup(told_to(stand_in), OBJECTS)


def test_a_base_path_that_is_missing_is_not_kibana(stand_in: Kibana) -> None:
    stand_in.url += "/kibana"
    said = refusal(relight_setup(stand_in))
    assert "this is not Kibana: /api/status is answered with 404" in said
    assert "Kibana's base path" in said


@pytest.mark.elasticsearch
def test_elasticsearch_is_not_kibana(elasticsearch_url: str) -> None:
    with pytest.raises(KibanaRefused, match="this is not Kibana"):
        kibana.setup(models.Kibana(url=elasticsearch_url), OBJECTS)


def test_a_kibana_that_is_not_there_is_one_line_and_status_2() -> None:
    (port,) = free_ports(1)
    said = refusal(relight_setup(Kibana(url=f"http://127.0.0.1:{port}")))
    assert "no answer" in said
    assert "refused" in said


def test_an_object_that_is_not_taken_is_told_with_the_reason_and_the_others_are_imported(stand_in: Kibana) -> None:
    stand_in.refused = {
        f"{PREFIX}-overview": {"type": "unknown", "message": "[panelsJSON]: expected value", "statusCode": 400},
        f"{PREFIX}-dead-hosts": {"type": "conflict"},
    }
    result = relight_setup(stand_in)
    assert result.exit_code == 1
    said = [told for told in result.stdout.splitlines()[1:] if not told.endswith(": imported")]
    assert said == [
        "search [relight] Dead hosts: not imported: conflict",
        "dashboard [relight] Overview of incidents: not imported: unknown, [panelsJSON]: expected value",
    ]
    assert len(stand_in.spaces["default"]) == len(OBJECTS) - 2


def test_an_object_that_refers_to_what_is_not_there_is_told_with_what_is_missing(stand_in: Kibana) -> None:
    searches = list(SEARCHES.values())[:1]
    outcome = kibana.setup(told_to(stand_in), searches)
    assert not outcome.as_wanted
    assert outcome.lines[1].endswith(": not imported: it refers to what is not there (index-pattern relight-incidents)")


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key with a certificate for 127.0.0.1 that is its own authority."""
    if which("openssl") is None:
        pytest.skip("NOT TESTED: there is no `openssl`")
    folder = tmp_path_factory.mktemp("tls")
    key = ["-newkey", "rsa:2048", "-nodes", "-keyout", str(folder / "key.pem"), "-out", str(folder / "ca.pem")]
    whose = ["-subj", "/CN=kibana", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
    subprocess.run(["openssl", "req", "-x509", *key, *whose], capture_output=True, check=True)
    both = folder / "both.pem"
    both.write_text((folder / "key.pem").read_text() + (folder / "ca.pem").read_text())
    return both


def test_with_the_ca_file_the_server_is_believed_and_without_it_not(certificate: Path) -> None:
    with kibana_stand_in(certificate) as found:
        assert kibana.setup(told_to(found, ca_file=certificate.parent / "ca.pem"), OBJECTS).as_wanted
        with pytest.raises(KibanaRefused, match=r"TLS failed \(.*\)\. Check https, and kibana\.ca_file"):
            kibana.setup(told_to(found), OBJECTS)


def test_https_where_http_is_spoken_is_a_problem_of_tls(stand_in: Kibana) -> None:
    stand_in.url = stand_in.url.replace("http:", "https:")
    with pytest.raises(KibanaRefused, match="TLS failed"):
        kibana.setup(told_to(stand_in), OBJECTS)


def test_a_file_that_holds_no_certificate_is_a_problem_of_tls(stand_in: Kibana, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    stand_in.url = stand_in.url.replace("http:", "https:")
    with pytest.raises(KibanaRefused, match=r"kibana\.ca_file"):
        kibana.setup(told_to(stand_in, ca_file=tmp_path / "ca.pem"), OBJECTS)
