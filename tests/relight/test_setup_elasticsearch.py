"""`relight setup elasticsearch`, on a real server: what is missing is made, what differs is changed only when asked."""

import json
import re
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from click.testing import CliRunner, Result
from elasticsearch import Elasticsearch

from relight.cli import main
from relight.settings import models
from relight.stores.elastic import ElasticStore
from relight.stores.elastic_client import connect
from relight.stores.elastic_differences import differences, fits, flat
from relight.stores.elastic_setup import layout, wanted
from relight.stores.port import StoreRefused
from tests.contract.store_stories import document, line
from tests.servers.process import free_ports

on_a_server = pytest.mark.elasticsearch
NO_LIFECYCLE = "this cluster has no index lifecycle management"


@pytest.fixture
def own(elasticsearch_url: str) -> models.Elasticsearch:
    return models.Elasticsearch(hosts=(elasticsearch_url,), prefix=f"t{uuid4().hex[:8]}", replicas=0)


@pytest.fixture
def client(own: models.Elasticsearch) -> Iterator[Elasticsearch]:
    with connect(own) as client:
        yield client
        for index in client.indices.get(index=f"{own.prefix}-*", allow_no_indices=True):
            client.indices.delete(index=index)
        client.options(ignore_status=404).indices.delete_index_template(name=f"{own.prefix}-*")
        for name in layout()["components"]:
            client.options(ignore_status=404).cluster.delete_component_template(name=f"{own.prefix}-{name}")


def state_versions(client: Elasticsearch, prefix: str) -> dict[str, Any]:
    """Return what the cluster's state holds below a prefix, with the versions that count changes of indices."""
    told = client.cluster.state(metric="metadata", index=f"{prefix}-*")["metadata"]
    indices = {
        name: (index["version"], index["mapping_version"], index["settings_version"], index["aliases_version"])
        for name, index in told["indices"].items()
    }
    templates = client.indices.get_index_template(name=f"{prefix}-*")["index_templates"]
    components = client.cluster.get_component_template(name=f"{prefix}-*")["component_templates"]
    return {"indices": indices, "templates": templates, "components": components}


def relight_setup(own: models.Elasticsearch, *arguments: str, replicas: int = 0) -> Result:
    environment = {"RELIGHT_ELASTICSEARCH__PREFIX": own.prefix, "RELIGHT_ELASTICSEARCH__REPLICAS": str(replicas)}
    words = ["setup", "elasticsearch", "--elasticsearch", ",".join(own.hosts), *arguments]
    return CliRunner(env=environment).invoke(main, words, catch_exceptions=False)


def told(result: Result, word: str) -> list[str]:
    return [said for said in result.stdout.splitlines() if word in said]


# What is made


@on_a_server
def test_the_first_time_everything_is_made_and_the_store_can_be_used(
    own: models.Elasticsearch, client: Elasticsearch
) -> None:
    result = relight_setup(own)
    assert result.exit_code == 0, result.output
    pieces = [f"{piece.kind} {piece.name}" for piece in wanted(own, None)]
    indices = [f"index {own.prefix}-incidents-1", f"index {own.prefix}-timeline-1"]
    assert result.stdout.splitlines()[1:-1] == [f"{name}: created" for name in [*pieces, *indices]]
    with ElasticStore(own) as store:
        store.check()
        assert store.put_incidents([document(1)]) == []
        assert store.put_lines([line("one")]) == []


@on_a_server
def test_the_second_time_says_so_and_changes_nothing_in_the_cluster(
    own: models.Elasticsearch, client: Elasticsearch
) -> None:
    relight_setup(own)
    before = state_versions(client, own.prefix)
    for arguments in ((), ("--apply",)):
        result = relight_setup(own, *arguments)
        assert result.exit_code == 0
        assert result.stdout.splitlines()[1] == "templates and indices are as wanted"
    assert state_versions(client, own.prefix) == before


@on_a_server
def test_a_dry_run_makes_nothing_and_ends_with_status_1(own: models.Elasticsearch, client: Elasticsearch) -> None:
    result = relight_setup(own, "--dry-run", "--apply")
    assert result.exit_code == 1
    assert len(told(result, ": would be created")) == 9
    assert told(result, ": created") == []
    assert not client.indices.exists_index_template(name=f"{own.prefix}-*")
    assert not client.indices.get(index=f"{own.prefix}-*", allow_no_indices=True)


