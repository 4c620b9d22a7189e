"""What is noted of a job of a Kubernetes before it is restarted: how it will be, and all that this takes.

It is committed before anything is changed, so that whoever comes after a crash knows which pods were meant, and has the
manifest of a job that was deleted. Nothing is changed here.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from relight.agent.executors import kubernetes_jobs as jobs
from relight.agent.executors.kubernetes_api import Json, Refused
from relight.agent.executors.kubernetes_asking import Asking
from relight.agent.executors.kubernetes_jobs import RESTARTING, Job
from relight.agent.executors.kubernetes_nodes import HOSTNAME, node_of
from relight.agent.port import ActionFailed, ActionRejected
from schemas.action import RestartJob, RestartJobExcludingHosts, RestartProcess

Restart = RestartProcess | RestartJob | RestartJobExcludingHosts
"""What makes pods of a job anew."""

BEFORE_BYTES: Final = 200_000
"""How much may be noted before acting: it goes into a message."""


@dataclass(frozen=True, slots=True)
class Note:
    """What was noted of a job before acting: `how` it is restarted, `pods` by their uids, `count` of all its pods."""

    how: str
    kind: str
    namespace: str
    name: str
    uid: str
    selector: str
    pods: frozenset[str]
    count: int
    manifest: str

    @classmethod
    def read(cls, before: Mapping[str, str]) -> "Note":
        """Read it from what was committed."""
        try:
            pods = frozenset(before["pods"].split(",")) - {""}
            words = {key: before[key] for key in ("how", "kind", "namespace", "name", "uid", "selector")}
            return cls(**words, pods=pods, count=int(before["count"]), manifest=before.get("manifest", ""))
        except (KeyError, ValueError) as error:
            raise ActionFailed(f"what was noted of the job before acting cannot be read: {error}") from error

    def __str__(self) -> str:
        """Return what people call the job."""
        return f"{self.kind} {self.namespace}/{self.name}"


def noted(asking: Asking, action: Restart, namespace: str) -> Mapping[str, str]:
    """Return how a job will be restarted and what is needed for it, after a crash too. Raises: ActionError."""
    job = jobs.find(asking, action.job, namespace)
    _refuse(job, isinstance(action, RestartProcess))
    hosts = action.hosts if isinstance(action, RestartJobExcludingHosts) else ()
    excluded = [_hostname(node_of(asking, host)) for host in hosts]
    pods = [pod for pod in jobs.pods_of(asking, job.namespace, job.selector) if jobs.belongs(pod, job.uid)]
    running = [pod for pod in pods if jobs.active(pod)]
    chosen = _chosen(asking, job, running, action) if isinstance(action, RestartProcess) else running
    before = {
        "how": "pods",
        "kind": job.kind,
        "namespace": job.namespace,
        "name": job.name,
        "uid": job.uid,
        "selector": job.selector,
        "pods": ",".join(sorted(pod["metadata"]["uid"] for pod in chosen)),
        "count": str(len(running)),
    }
    if not isinstance(action, RestartProcess):
        before |= _way(asking, job, excluded)
    if sum(len(key) + len(value.encode()) for key, value in before.items()) > BEFORE_BYTES:
        raise ActionRejected("what has to be noted of the job before acting is too large for a message")
    return before


def told_to_suspend(kind: str, suspended: bool) -> Json:
    """Return what is to be changed of a job to suspend or resume it."""
    told = {"suspend": suspended}
    return {"spec": told if kind == jobs.BATCH else {"runPolicy": told}}


def _refuse(job: Job, one_process: bool) -> None:
    if jobs.ending(job.body):
        raise ActionRejected("the job is being deleted")
    if job.completed:
        raise ActionRejected("the job has completed")
    if job.suspended and not job.annotations.get(RESTARTING):
        raise ActionRejected("the job is suspended: it is to have no pods now")
    if one_process and job.failed:
        raise ActionRejected("the job has failed as a whole, so no single process of it can be restarted")


def _hostname(node: Json) -> str:
    return str((node["metadata"].get("labels") or {}).get(HOSTNAME, node["metadata"]["name"]))


def _chosen(asking: Asking, job: Job, running: list[Json], action: RestartProcess) -> list[Json]:
    """Return the pods that a command means: those of a host, of a rank, or the only one."""
    chosen = running
    if action.host is not None:
        node = node_of(asking, action.host)["metadata"]["name"]
        chosen = [pod for pod in chosen if pod["spec"].get("nodeName") == node]
    if action.rank is not None and len(chosen) != 1:
        chosen = jobs.of_rank(job, chosen, action.rank)
    if not chosen:
        raise ActionRejected("the job has no running pod there")
    if len(chosen) > 1:
        raise ActionRejected(f"{len(chosen)} pods of the job could be meant: name the rank")
    if why := jobs.spared(job):
        raise ActionRejected(f"the job would fail on losing a pod: {why}")
    return chosen


def _way(asking: Asking, job: Job, excluded: list[str]) -> dict[str, str]:
    """Return how a job is restarted. A PyTorchJob can be suspended where its operator knows of it."""
    if not (job.failed or excluded or not _can_be_suspended(asking, job)):
        return {"how": "suspend"}
    if job.owner:
        raise ActionRejected(f"the job would have to be made anew, and that is for {job.owner}, which has made it")
    return {"how": "anew", "manifest": json.dumps(jobs.manifest(job, excluded), separators=(",", ":"))}


def _can_be_suspended(asking: Asking, job: Job) -> bool:
    if job.kind == jobs.BATCH:
        return True
    try:
        told = asking.change("PATCH", job.place, told_to_suspend(job.kind, True), {"dryRun": "All"})
    except Refused:
        return False
    return bool(jobs.policy(job.kind, told["spec"]).get("suspend"))
