"""Elasticsearch's client as relight uses it, and what its errors mean for the caller."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import elastic_transport
import elasticsearch
from elasticsearch import Elasticsearch
from elasticsearch.serializer import OrjsonSerializer

from relight.settings import models
from relight.stores.port import StoreError, StoreFull, StoreRefused, StoreUnavailable

MAJOR: Final = 9
"""The major version of Elasticsearch that is spoken to."""

_JSON: Final = {"accept": "application/json"}
_BUSY: Final = 429
_OTHER_LANGUAGE: Final = 406

OTHER_LANGUAGE: Final = "media_type_header_exception"
"""How a server says that it does not know the version of the API that it is spoken to in."""


def connect(settings: models.Elasticsearch) -> Elasticsearch:
    """Return a client; it connects when it is used. Raises: StoreRefused."""
    options: dict[str, Any] = {
        "request_timeout": settings.timeout_s,
        "max_retries": 0,
        "serializer": OrjsonSerializer(),
    }
    if settings.cloud_id:
        options["cloud_id"] = settings.cloud_id
    else:
        options["hosts"] = list(settings.hosts)
    if settings.api_key:
        options["api_key"] = settings.api_key.get_secret_value()
    if settings.username and settings.password:
        options["basic_auth"] = (settings.username, settings.password.get_secret_value())
    if settings.ca_file:
        if not settings.ca_file.is_file():
            raise StoreRefused(f"elasticsearch.ca_file: there is no file {settings.ca_file}")
        options["ca_certs"] = str(settings.ca_file)
    try:
        return Elasticsearch(**options)
    except ValueError as error:
        raise StoreRefused(f"Elasticsearch cannot be reached with these settings: {error}") from error


@contextmanager
def translated(client: Elasticsearch, place: str) -> Iterator[None]:
    """Raise the port's errors for Elasticsearch's. `place` is what it is called in messages."""
    try:
        yield
    except elasticsearch.UnsupportedProductError as error:
        raise _unusable(place, _stranger(client)) from error
    except elasticsearch.ApiError as error:
        raise meaning(error, client, place) from error
    except elastic_transport.TlsError as error:
        raise StoreRefused(f"{place}: TLS failed ({_first(error)}). Check https, and elasticsearch.ca_file") from error
    except elastic_transport.TransportError as error:
        raise StoreUnavailable(f"{place}: no answer ({_first(error)}). Check that it runs, and the address") from error


def meaning(error: elasticsearch.ApiError, client: Elasticsearch, place: str) -> StoreError:
    """Return what an answer that is an error means for the caller."""
    status, kind, reason = error.status_code, *said(error.body)
    if kind == OTHER_LANGUAGE or status == _OTHER_LANGUAGE:
        return _unusable(place, _stranger(client))
    if advice := room(kind, reason):
        return StoreFull(f"{place} takes nothing: {reason}. {advice}")
    if status in (401, 403):
        return StoreRefused(f"{place} does not let relight in ({reason}). {CREDENTIALS}")
    if status == _BUSY or status >= 500:
        return StoreUnavailable(f"{place} is busy or not well: {status}, {reason}")
    if kind == "index_not_found_exception":
        if stranger := _stranger(client):
            return _unusable(place, stranger)
        return not_set_up(place, reason)
    return StoreRefused(f"{place} refuses: {status}, {kind}: {reason}")


CREDENTIALS: Final = "Check elasticsearch.username and password, or api_key, and the privileges that it has"
_DISK: Final = (
    "Make room on its disks; Elasticsearch lifts the block by itself when there is, or set"
    " index.blocks.read_only_allow_delete to null"
)
_BLOCK: Final = "Take the block away: set index.blocks.write and index.blocks.read_only to null"
_FULL: Final = (
    ("cluster_block_exception", "read-only-allow-delete", _DISK),
    ("cluster_block_exception", "read-only", _BLOCK),
    ("cluster_block_exception", "index write", _BLOCK),
    ("index_closed_exception", "", "Open the index, or delete it"),
    ("validation_exception", "", "Delete indices, or let there be more shards with cluster.max_shards_per_node"),
)
"""Errors that say that nothing can be written: their kind, what their reason says, and what a person can do.

On a disk that is nearly full all indices are read-only. An index that cannot be made, for there are as many shards as
there may be, is a validation that failed; one of a document or a request is called otherwise.
"""


def room(kind: str, reason: str) -> str | None:
    """Return what a person can do about an error that says that there is no room; `None`: it does not."""
    return next((advice for told, words, advice in _FULL if kind == told and words in reason), None)


def not_set_up(place: str, reason: str) -> StoreRefused:
    """Return the error that an index or an alias is missing."""
    return StoreRefused(f"{place} is not set up ({reason}): run `relight setup elasticsearch`")


def check_product(client: Elasticsearch, place: str) -> str:
    """Make sure that the server is an Elasticsearch that can be used; return its version. Raises: StoreError."""
    with translated(client, place):
        told = client.nodes.info(filter_path="nodes.*.version")
    versions = sorted({str(node.get("version"))[:100] for node in told.get("nodes", {}).values()})
    if not versions or any(_major(version) < MAJOR for version in versions):
        raise _unusable(place, f"this is Elasticsearch {', '.join(versions)}")
    return ", ".join(versions)


def _major(version: str) -> int:
    """Return the first number of a version; 0 where it has none."""
    first = version.split(".")[0]
    return int(first) if first.isdecimal() else 0


def _unusable(place: str, stranger: str | None) -> StoreRefused:
    what = stranger or "this is not Elasticsearch, or an old one"
    return StoreRefused(f"{place}: {what}. relight needs Elasticsearch {MAJOR}")


def _stranger(client: Elasticsearch) -> str | None:
    """Return what a server says that it is if it is none for relight, asked as any version understands it."""
    try:
        answer = client.transport.perform_request("GET", "/", headers=_JSON, max_retries=0)
        version = answer.body["version"]
        name = {"opensearch": "OpenSearch"}.get(version.get("distribution"), "Elasticsearch")
        number = str(version["number"])
    except (elastic_transport.TransportError, AttributeError, KeyError, TypeError, ValueError):
        return None  # it gives no answer, or none that tells
    known = name == "Elasticsearch" and _major(number) >= MAJOR
    return None if known else f"this is {name} {number}"


def said(body: object) -> tuple[str, str]:
    """Return the kind and the reason of an error, as its body says them."""
    error = body.get("error") if isinstance(body, dict) else None
    if isinstance(error, dict):
        causes = error.get("root_cause") or [error.get("caused_by") or error]
        cause = causes[0] if isinstance(causes[0], dict) else error
        return str(error.get("type", "")), str(cause.get("reason") or error.get("reason") or error.get("type"))[:500]
    return "", str(error or body or "no reason given")[:500]


def _first(error: elastic_transport.TransportError) -> str:
    inner = error.errors[0] if error.errors else error
    if isinstance(inner, ssl.SSLError):
        return str(inner)
    return str(getattr(inner, "message", inner))[:300]
