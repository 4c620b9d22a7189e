"""The executor `kubernetes`, with a real API server and real controllers: each command takes effect exactly once."""

import itertools
import json
import multiprocessing
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from relight.agent.executors.kubernetes import KubernetesExecutor
from relight.agent.executors.kubernetes_api import NoClient, Place
from relight.agent.executors.kubernetes_jobs import Job, manifest, of_rank
from relight.agent.port import ActionFailed, ActionRejected, ActionUnknown, Done, Effect, Interrupted, Terms
from relight.settings.agents import Kubernetes
from relight.stores.waiting import NEVER, Waited
from schemas.action import (
    Action,
    CollectDiagnostics,
    CordonNode,
    DrainNode,
    RebootNode,
    ReplaceNode,
    RestartJob,
    RestartJobExcludingHosts,
    RestartProcess,
)
from schemas.command import RecoveryCommand
from tests.agent.some_commands import command, seen, stopping
from tests.servers.kubernetes_server import ROLES, KubernetesServer, Nodes, Operator, Wire

NODES = ("node01", "node02", "node03")
JOBS, PODS, PYTORCH = "/apis/batch/v1/namespaces/{}/jobs", "/api/v1/namespaces/{}/pods", "pytorchjobs"
_forked = multiprocessing.get_context("forkserver")
_forked.set_forkserver_preload(["relight.agent.executors.kubernetes", "kubernetes.client", "kubernetes.config"])
_namespaces = itertools.count(1)


