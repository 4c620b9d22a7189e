"""A Kubernetes as a system: its API server and controllers are the real ones, and its history tells what was done."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from random import Random
from threading import Event, Lock, Thread
from typing import Any, Final

import yaml
from urllib3.exceptions import HTTPError

from bench.remediation_chaos.slurm import Stock
from bench.remediation_chaos.systems import JOBS, Sections, Subject
from schemas.action import CordonNode, DrainNode, RestartJob, RestartJobExcludingHosts, RestartProcess
from schemas.command import RecoveryCommand
from tests.servers.kubernetes_server import ROLES, KubernetesServer, Nodes

_NODES: Final = ("node01", "node02", "node03")
_SHUNNED, _DRAINED = "node01", "node03"
"""Pods are put on the first node by name that takes them: so there are none on the last one, when it is drained."""
_SPACE: Final = "chaos"
_JOBS: Final = f"/apis/batch/v1/namespaces/{_SPACE}/jobs"
_PODS: Final = f"/api/v1/namespaces/{_SPACE}/pods"
_NODE: Final = "/api/v1/nodes"
_MARKS: Final = {"cordon_node": "relight.dev/command", "drain_node": "relight.dev/drained"}
"""The annotation of a node that says for which command something was done to it."""
_SIZES: Final = {"restart_job": 2, "restart_job_excluding_hosts": 2, "restart_process": 1}
"""How many pods the jobs have that an action is done to."""
_FOLLOWS_S: Final = 0.5


class Kubernetes:
    """Jobs and nodes of a Kubernetes. Each job is for one incident, so pods that are made anew are for that."""

    name: Final = "kubernetes"
    exact: Final = True
    agents: Final = 1

    def __init__(self, server: KubernetesServer) -> None:
        """Take a Kubernetes that runs, and submit some jobs."""
        self._server, self._admin = server, server.admin
        self._roles()
        self._nodes = Nodes(self._admin, _NODES)
        self._admin.ask("POST", "/api/v1/namespaces", {"metadata": {"name": _SPACE}})
        self._free = {_SHUNNED, _DRAINED}
        self._since = {path: self._version(path) for path in (_JOBS, _PODS, _NODE)}
        self._told: dict[str, list[dict[str, Any]]] = {path: [] for path in self._since}
        self._sizes = {JOBS[action]: size for action, size in _SIZES.items()}
        self._reading, self._stop = Lock(), Event()
        self._follower = Thread(target=self._follow, daemon=True)
        self._follower.start()
        self._stock = Stock(self._submit, tuple(self._sizes), 2)

    def settings(self) -> Sections:
        """Return the settings of its agent."""
        kubeconfig = str(self._server.kubeconfig("agent"))
        return {"kubernetes": {"enabled": True, "kubeconfig": kubeconfig, "namespace": _SPACE, "timeout_s": 10}}

    def subject(self, dice: Random) -> Subject | None:
        """Return a job that runs, or a node to be drained."""
        kind = dice.choice((*_SIZES, "restart_job", "drain_node"))
        host = {"drain_node": _DRAINED, "restart_job_excluding_hosts": _SHUNNED}.get(kind)
        if host is not None and host not in self._free:
            return None
        job = None if kind == "drain_node" else self._stock.taken(JOBS[kind], self._running())
        if kind != "drain_node" and job is None:
            return None
        self._free.discard(host or "")
        return Subject(kind, job, host, "cordon_node" if job and host else None)

    def release(self, subject: Subject) -> None:
        """Put a node back into service."""
        if subject.host is not None:
            none = {"metadata": {"annotations": None}, "spec": {"unschedulable": None}}
            self._admin.ask("PATCH", f"{_NODE}/{subject.host}", none)
            self._free.add(subject.host)

    def effects(self, commands: Sequence[RecoveryCommand]) -> Mapping[str, float]:
        """Return how often jobs and pods were made anew, and nodes marked, as the server's history tells."""
        jobs = Counter(one["metadata"]["name"] for one in self._made(_JOBS))
        pods = Counter(one["metadata"].get("labels", {}).get("job-name") for one in self._made(_PODS))
        marked = self._marked()
        found: dict[str, float] = {}
        for command in commands:
            action = command.action
            if isinstance(action, RestartJob | RestartProcess) and jobs[action.job]:
                found[command.id] = pods[action.job] / _SIZES[action.kind] - 1
            elif isinstance(action, RestartJobExcludingHosts) and jobs[action.job]:
                found[command.id] = jobs[action.job] - 1
            elif isinstance(action, CordonNode | DrainNode):
                found[command.id] = marked[action.kind, command.id]
        return found

    def silent(self) -> frozenset[str]:
        """Return nothing: it can always be asked."""
        return frozenset()

    def forget(self) -> None:
        """Delete the jobs that were used."""
        for job in self._stock.used:
            self._admin.ask("DELETE", f"{_JOBS}/{job}?propagationPolicy=Background&gracePeriodSeconds=0")
        self._stock.used.clear()

    def close(self) -> None:
        """Stop the nodes; whoever has started the server stops it."""
        self._stop.set()
        self._follower.join()
        self._nodes.stop()

    def _roles(self) -> None:
        """Let the agent do what its roles say, and nothing else."""
        paths = {"Namespace": "/api/v1/namespaces", "ServiceAccount": "/api/v1/namespaces/relight/serviceaccounts"}
        for role in yaml.safe_load_all(ROLES.read_text(encoding="utf-8")):
            rbac = f"/apis/rbac.authorization.k8s.io/v1/{role['kind'].lower()}s"
            self._admin.ask("POST", paths.get(role["kind"], rbac), role)

    def _submit(self, job: str) -> None:
        size = self._sizes[job.partition("-")[0]]
        pod = {"restartPolicy": "Never", "containers": [{"name": "train", "image": "train:1"}]}
        spec = {"completions": size, "parallelism": size, "completionMode": "Indexed", "template": {"spec": pod}}
        self._admin.ask("POST", _JOBS, {"metadata": {"name": job}, "spec": spec})

    def _running(self) -> set[str]:
        """Return the jobs all of whose pods run."""
        there = Counter(
            pod["metadata"]["labels"]["job-name"]
            for pod in self._admin.items(_PODS)
            if pod["status"]["phase"] == "Running" and "deletionTimestamp" not in pod["metadata"]
        )
        return {job for job, pods in there.items() if pods == self._sizes[job.partition("-")[0]]}

    def _made(self, path: str) -> list[dict[str, Any]]:
        return [one["object"] for one in self._history(path) if one["type"] == "ADDED"]

    def _marked(self) -> Counter[tuple[str, str]]:
        """Count by action and command how often a mark was put on a node."""
        found: Counter[tuple[str, str]] = Counter()
        before: dict[tuple[str, str], str] = {}
        for one in self._history(_NODE):
            meta = one["object"]["metadata"]
            for action, key in _MARKS.items():
                value = meta.get("annotations", {}).get(key, "")
                if value != before.get((meta["name"], key), ""):
                    found[action, value] += 1
                before[meta["name"], key] = value
        return found

    def _follow(self) -> None:
        """Read on, for the server forgets what has happened within a minute or two."""
        while not self._stop.wait(_FOLLOWS_S):
            for path in self._since:
                with suppress(AssertionError, HTTPError):  # whoever needs it asks again
                    self._history(path)

    def _history(self, path: str) -> list[dict[str, Any]]:
        """Return all that has happened in a collection: what was read before, and what has come since."""
        with self._reading:
            said = self._admin.ask("GET", f"{path}?watch=true&timeoutSeconds=1&resourceVersion={self._since[path]}")
            for event in map(json.loads, said.splitlines()):
                assert event["type"] != "ERROR", event
                self._since[path] = event["object"]["metadata"]["resourceVersion"]
                self._told[path].append(event)
            return list(self._told[path])

    def _version(self, path: str) -> str:
        return str(self._admin.ask("GET", path)["metadata"]["resourceVersion"])
