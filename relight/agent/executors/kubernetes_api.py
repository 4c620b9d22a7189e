"""The way to a Kubernetes: places in its API, one request at a time, and how a request can end.

The official client finds the way in and holds it: kubeconfig, account, certificates, tokens that expire. Objects stay
the JSON that they are, for the client's models drop the fields that they do not know, and a job is made anew whole.
"""

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Final
from urllib.parse import quote, urlencode

import urllib3
import yaml
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError

from relight.settings.agents import Kubernetes

Json = dict[str, Any]
"""An object of the API."""

_VERBS: Final = {"POST": "create", "PATCH": "patch", "DELETE": "delete"}
_MISSHAPEN: Final = (ValueError, TypeError, AttributeError, LookupError, yaml.YAMLError)
"""What the client raises of a kubeconfig that is none."""
_LEAST_S: Final = 1.0
_ANSWER_BYTES: Final = 64 * 1024 * 1024


class NoClient(Exception):
    """The official client is not installed, or finds no way in. The message says what to do."""


class NoAnswer(Exception):
    """Nothing came back. `sent`: the request may have been carried out all the same."""

    def __init__(self, why: str, sent: bool) -> None:
        """Take the reason, for people."""
        super().__init__(why)
        self.sent = sent


class Refused(Exception):
    """The API server has said no, with an HTTP status."""

    def __init__(self, status: int, why: str) -> None:
        """Take the status and what the server says, which is cut."""
        super().__init__(why[:500])
        self.status = status


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the API: a collection, or an object in it, or what is below an object."""

    version: str
    resource: str
    namespace: str | None = None
    name: str | None = None
    below: str | None = None

    def of(self, name: str, below: str | None = None) -> "Place":
        """Return the place of an object of this collection."""
        return replace(self, name=name, below=below)

    @property
    def path(self) -> str:
        """Return the path of its URL, in which no name can lead elsewhere."""
        words = ["apis" if "/" in self.version else "api", *self.version.split("/")]
        words += ["namespaces", self.namespace] if self.namespace else []
        words += [word for word in (self.resource, self.name, self.below) if word]
        return "/" + "/".join(quote(word, safe="") for word in words)

    def permission(self, method: str) -> str:
        """Return what one has to be allowed for a request: `patch nodes`, `create pods/eviction in team`."""
        verb = _VERBS.get(method) or ("get" if self.name else "list")
        group = f".{self.version.partition('/')[0]}" if "/" in self.version else ""
        what = f"{self.resource}{group}" + (f"/{self.below}" if self.below else "")
        return f"{verb} {what}" + (f" in {self.namespace}" if self.namespace else "")


NODES: Final = Place("v1", "nodes")
PODS: Final = Place("v1", "pods")


def pods_in(namespace: str) -> Place:
    """Return the place of a namespace's pods."""
    return replace(PODS, namespace=namespace)


class Api:
    """A Kubernetes. One request is one attempt. Used by several threads."""

    def __init__(self, settings: Kubernetes) -> None:
        """Find the way in.

        Raises:
            NoClient: There is none.
        """
        client, config = _client("client"), _client("config")
        self._timeout_s = settings.timeout_s
        self._no_way: tuple[type[Exception], ...] = (config.ConfigException, OSError, *_MISSHAPEN)
        self._configuration = client.Configuration()
        try:
            _find_the_way(config, settings, self._configuration)
            self._client = client.ApiClient(self._configuration)
        except self._no_way as error:
            raise NoClient(f"no way into Kubernetes: {error}"[:500]) from error

    def ask(
        self,
        method: str,
        place: Place,
        query: Mapping[str, str | int] | None = None,
        body: Json | None = None,
        within_s: float = math.inf,
    ) -> Any:
        """Make a request and return the JSON of the answer; a PATCH merges, of logs the text is returned.

        It is waited for as long as the settings say, and no longer than `within_s`.

        Raises:
            NoAnswer: Nothing came back.
            Refused: The answer was no.
        """
        url = f"{self._configuration.host}{place.path}" + (f"?{urlencode(query)}" if query else "")
        told_of = json.dumps(body).encode() if body is not None else None
        status, told = self._exchange(method, url, told_of, min(self._timeout_s, max(within_s, _LEAST_S)))
        if place.below == "log" and status < 300:
            return told.decode("utf-8", "replace")
        try:
            answer = json.loads(told)
        except ValueError:
            answer = {"message": told.decode("utf-8", "replace")}
            if status < 300:
                raise NoAnswer("what answers is no Kubernetes", sent=True) from None
        if status >= 300:
            why = answer.get("message") if isinstance(answer, dict) else None
            raise Refused(status, str(why or f"HTTP status {status}"))
        return answer

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _exchange(self, method: str, url: str, body: bytes | None, timeout_s: float) -> tuple[int, bytes]:
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        headers = {"Accept": "application/json, */*", "Content-Type": kind, "User-Agent": "relight"}
        try:
            token = self._configuration.auth_settings().get("BearerToken")
        except self._no_way as error:  # a token has expired, and the program that gives new ones fails
            raise NoAnswer(_said(error), sent=False) from error
        if token:
            headers["Authorization"] = str(token["value"])
        try:
            answer = self._client.rest_client.pool_manager.request(
                method,
                url,
                body=body,
                headers=headers,
                timeout=urllib3.Timeout(connect=timeout_s, read=timeout_s),
                retries=False,
                redirect=False,
                preload_content=False,
            )
            try:
                return int(answer.status), bytes(answer.read(_ANSWER_BYTES))
            finally:
                answer.release_conn()
        except (NewConnectionError, ConnectTimeoutError) as error:
            raise NoAnswer(_said(error), sent=False) from error
        except (HTTPError, OSError) as error:
            raise NoAnswer(_said(error), sent=True) from error


def _client(name: str) -> ModuleType:
    try:
        return import_module(f"kubernetes.{name}")
    except ModuleNotFoundError as error:
        raise NoClient("the client of Kubernetes is not installed: pip install 'relight[k8s]'") from error


def _find_the_way(config: ModuleType, settings: Kubernetes, found: Any) -> None:
    """Fill in the configuration: of the kubeconfig that is set, as kubectl finds one, or of the pod that this is."""
    usual = os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
    given = str(settings.kubeconfig) if settings.kubeconfig else None
    if given or any(Path(path).exists() for path in usual.split(os.pathsep) if path):
        config.load_kube_config(given or usual, settings.context, client_configuration=found, persist_config=False)
    else:
        config.load_incluster_config(client_configuration=found)


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:500]