@on_a_server
def test_a_server_without_lifecycles_says_that_lines_are_kept(own: models.Elasticsearch, client: Elasticsearch) -> None:
    (said,) = told(relight_setup(own), NO_LIFECYCLE)
    assert f"until you delete their daily indices, {own.prefix}-logs-*" in said
    logs = client.cluster.get_component_template(name=f"{own.prefix}-logs")["component_templates"][0]
    assert "lifecycle" not in logs["component_template"]["template"]["settings"]["index"]


def test_a_server_with_lifecycles_gets_a_policy_that_deletes_lines_when_they_are_old() -> None:
    pieces = {(piece.kind, piece.name): piece.body for piece in wanted(models.Elasticsearch(), 12)}
    policy = pieces["lifecycle policy", "relight-logs"]["policy"]
    assert policy == {"phases": {"delete": {"min_age": "12d", "actions": {"delete": {}}}}}
    logs = pieces["component template", "relight-logs"]["template"]["settings"]["index"]
    assert logs["lifecycle"] == {"name": "relight-logs"}
    others = [body for (_, name), body in pieces.items() if name.endswith(("-incidents", "-timeline"))]
    assert "lifecycle" not in str(others)


# What differs


@on_a_server
def test_a_template_changed_by_hand_is_told_and_changed_only_with_apply(
    own: models.Elasticsearch, client: Elasticsearch
) -> None:
    relight_setup(own)
    name = f"{own.prefix}-timeline"
    template = {"settings": {"index": {"refresh_interval": "30s"}}, "mappings": {"dynamic": "strict"}}
    client.cluster.put_component_template(name=name, template=template)
    changed = state_versions(client, own.prefix)
    said = f"component template {name}: template.settings.index.refresh_interval is 30s, wanted is 1s"
    for arguments, fate in (
        ((), "left as it is; --apply changes it"),
        (("--apply", "--dry-run"), "would be changed"),
    ):
        result = relight_setup(own, *arguments)
        assert (result.exit_code, told(result, "refresh_interval")) == (1, [f"{said}: {fate}"])
        assert told(result, "relight.properties.id.type is not set, wanted is keyword")
        assert told(result, "are as wanted") == []
        assert state_versions(client, own.prefix) == changed
    result = relight_setup(own, "--apply")
    assert (result.exit_code, told(result, "refresh_interval")) == (0, [f"{said}: changed"])
    assert relight_setup(own).stdout.splitlines()[1] == "templates and indices are as wanted"


@on_a_server
def test_an_index_template_that_lost_its_alias_or_a_component_is_told(
    own: models.Elasticsearch, client: Elasticsearch
) -> None:
    relight_setup(own)
    client.indices.put_index_template(
        name=f"{own.prefix}-incidents", index_patterns=[f"{own.prefix}-incidents-*"], priority=250,
        composed_of=[f"{own.prefix}-ecs"], meta={"managed_by": "relight"},
    )  # fmt: skip
    said = relight_setup(own)
    assert said.exit_code == 1
    assert told(said, f"template.aliases.{own.prefix}-incidents is not set")
    assert told(said, f"composed_of is {own.prefix}-ecs, wanted is {own.prefix}-ecs, {own.prefix}-incidents")
    assert relight_setup(own, "--apply").exit_code == 0
    assert relight_setup(own).exit_code == 0


def go_back_to_a_version_without_levels(own: models.Elasticsearch, client: Elasticsearch) -> None:
    """Make what is there as an older version had it, which knew no `log.level`."""
    (ecs,) = [deepcopy(piece.body) for piece in wanted(own, None) if piece.name == f"{own.prefix}-ecs"]
    del ecs["template"]["mappings"]["properties"]["log"]["properties"]["level"]
    client.cluster.put_component_template(name=f"{own.prefix}-ecs", **ecs)
    client.indices.delete(index=f"{own.prefix}-incidents-1")
    client.indices.create(index=f"{own.prefix}-incidents-1")


