"""Alerts that an Alertmanager posts become lines, signals and incidents: each once, and only from who may post."""

import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import orjson
import pytest
import urllib3
import wording
import yaml
from fleet import Fleet, events, records, until
from lab import Lab
from urllib3.exceptions import HTTPError

from relight.deadletters import read, whole
from relight.stages.receiving import PATH
from relight.stages.refusals import SPAN_BYTES, SPAN_S, Refusals
from relight.topics import DEADLETTERS, LOGS, SIGNALS
from relight.transports.opening import open_log
from relight.transports.port import Outgoing, Refused, Unavailable
from schemas.action import ACTIONS
from schemas.signal import Signal
from schemas.vocabulary import Provenance
from tests.servers.listening import Quiet, listening
from tests.servers.process import free_ports
from tests.servers.prometheus_server import alertmanager, prometheus

TOKEN: Final = "0123456789abcdef-of-a-test"
DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "prometheus.md"
RULES: Final = Path(__file__).parents[2] / "docs" / "examples" / "gpu-alerts.yaml"
UUID: Final = "GPU-5d2f91aa-0c4e-7d11-b0f3-3f5e6f1c9a77"
GPU: Final = {"gpu": "3", "UUID": UUID, "pci_bus_id": "00000000:3B:00.0", "Hostname": "node1"}
XID: Final = {"alertname": "GpuXidError", "severity": "critical", "xid": "79", **GPU}


