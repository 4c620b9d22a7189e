"""A Kubernetes as local processes: etcd, its API server and its controllers are the real ones, built from Go modules.

There is no scheduler and no kubelet: `Nodes` stands in for both, and runs no containers: it gives pods a node, says
that they run, and lets go of those that are told to end. `Operator` stands in for Kubeflow's training operator, as far
as it makes the pods of a PyTorchJob and honours `suspend`; that a PyTorchJob fails on losing a pod is recorded from its
code (pkg/core/status.go: a running pod that is being deleted counts as failed).

`python -m tests.servers.kubernetes_server` builds the program into the user's cache.
"""

import fcntl
import hashlib
import json
import os
import shutil
import signal
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import urllib3
import yaml

from tests.servers.controlled import ControlledServer
from tests.servers.process import NotStarted, Process, free_ports

VERSION = "1.34.1"
AGENT = "system:serviceaccount:relight:relight-agent"
"""Who the agent is by docker/kubernetes/agent-rbac.yaml."""
ROLES = Path(__file__).parents[2] / "docker" / "kubernetes" / "agent-rbac.yaml"

_USERS = {
    "admin": ("admin", "system:masters"),
    "agent": (AGENT, "system:serviceaccounts"),
    "nobody": ("nobody", "none"),
}
_STAGING = (
    "api", "apiextensions-apiserver", "apimachinery", "apiserver", "cli-runtime", "client-go", "cloud-provider",
    "cluster-bootstrap", "code-generator", "component-base", "component-helpers", "controller-manager", "cri-api",
    "cri-client", "csi-translation-lib", "dynamic-resource-allocation", "endpointslice", "externaljwt", "kms",
    "kube-aggregator", "kube-controller-manager", "kube-proxy", "kube-scheduler", "kubectl", "kubelet", "metrics",
    "mount-utils", "pod-security-admission", "sample-apiserver", "sample-cli-plugin", "sample-controller",
)  # fmt: skip
_PROGRAM = r"""
package main

import (
	"fmt"
	"net/url"
	"os"

	"go.etcd.io/etcd/server/v3/embed"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
)

func etcd(folder, client, peer string) error {
	config := embed.NewConfig()
	config.Dir = folder
	config.LogLevel = "error"
	config.UnsafeNoFsync = true
	clients, err := url.Parse(client)
	if err != nil {
		return err
	}
	peers, err := url.Parse(peer)
	if err != nil {
		return err
	}
	config.ListenClientUrls, config.AdvertiseClientUrls = []url.URL{*clients}, []url.URL{*clients}
	config.ListenPeerUrls, config.AdvertisePeerUrls = []url.URL{*peers}, []url.URL{*peers}
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	server, err := embed.StartEtcd(config)
	if err != nil {
		return err
	}
	return <-server.Err()
}

func run(arguments []string) error {
	switch arguments[0] {
	case "etcd":
		return etcd(arguments[1], arguments[2], arguments[3])
	case "kube-apiserver":
		command := apiserver.NewAPIServerCommand()
		command.SetArgs(arguments[1:])
		return command.Execute()
	case "kube-controller-manager":
		command := controllers.NewControllerManagerCommand()
		command.SetArgs(arguments[1:])
		return command.Execute()
	}
	return fmt.Errorf("there is no %s", arguments[0])
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
"""
_LINKED = f"-ldflags=-s -w -X k8s.io/component-base/version.gitVersion=v{VERSION}"
_CONTROLLERS = "garbage-collector-controller,job-controller,disruption-controller,ttl-after-finished-controller"


class NoKubernetes(NotStarted):
    """The program is not in the cache and cannot be built. The message says what is missing."""


def program() -> Path:
    """Return the program that `build` has put into the cache; one that is being built is waited for.

    Raises:
        NoKubernetes: it is not there.
    """
    path = _cached()
    path.parent.mkdir(parents=True, exist_ok=True)
    with _building(path):
        pass
    if not path.exists():
        raise NoKubernetes("its program is not built: `python -m tests.servers.kubernetes_server` does, with Go")
    return path


