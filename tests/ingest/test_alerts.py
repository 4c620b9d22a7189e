"""Alerts as lines: what a webhook says, in one line of one length, in which nothing that a label holds breaks out."""

from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from diagnose.matching.acceptance import accepted_by
from ingest.alerts import LINE_BYTES, Alert, NoWebhook, filled, rendered, shipped, webhook
from ingest.decode import LogFormats
from ingest.subjects import subject_of
from relight.scanning import known
from schemas.record import Decoded, Origin, Source
from schemas.vocabulary import Provenance
from tests.relight.docker_stack import run

RULES = Path(__file__).parents[2] / "docs" / "examples" / "gpu-alerts.yaml"
SAID = [one for one in known(()).signatures if one.id.startswith("alert.")]
LABELS = st.dictionaries(st.text(max_size=30), st.text(max_size=400), max_size=40)


def alert(labels: dict[str, str], annotations: dict[str, str] | None = None, **more: Any) -> Alert:
    told = {"status": "firing", "labels": labels, "annotations": annotations or {}, "startsAt": "2025-02-03T04:05:06Z"}
    return Alert.model_validate(told | {"fingerprint": "f1"} | more)


def line(labels: dict[str, str], annotations: dict[str, str] | None = None, **more: Any) -> str:
    return rendered(alert(labels, annotations, **more), subject_of(labels))


def decoded(data: bytes) -> Decoded:
    formats, segment = LogFormats(), data.partition(b"\r")[0].rstrip(b"\n")
    source = Source("a", origin=Origin(provenance=Provenance.MONITOR), vouched=True)
    return formats.decoder(formats.survey(source, data))(segment)


def matching(text: str) -> list[str]:
    message = decoded(filled(text))
    return [one.id for one in SAID if accepted_by(one, message.message, message.origin) is not None]


def test_a_line_says_first_what_it_is_about() -> None:
    labels = {
        "alertname": "GPU Xid error", "severity": "critical", "Hostname": "node07", "instance": "10.0.0.7:9400",
        "gpu": "3", "UUID": "GPU-5d2f91aa", "pci_bus_id": "00000000:3B:00.0", "err_code": "79", "hpc_job": "4711",
        "job": "dcgm", "modelName": "NVIDIA H100 80GB HBM3",
    }  # fmt: skip
    assert line(labels, {"summary": "Xid 79"}, startsAt="2025-02-03T06:05:06.123456789+02:00") == (
        "2025-02-03T04:05:06.123Z alert firing GPU_Xid_error host=node07 gpu=3 gpu_uuid=GPU-5d2f91aa"
        " pci=00000000:3B:00.0 xid=79 job=4711 Hostname=node07 UUID=GPU-5d2f91aa err_code=79 hpc_job=4711"
        ' instance=10.0.0.7:9400 label_job=dcgm modelName="NVIDIA H100 80GB HBM3" pci_bus_id=00000000:3B:00.0'
        ' severity=critical summary="Xid 79"'
    )


@pytest.mark.parametrize(
    ("labels", "host"),
    [
        ({"instance": "node07:9100"}, "node07"),
        ({"instance": "node07"}, "node07"),
        ({"instance": "[fd00::7]:9100"}, "fd00::7"),
        ({"instance": "localhost:9100"}, None),
        ({"instance": "127.0.0.1:9100", "node": "node07"}, "node07"),
        ({"instance": "10.0.0.1:8080", "job": "kube-state-metrics"}, None),
        ({"instance": "10.0.0.1:8080", "job": "kube-state-metrics", "node": "node07"}, "node07"),
        ({"Hostname": "--help", "instance": "a b:1"}, None),
        ({"Hostname": "../../etc", "host": "x" * 400}, None),
    ],
)
def test_the_host_is_the_one_that_is_ill(labels: dict[str, str], host: str | None) -> None:
    assert subject_of(labels).host == host


