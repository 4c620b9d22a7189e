"""The alerts and the dashboard in docker/ name only metrics that there are, and Prometheus understands them."""

import json
import re
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import yaml

from relight.metrics import StageMetrics
from tests.relight.docker_stack import (
    DOCKER,
    PROMETHEUS,
    SERVICES,
    config,
    run,
)

DASHBOARD = json.loads((DOCKER / "grafana/dashboards/relight.json").read_text("utf-8"))
ALERTS = [
    rule for g in yaml.safe_load((PROMETHEUS / "alerts.yaml").read_text("utf-8"))["groups"] for rule in g["rules"]
]
ALERT_TESTS = yaml.safe_load((PROMETHEUS / "alerts_test.yaml").read_text("utf-8"))["tests"]
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES = [target["expr"] for panel in PANELS for target in panel["targets"]]
NOTES = [note["expr"] for note in DASHBOARD["annotations"]["list"] if "expr" in note]
LISTS = [variable["definition"] for variable in DASHBOARD["templating"]["list"] if "definition" in variable]
SERIES = [series["series"] for test in ALERT_TESTS for series in test["input_series"]]
OF_PROMETHEUS = {"up": set(), "ALERTS": {"alertname", "alertstate"}}
OF_ALL = {"job", "instance", "stage"}


def metrics() -> dict[str, set[str]]:
    """Return the names of all series of a stage, with the labels of each."""
    found: dict[str, set[str]] = dict(OF_PROMETHEUS)
    # The registry alone knows what labels a metric has that nothing was counted of yet.
    for metric, names in StageMetrics("match").registry._collector_to_names.items():
        for name in names:
            labels = set(metric._labelnames)  # type: ignore[attr-defined]
            found[name] = labels | {"le"} if name.endswith("_bucket") else labels
    return found


def named(expression: str) -> list[str]:
    return re.findall(r"\brelight_\w+|\bup\b|\bALERTS\b", expression)


@pytest.mark.parametrize("expression", sorted({*QUERIES, *NOTES, *LISTS, *SERIES, *(a["expr"] for a in ALERTS)}))
def test_an_expression_names_only_metrics_and_labels_that_there_are(expression: str) -> None:
    known = metrics()
    assert [name for name in named(expression) if name not in known] == []
    for name, selector in re.findall(r"(\w+)\{([^}]*)\}", expression):
        assert set(re.findall(r"(\w+)\s*[=!]~?\s*\"", selector)) <= known[name] | OF_ALL
    labels = set().union(OF_ALL, *(known[name] for name in named(expression)))
    grouped = re.findall(r"\bby \(([^)]*)\)", expression)
    assert {label.strip() for group in grouped for label in group.split(",")} <= labels


def test_the_dashboard_shows_every_metric_of_a_stage() -> None:
    shown = {re.sub("_bucket$", "", name) for expression in QUERIES for name in named(expression)}
    families = {family.name: family.type for family in StageMetrics("match").registry.collect()}
    wanted = {f"{name}_total" if kind == "counter" else name for name, kind in families.items()}
    assert wanted - shown == set()


def test_panels_have_ids_of_their_own_and_all_that_a_reader_needs() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    lacking = [
        panel["title"]
        for panel in PANELS
        if not (panel["description"] and panel["fieldConfig"]["defaults"]["unit"] and panel["targets"])
        or any(one["datasource"]["uid"] != "${datasource}" for one in (panel, *panel["targets"]))
    ]
    assert lacking == []


def test_panels_do_not_overlap() -> None:
    places = [panel["gridPos"] for panel in DASHBOARD["panels"]]
    cells = [(x, y) for p in places for x in range(p["x"], p["x"] + p["w"]) for y in range(p["y"], p["y"] + p["h"])]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24


def test_legends_and_variables_of_the_dashboard_exist() -> None:
    given = {variable["name"] for variable in DASHBOARD["templating"]["list"]} | {"__rate_interval"}
    used = re.findall(r"\$\{?(\w+)", json.dumps([panel["targets"] for panel in PANELS]))
    assert set(used) <= given
    for target in (target for panel in PANELS for target in panel["targets"]):
        labels = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
        kept = re.findall(r"\bby \(([^)]*)\)", target["expr"])
        assert labels <= {label.strip() for label in kept[0].split(",")} if kept else labels <= OF_ALL


def test_grafanas_data_source_and_dashboards_are_where_compose_puts_them() -> None:
    (source,) = config("grafana/provisioning/datasources/prometheus.yaml")["datasources"]
    (provider,) = config("grafana/provisioning/dashboards/relight.yaml")["providers"]
    assert source["url"] == "http://prometheus:9090"
    assert f"./grafana/dashboards:{provider['options']['path']}:ro" in SERVICES["grafana"]["volumes"]


@pytest.mark.parametrize("rule", ALERTS, ids=[rule["alert"] for rule in ALERTS])
def test_an_alert_says_how_bad_it_is_and_what_to_do_and_was_tried_both_ways(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert {"summary", "description"} == set(rule["annotations"])
    cases = [case for test in ALERT_TESTS for case in test["alert_rule_test"] if case["alertname"] == rule["alert"]]
    assert {bool(case["exp_alerts"]) for case in cases} == {True, False}


@pytest.mark.parametrize(
    "arguments",
    [("check", "config", "prometheus.yaml"), ("check", "rules", "alerts.yaml"), ("test", "rules", "alerts_test.yaml")],
    ids=" ".join,
)
def test_promtool_is_content(arguments: tuple[str, ...]) -> None:
    run("promtool", "Debian: prometheus", *arguments, cwd=PROMETHEUS)


def test_prometheus_understands_every_query_of_the_dashboard(tmp_path: Path) -> None:
    number = count()
    queries = [re.sub(r"\$__\w+", "5m", query).replace("$stage", ".*").replace("$instance", ".*") for query in QUERIES]
    rules = [{"record": f"query:{next(number)}", "expr": query} for query in (*queries, *NOTES)]
    (tmp_path / "queries.yaml").write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    run("promtool", "Debian: prometheus", "check", "rules", "queries.yaml", cwd=tmp_path)