class Cluster:
    """A namespace of its own on nodes that all tests share."""

    def __init__(self, server: KubernetesServer, nodes: Nodes, folder: Path) -> None:
        self.server, self.nodes, self.admin, self.folder = server, nodes, server.admin, folder
        self.namespace = f"team-{next(_namespaces)}"
        self.admin.ask("POST", "/api/v1/namespaces", {"metadata": {"name": self.namespace}})
        self._open: list[KubernetesExecutor] = []

    def settings(self, who: str = "agent", url: str | None = None, **other: Any) -> Kubernetes:
        told = {"enabled": True, "kubeconfig": self.server.kubeconfig(who, url), "namespace": self.namespace}
        return Kubernetes.model_validate(told | other)

    def executor(self, who: str = "agent", url: str | None = None, **other: Any) -> KubernetesExecutor:
        self._open.append(KubernetesExecutor(self.settings(who, url, **other), poll_s=0.05))
        return self._open[-1]

    def run(self, action: Action, number: int = 1, within_s: float = 30, **other: Any) -> Done:
        mine, what = self.executor(**other), command(number, action)
        return mine.execute(what, terms(mine.prepare(what), within_s))

    def path(self, kind: str = "jobs", name: str = "") -> str:
        group = {"jobs": "/apis/batch/v1", PYTORCH: "/apis/kubeflow.org/v1"}.get(kind, "/api/v1")
        return f"{group}/namespaces/{self.namespace}/{kind}" + (f"/{name}" if name else "")

    def job(self, name: str = "llama", kind: str = "jobs") -> dict[str, Any]:
        found: dict[str, Any] = self.admin.ask("GET", self.path(kind, name))
        return found

    def submit(self, pods: int = 2, name: str = "llama", affinity: Any = None, **spec: Any) -> dict[str, Any]:
        """Submit a Job, wait until its pods run, and return it."""
        template = {"spec": pod_spec() | ({"affinity": affinity} if affinity else {})}
        told = {"completions": pods, "parallelism": pods, "completionMode": "Indexed", "template": template}
        self.admin.ask("POST", self.path(), {"metadata": {"name": name}, "spec": told | spec})
        self.runs(pods)
        return self.job(name)

    def submit_pytorch(self, policy: str = "OnFailure", name: str = "llama") -> dict[str, Any]:
        replica = {"restartPolicy": policy, "template": {"spec": pod_spec()}}
        replicas = {"Master": {"replicas": 1, **replica}, "Worker": {"replicas": 2, **replica}}
        told = {"apiVersion": "kubeflow.org/v1", "kind": "PyTorchJob", "metadata": {"name": name},
                "spec": {"runPolicy": {}, "pytorchReplicaSpecs": replicas}}  # fmt: skip
        self.admin.ask("POST", self.path(PYTORCH), told)
        self.runs(3)
        return self.job(name, PYTORCH)

    def fail(self, pod: dict[str, Any]) -> None:
        """Let a pod end as one does that has crashed."""
        status = {"status": {"phase": "Failed", "reason": "Error"}}
        self.admin.ask("PATCH", f"{self.path('pods', pod['metadata']['name'])}/status", status)

    def pods(self) -> list[dict[str, Any]]:
        """Return the pods that run and are not told to end."""
        there = self.admin.items(self.path("pods"))
        return [
            pod for pod in there if pod["status"]["phase"] == "Running" and "deletionTimestamp" not in pod["metadata"]
        ]

    def uids(self) -> set[str]:
        return {pod["metadata"]["uid"] for pod in self.pods()}

    def runs(self, pods: int) -> None:
        assert seen(lambda: len(self.pods()) == pods, 30), [pod["metadata"]["name"] for pod in self.pods()]

    def node(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.admin.ask("GET", f"/api/v1/nodes/{name}")
        return found

    def version(self) -> str:
        return str(self.admin.ask("GET", self.path("pods"))["metadata"]["resourceVersion"])

    def made(self, kind: str, since: str) -> list[str]:
        """Return the uids of what was made since a version, in order, as the API server's history tells."""
        told = self.admin.ask("GET", f"{self.path(kind)}?watch=true&timeoutSeconds=1&resourceVersion={since}")
        events = [json.loads(line) for line in told.splitlines()]
        return [one["object"]["metadata"]["uid"] for one in events if one["type"] == "ADDED"]

    def clean(self) -> None:
        for one in self._open:
            one.close()
        self.nodes.dead.clear()
        for kind in ("jobs", "pods", PYTORCH):
            self.admin.ask("DELETE", self.path(kind) + "?propagationPolicy=Background&gracePeriodSeconds=0")
        self.admin.ask("DELETE", f"/apis/policy/v1/namespaces/{self.namespace}/poddisruptionbudgets")
        for name in NODES:
            none = {"annotations": None, "labels": {"relight.dev/replace": None}}
            self.admin.ask("PATCH", f"/api/v1/nodes/{name}", {"metadata": none, "spec": {"unschedulable": None}})


def pod_spec() -> dict[str, Any]:
    container = {"name": "train", "image": "train:1", "env": [{"name": "STEPS", "value": "100"}]}
    return {"restartPolicy": "Never", "containers": [container]}


def terms(before: Any, within_s: float = 30, waited: Waited = NEVER.wait) -> Terms:
    return Terms(before, waited, time.time() + within_s)


def values_of(job: dict[str, Any]) -> list[list[list[str]]]:
    """Return, for each term of a Job's affinity, the hosts that are excluded."""
    node = job["spec"]["template"]["spec"]["affinity"]["nodeAffinity"]
    found = node["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    return [[one["values"] for one in term["matchExpressions"] if one["operator"] == "NotIn"] for term in found]


@pytest.fixture(scope="module")
def roles(kubernetes_process: KubernetesServer) -> None:
    """What the agent may do is what docker/kubernetes/agent-rbac.yaml says, and nothing else."""
    paths = {"Namespace": "/api/v1/namespaces", "ServiceAccount": "/api/v1/namespaces/relight/serviceaccounts"}
    for role in yaml.safe_load_all(ROLES.read_text(encoding="utf-8")):
        rbac = f"/apis/rbac.authorization.k8s.io/v1/{role['kind'].lower()}s"
        kubernetes_process.admin.ask("POST", paths.get(role["kind"], rbac), role)


@pytest.fixture(scope="module")
def operator(kubernetes_process: KubernetesServer) -> Iterator[Operator]:
    one = Operator(kubernetes_process.admin)
    yield one
    one.stop()


@pytest.fixture(scope="module")
def nodes(kubernetes_process: KubernetesServer, operator: Operator) -> Iterator[Nodes]:
    one = Nodes(kubernetes_process.admin, NODES)
    yield one
    one.stop()


@pytest.fixture
def cluster(kubernetes_process: KubernetesServer, nodes: Nodes, roles: None, tmp_path: Path) -> Iterator[Cluster]:
    one = Cluster(kubernetes_process, nodes, tmp_path)
    yield one
    one.clean()


@pytest.fixture
def wire(kubernetes_process: KubernetesServer) -> Iterator[Wire]:
    one = Wire(kubernetes_process)
    yield one
    one.end()


def test_a_cordon_says_for_which_command_it_is(cluster: Cluster) -> None:
    assert cluster.run(CordonNode(host="node01")).output == "Node node01 is cordoned."
    node = cluster.node("node01")
    assert node["spec"]["unschedulable"]
    assert node["metadata"]["annotations"]["relight.dev/command"] == "cmd-1"
    assert node["metadata"]["annotations"]["relight.dev/incident"] == "inc-1"


def test_a_node_that_is_cordoned_already_stays_whose_it_was(cluster: Cluster) -> None:
    cluster.admin.ask("PATCH", "/api/v1/nodes/node01", {"spec": {"unschedulable": True}})
    assert "cordoned already" in cluster.run(CordonNode(host="node01")).output
    assert "relight.dev/command" not in cluster.node("node01")["metadata"].get("annotations", {})
    assert cluster.executor().found(command(1, CordonNode(host="node01")), {
        "node": "node01", "node_uid": cluster.node("node01")["metadata"]["uid"]}) is Effect.DONE  # fmt: skip


def test_a_host_is_found_by_the_name_that_it_goes_by_itself(cluster: Cluster) -> None:
    assert cluster.run(CordonNode(host="node02.example")).output == "Node node02 is cordoned."


@pytest.mark.parametrize("host", ["node99", "../../x", "a b", "-f", "NODE01", "node01/status", "x" * 300])
def test_a_host_that_is_no_node_is_rejected(host: str, cluster: Cluster) -> None:
    with pytest.raises(ActionRejected, match="no node of this name"):
        cluster.run(CordonNode(host=host))


def test_a_drain_evicts_what_can_go_and_nothing_else(cluster: Cluster) -> None:
    cluster.nodes.dead.add("node02")
    labels = {"app": "exporter"}
    template = {"metadata": {"labels": labels}, "spec": pod_spec() | {"restartPolicy": "Always"}}
    told = {"metadata": {"name": "exporter"}, "spec": {"selector": {"matchLabels": labels}, "template": template}}
    made = cluster.admin.ask("POST", f"/apis/apps/v1/namespaces/{cluster.namespace}/daemonsets", told)["metadata"]
    owner = {"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "exporter", "uid": made["uid"], "controller": True}
    kinds: dict[str, dict[str, Any]] = {
        "trains": {},
        "exports": {"ownerReferences": [owner]},
        "mirrored": {"annotations": {"kubernetes.io/config.mirror": "x"}},
        "finished": {},
        "elsewhere": {},
    }
    for name, meta in kinds.items():
        spec = pod_spec() | {"nodeName": "node03" if name == "elsewhere" else "node01"}
        cluster.admin.ask("POST", cluster.path("pods"), {"metadata": {"name": name, **meta}, "spec": spec})
    cluster.runs(5)
    cluster.fail({"metadata": {"name": "finished"}})
    assert cluster.run(DrainNode(host="node01")).output == "Node node01 is cordoned. 1 pods were evicted."
    assert {pod["metadata"]["name"] for pod in cluster.pods()} == {"exports", "mirrored", "elsewhere"}
    annotations = cluster.node("node01")["metadata"]["annotations"]
    assert annotations["relight.dev/drained"] == annotations["relight.dev/command"] == "cmd-1"


def bare(cluster: Cluster) -> None:
    """Make a pod on node01 that nobody makes anew."""
    meta = {"name": "serves", "labels": {"app": "serves"}}
    cluster.admin.ask("POST", cluster.path("pods"), {"metadata": meta, "spec": pod_spec() | {"nodeName": "node01"}})
    cluster.runs(1)


def budgeted(cluster: Cluster) -> None:
    """Make such a pod that a disruption budget holds."""
    bare(cluster)
    spec = {"minAvailable": 1, "selector": {"matchLabels": {"app": "serves"}}}
    path = f"/apis/policy/v1/namespaces/{cluster.namespace}/poddisruptionbudgets"
    cluster.admin.ask("POST", path, {"metadata": {"name": "one"}, "spec": spec})
    assert seen(lambda: cluster.admin.items(path)[0].get("status", {}).get("currentHealthy") == 1)


def test_a_disruption_budget_holds_a_drain_and_lets_it_go_later(cluster: Cluster) -> None:
    budgeted(cluster)
    with pytest.raises(ActionFailed, match=r"still there: team-\d+/serves \(Cannot evict pod as it would violate"):
        cluster.run(DrainNode(host="node01"), drain_s=1)
    assert len(cluster.pods()) == 1
    assert cluster.node("node01")["spec"]["unschedulable"]
    freed = []

    def waited(seconds: float) -> bool:
        if not freed and time.time() > begun + 0.5:
            freed.append(len(cluster.pods()))
            cluster.admin.ask("DELETE", f"/apis/policy/v1/namespaces/{cluster.namespace}/poddisruptionbudgets")
        return NEVER.wait(seconds)

    mine, what, begun = cluster.executor(), command(2, DrainNode(host="node01")), time.time()
    before = mine.prepare(what)
    assert "1 pods were evicted" in mine.execute(what, terms(before, waited=waited)).output
    assert freed == [1]
    assert mine.found(what, before) is Effect.DONE


def test_a_drain_names_what_does_not_end_and_never_forces_it(cluster: Cluster) -> None:
    cluster.nodes.dead.add("node01")
    spec = pod_spec() | {"nodeName": "node01"}
    cluster.admin.ask("POST", cluster.path("pods"), {"metadata": {"name": "hangs"}, "spec": spec})
    cluster.runs(1)
    with pytest.raises(ActionFailed, match=r"hangs \(is ending\)"):
        cluster.run(DrainNode(host="node01"), within_s=1)
    assert cluster.admin.ask("GET", cluster.path("pods", "hangs"))["metadata"]["deletionGracePeriodSeconds"] == 30


def test_a_drain_that_is_to_stop_goes_on_later(cluster: Cluster) -> None:
    budgeted(cluster)
    mine, what = cluster.executor(), command(1, DrainNode(host="node01"))
    before = mine.prepare(what)
    with stopping(0.3) as waited, pytest.raises(Interrupted):
        mine.execute(what, terms(before, waited=waited))
    assert mine.found(what, before) is Effect.NOT_DONE


def test_a_node_is_marked_for_its_replacement_once_it_is_empty(cluster: Cluster) -> None:
    budgeted(cluster)
    with pytest.raises(ActionFailed):
        cluster.run(ReplaceNode(host="node01"), drain_s=1)
    assert "relight.dev/replace" not in cluster.node("node01")["metadata"]["labels"]
    assert "marked to be replaced" in cluster.run(ReplaceNode(host="node02")).output
    assert cluster.node("node02")["metadata"]["labels"]["relight.dev/replace"] == "true"


def test_a_node_that_has_taken_the_name_of_another_is_left_alone(cluster: Cluster) -> None:
    mine, what = cluster.executor(), command(1, CordonNode(host="node03"))
    before = mine.prepare(what)
    cluster.admin.ask("DELETE", "/api/v1/nodes/node03")
    cluster.nodes.register("node03")
    with pytest.raises(ActionFailed, match="was replaced"):
        mine.execute(what, terms(before))
    assert mine.found(what, before) is Effect.NOT_DONE
    assert not cluster.node("node03")["spec"].get("unschedulable")


def test_one_process_is_restarted_by_its_rank(cluster: Cluster) -> None:
    cluster.submit(3)
    before = {pod["metadata"]["uid"]: pod["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"]
              for pod in cluster.pods()}  # fmt: skip
    assert "has new pods" in cluster.run(RestartProcess(job="llama", rank=1)).output
    cluster.runs(3)
    assert [index for uid, index in before.items() if uid not in cluster.uids()] == ["1"]


def test_one_process_is_restarted_by_its_host(cluster: Cluster) -> None:
    cluster.submit(1)
    before = cluster.uids()
    cluster.run(RestartProcess(job="llama", host="node01.example"))
    cluster.runs(1)
    assert not before & cluster.uids()
    with pytest.raises(ActionRejected, match="no running pod there"):
        cluster.run(RestartProcess(job="llama", host="node03"))


def test_a_process_that_could_be_several_or_would_cost_the_job_is_rejected(cluster: Cluster) -> None:
    cluster.submit(2, backoffLimit=0)
    with pytest.raises(ActionRejected, match="name the rank"):
        cluster.run(RestartProcess(job="llama"))
    with pytest.raises(ActionRejected, match="backoffLimit leaves none to lose"):
        cluster.run(RestartProcess(job="llama", rank=0))
    with pytest.raises(ActionRejected, match="no running pod"):
        cluster.run(RestartProcess(job="llama", rank=7))


def test_ranks_count_a_master_and_the_processes_of_a_pod() -> None:
    def pod(kind: str, index: int, gpus: int = 1) -> dict[str, Any]:
        labels = {"training.kubeflow.org/replica-type": kind, "training.kubeflow.org/replica-index": str(index)}
        limits = {"resources": {"limits": {"nvidia.com/gpu": str(gpus)}}}
        return {"metadata": {"name": f"{kind}-{index}", "labels": labels}, "spec": {"containers": [limits]}}

    def found(rank: int, gpus: int = 1, **spec: Any) -> list[str]:
        replicas = {"Master": {}, "Worker": {}}
        job = Job("PyTorchJob", "team", "llama", {"metadata": {}, "spec": {"pytorchReplicaSpecs": replicas, **spec}})
        pods = [pod("master", 0, gpus), pod("worker", 0, gpus), pod("worker", 1, gpus)]
        return [one["metadata"]["name"] for one in of_rank(job, pods, rank)]

    assert [found(rank) for rank in range(4)] == [["master-0"], ["worker-0"], ["worker-1"], []]
    assert found(17, 8, nprocPerNode="8") == ["worker-1"]
    with pytest.raises(ActionRejected, match="name the host"):
        found(1, 8)


def test_a_running_job_gets_new_pods_and_loses_none_of_its_backoff_limit(cluster: Cluster) -> None:
    job = cluster.submit(4, backoffLimit=0)
    before, since = cluster.uids(), cluster.version()
    mine, what = cluster.executor(), command(1, RestartJob(job="llama"))
    note = mine.prepare(what)
    assert mine.found(what, note) is Effect.NOT_DONE
    assert "made anew" in mine.execute(what, terms(note)).output
    cluster.runs(4)
    after = cluster.job()
    assert not before & cluster.uids()
    assert len(cluster.made("pods", since)) == 4
    assert after["metadata"]["uid"] == job["metadata"]["uid"]
    assert after["metadata"]["annotations"]["relight.dev/command"] == "cmd-1"
    assert "relight.dev/restarting" not in after["metadata"]["annotations"]
    assert after["status"].get("failed", 0) == 0
    assert mine.found(what, note) is Effect.DONE
    mine.execute(what, terms(note))
    assert len(cluster.made("pods", since)) == 4


def test_a_job_can_be_restarted_again_and_in_another_namespace(cluster: Cluster) -> None:
    cluster.submit(1)
    for number in (1, 2):
        before = cluster.uids()
        cluster.run(RestartJob(job=f"{cluster.namespace}/llama"), number, namespace="default")
        cluster.runs(1)
        assert not before & cluster.uids()


def test_pods_that_the_controller_has_replaced_itself_are_not_replaced_again(cluster: Cluster) -> None:
    cluster.submit(1)
    mine, what = cluster.executor(), command(1, RestartJob(job="llama"))
    note = mine.prepare(what)
    since = cluster.version()
    cluster.fail(cluster.pods()[0])
    assert seen(lambda: mine.found(what, note) is Effect.DONE, 30)
    assert "had replaced its pods itself" in mine.execute(what, terms(note)).output
    assert len(cluster.made("pods", since)) == 1


def failed(cluster: Cluster, **spec: Any) -> dict[str, Any]:
    """Submit a Job and let it fail."""
    cluster.submit(2, backoffLimit=0, **spec)
    cluster.fail(cluster.pods()[0])
    assert seen(lambda: any(one["type"] == "Failed" for one in cluster.job()["status"].get("conditions", [])), 30)
    return cluster.job()


def test_a_failed_job_is_made_anew(cluster: Cluster) -> None:
    job = failed(cluster)
    mine, what = cluster.executor(), command(1, RestartJob(job="llama"))
    note = mine.prepare(what)
    assert "made anew" in mine.execute(what, terms(note)).output
    cluster.runs(2)
    after = cluster.job()
    assert after["metadata"]["uid"] != job["metadata"]["uid"]
    assert after["metadata"]["annotations"]["relight.dev/incident"] == "inc-1"
    for key in ("backoffLimit", "completions", "parallelism", "completionMode"):
        assert after["spec"][key] == job["spec"][key]
    assert after["spec"]["template"]["spec"] == job["spec"]["template"]["spec"]
    assert mine.found(what, note) is Effect.DONE
    mine.execute(what, terms(note))
    assert cluster.job()["metadata"]["uid"] == after["metadata"]["uid"]


def test_a_job_that_was_deleted_for_its_restart_is_made_anew_and_an_old_one_is_not(cluster: Cluster) -> None:
    failed(cluster)
    mine, what = cluster.executor(), command(1, RestartJob(job="llama"))
    note = mine.prepare(what)
    cluster.admin.ask(
        "DELETE", cluster.path(name="llama") + "?propagationPolicy=Background"
    )  # and the agent was killed
    late = command(1, RestartJob(job="llama"), deadline_s=time.time() - 1)
    assert mine.found(what, note) is Effect.NOT_DONE
    assert mine.found(late, note) is Effect.UNKNOWN
    mine.execute(what, terms(note))
    cluster.runs(2)


def test_a_job_is_kept_from_hosts_besides_what_it_was_kept_from(cluster: Cluster) -> None:
    key = {"key": "pool", "operator": "DoesNotExist"}
    hosts = {"key": "kubernetes.io/hostname", "operator": "NotIn", "values": ["old"]}
    required = {"nodeSelectorTerms": [{"matchExpressions": [key, hosts]}, {"matchExpressions": [key]}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
    cluster.submit(2, affinity=affinity)
    assert {pod["spec"]["nodeName"] for pod in cluster.pods()} == {"node01"}
    before = cluster.uids()
    cluster.run(RestartJobExcludingHosts(job="llama", hosts=("node01", "node02.example")))
    cluster.runs(2)
    assert {pod["spec"]["nodeName"] for pod in cluster.pods()} == {"node03"}
    assert not before & cluster.uids()
    assert values_of(cluster.job()) == [[["node01.example", "node02.example", "old"]],
                                        [["node01.example", "node02.example"]]]  # fmt: skip
    assert not cluster.node("node01")["spec"].get("unschedulable")


def test_a_job_that_somebody_else_has_made_anew_is_not_one_that_is_kept_from_hosts(cluster: Cluster) -> None:
    cluster.submit(1)
    mine = cluster.executor()
    here = [command(1, RestartJob(job="llama")), command(2, RestartJobExcludingHosts(job="llama", hosts=("node01",)))]
    notes = [mine.prepare(what) for what in here]
    cluster.admin.ask("DELETE", cluster.path(name="llama") + "?propagationPolicy=Background")
    assert seen(lambda: not cluster.pods())
    cluster.submit(1)
    assert [mine.found(*both) for both in zip(here, notes, strict=True)] == [Effect.DONE, Effect.NOT_DONE]
    assert "somebody else" in mine.execute(here[0], terms(notes[0])).output
    with pytest.raises(ActionFailed, match="somebody else"):
        mine.execute(here[1], terms(notes[1]))


def test_a_job_is_made_anew_although_one_of_its_nodes_does_not_answer(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relight.agent.executors.kubernetes_restarts._OVERDUE_S", -28)  # 2 s after it was told to end
    cluster.submit(1)
    cluster.nodes.dead.add("node01")
    cluster.run(RestartJobExcludingHosts(job="llama", hosts=("node01",)))
    cluster.runs(1)
    assert cluster.pods()[0]["spec"]["nodeName"] == "node02"


def test_who_is_to_stop_between_two_steps_leaves_no_job_without_pods(cluster: Cluster) -> None:
    cluster.submit(1)
    cluster.nodes.dead.add("node01")
    for number, action in enumerate(
        (RestartJob(job="llama"), RestartJobExcludingHosts(job="llama", hosts=("node01",)))
    ):
        mine, what = cluster.executor(), command(number, action)
        note = mine.prepare(what)
        with stopping(0.5) as waited, pytest.raises(Interrupted):
            mine.execute(what, terms(note, waited=waited))
        assert mine.found(what, note) is Effect.DONE
        cluster.nodes.dead.clear()
        cluster.runs(1)
        cluster.nodes.dead.add("node01")


def test_what_a_command_has_suspended_is_resumed_even_after_its_deadline(cluster: Cluster) -> None:
    cluster.submit(1)
    mine, what = cluster.executor(), command(1, RestartJob(job="llama"))
    note = mine.prepare(what)
    suspended = {"metadata": {"annotations": {"relight.dev/restarting": "cmd-1"}}, "spec": {"suspend": True}}
    cluster.admin.ask("PATCH", cluster.path(name="llama"), suspended)  # and the agent was killed
    assert mine.found(what, note) is Effect.NOT_DONE
    mine.execute(what, terms(note, -1))
    cluster.runs(1)
    with pytest.raises(ActionFailed, match="deadline"):
        cluster.run(RestartJob(job="llama"), 2, within_s=-1)


def test_a_job_that_another_command_has_left_suspended_is_resumed(cluster: Cluster, wire: Wire) -> None:
    cluster.submit(1)
    mine, what = cluster.executor(url=wire.url), command(1, RestartJob(job="llama"))
    note = mine.prepare(what)
    wire.lose("PATCH", "jobs", "answer", 1000)
    with pytest.raises(ActionUnknown, match="may be suspended and not resumed: no answer"):
        mine.execute(what, terms(note, 1))
    assert cluster.job()["spec"]["suspend"]
    cluster.run(RestartJob(job="llama"), 2)
    cluster.runs(1)


def test_a_running_pytorchjob_gets_new_pods_without_failing(cluster: Cluster) -> None:
    job = cluster.submit_pytorch("Never")
    before, since = cluster.uids(), cluster.version()
    assert "made anew" in cluster.run(RestartJob(job="llama")).output
    cluster.runs(3)
    assert not before & cluster.uids()
    assert len(cluster.made("pods", since)) == 3
    assert cluster.job("llama", PYTORCH)["metadata"]["uid"] == job["metadata"]["uid"]


def test_a_failed_pytorchjob_is_made_anew(cluster: Cluster) -> None:
    job = cluster.submit_pytorch()
    condition = {"type": "Failed", "status": "True"}
    cluster.admin.ask("PATCH", f"{cluster.path(PYTORCH, 'llama')}/status", {"status": {"conditions": [condition]}})
    before = cluster.uids()
    cluster.run(RestartJob(job="llama"))
    cluster.runs(3)
    assert not before & cluster.uids()
    after = cluster.job("llama", PYTORCH)
    assert after["spec"] == job["spec"]
    assert "status" not in after


def test_one_replica_of_a_pytorchjob_is_restarted_unless_that_costs_the_job(cluster: Cluster) -> None:
    cluster.submit_pytorch()
    before = {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in cluster.pods()}
    cluster.run(RestartProcess(job="llama", rank=2))
    cluster.runs(3)
    after = {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in cluster.pods()}
    assert {name for name, uid in after.items() if uid != before[name]} == {"llama-worker-1"}
    cluster.admin.ask("DELETE", cluster.path(PYTORCH, "llama"))
    assert seen(lambda: not cluster.pods())
    cluster.submit_pytorch("Never")
    with pytest.raises(ActionRejected, match="restartPolicy is Never"):
        cluster.run(RestartProcess(job="llama", rank=2))


def test_a_name_that_two_kinds_of_jobs_have_is_rejected(cluster: Cluster) -> None:
    cluster.submit_pytorch()
    cluster.admin.ask(
        "POST", cluster.path(), {"metadata": {"name": "llama"}, "spec": {"template": {"spec": pod_spec()}}}
    )
    with pytest.raises(ActionRejected, match="both a Job and PyTorchJob"):
        cluster.run(RestartJob(job="llama"))


@pytest.mark.parametrize("name", ["other", "../llama", "a/b/c", "-x", "llama?watch=true", "Llama", "/llama"])
def test_a_job_that_is_not_there_is_rejected(name: str, cluster: Cluster) -> None:
    with pytest.raises(ActionRejected, match=r"no Job and PyTorchJob|no name of a job"):
        cluster.run(RestartJob(job=name))


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"suspend": True}, "is suspended"),
        ({"owner": "JobSet"}, "for JobSet llama, which has made it"),
        ({"large": True}, "too large"),
    ],
    ids=["suspended", "another's", "too large"],
)
def test_jobs_that_are_not_for_it_to_restart_are_rejected(how: dict[str, Any], why: str, cluster: Cluster) -> None:
    owner = {"apiVersion": "x/v1", "kind": "JobSet", "name": "llama", "uid": "u-1", "controller": True}
    meta = {"ownerReferences": [owner]} if "owner" in how else {}
    meta |= {"annotations": {"note": "x" * 250_000}} if "large" in how else {}
    spec = {"suspend": "suspend" in how, "template": {"spec": pod_spec()}}
    cluster.admin.ask("POST", cluster.path(), {"metadata": {"name": "llama", **meta}, "spec": spec})
    with pytest.raises(ActionRejected, match=why):
        cluster.run(RestartJobExcludingHosts(job="llama", hosts=("node01",)))


def test_a_job_whose_successor_the_server_would_not_take_is_not_deleted(cluster: Cluster) -> None:
    job = failed(cluster)
    mine, what = cluster.executor(), command(1, RestartJob(job="llama"))
    note = dict(mine.prepare(what))
    note["manifest"] = note["manifest"].replace('"image":"train:1"', '"image":""')
    with pytest.raises(ActionRejected, match="could not be made anew"):
        mine.execute(what, terms(note))
    assert cluster.job()["metadata"]["uid"] == job["metadata"]["uid"]


def test_a_manifest_has_nothing_of_the_old_job_in_it(cluster: Cluster) -> None:
    job = cluster.submit(1)
    told = manifest(Job("Job", cluster.namespace, "llama", job))
    assert job["metadata"]["uid"] not in json.dumps(told)
    assert told["metadata"].keys() <= {"name", "namespace", "labels", "annotations"}


def test_diagnostics_say_how_nodes_and_pods_are(cluster: Cluster) -> None:
    cluster.submit(2)
    event = {"metadata": {"name": f"{cluster.namespace}-xid"}, "type": "Warning", "reason": "GpuLost",
             "message": "Xid 79", "involvedObject": {"kind": "Node", "name": "node01"}}  # fmt: skip
    cluster.admin.ask("POST", "/api/v1/namespaces/default/events", event)
    told = cluster.run(CollectDiagnostics(hosts=("node01", "node99"), job="llama")).output
    for word in (
        "no node of this name: node99",
        "Ready=True",
        "GpuLost: Xid 79",
        "on node01: Running",
        "log of llama-0",
    ):
        assert word in told
    assert len(told) <= 8000
    with pytest.raises(ActionRejected, match="no node"):
        cluster.run(CollectDiagnostics(hosts=("node99",)))
    assert cluster.executor().found(command(1, CollectDiagnostics(job="llama")), {}) is Effect.NOT_DONE


def test_what_it_may_not_do_is_named(cluster: Cluster) -> None:
    cluster.submit(1)
    for action, permission in (
        (CordonNode(host="node01"), "get nodes"),
        (RestartJob(job="llama"), f"get jobs.batch in {cluster.namespace}"),
    ):
        with pytest.raises(ActionRejected, match=f"its account may not {permission}: "):
            cluster.run(action, who="nobody")


def test_what_it_cannot_do_is_rejected(cluster: Cluster) -> None:
    assert "reboot_node" not in cluster.executor().actions
    with pytest.raises(ActionRejected, match="reboot_node"):
        cluster.run(RebootNode(host="node01"))


ACTIONS: dict[str, tuple[Action, str, str]] = {
    "cordon": (CordonNode(host="node01"), "PATCH", "nodes"),
    "mark": (ReplaceNode(host="node01"), "PATCH", "nodes"),
    "evict": (DrainNode(host="node01"), "POST", "eviction"),
    "one pod": (RestartProcess(job="llama", rank=0), "DELETE", "pods"),
    "suspend": (RestartJob(job="llama"), "PATCH", "jobs"),
    "delete": (RestartJobExcludingHosts(job="llama", hosts=("node03",)), "DELETE", "jobs"),
    "create": (RestartJobExcludingHosts(job="llama", hosts=("node03",)), "POST", "jobs"),
}


@pytest.mark.parametrize("how", ["answer", "request"])
@pytest.mark.parametrize("what", ACTIONS)
def test_what_is_lost_on_the_way_is_asked_for_again_and_done_once(
    what: str, how: str, cluster: Cluster, wire: Wire
) -> None:
    action, method, word = ACTIONS[what]
    changed = {"cordon": 0, "mark": 0, "evict": 0, "one pod": 1}.get(what, 2)
    if word == "nodes" or word == "eviction":
        bare(cluster)
    elif what == "one pod":
        cluster.submit_pytorch()
    else:
        cluster.submit(2)
    since, old = cluster.version(), cluster.uids()
    wire.lose(method, word, how, times=2)
    cluster.run(action, url=wire.url)
    cluster.runs({"cordon": 1, "mark": 0, "evict": 0}.get(what, len(old)))
    assert len(cluster.made("pods", since)) == changed
    assert len(old & cluster.uids()) == len(cluster.pods()) - changed
    assert sum(one.startswith(method) and word in one for one in wire.asked) >= 3


def test_who_is_not_answered_at_all_has_done_nothing(cluster: Cluster, wire: Wire) -> None:
    mine, what = cluster.executor(url=wire.url), command(1, CordonNode(host="node01"))
    before = mine.prepare(what)
    wire.lose("GET", "nodes", "request", 1000)
    with pytest.raises(ActionFailed, match="no answer from Kubernetes"):
        mine.execute(what, terms(before, 1))


def test_who_was_not_answered_after_asking_for_a_change_does_not_know(cluster: Cluster, wire: Wire) -> None:
    mine, what = cluster.executor(url=wire.url), command(1, CordonNode(host="node01"))
    before = mine.prepare(what)
    wire.lose("PATCH", "nodes", "answer", 1000)
    with pytest.raises(ActionUnknown, match="no answer from Kubernetes"):
        mine.execute(what, terms(before, 1))
    assert mine.found(what, before) is Effect.DONE


def test_a_server_that_comes_back_in_time_is_waited_for(cluster: Cluster) -> None:
    mine, what = cluster.executor(timeout_s=0.3), command(1, CordonNode(host="node01"))
    before = mine.prepare(what)
    cluster.server.freeze()
    back = threading.Timer(2, cluster.server.thaw)
    back.start()
    try:
        assert mine.execute(what, terms(before)).output == "Node node01 is cordoned."
    finally:
        back.join()


@pytest.mark.parametrize("text", [None, "", "[]", "a: [", "users: 1", "current-context: x"])
def test_without_a_way_in_it_says_so(text: str | None, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "config").write_text(text, encoding="utf-8")
    with pytest.raises(NoClient, match="no way into Kubernetes"):
        KubernetesExecutor(Kubernetes(kubeconfig=tmp_path / "config"))


def test_without_the_client_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kubernetes.client", None)
    with pytest.raises(NoClient, match=r"pip install 'relight\[k8s\]'"):
        KubernetesExecutor(Kubernetes())


def test_no_name_leads_to_another_place() -> None:
    assert (
        Place("batch/v1", "jobs", "a/../b", "../x?y#z").path
        == "/apis/batch/v1/namespaces/a%2F..%2Fb/jobs/..%2Fx%3Fy%23z"
    )


def as_the_agent_would(settings: Kubernetes, what: RecoveryCommand, started: Path) -> Done | None:
    """Carry out a command, or find out that it has been; `started` is what the agent has committed before it acts."""
    executor = KubernetesExecutor(settings, poll_s=0.02)
    try:
        if started.exists():
            before = json.loads(started.read_text(encoding="utf-8"))
            if executor.found(what, before) is Effect.DONE:
                return None
        else:
            before = dict(executor.prepare(what))
            started.with_suffix(".part").write_text(json.dumps(before), encoding="utf-8")
            started.with_suffix(".part").rename(started)
        return executor.execute(what, terms(before))
    finally:
        executor.close()


KILLED: dict[str, tuple[Callable[[int], Action], int]] = {
    "a running job": (lambda number: RestartJob(job="llama"), 2),
    "elsewhere": (lambda number: RestartJobExcludingHosts(job="llama", hosts=(NODES[number % 2],)), 2),
    "one pod": (lambda number: RestartProcess(job="llama", rank=number % 2), 1),
}


@pytest.mark.parametrize("which", KILLED)
def test_each_command_takes_effect_once_whenever_its_agent_is_killed(which: str, cluster: Cluster, wire: Wire) -> None:
    """Twelve rounds of each: answers are slow, so that a kill is as likely between two steps as during one."""
    action, replaced = KILLED[which]
    dice, ends = random.Random(which), set()
    if which == "one pod":
        cluster.submit_pytorch()  # whose operator, unlike that of Jobs, makes a lost pod anew at once
    else:
        cluster.submit(2)
    wire.delay_s = 0.02
    settings, pods, since = cluster.settings(url=wire.url), len(cluster.pods()), cluster.version()
    for number in range(12):
        what, started = command(number, action(number)), cluster.folder / f"started-{number}"
        old = cluster.uids()
        agent = _forked.Process(target=as_the_agent_would, args=(settings, what, started))
        agent.start()
        assert seen(started.exists)
        agent.join(dice.uniform(0, 0.5))
        agent.kill()
        agent.join()
        ends.add("found" if as_the_agent_would(settings, what, started) is None else "done")
        cluster.runs(pods)
        assert len(old - cluster.uids()) == replaced
    assert len(cluster.made("pods", since)) == 12 * replaced
    assert len(cluster.made("jobs", since)) == (12 if which == "elsewhere" else 0)
    assert ends == {"found", "done"}
