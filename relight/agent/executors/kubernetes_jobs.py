"""Jobs of a Kubernetes: batch/v1 Jobs and Kubeflow's PyTorchJobs, how they stand, and their manifests made fit again.

All but the first two functions are pure: objects of the API in, words about them out.
"""

import copy
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from relight.agent.executors.kubernetes_api import Json, Place, Refused, pods_in
from relight.agent.executors.kubernetes_asking import Asking
from relight.agent.executors.kubernetes_nodes import COMMAND, HOSTNAME, INCIDENT
from relight.agent.port import ActionFailed, ActionRejected
from schemas.command import RecoveryCommand

RESTARTING: Final = "relight.dev/restarting"
"""The annotation of a job with the id of the command that has suspended it, and is to resume it."""
BATCH: Final = "Job"
PYTORCH: Final = "PyTorchJob"
_KINDS: Final = {BATCH: Place("batch/v1", "jobs"), PYTORCH: Place("kubeflow.org/v1", "pytorchjobs")}
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_NAMESPACE: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_INDEX: Final = "batch.kubernetes.io/job-completion-index"
_REPLICA_INDEX: Final = "training.kubeflow.org/replica-index"
_REPLICA_TYPE: Final = "training.kubeflow.org/replica-type"
_SERVERS_OWN: Final = (
    "uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds",
    "managedFields", "selfLink", "finalizers",
)  # fmt: skip
_OF_ONE_JOB: Final = ("controller-uid", "batch.kubernetes.io/controller-uid")
"""Labels with the uid of a Job, which the next one of its name must not have."""


@dataclass(frozen=True, slots=True)
class Job:
    """A job as the API server has it."""

    kind: str
    namespace: str
    name: str
    body: Json

    @property
    def place(self) -> Place:
        """Return where it is."""
        return place_of(self.kind, self.namespace, self.name)

    @property
    def uid(self) -> str:
        """Return its uid, which dies with it."""
        return str(self.body["metadata"]["uid"])

    @property
    def annotations(self) -> dict[str, str]:
        """Return its annotations."""
        return self.body["metadata"].get("annotations") or {}

    @property
    def spec(self) -> Json:
        """Return what it is to be."""
        return self.body.get("spec") or {}

    @property
    def status(self) -> Json:
        """Return how it is."""
        return self.body.get("status") or {}

    @property
    def suspended(self) -> bool:
        """Tell whether it is told to have no pods."""
        return bool(policy(self.kind, self.spec).get("suspend"))

    @property
    def failed(self) -> bool:
        """Tell whether its controller has given it up, or is about to."""
        return self._is("Failed", "FailureTarget")

    @property
    def completed(self) -> bool:
        """Tell whether it has done what it was to do, or is about to be told so."""
        return self._is("Complete", "SuccessCriteriaMet", "Succeeded")

    @property
    def owner(self) -> str | None:
        """Return what has made it and would notice: a JobSet, a CronJob."""
        owners = self.body["metadata"].get("ownerReferences") or ()
        return next((f"{one['kind']} {one['name']}" for one in owners if one.get("controller")), None)

    @property
    def selector(self) -> str:
        """Return which labels its pods have."""
        if self.kind == PYTORCH:
            return f"training.kubeflow.org/job-name={self.name}"
        return ",".join(f"{key}={value}" for key, value in sorted(self.spec["selector"]["matchLabels"].items()))

    def _is(self, *conditions: str) -> bool:
        there = self.status.get("conditions") or ()
        return any(one.get("type") in conditions and one.get("status") == "True" for one in there)


def find(asking: Asking, name: str, namespace: str) -> Job:
    """Return the job that a command means: `name`, or `namespace/name`.

    Raises: ActionError; ActionRejected if there is none, or one of each kind.
    """
    before, slash, after = name.rpartition("/")
    namespace, name = (before, after) if slash else (namespace, name)
    if not _NAME.fullmatch(name) or not _NAMESPACE.fullmatch(namespace):
        raise ActionRejected("this is no name of a job in Kubernetes")
    there = [job for kind in _KINDS if (job := get(asking, kind, namespace, name))]
    if len(there) != 1:
        kinds = " and ".join(_KINDS)
        raise ActionRejected(f"there is {'both a' if there else 'no'} {kinds} {namespace}/{name}")
    return there[0]


def get(asking: Asking, kind: str, namespace: str, name: str) -> Job | None:
    """Return a job, if there is one. Raises: ActionError."""
    try:
        return Job(kind, namespace, name, asking.get(place_of(kind, namespace, name)))
    except Refused as refused:
        if refused.status == 404:
            return None
        raise ActionFailed(f"job {namespace}/{name}: {refused}") from refused


def pods_of(asking: Asking, namespace: str, selector: str) -> list[Json]:
    """Return the pods that have the labels of a job's."""
    return asking.listed(pods_in(namespace), {"labelSelector": selector})


def place_of(kind: str, namespace: str, name: str) -> Place:
    """Return where a job is."""
    return replace(_KINDS[kind], namespace=namespace, name=name)