@on_a_server
def test_an_index_whose_mapping_lacks_fields_gets_them_with_apply(
    own: models.Elasticsearch, client: Elasticsearch
) -> None:
    relight_setup(own)
    go_back_to_a_version_without_levels(own, client)
    with ElasticStore(own) as store:
        assert store.put_lines([line("old", level=None)]) == []
    day = f"{own.prefix}-logs-2026.05.12"
    result = relight_setup(own)
    assert result.exit_code == 1
    for index in (day, f"{own.prefix}-incidents-1"):
        assert told(
            result, f"index {index}: its mapping has properties.log.properties.level.type is not set, wanted is"
        )
    assert "would be changed" in relight_setup(own, "--apply", "--dry-run").stdout
    with ElasticStore(own) as store, pytest.raises(StoreRefused, match="--apply"):
        store.put_lines([line("new")])
    assert relight_setup(own, "--apply").exit_code == 0
    assert relight_setup(own).exit_code == 0
    with ElasticStore(own) as store:
        assert store.put_lines([line("new")]) == []


@on_a_server
def test_an_index_with_another_type_is_told_with_what_to_do_and_left(
    own: models.Elasticsearch, client: Elasticsearch
) -> None:
    relight_setup(own)
    index = f"{own.prefix}-timeline-1"
    client.indices.delete(index=index)
    other = {"dynamic": "strict", "properties": {"event": {"properties": {"action": {"type": "text"}}}}}
    client.indices.put_index_template(
        name=f"{own.prefix}-x", index_patterns=[index], priority=999, template={"mappings": other}
    )
    client.indices.create(index=index, aliases={f"{own.prefix}-timeline": {}})
    client.indices.delete_index_template(name=f"{own.prefix}-x")
    for arguments in ((), ("--apply",)):
        before = client.indices.get_mapping(index=index)
        result = relight_setup(own, *arguments)
        assert result.exit_code == 1
        (said,) = told(result, "action.type")
        assert said == (
            f"index {index}: its mapping has properties.event.properties.action.type is text, wanted is keyword: that"
            " cannot be changed: delete the index, set up again, and run `relight replay --into store`"
        )
        assert client.indices.get_mapping(index=index) == before
    client.indices.delete(index=index)
    assert relight_setup(own).exit_code == 0


@on_a_server
def test_an_index_with_other_copies_gets_as_many_as_are_wanted_with_apply(
    own: models.Elasticsearch, client: Elasticsearch
) -> None:
    relight_setup(own, replicas=1)
    assert relight_setup(own, replicas=1).exit_code == 0
    result = relight_setup(own)
    said = "index.number_of_replicas is 1, wanted is 0: left as it is; --apply changes it"
    assert result.exit_code == 1
    assert told(result, f"index {own.prefix}-incidents-1: ") == [f"index {own.prefix}-incidents-1: {said}"]
    assert relight_setup(own, "--apply").exit_code == 0
    assert client.indices.get(index=f"{own.prefix}-incidents-1")[f"{own.prefix}-incidents-1"]["settings"]["index"][
        "number_of_replicas"
    ] == "0"  # fmt: skip
    assert relight_setup(own).exit_code == 0


@on_a_server
def test_an_index_that_lost_its_alias_gets_it_back(own: models.Elasticsearch, client: Elasticsearch) -> None:
    relight_setup(own)
    client.indices.delete_alias(index=f"{own.prefix}-incidents-1", name=f"{own.prefix}-incidents")
    assert relight_setup(own).exit_code == 0
    assert client.indices.exists_alias(name=f"{own.prefix}-incidents")


@on_a_server
def test_an_alias_of_two_indices_is_looked_at_in_both(own: models.Elasticsearch, client: Elasticsearch) -> None:
    relight_setup(own)
    client.indices.create(index=f"{own.prefix}-incidents-2")
    assert relight_setup(own).exit_code == 0


@on_a_server
def test_an_index_where_an_alias_has_to_be_is_told_with_what_to_do(
    own: models.Elasticsearch, client: Elasticsearch
) -> None:
    client.indices.create(index=f"{own.prefix}-incidents")
    for arguments in ((), ("--dry-run",)):
        result = relight_setup(own, *arguments)
        assert (result.exit_code, result.stdout) == (2, "")
        (said,) = result.stderr.splitlines()
        assert f"{own.prefix}-incidents is an index, and has to be an alias of {own.prefix}-incidents-1" in said
        assert "Delete it, and set up again" in said