@pytest.fixture
def token(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    file.chmod(0o600)
    return file


@pytest.fixture
def lab(tmp_path: Path, token: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    lab = Lab(tmp_path, {"receive.token_file": token})
    yield lab
    lab.log.close()


def alert(labels: dict[str, str] = XID, status: str = "firing", **more: Any) -> dict[str, Any]:
    """Return an alert as the documentation of Alertmanager shows it."""
    begun = time.strftime("%Y-%m-%dT%H:%M:%S.123456789Z", time.gmtime(time.time() - 60))
    return {
        "status": status, "labels": labels, "annotations": {"summary": "Xid on GPU 3 of node1"}, "startsAt": begun,
        "endsAt": "0001-01-01T00:00:00Z", "generatorURL": "http://prometheus:9090/graph?g0.expr=1",
        "fingerprint": "c4ca4238a0b92382", **more,
    }  # fmt: skip


def webhook(*alerts: dict[str, Any], **more: Any) -> bytes:
    """Return a payload of version 4."""
    return orjson.dumps({
        "version": "4", "groupKey": "{}:{alertname=\"GpuXidError\"}", "truncatedAlerts": 0, "status": "firing",
        "receiver": "relight", "groupLabels": {}, "commonLabels": {}, "commonAnnotations": {},
        "externalURL": "http://alertmanager:9093", "alerts": alerts, **more,
    })  # fmt: skip


def post(url: str, body: bytes, token: str | None = TOKEN, **headers: str) -> tuple[int, str]:
    """Post, and return the status and what is said."""
    own = {"Authorization": f"Bearer {token}"} if token is not None else {}
    told = {"Content-Type": "application/json", **own, **headers}
    answer = urllib3.request("POST", url, body=body, headers=told, timeout=20, retries=False)
    return answer.status, answer.data.decode()


def lines(lab: Lab) -> list[str]:
    return [record.value.decode().rstrip() for record in records(lab.log, LOGS) if record.value]


def signals(lab: Lab) -> dict[str, Signal]:
    return {event.data.id: event.data for event in events(lab.log, SIGNALS) if isinstance(event.data, Signal)}


def cause(lab: Lab) -> Any:
    """Return the diagnosis of the only incident when it is settled."""
    found = until(lambda: [one for one in lab.incidents() if one.settled], 20)
    assert len(found) == 1, lab.incidents()
    return found[0].diagnosed


# From an alert to an incident


def test_an_alert_becomes_an_incident_with_its_host_and_its_gpu(lab: Lab) -> None:
    with lab.receiving() as url, lab.running("match", "correlate"):
        assert post(url, webhook(alert())) == (200, '{"kept":1}\n')
        found = cause(lab)
    assert (found.diagnosis.fault, found.diagnosis.signature) == ("gpu.fallen_off_bus", "alert.gpu-xid.79")
    assert (found.diagnosis.culprit.host, found.diagnosis.culprit.gpu) == ("node1", UUID)
    assert found.diagnosis.first_cause.text.endswith('severity=critical summary="Xid on GPU 3 of node1"')
    (said,) = signals(lab).values()
    assert (said.provenance, said.attested, said.vouched) == (Provenance.MONITOR, True, True)


def everything_is_allowed(lab: Lab) -> None:
    """Let a GPU that is gone be answered with every step on a machine, and nobody asked."""
    playbooks = lab.folder / "playbooks.yaml"
    steps = ("cordon_node", "drain_node", "reset_gpu", "reboot_node", "replace_node", "notify")
    rungs = "".join(
        f"      - {{action: {one}, approval: never, timeout: 30m, why: It is tried here.}}\n" for one in steps
    )
    playbooks.write_text(
        "playbooks:\n  - id: gpu.fallen-off-bus\n    title: Every step on a machine\n"
        f"    faults: gpu.fallen_off_bus\n    ladder:\n{rungs}"
    )
    lab.more = {**lab.more, "remediate.playbooks": (playbooks,)}


def test_an_alert_alone_takes_no_machine_away(lab: Lab) -> None:
    everything_is_allowed(lab)
    with lab.receiving() as url, lab.running():
        assert post(url, webhook(alert()))[0] == 200
        assert lab.climbed("notify") == ["notify"]
    (incident,) = lab.incidents()
    assert incident.diagnosed is not None
    assert (incident.diagnosed.provenance_verified, incident.diagnosed.witnessed) == (True, False)
    planned = {command.plan.action.kind for command in lab.commands() if command.plan}
    assert not {name for name in planned if ACTIONS[name].of_a_machine}


def test_with_the_kernels_own_word_it_is_acted_on_though_the_alert_says_it_began_before(lab: Lab) -> None:
    everything_is_allowed(lab)
    output = lab.folder / "jobs" / "node1" / "slurm-4242.out"
    output.parent.mkdir(parents=True)
    begun_s = time.time() - 120
    steps = [wording.megatron_iteration(begun_s + n, 100 + n, 5000, 2.3, 1000.0) for n in range(40)]
    output.write_text("".join(f"{line}\n" for line in ("training ...", *steps)))
    lab.ship(output)
    kernel = lab.folder / "kern.log"
    xid = "kernel: [12345.678901] NVRM: Xid (PCI:0000:3b:00): 79, pid=4711, GPU has fallen off the bus."
    kernel.write_text(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}+00:00 node1 {xid}\n")
    lab.ship(kernel, host="node1", provenance="kernel")
    with lab.receiving() as url:
        assert post(url, webhook(alert()))[0] == 200
        with lab.running():
            assert until(lambda: "cordon_node" in lab.issued(), 20), lab.issued()
    (incident,) = lab.incidents()
    assert incident.diagnosed is not None
    assert (incident.diagnosed.diagnosis.signature, incident.diagnosed.witnessed) == ("nvrm.xid.79", True)


def test_an_alert_that_is_over_is_no_fault(lab: Lab) -> None:
    ended = alert(status="resolved", endsAt="2026-01-01T00:00:00Z")
    with lab.receiving() as url, lab.running("match", "correlate"):
        assert post(url, webhook(ended, alert({**XID, "alertname": "GpuPowerViolation"}, fingerprint="1")))[0] == 200
        assert until(lambda: signals(lab), 10)
    assert [one.signature for one in signals(lab).values()] == ["alert.gpu-power"]
    assert any(" alert resolved GpuXidError " in line for line in lines(lab))


def test_an_alert_that_is_sent_again_changes_nothing_whatever_its_annotations_say_by_now(lab: Lab) -> None:
    first = alert()
    with lab.receiving() as url, lab.running("match", "correlate"):
        assert post(url, webhook(first))[0] == 200
        cause(lab)
        told = signals(lab), lab.incidents()
        for text in ("", "It is still so.", "It is still so: " + "very " * 60):
            again = {**first, "annotations": {"summary": text}}
            assert post(url, webhook(again, again))[0] == 200
        other = {"alertname": "GpuThermalViolation", "Hostname": "node2"}
        assert post(url, webhook(alert(other, fingerprint="2")))[0] == 200
        assert until(lambda: len(signals(lab)) > 1, 10)
        assert until(lambda: lab.log.positions("relight.match", LOGS)[0] >= lab.log.spans(LOGS)[0].end - 1, 10)
    again, incidents = signals(lab), lab.incidents()
    assert {name: again[name] for name in told[0]} == told[0]
    assert incidents == told[1]


def test_an_alert_of_a_jobs_pod_joins_the_job(lab: Lab) -> None:
    labels = {"alertname": "KubePodCrashLooping", "pod": "llm-worker-3", "job": "kube-state-metrics",
              "instance": "10.0.0.1:8080"}  # fmt: skip
    with lab.receiving() as url, lab.running("match", "correlate"):
        assert post(url, webhook(alert(labels)))[0] == 200
        found = cause(lab)
        (incident,) = lab.incidents()
    assert incident.opened is not None
    assert (incident.opened.job, found.diagnosis.fault) == ("llm", "launcher.worker_exit")


def test_what_relight_tells_an_alertmanager_does_not_come_back_as_a_reason(lab: Lab) -> None:
    own = alert({"alertname": "gpu.other_xid", "incident": "inc-1", "host": "node1", "cluster": "lab"})
    with lab.receiving() as url:
        assert post(url, webhook(own)) == (200, '{"kept":0}\n')
    assert lines(lab) == []


# Who may post, and what


@pytest.mark.parametrize("word", [None, f"Basic {TOKEN}", "Bearer", f"Bearer {TOKEN}x", "Bearer \xe9", TOKEN])
def test_without_the_token_nothing_is_taken(word: str | None, lab: Lab) -> None:
    with lab.receiving() as url:
        status, said = post(url, webhook(alert()), None, **({"Authorization": word} if word else {}))
    assert (status, "receive.token_file" in said) == (401, True)
    assert lines(lab) == []


def test_a_token_can_be_replaced_while_it_runs(lab: Lab, token: Path) -> None:
    with lab.receiving() as url:
        token.write_text("another-token-of-a-test")
        assert post(url, webhook(alert()))[0] == 401
        assert post(url, webhook(alert()), "another-token-of-a-test")[0] == 200


def test_the_token_may_be_set_without_a_file(lab: Lab) -> None:
    lab.more = {"receive.token": "set-in-the-environment"}
    with lab.receiving() as url:
        assert post(url, webhook(alert()))[0] == 401
        assert post(url, webhook(alert()), "set-in-the-environment")[0] == 200
    for short in ({"receive.token": "short"}, {"receive.token": " " * 20}):
        lab.more = short
        with pytest.raises(Refused, match=r"receive\.token has less than 16 characters"), lab.receiving():
            pass


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"not JSON", 400, "this is no webhook of an Alertmanager, version 4"),
        (b"[" * 100_000, 400, "this is no webhook"),
        (webhook(alert(), version="3"), 400, "version: String should match pattern"),
        (webhook({**alert(), "startsAt": "yesterday"}), 400, "alerts.0.startsAt"),
        (webhook({**alert(), "status": "pending"}), 400, "alerts.0.status"),
        (b" " * 20_000, 413, "receive.max_bytes"),
    ],
)  # fmt: skip
def test_what_is_no_webhook_is_refused_with_its_reason(body: bytes, status: int, said: str, lab: Lab) -> None:
    with lab.receiving(max_bytes=150_000 if body.startswith(b"[") else 16_384) as url:
        found = post(url, body)
        again = post(url, body)
    assert (found[0], said in found[1]) == (status, True), found
    assert again == found
    assert lines(lab) == []
    (letter,) = read(lab.log).letters
    assert (letter.stage, letter.place, letter.cluster, letter.outside) == ("receive", "alertmanager", "lab", True)
    assert said in letter.reason
    assert whole(lab.log, letter).value == body
    assert len(records(lab.log, DEADLETTERS)) == 1


