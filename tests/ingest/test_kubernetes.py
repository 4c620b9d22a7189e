"""Events of Kubernetes: which node, job and time a line of JSON is about."""

import json
from typing import Any

import pytest

from ingest.decode import decoder_for
from ingest.formats.kubernetes import job_of_pod
from schemas.record import Origin, Source

POD = {"kind": "Pod", "name": "llm-7b-worker-3", "namespace": "train"}


def told(about: dict[str, str], key: str = "involvedObject", **fields: Any) -> Origin:
    line = json.dumps({"kind": "Event", key: about, "message": "Started container"} | fields).encode()
    return decoder_for(Source("events.jsonl"), line)(line).origin


@pytest.mark.parametrize(
    ("fields", "host"),
    [
        ({"source": {"component": "kubelet", "host": "gpu-17"}}, "gpu-17"),
        ({"deprecatedSource": {"host": "gpu-17"}}, "gpu-17"),
        ({"reportingComponent": "kubelet", "reportingInstance": "gpu-17"}, "gpu-17"),
        ({"reportingController": "kubelet", "reportingInstance": "gpu-17"}, "gpu-17"),
        ({"reportingComponent": "default-scheduler", "reportingInstance": "control-1"}, "llm-7b-worker-3"),
        ({"source": "kubelet"}, "llm-7b-worker-3"),
        ({}, "llm-7b-worker-3"),
    ],
)
def test_an_event_of_a_pod_is_about_the_kubelets_node_or_else_the_pod(fields: dict[str, Any], host: str) -> None:
    assert told(POD, **fields).host == host


def test_an_event_of_a_node_is_about_the_node() -> None:
    assert told({"kind": "Node", "name": "gpu-17"}, source={"host": "control-1"}).host == "gpu-17"


def test_an_event_tells_the_training_job_of_its_pod_or_itself() -> None:
    assert told(POD, key="regarding").job == "llm-7b"
    assert told({"kind": "PyTorchJob", "name": "llm-7b"}).job == "llm-7b"
    assert told({"kind": "Pod", "name": "prometheus-0"}).job is None


def test_an_event_has_the_time_at_which_it_was_seen_last() -> None:
    assert told(POD, eventTime=None, lastTimestamp="2025-11-24T16:00:00Z").time_s == 1_764_000_000.0


@pytest.mark.parametrize(
    ("pod", "job"),
    [("llm-7b-worker-3", "llm-7b"), ("a-master-0", "a"), ("worker-3", None), ("llm-7b-worker-x", None), ("", None)],
)
def test_a_replicas_name_tells_its_job(pod: str, job: str | None) -> None:
    assert job_of_pod(pod) == job