# What goes wrong


def test_without_elasticsearch_the_command_says_what_to_set() -> None:
    result = CliRunner().invoke(main, ["setup", "elasticsearch"], catch_exceptions=False)
    assert (result.exit_code, result.stdout) == (2, "")
    (said,) = result.stderr.splitlines()
    assert "elasticsearch.hosts is not set" in said
    assert "--elasticsearch URL" in said


def test_a_server_that_is_not_there_is_one_line_and_status_2() -> None:
    (port,) = free_ports(1)
    result = CliRunner().invoke(
        main, ["setup", "elasticsearch", "--elasticsearch", f"http://127.0.0.1:{port}"], catch_exceptions=False
    )
    assert (result.exit_code, result.stdout) == (2, "")
    (said,) = result.stderr.splitlines()
    assert f"Elasticsearch at http://127.0.0.1:{port}: no answer" in said


def test_a_host_that_is_no_url_is_one_line_and_status_2() -> None:
    result = CliRunner().invoke(
        main, ["setup", "elasticsearch", "--elasticsearch", "node-1:9200"], catch_exceptions=False
    )
    assert (result.exit_code, result.stdout) == (2, "")
    assert "'node-1:9200' is no URL" in result.stderr


@pytest.mark.parametrize("command", ["elasticsearch", "kibana"])
def test_an_option_before_the_commands_name_is_refused_for_it_is_of_topics(command: str) -> None:
    result = CliRunner().invoke(main, ["setup", "--apply", command], catch_exceptions=False)
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"write --apply behind `{command}`" in result.stderr


# How things are compared


def test_an_empty_object_that_is_wanted_has_to_be_there_whatever_it_holds() -> None:
    assert list(differences(flat({"delete": {"snapshot": True}}), flat({"delete": {}}))) == []
    assert list(differences(flat({"aliases": {"a": {}}}), flat({"aliases": {"a": {}}}))) == []
    assert list(differences(flat({"aliases": {}}), flat({"aliases": {"a": {}}}))) == [
        "aliases.a is not set, wanted is {}"
    ]


def test_settings_are_equal_however_they_are_nested_and_typed() -> None:
    assert (
        list(differences(flat({"index.replicas": "1", "on": "true"}), flat({"index": {"replicas": 1}, "on": True})))
        == []
    )


def test_a_mapping_fits_where_fields_are_missing_but_not_where_one_is_another() -> None:
    field = {"a": {"type": "keyword", "ignore_above": 10}}
    assert fits(flat(field), flat({"a": {"type": "keyword", "ignore_above": 20}, "b": {"type": "long"}}))
    assert not fits(flat(field), flat({"a": {"type": "text"}}))


# What operators are told

DOCUMENT = (Path(__file__).parents[2] / "docs/elasticsearch.md").read_text("utf-8")


def test_the_documented_roles_are_what_elasticsearch_takes_for_the_default_prefix() -> None:
    roles = [json.loads(text) for text in re.findall(r"```json\n(.*?)```", DOCUMENT, re.DOTALL)]
    assert len(roles) == 3
    for role in roles:
        assert set(role) == {"cluster", "indices"}
        assert [names for each in role["indices"] for names in each["names"]] == [f"{models.Elasticsearch().prefix}-*"]


def test_every_index_and_every_alias_is_documented() -> None:
    told = layout()["indices"].values()
    names = [kind[part] for kind in told for part in ("index", "alias") if part in kind] + ["logs-"]
    assert [name for name in names if f"`{models.Elasticsearch().prefix}-{name}" not in DOCUMENT] == []


def test_the_documented_fields_are_mapped() -> None:
    mapped = {
        path.removeprefix("properties.").removesuffix(".type").replace(".properties.", ".")
        for component in layout()["components"].values()
        for path in flat(component["mappings"])
    }
    table = DOCUMENT[DOCUMENT.index("| field | of |") :].partition("\n\n")[0]
    fields = [name for row in table.splitlines()[2:] for name in re.findall(r"`([^`]+)`", row.split("|")[1])]
    assert len(fields) > 8
    assert [name for name in fields if name not in mapped] == []