def build() -> Path:
    """Build the program, where it is not there yet; it takes minutes. Go fetches what it needs.

    Raises:
        NoKubernetes: Go is missing, or failed.
    """
    go = shutil.which("go") or next((path for path in ("/usr/local/go/bin/go",) if Path(path).exists()), None)
    if go is None:
        raise NoKubernetes("no `go` on the PATH")
    path = _cached()
    path.parent.mkdir(parents=True, exist_ok=True)
    with _building(path), tempfile.TemporaryDirectory(dir=path.parent) as folder:
        if path.exists():
            return path
        (Path(folder) / "main.go").write_text(_PROGRAM, encoding="utf-8")
        (Path(folder) / "go.mod").write_text(_module(), encoding="utf-8")
        made = Path(folder) / "made"
        for words in (("mod", "tidy"), ("build", "-trimpath", _LINKED, "-o", str(made), ".")):
            environment = os.environ | {"CGO_ENABLED": "0"}
            done = subprocess.run(
                [go, *words], cwd=folder, env=environment, capture_output=True, text=True, check=False
            )
            if done.returncode:
                raise NoKubernetes(f"`go {words[0]}` failed:\n{done.stderr[-2000:]}")
        os.replace(made, path)
    return path


@contextmanager
def _building(path: Path) -> Iterator[None]:
    """Wait until nobody else builds the program."""
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _cached() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    made_of = hashlib.sha256((_PROGRAM + _module() + _LINKED).encode()).hexdigest()[:16]
    return cache / "relight-tests" / f"kubernetes-{made_of}" / "kubernetes"


def _module() -> str:
    staging = VERSION.replace("1.", "0.", 1)
    replaced = [f"replace k8s.io/{name} => k8s.io/{name} v{staging}" for name in _STAGING]
    return "\n".join(["module kubernetes", "go 1.24.0", f"require k8s.io/kubernetes v{VERSION}", *replaced, ""])


