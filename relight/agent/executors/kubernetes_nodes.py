"""Nodes of a Kubernetes: no new pods (cordon), none of its own (drain), and marked to be replaced.

Who has done it is in annotations of the node. They are written together with what they tell of, so they are exact.
"""

import re
import time
from collections.abc import Mapping
from typing import Final

from relight.agent.executors.kubernetes_api import NODES, PODS, Json, Refused, pods_in
from relight.agent.executors.kubernetes_asking import Asking
from relight.agent.port import ActionFailed, ActionRejected, Done, Effect
from schemas.action import CordonNode, DrainNode, ReplaceNode
from schemas.command import REASON_CHARACTERS, RecoveryCommand

OfNode = CordonNode | DrainNode | ReplaceNode
"""What is done to a node."""

COMMAND: Final = "relight.dev/command"
"""The annotation with the id of the command that an object is as it is for."""
INCIDENT: Final = "relight.dev/incident"
"""The annotation with the id of the command's incident."""
DRAINED: Final = "relight.dev/drained"
"""The annotation of a node with the id of the command that has drained it."""
REPLACE: Final = "relight.dev/replace"
"""The label of a node that is to be replaced."""
HOSTNAME: Final = "kubernetes.io/hostname"
"""The label with the name that a node itself goes by."""

_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_LABEL: Final = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_NAMED: Final = 20


def node_of(asking: Asking, host: str) -> Json:
    """Return the node of a host: of that name, or else the only one that itself goes by it.

    Raises: ActionError; ActionRejected if there is none.
    """
    if _NAME.fullmatch(host) and (node := _get(asking, host)):
        return node
    found = asking.listed(NODES, {"labelSelector": f"{HOSTNAME}={host}"}) if _LABEL.fullmatch(host) else []
    if len(found) != 1:
        raise ActionRejected(f"Kubernetes has {'several nodes' if found else 'no node'} of this name: {host[:100]}")
    return found[0]


def noted(asking: Asking, action: OfNode) -> Mapping[str, str]:
    """Return which node it is: its uid goes with it when another takes its name."""
    node = node_of(asking, action.host)
    return {"node": node["metadata"]["name"], "node_uid": node["metadata"]["uid"]}


def carried_out(
    asking: Asking, command: RecoveryCommand, action: OfNode, before: Mapping[str, str], drain_s: float
) -> Done:
    """Do it to the node that was noted; a drain may wait `drain_s` for disruption budgets."""
    asking.begin()
    said = _cordoned(asking, command, before)
    if isinstance(action, CordonNode):
        return Done(said)
    evicted = _drained(asking, before["node"], drain_s)
    labels = {REPLACE: "true"} if isinstance(action, ReplaceNode) else {}
    marks: Json = {"uid": before["node_uid"], "annotations": {DRAINED: command.id}, "labels": labels}
    try:
        asking.change("PATCH", NODES.of(before["node"]), {"metadata": marks})
    except Refused as refused:
        raise ActionFailed(f"node {before['node']} was drained and cannot be marked: {refused}") from refused
    more = " It is marked to be replaced." if labels else ""
    return Done(f"{said} {evicted} pods were evicted.{more}")


def found(asking: Asking, command: RecoveryCommand, action: OfNode, before: Mapping[str, str]) -> Effect:
    """Return whether the node says that it was done."""
    node = _get(asking, before["node"])
    if node is None or node["metadata"]["uid"] != before["node_uid"]:
        return Effect.NOT_DONE
    annotations = node["metadata"].get("annotations") or {}
    if isinstance(action, CordonNode):
        cordoned = bool((node.get("spec") or {}).get("unschedulable"))
        return Effect.DONE if cordoned or annotations.get(COMMAND) == command.id else Effect.NOT_DONE
    return Effect.DONE if annotations.get(DRAINED) == command.id else Effect.NOT_DONE


def _get(asking: Asking, name: str) -> Json | None:
    try:
        node: Json = asking.get(NODES.of(name))
    except Refused as refused:
        if refused.status == 404:
            return None
        raise ActionFailed(f"node {name}: {refused}") from refused
    return node


def _cordoned(asking: Asking, command: RecoveryCommand, before: Mapping[str, str]) -> str:
    name = before["node"]
    while True:
        node = _get(asking, name)
        if node is None:
            raise ActionRejected(f"Kubernetes has no node {name} any more")
        if node["metadata"]["uid"] != before["node_uid"]:
            raise ActionFailed(f"node {name} is another one by now: it was replaced")
        if (node.get("spec") or {}).get("unschedulable"):
            ours = (node["metadata"].get("annotations") or {}).get(COMMAND) == command.id
            return f"Node {name} is cordoned." if ours else f"Node {name} was cordoned already."
        marks: Json = {"annotations": {COMMAND: command.id, INCIDENT: command.incident}}
        seen = {key: node["metadata"][key] for key in ("uid", "resourceVersion")}
        try:
            asking.change("PATCH", NODES.of(name), {"metadata": marks | seen, "spec": {"unschedulable": True}})
        except Refused as refused:
            if refused.status not in (404, 409):
                raise ActionFailed(f"node {name} cannot be cordoned: {refused}") from refused
            asking.pause(f"node {name} cannot be cordoned: {refused}")


def _drained(asking: Asking, node: str, drain_s: float) -> int:
    """Evict what can be evicted and wait until it is gone. Return how many pods that were."""
    until = time.monotonic() + drain_s
    seen: set[str] = set()
    while left := [pod for pod in asking.listed(PODS, {"fieldSelector": f"spec.nodeName={node}"}) if _goes(pod)]:
        seen |= {pod["metadata"]["uid"] for pod in left}
        what = [f"{_full_name(pod)} ({_evicted(asking, pod)})" for pod in left]
        more = f" and {len(what) - _NAMED} more" if len(what) > _NAMED else ""
        still = f"node {node} is cordoned, and these pods are still there: {', '.join(what[:_NAMED])}{more}"
        if time.monotonic() > until:
            raise ActionFailed(still[:REASON_CHARACTERS])
        asking.pause(still[:REASON_CHARACTERS])
    return len(seen)


def _evicted(asking: Asking, pod: Json) -> str:
    """Ask for a pod's eviction, if it is not going already. Return why it is still there."""
    meta = pod["metadata"]
    if meta.get("deletionTimestamp"):
        return "is ending"
    body = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": meta["name"], "namespace": meta["namespace"]},
        "deleteOptions": {"preconditions": {"uid": meta["uid"]}},
    }
    try:
        asking.change("POST", pods_in(meta["namespace"]).of(meta["name"], "eviction"), body, passing=False)
    except Refused as refused:
        return "is ending" if refused.status in (404, 409) else str(refused)[:200]
    return "is ending"


def _goes(pod: Json) -> bool:
    """Tell whether a drain moves a pod: not those of the node itself, nor those that have ended."""
    meta = pod["metadata"]
    owners = meta.get("ownerReferences") or ()
    if any(owner.get("controller") and owner.get("kind") == "DaemonSet" for owner in owners):
        return False
    if "kubernetes.io/config.mirror" in (meta.get("annotations") or {}):
        return False
    return (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")


def _full_name(pod: Json) -> str:
    return f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
