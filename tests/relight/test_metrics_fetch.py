"""`relight metrics fetch`: a real Prometheus with a history of its own, and what is said where there is none."""

import base64
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from click.testing import CliRunner, Result

from diagnose.matching.acceptance import accepted_by
from ingest.decode import decoder_for
from ingest.series import queries_of
from relight.cli import main
from relight.fetched_folder import POSITION, FetchedFolder
from relight.fetching import Fetching, queries
from relight.prometheus import Prometheus
from relight.scanning import known
from relight.settings.monitoring import Prometheus as Settings
from schemas.record import Source
from tests.servers.listening import Quiet, listening, made_certificate
from tests.servers.prometheus_server import program, prometheus

UUID = "GPU-5d2f91aa-0c4e-7d11-b0f3-3f5e6f1c9a77"
BEGIN = 1_738_555_200  # 2025-02-03T04:00:00Z
GPU = f'{{gpu="3",UUID="{UUID}",Hostname="node07",instance="10.0.0.7:9400",modelName="H100"}}'


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Prometheus that has ten minutes of a GPU and of a host, a value every fifteen seconds."""
    folder = tmp_path_factory.mktemp("prometheus")
    series = {
        f"DCGM_FI_DEV_GPU_TEMP{GPU}": lambda n: 60 + n,
        f"DCGM_FI_DEV_FB_USED{GPU}": lambda n: 1024,
        f"DCGM_FI_DEV_XID_ERRORS{GPU}": lambda n: 79 if n > 20 else 0,
        'node_load1{instance="node08:9100",job="node"}': lambda n: 1.5,
        'node_filesystem_avail_bytes{instance="node08:9100",mountpoint="/scratch",device="/dev/md0",fstype="xfs"}':
            lambda n: 1e9 - n,
        'node_filesystem_avail_bytes{instance="node08:9100",mountpoint="/run",device="tmpfs",fstype="tmpfs"}':
            lambda n: 1,
    }  # fmt: skip
    told = [f"{name} {value(n)} {BEGIN + 15 * n}" for name, value in series.items() for n in range(41)]
    (folder / "history").write_text("\n".join([*told, "# EOF", ""]))
    command = [program("promtool", "prometheus"), "tsdb", "create-blocks-from", "openmetrics", "history", "data"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    with prometheus(folder, "global: {}\n", folder / "data") as address:
        assert _ready(address)
        yield address


def _ready(address: str) -> bool:
    with Prometheus(Settings(url=address, tries=10)) as source:
        return bool(source.range("node_load1", BEGIN, BEGIN + 15, 15))


def call(*arguments: Any) -> Result:
    return CliRunner().invoke(main, ["metrics", "fetch", *map(str, arguments)], prog_name="relight")


def fetch(url: str, folder: Path, *more: str) -> Result:
    return call(url, "-o", folder, "--since", "2025-02-03T04:00Z", "--until", "2025-02-03T04:10Z", *more)


def test_a_history_becomes_lines_by_host_and_day(url: str, tmp_path: Path) -> None:
    done = fetch(url, tmp_path / "m")
    assert (done.exit_code, "wrote 123 lines of 2 hosts" in done.output) == (0, True), done.output
    lines = (tmp_path / "m/node07/metrics-2025-02-03.log").read_text().splitlines()
    assert len(lines) == 41
    first = f"2025-02-03T04:00:00.000Z metric of=gpu host=node07 gpu=3 gpu_uuid={UUID}"
    assert lines[0] == f"{first} gpu_temperature_c=60 gpu_memory_used_bytes=1073741824 gpu_xid=0"
    assert lines[-1].endswith("gpu_temperature_c=100 gpu_memory_used_bytes=1073741824 gpu_xid=79")
    other = (tmp_path / "m/node08/metrics-2025-02-03.log").read_text().splitlines()
    assert other[0] == "2025-02-03T04:00:00.000Z metric of=disk host=node08 disk=/scratch disk_free_bytes=1000000000"
    assert other[1] == "2025-02-03T04:00:00.000Z metric of=host host=node08 host_load=1.5"
    assert not any("/run" in line for line in other)


def test_every_line_is_one_that_numbers_are_read_from(url: str, tmp_path: Path) -> None:
    assert fetch(url, tmp_path / "m").exit_code == 0
    metrics = [one for one in known(()).signatures if one.id in ("metric.gpu", "metric.host")]
    lines = [line for file in (tmp_path / "m").rglob("*.log") for line in file.read_bytes().splitlines()]
    decoder = decoder_for(Source("m"), b"\n".join(lines[:20]))
    for line in lines:
        read = decoder(line)
        assert read.origin.time_s is not None
        (accepted,) = [found for one in metrics if (found := accepted_by(one, read.message)) is not None]
        assert accepted["host"] in ("node07", "node08")


def test_what_was_fetched_is_read_by_scan(url: str, tmp_path: Path) -> None:
    assert fetch(url, tmp_path / "m").exit_code == 0
    read = CliRunner().invoke(main, ["scan", str(tmp_path / "m"), "-f", "json"], prog_name="relight")
    assert read.exit_code == 0, read.output
    assert json.loads(read.stdout)["scanned"]["lines"] == 123


def test_the_parts_that_a_range_is_asked_in_leave_no_trace(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fetch(url, tmp_path / "whole").exit_code == 0
    monkeypatch.setattr("relight.fetching.VALUES", 10)
    assert fetch(url, tmp_path / "parts").exit_code == 0
    for host in ("node07", "node08"):
        name = f"{host}/metrics-2025-02-03.log"
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_following_goes_on_where_it_was_left(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert fetch(url, tmp_path / "whole").exit_code == 0
    now = iter([BEGIN + 130.0, BEGIN + 135.0, BEGIN + 400.0, BEGIN + 630.0])
    monkeypatch.setattr("relight.fetching.time.time", lambda: next(now))
    with Prometheus(Settings(url=url)) as source:
        for rounds in (2, 2):  # started again in between
            turns = iter([False] * (rounds - 1) + [True])
            (tmp_path / "live").mkdir(exist_ok=True)
            Fetching(source, queries(None), FetchedFolder(tmp_path / "live"), 15).follow(
                BEGIN, 1, lambda s, t=turns: next(t)
            )  # type: ignore[misc]
    name = "node07/metrics-2025-02-03.log"
    assert (tmp_path / "live" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert json.loads((tmp_path / "live" / POSITION).read_bytes()) == {"until_s": BEGIN + 600}


def test_own_queries_are_asked_instead(url: str, tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("queries:\n  - {metric: host_load, of: host, query: 'avg_over_time(node_load1[1m]) * 2'}\n")
    assert fetch(url, tmp_path / "m", "--queries", str(own), "--step", "60").exit_code == 0
    assert [one.name for one in (tmp_path / "m").iterdir() if one.is_dir()] == ["node08"]
    lines = (tmp_path / "m/node08/metrics-2025-02-03.log").read_text().splitlines()
    assert lines[-1] == "2025-02-03T04:10:00.000Z metric of=host host=node08 host_load=3"


# What is wrong, in one line


def said(done: Result, *words: str) -> None:
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1), done.stderr
    assert [word for word in words if word not in done.stderr] == []


def test_nobody_at_the_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELIGHT_PROMETHEUS__TRIES", "2")
    said(
        fetch("http://127.0.0.1:9", tmp_path / "m"), "Prometheus at http://127.0.0.1:9: no answer", "Check that it runs"
    )


def test_no_url_and_no_sense(url: str, tmp_path: Path) -> None:
    said(call("-o", tmp_path / "m"), "prometheus.url is not set")
    said(call("ftp://x", "-o", tmp_path / "m"), "prometheus.url")
    said(call(url, "-o", tmp_path / "m", "--since", "soon"), "--since: 'soon' is no time")
    said(call(url, "-o", tmp_path / "m", "--since", "1h", "--until", "2h"), "nothing lies between them")
    said(call(url, "-o", tmp_path / "m", "--follow", "--until", "2h"), "--follow and --until exclude each other")
    said(call(url, "-o", tmp_path / "m", "--since", "1h"), "has none of the series in that time")


def test_a_folder_with_something_in_it_is_left_alone(url: str, tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "mine").touch()
    said(fetch(url, tmp_path / "m"), "is not empty", "--follow")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("queries: [", "this is not YAML"),
        ("queries: []", "queries: Tuple should have at least 1 item"),
        (
            "queries: [{metric: host_laod, of: host, query: up}]",
            "there is no metric 'host_laod': did you mean host_load?",
        ),
        ("queries: [{metric: host_load, of: rack, query: up}]", "queries.0.of"),
    ],
)
def test_a_file_of_queries_with_a_mistake(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(text)
    said(fetch("http://127.0.0.1:9", tmp_path / "m", "--queries", str(tmp_path / "own.yaml")), "own.yaml", words)


@pytest.mark.parametrize(("query", "reason"), [("node_load1[1m]", "invalid expression type"), ("sum(", "unclosed")])
def test_a_query_that_prometheus_does_not_take(query: str, reason: str, url: str, tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(f"queries: [{{metric: host_load, of: host, query: '{query}'}}]")
    said(fetch(url, tmp_path / "m", "--queries", str(tmp_path / "own.yaml")), query, reason, "--queries")


class Answering(Quiet):
    """Answers every question alike, and remembers who asked."""

    status, body, asked = 200, b"", list[tuple[str, dict[str, list[str]]]]()

    def do_POST(self) -> None:  # noqa: N802 - so is it called
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.asked.append((self.headers.get("Authorization", ""), parse_qs(body.decode())))
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (401, b"no", "prometheus.token"),
        (403, b"no", "prometheus.token"),
        (404, b"<html>no such page\x1b[31m</html>", "this is no Prometheus (404, <html>no such page</html>)"),
        (200, b"{}", "this is no Prometheus"),
        (200, b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"1"]}]}}', "range"),
        (302, b"", "is elsewhere"),
        (503, b'{"status":"error","error":"query timed out in expression evaluation"}', "too busy"),
        (422, b'{"status":"error","error":"query processing would load too many samples"}', "too many samples"),
    ],
)
def test_what_is_no_answer(
    status: int, body: bytes, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RELIGHT_PROMETHEUS__TRIES", "2")

    class Door(Answering):
        pass

    Door.status, Door.body, Door.asked = status, body, []
    with listening(Door) as address:
        said(fetch(address, tmp_path / "m"), words)
    assert len(Door.asked) == (2 if status == 503 else 1)


EMPTY = b'{"status":"success","data":{"resultType":"matrix","result":[]}}'


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({"TOKEN": "s3cret"}, "Bearer s3cret"),
        ({"USERNAME": "ann", "PASSWORD": "s3cret"}, f"Basic {base64.b64encode(b'ann:s3cret').decode()}"),
    ],
)
def test_credentials_and_a_certificate_of_ones_own(
    settings: dict[str, str], wanted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(f"RELIGHT_PROMETHEUS__{name}", value)

    class Door(Answering):
        pass

    Door.status, Door.body, Door.asked = 200, EMPTY, []
    with listening(Door, certificate=made_certificate(tmp_path)) as address:
        monkeypatch.setenv("RELIGHT_PROMETHEUS__TRIES", "1")
        said(fetch(address, tmp_path / "m"), "TLS failed", "prometheus.ca_file")
        monkeypatch.setenv("RELIGHT_PROMETHEUS__CA_FILE", str(tmp_path / "ca.pem"))
        said(fetch(address, tmp_path / "m"), "has none of the series")
    assert {who for who, _ in Door.asked} == {wanted}


def test_the_queries_that_come_with_it_name_each_metric_once() -> None:
    names = [query.metric for query in queries(None)]
    assert len(names) == len(set(names))


def test_a_query_file_is_data_and_no_program() -> None:
    with pytest.raises(Exception, match="not YAML"):
        queries_of("queries: !!python/object/apply:os.system [true]", "q.yaml")


def test_time_is_not_spent_on_what_cannot_help(tmp_path: Path) -> None:
    begun = time.monotonic()
    said(fetch("http://127.0.0.1:9", tmp_path / "m", "--queries", "/nowhere.yaml"), "/nowhere.yaml")
    assert time.monotonic() - begun < 2