class Client:
    """Somebody who asks the API server, with a token."""

    def __init__(self, url: str, ca_file: Path, token: str) -> None:
        """Take where it is, and who asks."""
        self._url, self._headers = url, {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._pool = urllib3.PoolManager(ca_certs=str(ca_file), retries=False, maxsize=8)

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """Make a request and return the JSON of the answer; of a watch, which is lines of JSON, the text.

        Raises:
            AssertionError: the answer is no.
        """
        kind = {"Content-Type": "application/merge-patch+json"} if method == "PATCH" else {}
        told = json.dumps(body) if body is not None else None
        answer = self._pool.request(method, self._url + path, body=told, headers=self._headers | kind, timeout=20)
        if answer.status >= 300:
            raise AssertionError(f"{method} {path}: {answer.status} {answer.data.decode()[:500]}")
        return answer.data.decode() if "watch=true" in path or path == "/readyz" else answer.json()

    def items(self, path: str) -> list[dict[str, Any]]:
        """Return the objects of a collection."""
        found: list[dict[str, Any]] = self.ask("GET", path)["items"]
        return found

    def close(self) -> None:
        """Close the connections."""
        self._pool.clear()


class KubernetesServer(ControlledServer):
    """A cluster without machines. `start` after `stop` or `kill` gives the same API server with its objects again.

    `kubeconfig(who)` is a way in for `admin`, for `agent` (docker/kubernetes/agent-rbac.yaml) and for `nobody`.
    """

    def __init__(self, folder: Path) -> None:
        """Prepare it.

        Raises:
            NoKubernetes: its program is not built.
        """
        self._program, self._folder = str(program()), folder
        self._client_port, self._peer_port, self.port, self._manager_port = free_ports(4)
        self._around: list[Process] = []
        lines = [f"{who},{name},{who},{group}" for who, (name, group) in _USERS.items()]
        (folder / "tokens.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        key = ["openssl", "genrsa", "-out", str(folder / "accounts.key"), "2048"]
        subprocess.run(key, capture_output=True, check=True)
        self.admin: Client

    @property
    def url(self) -> str:
        """Where it is."""
        return f"https://127.0.0.1:{self.port}"

    @property
    def ca_file(self) -> Path:
        """The certificate to trust."""
        return self._folder / "certificates" / "apiserver.crt"

    def kubeconfig(self, who: str, url: str | None = None) -> Path:
        """Return a kubeconfig of somebody, for another address if one is given."""
        path = self._folder / f"kubeconfig-{who}-{(url or self.url).rpartition(':')[2]}"
        cluster = {"server": url or self.url, "certificate-authority": str(self.ca_file)}
        told = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": who, "user": {"token": who}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": who}}],
        }
        path.write_text(yaml.safe_dump(told), encoding="utf-8")
        return path

    def start(self) -> None:
        """Start it, wait until it answers and its controllers run."""
        assert self._process is None, "it runs"
        if not self._around:
            urls = [f"http://127.0.0.1:{port}" for port in (self._client_port, self._peer_port)]
            etcd = Process([self._program, "etcd", str(self._folder / "etcd"), *urls], self._folder / "etcd.log")
            self._around.append(etcd)
            etcd.wait_for(self._client_port)
        self._process = Process([self._program, "kube-apiserver", *self._flags()], self._folder / "apiserver.log")
        self._process.wait_for(self.port)
        self.admin = Client(self.url, self.ca_file, "admin")
        self._wait_until_ready()
        if len(self._around) == 1:
            manager = [self._program, "kube-controller-manager", *self._manager_flags()]
            self._around.append(Process(manager, self._folder / "controllers.log"))
            self._around[1].wait_for(self._manager_port)

    def stop(self) -> None:
        """Stop it and all that is around it."""
        self.admin.close()
        self.kill()  # asked to stop it waits long for those who watch
        for process in reversed(self._around):
            process.end(signal.SIGKILL)
        self._around.clear()

    def _wait_until_ready(self) -> None:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            with suppress(AssertionError, urllib3.exceptions.HTTPError):
                self.admin.ask("GET", "/readyz")
                self.admin.ask("GET", "/api/v1/namespaces/default")
                return
            time.sleep(0.1)
        raise NotStarted("the API server is not ready")

    def _flags(self) -> list[str]:
        key = self._folder / "accounts.key"
        return [
            f"--etcd-servers=http://127.0.0.1:{self._client_port}",
            f"--secure-port={self.port}",
            "--bind-address=127.0.0.1",
            f"--cert-dir={self._folder / 'certificates'}",
            f"--token-auth-file={self._folder / 'tokens.csv'}",
            "--authorization-mode=RBAC",
            "--service-account-issuer=https://relight.test",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            "--service-cluster-ip-range=10.0.0.0/24",
            "--disable-admission-plugins=ServiceAccount",
            "--endpoint-reconciler-type=none",
        ]

    def _manager_flags(self) -> list[str]:
        return [
            f"--kubeconfig={self.kubeconfig('admin')}",
            f"--controllers={_CONTROLLERS}",
            "--leader-elect=false",
            f"--secure-port={self._manager_port}",
            "--bind-address=127.0.0.1",
            f"--cert-dir={self._folder / 'certificates'}",
        ]


class Wire(ThreadingHTTPServer):
    """A way to the API server on which things get lost: `lose(method, word, how)` says what of the next request is.

    `answer`: the request is carried out, and the connection ends. `request`: the connection ends at once. `delay_s`
    holds every answer back.
    """

    daemon_threads = True

    def __init__(self, server: KubernetesServer) -> None:
        """Begin to listen, with the API server's own certificate."""
        super().__init__(("127.0.0.1", 0), _Carrier)
        self.url, self.delay_s = f"https://127.0.0.1:{self.server_address[1]}", 0.0
        self.there = server
        self.asked: list[str] = []
        self._lost: list[tuple[str, str, str]] = []
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(server.ca_file, server.ca_file.with_name("apiserver.key"))
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.pool = urllib3.PoolManager(ca_certs=str(server.ca_file), retries=False)
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def lose(self, method: str, word: str, how: str = "answer", times: int = 1) -> None:
        """Lose something of the next requests with this method and this word in their path."""
        self._lost += [(method, word, how)] * times

    def lost(self, method: str, path: str) -> str:
        """Return what is lost of a request, which then is no longer to be."""
        for one in self._lost:
            if one[0] == method and one[1] in path:
                self._lost.remove(one)
                return one[2]
        return ""

    def end(self) -> None:
        """Stop listening."""
        self.shutdown()
        self.server_close()
        self.pool.clear()

    def handle_error(self, *_: object) -> None:
        """Say nothing: connections that break are what it is for."""