def test_of_what_is_too_large_the_beginning_is_kept(lab: Lab) -> None:
    with lab.receiving(max_bytes=100_000) as url:
        assert post(url, b"x" * 200_000)[0] == 413
    (letter,) = read(lab.log).letters
    assert whole(lab.log, letter).value == b"x" * 64 * 1024


def test_what_is_refused_fills_no_disk(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relight.stages.refusals.SPAN_BYTES", 50_000)
    with lab.receiving() as url:
        assert [post(url, b"%d " % n * 4000)[0] for n in range(12)] == [400] * 12
        assert post(url, webhook(alert()))[0] == 200
    assert sum(letter.size_bytes for letter in read(lab.log).letters) in range(30_000, 50_001)


def test_room_for_what_is_refused_comes_again_and_only_what_is_kept_takes_any() -> None:
    kept: list[Outgoing] = []
    now, broken = [0.0], [False]

    def keep(records: Sequence[Outgoing]) -> None:
        if broken[0]:
            raise Unavailable("the log is away")
        kept.extend(records)

    refusals = Refusals("receive", "lab", keep, lambda: now[0])
    body = b"x" * (SPAN_BYTES - 2000)
    broken[0] = True
    for _ in range(5):
        with pytest.raises(Unavailable):
            refusals.take(body, "why")
    broken[0] = False
    assert [refusals.take(body, "why"), refusals.take(body, "why"), refusals.take(b"y" * 3000, "why")] == [
        True,
        True,
        False,
    ]
    assert len(kept) == 1
    now[0] = SPAN_S
    assert (refusals.take(b"y" * 3000, "why"), len(kept)) == (True, 2)


def test_what_cannot_be_taken_nor_kept_has_to_come_again(lab: Lab) -> None:
    with lab.receiving() as url:
        with lab.log.file.writing() as connection:
            connection.execute("alter table topics rename to elsewhere")
        assert post(url, b"not JSON")[0] == 503
        with lab.log.file.writing() as connection:
            connection.execute("alter table elsewhere rename to topics")
        assert until(lambda: post(url, b"not JSON")[0] == 400, 20)
    assert len(read(lab.log).letters) == 1


def test_who_has_no_token_fills_no_letters(lab: Lab) -> None:
    with lab.receiving() as url:
        assert post(url, b"not JSON", "wrong")[0] == 401
        assert post(url.replace(PATH, "/elsewhere"), b"not JSON")[0] == 404
    assert records(lab.log, DEADLETTERS) == []


def test_a_request_elsewhere_is_told_where_to_go(lab: Lab) -> None:
    with lab.receiving() as url:
        assert post(url.replace(PATH, "/alerts"), b"{}")[0] == 404
        assert urllib3.request("GET", url).status == 405


def test_while_the_log_is_out_of_reach_the_sender_is_told_to_try_again(lab: Lab, tmp_path: Path) -> None:
    with lab.receiving() as url:
        assert post(url, webhook(alert()))[0] == 200
        with lab.log.file.writing() as connection:
            connection.execute("alter table topics rename to elsewhere")
        assert post(url, webhook(alert(fingerprint="2")))[0] == 503
        with lab.log.file.writing() as connection:
            connection.execute("alter table elsewhere rename to topics")
        assert until(lambda: post(url, webhook(alert(fingerprint="2")))[0] == 200, 20)
    assert len(lines(lab)) == 2


def test_who_connects_and_says_nothing_takes_no_more_than_there_is(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relight.stages.receiving.AT_ONCE", threading.active_count() + 6)
    with lab.receiving() as url, ExitStack() as stack:
        address = ("127.0.0.1", urllib3.util.parse_url(url).port or 0)
        for _ in range(10):
            stack.enter_context(socket.create_connection(address, timeout=5))
        assert not until(lambda: _answers(url), 1)
        stack.close()
        assert until(lambda: _answers(url), 10)


# As a process


@pytest.mark.parametrize("fleet", ["embedded"], indirect=True)
def test_the_process_says_what_it_lacks_and_stops_at_once(fleet: Fleet, token: Path) -> None:
    without = fleet.call("receive")
    said = [line for line in without.stderr.splitlines() if not line.startswith("{")]
    assert (without.returncode, len(said), "receive.token_file is not set" in said[0]) == (2, 1, True), without.stderr
    token.chmod(0o644)
    assert f"chmod 600 {token}" in fleet.call("receive", "--token-file", token).stderr
    token.chmod(0o600)
    port, metrics = free_ports(2)
    where = ("--port", str(port), "--metrics-port", str(metrics), "--token-file", str(token))
    fleet.start("receive", "receive", *where)
    url = f"http://127.0.0.1:{port}{PATH}"
    assert until(lambda: _answers(url), 20), fleet.said("receive")
    taken = fleet.call("receive", *where[:2], "--token-file", token)
    assert (taken.returncode, "receive.port" in taken.stderr) == (2, True)
    assert urllib3.request("GET", f"http://127.0.0.1:{metrics}/healthz").json()["healthy"]
    told = urllib3.request("GET", f"http://127.0.0.1:{metrics}/metrics").data
    assert b'relight_records_produced_total{stage="receive",topic="relight.logs"} 1.0' in told
    status, took_s = fleet.stop("receive")
    assert (status, took_s < 5) == (0, True)
    with open_log(fleet.settings) as log:
        assert len([record for record in records(log, LOGS) if record.value]) == 1


def _answers(url: str) -> bool:
    try:
        return post(url, webhook(alert()))[0] == 200
    except HTTPError:
        return False


# A real Prometheus, a real Alertmanager


def documented(kind: str) -> str:
    """Return the YAML that docs/prometheus.md shows for a program."""
    blocks = DOCUMENT.read_text("utf-8").split("```yaml\n")[1:]
    return next(block.partition("```")[0] for block in blocks if block.startswith(f"# {kind}"))


def test_an_xid_that_a_prometheus_scrapes_becomes_an_incident(lab: Lab, token: Path, tmp_path: Path) -> None:
    labels = ",".join(f'{name}="{value}"' for name, value in GPU.items())

    class Exporter(Quiet):
        def do_GET(self) -> None:  # noqa: N802 - so is it called
            body = f"DCGM_FI_DEV_XID_ERRORS{{{labels}}} 79\n".encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with lab.receiving() as url, lab.running("match", "correlate"), listening(Exporter) as exporter:
        quick = {"group_wait: 10s": "group_wait: 0s", "group_interval: 1m": "group_interval: 1s"}
        configuration = documented("alertmanager.yaml").replace("/etc/alertmanager/relight.token", str(token))
        configuration = configuration.replace(f"http://127.0.0.1:9190{PATH}", url)
        for slow, fast in quick.items():
            assert slow in configuration
            configuration = configuration.replace(slow, fast)
        with alertmanager(tmp_path, configuration) as manager:
            scraping = yaml.safe_load(documented("prometheus.yaml"))
            scraping["global"] = {"scrape_interval": "200ms", "scrape_timeout": "200ms", "evaluation_interval": "200ms"}
            scraping["rule_files"] = [str(RULES)]
            scraping["alerting"]["alertmanagers"][0]["static_configs"] = [
                {"targets": [manager.removeprefix("http://")]}
            ]
            scraping["scrape_configs"] = [scraping["scrape_configs"][0]]
            scraping["scrape_configs"][0]["static_configs"] = [{"targets": [exporter.removeprefix("http://")]}]
            with prometheus(tmp_path, yaml.safe_dump(scraping)):
                found = cause(lab)
    assert (found.diagnosis.signature, found.diagnosis.culprit.host) == ("alert.gpu-xid.79", "node1")
    assert found.diagnosis.culprit.gpu == UUID
    assert records(lab.log, DEADLETTERS) == []
