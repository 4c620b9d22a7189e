"""What Kubernetes says of a job's pods: events, one JSON object a line, as exporters of events write them.

Sources: kubernetes pkg/kubelet/events, pkg/kubelet/eviction, pkg/controller/nodelifecycle; kubeflow training-operator.
"""

import json
from random import Random

from relight.sim.cluster import Host
from relight.sim.jobs import Job
from relight.sim.tape import Kind, Mark, Tape
from relight.sim.words import Moment


def pod(job: Job, host: Host) -> str:
    """Return the name of the pod of a host."""
    index = host.index - job.hosts[0].index
    return f"{job.id}-master-0" if index == 0 else f"{job.id}-worker-{index - 1}"


def event(
    tape: Tape,
    time_s: float,
    job: Job,
    host: Host | None,
    kind: str,
    reason: str,
    text: str,
    mark: Mark | None = None,
    about: str = "Pod",
) -> None:
    """Add an event of Kubernetes, as a line of JSON."""
    moment = Moment(time_s)
    name = job.id if host is None else (host.name if about == "Node" else pod(job, host))
    what = "PyTorchJob" if host is None else about
    told = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": f"{name}.{int(time_s * 1000):x}",
            "namespace": "default" if about == "Node" else "training",
        },
        "involvedObject": {"kind": what, "name": name, "namespace": "" if about == "Node" else "training"},
        "reason": reason,
        "message": text,
        "source": {
            "component": "kubelet" if host else "pytorchjob-controller",
            **({"host": host.name} if host else {}),
        },
        "firstTimestamp": f"{moment:zulu}",
        "lastTimestamp": f"{moment:zulu}",
        "count": 1,
        "type": kind,
    }
    tape.of(Kind.EVENTS, time_s, json.dumps(told, separators=(",", ":")), mark=mark)


def pod_started(tape: Tape, rng: Random, job: Job, host: Host) -> None:
    """Add the events of a pod that comes up."""
    name, time_s = pod(job, host), job.start_s - rng.uniform(8, 20)
    event(tape, time_s, job, host, "Normal", "Scheduled", f"Successfully assigned training/{name} to {host.name}")
    image = "registry.internal/train:24.05"
    event(tape, time_s + 1, job, host, "Normal", "Pulled", f'Container image "{image}" already present on machine')
    event(tape, time_s + 2, job, host, "Normal", "Created", "Created container pytorch")
    event(tape, time_s + 3, job, host, "Normal", "Started", "Started container pytorch")
