"""What the containers of docker/ run, here without containers: scripts, health checks, Kafka's settings."""

import base64
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from relight.metrics import Health, StageMetrics, serve
from relight.settings import Settings
from relight.transports.connection import KafkaConnection
from relight.transports.kafka import KafkaLog
from tests.relight.docker_stack import (
    DOCKER,
    ROOT,
    SERVICES,
    interpolated,
)
from tests.servers.jars import NoJars, jars
from tests.servers.missing import not_tested
from tests.servers.process import NotStarted, Process, free_ports


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
