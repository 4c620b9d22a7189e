"""The compose file in docker/ is valid, and names only what there is."""

import os
import re
from pathlib import Path

import click
import pytest
import yaml

from relight.cli import main
from relight.settings import Settings, resolve
from tests.relight.docker_stack import (
    COMPOSE,
    DOCKER,
    SERVICES,
    config,
    each_service,
    ends_by_itself,
    interpolated,
    own,
    variables,
)
from tests.servers.missing import not_tested

SECRET = re.compile(r"PASSWORD|SECRET|TOKEN|KEY(?!S__FOLDER)")


def test_the_compose_file_keeps_to_the_specification() -> None:
    try:
        from compose_spec import PyCompose
    except ImportError:
        not_tested("there is no package compose-spec (PyPI)")
    PyCompose.from_yaml(yaml.safe_dump(interpolated(COMPOSE))).validate()


def test_the_example_of_the_environment_lists_all_variables_and_gives_no_secret() -> None:
    lines = (DOCKER / "env.example").read_text("utf-8").splitlines()
    assert {line.partition("=")[0] for line in lines if "=" in line and not line.startswith("#")} == variables(COMPOSE)
    assert [line for line in lines if "=" in line and not line.startswith("#") and not line.endswith("=")] == []


@each_service
def test_an_image_has_an_exact_version_or_is_built_here(name: str) -> None:
    image = SERVICES[name]["image"]
    assert own(SERVICES[name]) or re.fullmatch(r"[\w./-]+:v?\d+\.\d+\.\d+", image), image


@each_service
def test_a_service_is_restarted_bounded_and_nobody_special(name: str) -> None:
    service = SERVICES[name]
    assert service["restart"] in {"unless-stopped", "no"}
    assert ends_by_itself(service) == name.startswith("setup-")
    assert {"mem_limit", "logging"} <= set(service)
    assert int(service["user"].partition(":")[0]) > 0
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service.get("read_only", False) == own(service)


@each_service
def test_a_service_tells_its_health_unless_it_ends_by_itself(name: str) -> None:
    assert ("healthcheck" in SERVICES[name]) != ends_by_itself(SERVICES[name])


@each_service
def test_a_service_waits_for_what_can_come_true(name: str) -> None:
    for other, how in SERVICES[name].get("depends_on", {}).items():
        wanted = "service_completed_successfully" if ends_by_itself(SERVICES[other]) else "service_healthy"
        assert how == {"condition": wanted}, other


@each_service
def test_ports_are_open_to_this_machine_only(name: str) -> None:
    assert [port for port in SERVICES[name].get("ports", []) if not port.startswith("127.0.0.1:")] == []


@each_service
def test_secrets_come_from_variables_that_must_be_set_and_stand_in_the_environment_only(name: str) -> None:
    service = SERVICES[name]
    secret = {key: str(value) for key, value in service.get("environment", {}).items() if SECRET.search(key)}
    assert [key for key, value in secret.items() if not re.fullmatch(r"\$\{\w+:\?[^}]+\}", value)] == []
    rest = {key: value for key, value in service.items() if key != "environment"}
    assert [variable for variable in variables(rest) if SECRET.search(variable)] == []


def test_kibana_has_no_variable_that_its_launcher_would_put_on_the_command_line() -> None:
    file = (DOCKER / "kibana/kibana.yaml").read_text("utf-8")
    names = set(SERVICES["kibana"]["environment"])
    assert names == variables(file)
    assert [name for name in names if name.startswith(("ELASTICSEARCH_", "SERVER_", "XPACK_"))] == []
    assert yaml.safe_load(file)["elasticsearch.username"] == "kibana_system"


@each_service
def test_what_is_mounted_is_there(name: str) -> None:
    for volume in SERVICES[name].get("volumes", []):
        if isinstance(volume, str):
            source, _, target = volume.partition(":")
            assert (DOCKER / source).exists() if source.startswith(".") else source in COMPOSE["volumes"]
            assert not source.startswith(".") or target.endswith(":ro")
        else:
            assert volume["read_only"]


@each_service
def test_relights_settings_exist_and_are_valid(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    for variable in [variable for variable in os.environ if variable.startswith("RELIGHT_")]:
        monkeypatch.delenv(variable)
    for variable, value in interpolated(SERVICES[name].get("environment", {})).items():
        monkeypatch.setenv(variable, value)
    settings: Settings = resolve().settings
    assert settings.metrics.port == (9100 if own(SERVICES[name]) and not ends_by_itself(SERVICES[name]) else 0)


@pytest.mark.parametrize("name", [name for name, service in SERVICES.items() if own(service)])
def test_relights_commands_exist_and_take_these_arguments(name: str) -> None:
    command, words = main, list(SERVICES[name]["command"])
    while isinstance(command, click.Group) and words and words[0] in command.commands:
        command, words = command.commands[words[0]], words[1:]
    assert not isinstance(command, click.Group) or command.invoke_without_command
    command.make_context(name, words)


def test_prometheus_asks_all_stages_and_only_services_that_there_are() -> None:
    (job,) = [j for j in config("prometheus/prometheus.yaml")["scrape_configs"] if j["job_name"] == "relight"]
    (found,) = job["dns_sd_configs"]
    assert set(found["names"]) == {n for n, s in SERVICES.items() if own(s) and not ends_by_itself(s)}
    assert found["port"] == 9100