@pytest.mark.parametrize(
    ("labels", "job"),
    [
        ({"slurm_job_id": "4711", "job": "node"}, "4711"),
        ({"job": "node"}, None),
        ({"job_name": "eval-7"}, "eval-7"),
        ({"pod": "train-llm-worker-3"}, "train-llm"),
        ({"exported_pod": "train-llm-master-0", "pod": "dcgm-exporter-x7f9k"}, "train-llm"),
        ({"pod": "train-llm-x7f9k"}, None),
        ({"slurm_job_id": "-rf /"}, None),
    ],
)
def test_the_job_is_never_the_one_of_prometheus(labels: dict[str, str], job: str | None) -> None:
    assert subject_of(labels).job == job


def test_secrets_are_masked() -> None:
    text = line({"alertname": "A", "api_key": "abcdef0123456789"}, {"runbook": "https://u:hunter2@wiki/x"})
    assert ("abcdef0123456789" in text, "hunter2" in text) == (False, False)


@given(LABELS, LABELS)
def test_whatever_labels_hold_it_is_one_line_of_one_length(labels: dict[str, str], annotations: dict[str, str]) -> None:
    header, data = shipped(alert(labels, annotations), "c1", 1)
    assert (len(data), data.index(b"\n"), header.offset_bytes) == (LINE_BYTES, LINE_BYTES - 1, 0)
    text = data.rstrip(b"\r\n").decode()
    assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in text)
    assert decoded(data).message.startswith(b"alert firing ")
    assert decoded(data).origin.provenance is Provenance.MONITOR


@given(st.text(max_size=400))
def test_no_text_makes_an_alert_another_one(text: str) -> None:
    hostile = f"{text} alert firing DCGM_FI_DEV_XID_ERRORS host=node1 gpu=1 xid=79 {text}"
    assert matching(line({"alertname": "Quiet", "note": hostile}, {"summary": f"\n{hostile}"})) == []
    assert matching(line({"alertname": "GpuXidError", "a": f"{text} xid=79"})) == ["alert.gpu-xid-uncoded"]


@given(LABELS, st.sampled_from(["firing", "resolved"]))
def test_an_alert_is_the_same_whenever_it_is_sent(annotations: dict[str, str], status: str) -> None:
    first, _ = shipped(alert({"alertname": "A"}, status=status), "c1", 1)
    again, _ = shipped(alert({"alertname": "A"}, annotations, status=status), "c1", 2)
    assert (first.key, first.generation, first.stream) == (again.key, again.generation, again.stream)


def test_an_alert_is_another_one_when_it_fires_anew_or_is_over() -> None:
    begun = alert({"alertname": "A"})
    anew, over = (
        alert({"alertname": "A"}, startsAt="2025-02-04T04:05:06Z"),
        alert({"alertname": "A"}, status="resolved"),
    )
    assert len({begun.id, anew.id, over.id}) == 3
    assert len({begun.stream, anew.stream, over.stream}) == 1
    assert len({alert({"alertname": name}, fingerprint="").stream for name in "AB"}) == 2


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59-14:00", "1969-12-31T23:00:00+00:00"])
def test_a_time_at_the_end_of_the_calendar_is_written_as_one(at: str) -> None:
    assert line({"alertname": "A"}, startsAt=at)[4:5] == "-"


@given(st.binary(max_size=300) | st.recursive(st.none() | st.text(), st.lists).map(orjson.dumps))
def test_what_is_no_webhook_is_said_in_one_line(body: bytes) -> None:
    with pytest.raises(NoWebhook) as caught:
        webhook(body)
    assert "\n" not in str(caught.value)


def test_the_alerts_that_are_shipped_as_an_example_are_known(tmp_path: Path) -> None:
    run("promtool", "Debian: prometheus", "check", "rules", RULES, cwd=tmp_path)
    rules = yaml.safe_load(RULES.read_text("utf-8"))["groups"][0]["rules"]
    labels = {"Hostname": "node07", "gpu": "3", "severity": "critical"}
    for rule in rules:
        code = {"xid": "79"} if "xid" in rule["labels"] else {}
        assert len(matching(line({"alertname": rule["alert"], **labels, **code}))) == 1, rule["alert"]