def policy(kind: str, spec: Json) -> Json:
    """Return the part of a job's spec that says whether it is suspended."""
    return spec if kind == BATCH else spec.get("runPolicy") or {}


def belongs(pod: Json, job_uid: str) -> bool:
    """Tell whether a pod is a job's: one of the same name may have been there before."""
    return any(owner.get("uid") == job_uid for owner in pod["metadata"].get("ownerReferences") or ())


def ending(pod: Json) -> bool:
    """Tell whether a pod is told to end."""
    return bool(pod["metadata"].get("deletionTimestamp"))


def active(pod: Json) -> bool:
    """Tell whether a pod runs or is to run."""
    return not ending(pod) and (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")


def of_rank(job: Job, pods: Sequence[Json], rank: int) -> list[Json]:
    """Return the pod of a rank.

    Raises: ActionRejected if it cannot be told, for a pod has several ranks and nothing says how many.
    """
    said = str(job.spec.get("nprocPerNode") or "")
    each = int(said) if said.isdecimal() and said != "0" else 1
    if each == 1 and said != "1" and any(_gpus(pod) > 1 for pod in pods):
        raise ActionRejected("its pods have several GPUs each, so a rank does not say which pod: name the host")
    return [pod for pod in pods if _index(job, pod) == rank // each]


def spared(job: Job) -> str | None:
    """Return why a job would fail on losing one of its pods, if it would."""
    if job.kind == BATCH and job.status.get("failed", 0) + 1 > job.spec.get("backoffLimit", 6):
        return "its backoffLimit leaves none to lose"
    if any(one.get("restartPolicy") == "Never" for one in _replicas(job.body)):
        return "its restartPolicy is Never"
    return None


def manifest(job: Job, excluded: Sequence[str] = ()) -> Json:
    """Return what to make a job anew of, kept from these hosts: without what is the server's or of the old one."""
    body = copy.deepcopy({key: value for key, value in job.body.items() if key != "status"})
    body["apiVersion"], body["kind"] = _KINDS[job.kind].version, job.kind
    for key in _SERVERS_OWN:
        body["metadata"].pop(key, None)
    if (body["metadata"].get("annotations") or {}).pop(RESTARTING, None):
        policy(job.kind, body["spec"])["suspend"] = False
    for labels in (body["metadata"].get("labels") or {}, *map(_labels, _templates(body))):
        for key in _OF_ONE_JOB:
            labels.pop(key, None)
    if job.kind == BATCH and not job.spec.get("manualSelector"):
        body["spec"].pop("selector", None)
    for template in _templates(body) if excluded else ():
        _exclude(template.setdefault("spec", {}), excluded)
    return body


def marked(text: str, command: RecoveryCommand) -> Json:
    """Return a manifest that was noted, with the command that it is made anew for."""
    body: Json = json.loads(text)
    annotations = body["metadata"].get("annotations") or {}
    body["metadata"]["annotations"] = annotations | {COMMAND: command.id, INCIDENT: command.incident}
    return body


def _replicas(body: Json) -> list[Json]:
    return list((body.get("spec", {}).get("pytorchReplicaSpecs") or {}).values())


def _templates(body: Json) -> Iterator[Json]:
    for holder in (body["spec"], *_replicas(body)):
        if isinstance(holder.get("template"), dict):
            yield holder["template"]


def _labels(template: Json) -> dict[str, str]:
    return (template.get("metadata") or {}).get("labels") or {}


def _exclude(spec: Json, hosts: Sequence[str]) -> None:
    """Keep pods from hosts: of the terms of an affinity one must hold, so each of them says it."""
    affinity = spec.get("affinity") or {}
    node = affinity.get("nodeAffinity") or {}
    required = node.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    for term in (terms := required.get("nodeSelectorTerms") or [{}]):
        told: list[Json] = term.get("matchExpressions") or []
        ours = [one for one in told if (one.get("key"), one.get("operator")) == (HOSTNAME, "NotIn")]
        values = sorted({*hosts, *(value for one in ours for value in one.get("values") or ())})
        others = [one for one in told if one not in ours]
        term["matchExpressions"] = [*others, {"key": HOSTNAME, "operator": "NotIn", "values": values}]
    node["requiredDuringSchedulingIgnoredDuringExecution"] = required | {"nodeSelectorTerms": terms}
    spec["affinity"] = affinity | {"nodeAffinity": node}


def _index(job: Job, pod: Json) -> int | None:
    meta = pod["metadata"]
    said: dict[str, Any] = (meta.get("annotations") or {}) | (meta.get("labels") or {})
    index = str(said.get(_INDEX, said.get(_REPLICA_INDEX, "")))
    if not index.isdecimal():
        return None
    has_master = "Master" in (job.spec.get("pytorchReplicaSpecs") or {})
    return int(index) + (1 if has_master and said.get(_REPLICA_TYPE) == "worker" else 0)


def _gpus(pod: Json) -> int:
    found = 0
    for container in (pod.get("spec") or {}).get("containers") or ():
        limits = (container.get("resources") or {}).get("limits") or {}
        found += sum(int(value) for key, value in limits.items() if key.endswith("/gpu") and str(value).isdecimal())
    return found
