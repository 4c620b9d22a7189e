"""Events of Kubernetes as JSON, and what a pod's name tells: which node and which job it is about.

Kubernetes, core/v1 and events.k8s.io/v1 `Event`; replicas' names as Kubeflow's training operators make them.
"""

from collections.abc import Mapping
from typing import Any, Final

from ingest.formats.linear import compiled

_REPLICA: Final = compiled(rb"([a-z0-9](?:[a-z0-9.-]*[a-z0-9])?)-(?:master|worker|launcher|chief|ps|evaluator)-\d{1,6}")
_JOBS: Final = frozenset(f"{kind}Job" for kind in ("PyTorch", "MPI", "TF", "JAX", "Paddle", "XGBoost"))


def about(fields: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the object that an event is about, `None` for records that are no events."""
    found = fields.get("involvedObject") or fields.get("regarding")
    return found if isinstance(found, dict) and isinstance(found.get("name"), str) else None


def node_of(fields: Mapping[str, Any], subject: Mapping[str, Any]) -> str | None:
    """Return the node that an event is about: itself, that of the kubelet that says it, or else its pod's name."""
    if subject.get("kind") == "Node":
        return str(subject["name"])
    for key in ("source", "deprecatedSource"):
        said_by = fields.get(key)
        if isinstance(said_by, dict) and isinstance(node := said_by.get("host"), str) and node:
            return node
    if "kubelet" in (fields.get("reportingComponent"), fields.get("reportingController")):
        node = fields.get("reportingInstance")
        if isinstance(node, str) and node:
            return node
    return str(subject["name"]) if subject.get("kind") == "Pod" else None


def job_of(subject: Mapping[str, Any]) -> str | None:
    """Return the training job that an event is about: itself, or the one that its pod is a replica of."""
    return str(subject["name"]) if subject.get("kind") in _JOBS else job_of_pod(str(subject["name"]))


def job_of_pod(pod: str) -> str | None:
    """Return the job that a pod's name tells: `llm-7b-worker-3` is of `llm-7b`."""
    found = _REPLICA.fullmatch(pod.encode("utf-8", "replace"))
    return found[1].decode() if found else None