class _Carrier(BaseHTTPRequestHandler):
    server: Wire

    def _carry(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.asked.append(f"{self.command} {self.path}")
        self.close_connection = True
        if (lost := self.server.lost(self.command, self.path)) == "request":
            return
        passed = {name: self.headers[name] for name in ("Authorization", "Content-Type", "Accept")}
        there = self.server.there.url + self.path
        answer = self.server.pool.request(self.command, there, body=body, headers=passed)
        time.sleep(self.server.delay_s)
        if not lost:
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.headers.get("Content-Type", ""))
            self.send_header("Content-Length", str(len(answer.data)))
            self.end_headers()
            self.wfile.write(answer.data)

    do_GET = do_POST = do_PATCH = do_DELETE = _carry  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Print nothing."""


class _Controller:
    """Looks after the objects of a kind, again and again, in a thread of its own."""

    kind: str

    def __init__(self, client: Client) -> None:
        """Take what asks the API server."""
        self._client, self._stop = client, threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def begin(self) -> None:
        """Begin to work."""
        self._thread.start()

    def stop(self) -> None:
        """Stop working."""
        self._stop.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._stop.wait(0.03):
            with suppress(AssertionError, urllib3.exceptions.HTTPError):
                for one in self._client.items(self.kind):
                    with suppress(AssertionError):
                        self._look_after(one)

    def _look_after(self, one: dict[str, Any]) -> None:
        raise NotImplementedError


class Nodes(_Controller):
    """Stands in for the scheduler and the kubelets.

    A pod gets the first node by name that takes pods and that its affinity does not exclude. It ends as soon as it is
    told to, but not on nodes in `dead`. It runs until then; `pods` has the uid and the name of each that ever ran.
    """

    kind = "/api/v1/pods"

    def __init__(self, client: Client, names: tuple[str, ...]) -> None:
        """Register the nodes and begin."""
        self.dead: set[str] = set()
        self.pods: dict[str, str] = {}
        super().__init__(client)
        self._names = names
        for name in names:
            self.register(name)
        self.begin()

    def register(self, name: str) -> None:
        """Make a node, which goes by its name in upper case letters as well."""
        labels = {"kubernetes.io/hostname": f"{name}.example"}
        self._client.ask("POST", "/api/v1/nodes", {"metadata": {"name": name, "labels": labels}})
        self._client.ask("PATCH", f"/api/v1/nodes/{name}/status", {"status": {"conditions": [_READY]}})
        self._client.ask("PATCH", f"/api/v1/nodes/{name}", {"spec": {"taints": None}})

    def _look_after(self, pod: dict[str, Any]) -> None:
        meta, spec = pod["metadata"], pod["spec"]
        path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}"
        if "nodeName" not in spec and not meta.get("deletionTimestamp"):
            if node := self._place(pod):
                target = {"target": {"kind": "Node", "name": node}, "metadata": {"name": meta["name"]}}
                self._client.ask("POST", f"{path}/binding", target)
        elif meta.get("deletionTimestamp"):
            if spec.get("nodeName") not in self.dead:
                gone = {"gracePeriodSeconds": 0, "preconditions": {"uid": meta["uid"]}}
                self._client.ask("DELETE", path, gone)
        elif pod["status"]["phase"] == "Pending":
            self.pods[meta["uid"]] = meta["name"]
            self._client.ask("PATCH", f"{path}/status", {"status": {"phase": "Running", "conditions": [_READY]}})

    def _place(self, pod: dict[str, Any]) -> str | None:
        affinity = json.dumps(pod["spec"].get("affinity", {}))
        for node in self._client.items("/api/v1/nodes"):
            name = node["metadata"]["name"]
            if not node["spec"].get("unschedulable") and f'"{name}.example"' not in affinity:
                return str(name)
        return None


class Operator(_Controller):
    """Stands in for Kubeflow's training operator: makes the pods of PyTorchJobs, and ends those of suspended ones."""

    kind = "/apis/kubeflow.org/v1/pytorchjobs"

    def __init__(self, client: Client, knows_suspend: bool = True) -> None:
        """Register what a PyTorchJob is and begin."""
        super().__init__(client)
        client.ask("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", _definition(knows_suspend))
        self.begin()

    def _look_after(self, job: dict[str, Any]) -> None:
        meta = job["metadata"]
        conditions = {one["type"] for one in job.get("status", {}).get("conditions", [])}
        if "deletionTimestamp" in meta or conditions & {"Failed", "Succeeded"}:
            return
        path = f"/api/v1/namespaces/{meta['namespace']}/pods"
        there = self._client.items(f"{path}?labelSelector=training.kubeflow.org/job-name={meta['name']}")
        ours = {pod["metadata"]["name"]: pod for pod in there if _owned(pod, meta["uid"])}
        suspended = job["spec"].get("runPolicy", {}).get("suspend")
        lost = [pod for pod in ours.values() if pod["metadata"].get("deletionTimestamp")]
        if suspended:
            for name, pod in ours.items():
                if not pod["metadata"].get("deletionTimestamp"):
                    self._client.ask("DELETE", f"{path}/{name}")
        elif lost and "Suspended" not in conditions and _restart_policy(job) == "Never":
            failed = {"status": {"conditions": [{"type": "Failed", "status": "True"}]}}
            self._client.ask("PATCH", f"/apis/kubeflow.org/v1/namespaces/{meta['namespace']}/pytorchjobs/"
                             f"{meta['name']}/status", failed)  # fmt: skip
        else:
            for pod in _pods_of(job):
                if pod["metadata"]["name"] not in {one["metadata"]["name"] for one in there}:
                    self._client.ask("POST", path, pod)


