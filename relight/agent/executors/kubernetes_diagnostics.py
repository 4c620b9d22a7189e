"""Diagnostics from a Kubernetes: how nodes and a job's pods are, what has happened to them, what they last printed."""

from collections.abc import Iterator, Sequence
from typing import Final

from relight.agent.executors import kubernetes_jobs as jobs
from relight.agent.executors.kubernetes_api import Json, Place, Refused, pods_in
from relight.agent.executors.kubernetes_asking import Asking
from relight.agent.executors.kubernetes_nodes import node_of
from relight.agent.port import ActionRejected, Done
from schemas.action import CollectDiagnostics
from schemas.command import OUTPUT_CHARACTERS

_EVENTS: Final = 10
_LOG_LINES: Final = 50
_LOG_BYTES: Final = 256 * 1024
_LOGS: Final = 40
"""Of how many pods logs are asked for: of more there would be no place for a line."""
_LINE: Final = 300


def collected(asking: Asking, action: CollectDiagnostics, namespace: str) -> Done:
    """Return what is told of the hosts and the job. Logs share the space that the rest leaves, and come last.

    Raises: ActionError; ActionRejected if nothing is there that could be asked about.
    """
    told: list[str] = []
    missing: list[str] = []
    for host in action.hosts:
        try:
            told += _of_node(asking, node_of(asking, host))
        except ActionRejected as rejected:
            missing.append(str(rejected))
    if not told and action.job is None:
        raise ActionRejected("; ".join(missing)[:500] or "neither a host nor a job is named")
    pods: list[Json] = []
    if action.job is not None:
        job = jobs.find(asking, action.job, namespace)
        pods = jobs.pods_of(asking, job.namespace, job.selector)
        told += _of_job(asking, job, pods)
    text = _cut("\n".join([*missing, *told]), OUTPUT_CHARACTERS if not pods else OUTPUT_CHARACTERS // 2)
    return Done((text + _logs(asking, pods, OUTPUT_CHARACTERS - len(text)))[-OUTPUT_CHARACTERS:])


def _of_node(asking: Asking, node: Json) -> Iterator[str]:
    name, status = node["metadata"]["name"], node.get("status") or {}
    cordoned = ", cordoned" if (node.get("spec") or {}).get("unschedulable") else ""
    yield f"node {name}{cordoned}"
    yield from _conditions(status)
    yield from _events(asking, Place("v1", "events"), "Node", name)


def _of_job(asking: Asking, job: jobs.Job, pods: Sequence[Json]) -> Iterator[str]:
    yield f"{job.kind} {job.namespace}/{job.name}"
    yield from _conditions(job.status)
    events = Place("v1", "events", job.namespace)
    yield from _events(asking, events, job.kind, job.name)
    for pod in pods:
        status = pod.get("status") or {}
        states = [_state(one) for one in status.get("containerStatuses") or ()]
        ending = " ending" if jobs.ending(pod) else ""
        where = (pod.get("spec") or {}).get("nodeName", "no node")
        yield f"pod {pod['metadata']['name']} on {where}: {status.get('phase')}{ending} {'; '.join(states)}".rstrip()


def _state(container: Json) -> str:
    """Return how a container is: `train running, restarts 2, last terminated OOMKilled 137`."""
    words = [str(container.get("name"))]
    for key, before in (("state", ""), ("lastState", "last ")):
        for how, more in (container.get(key) or {}).items():
            said = (more or {}).get("reason"), (more or {}).get("exitCode")
            words.append(" ".join([f"{before}{how}", *(str(word) for word in said if word is not None)]))
    return f"{', '.join(words)}, restarts {container.get('restartCount', 0)}"


def _conditions(status: Json) -> Iterator[str]:
    for one in status.get("conditions") or ():
        said = " ".join(str(one[key]) for key in ("reason", "message") if one.get(key))
        yield f"  {one.get('type')}={one.get('status')} {said}"[:_LINE]


def _events(asking: Asking, place: Place, kind: str, name: str) -> Iterator[str]:
    about = f"involvedObject.kind={kind},involvedObject.name={name}"
    found = asking.listed(place, {"fieldSelector": about})
    for one in sorted(found, key=_at)[-_EVENTS:]:
        yield f"  {_at(one)} {one.get('type')} {one.get('reason')}: {one.get('message')}"[:_LINE]


def _at(event: Json) -> str:
    return str(event.get("lastTimestamp") or event.get("eventTime") or event["metadata"].get("creationTimestamp"))


def _logs(asking: Asking, pods: Sequence[Json], space: int) -> str:
    asked = pods[:_LOGS]
    each = space // max(len(asked), 1)
    return "".join(_cut_to_end(f"\nlog of {pod['metadata']['name']}:\n", _log(asking, pod), each) for pod in asked)


def _log(asking: Asking, pod: Json) -> str:
    """Return the end of what the first container of a pod, the training itself, has printed."""
    meta = pod["metadata"]
    query = {
        "container": pod["spec"]["containers"][0]["name"],
        "tailLines": _LOG_LINES,
        "limitBytes": _LOG_BYTES,
    }
    try:
        return str(asking.get(pods_in(meta["namespace"]).of(meta["name"], "log"), query, passing=False))
    except Refused as refused:
        return f"cannot be read: {refused}"  # such as of a node that does not answer


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 4]}\n..."


def _cut_to_end(heading: str, text: str, most: int) -> str:
    space = most - len(heading)
    return heading + text[-space:] if space > 0 else ""