_READY = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "is well"}


def _owned(pod: Mapping[str, Any], uid: str) -> bool:
    return any(owner["uid"] == uid for owner in pod["metadata"].get("ownerReferences", []))


def _restart_policy(job: Mapping[str, Any]) -> str:
    return str(next(iter(job["spec"]["pytorchReplicaSpecs"].values())).get("restartPolicy", "OnFailure"))


def _pods_of(job: Mapping[str, Any]) -> list[dict[str, Any]]:
    meta, found = job["metadata"], []
    owner = {"apiVersion": "kubeflow.org/v1", "kind": "PyTorchJob", "name": meta["name"], "uid": meta["uid"],
             "controller": True, "blockOwnerDeletion": True}  # fmt: skip
    for kind, replica in job["spec"]["pytorchReplicaSpecs"].items():
        for index in range(replica["replicas"]):
            labels = {"job-name": meta["name"], "replica-type": kind.lower(), "replica-index": str(index)}
            name = f"{meta['name']}-{kind.lower()}-{index}"
            own = {f"training.kubeflow.org/{key}": value for key, value in labels.items()}
            found.append({"metadata": {"name": name, "labels": own, "ownerReferences": [owner]},
                          "spec": replica["template"]["spec"]})  # fmt: skip
    return found


def _definition(knows_suspend: bool) -> dict[str, Any]:
    loose: dict[str, Any] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    policy = {"suspend": {"type": "boolean"}} if knows_suspend else {}
    spec = loose | {"properties": {"runPolicy": {"type": "object", "properties": policy}}}
    schema = {"type": "object", "properties": {"spec": spec, "status": loose}}
    version = {"name": "v1", "served": True, "storage": True, "subresources": {"status": {}},
               "schema": {"openAPIV3Schema": schema}}  # fmt: skip
    names = {"kind": "PyTorchJob", "plural": "pytorchjobs", "singular": "pytorchjob", "listKind": "PyTorchJobList"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "pytorchjobs.kubeflow.org"},
        "spec": {"group": "kubeflow.org", "scope": "Namespaced", "names": names, "versions": [version]},
    }


if __name__ == "__main__":
    print(build())  # noqa: T201
