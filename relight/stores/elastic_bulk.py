"""Bulk requests to Elasticsearch: what is there is well, what is refused is told, what is busy tried again."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
from elasticsearch import Elasticsearch

from relight.stores.elastic_client import CREDENTIALS, ROOM, is_full, translated
from relight.stores.port import Refusal, StoreFull, StoreRefused, StoreUnavailable
from relight.stores.waiting import NEVER, Waited

BULK_BYTES: Final = 4 * 1024 * 1024
TRIES: Final = 6
_WAITS_S: Final = (0.1, 0.3, 1.0, 2.0, 4.0)
_HEADERS: Final = {
    "accept": "application/vnd.elasticsearch+json; compatible-with=9",
    "content-type": "application/vnd.elasticsearch+x-ndjson; compatible-with=9",
}
_TOLD: Final = ("errors", "items.*.status", *(f"items.*.error.{name}" for name in ("type", "reason", "caused_by")))
_PATH: Final = f"/_bulk?filter_path={','.join(_TOLD)}"
_THERE: Final = 409
_BUSY: Final = 429


@dataclass(frozen=True, slots=True)
class Action:
    """A document to write: its lines of a bulk request, and its place among what the caller wrote."""

    of: int
    id: str
    lines: bytes


def create(of: int, index: str, name: str, source: Mapping[str, Any], *, alias: bool = False) -> Action:
    """Return what writes a document unless it is there. `alias`: what is named is one, and is not made by itself."""
    told = {"_index": index, "_id": name} | ({"require_alias": True} if alias else {})
    return Action(of, name, _lines({"create": told}, source))


def replace(of: int, alias: str, name: str, version: int, source: Mapping[str, Any]) -> Action:
    """Return what writes a document unless a version as high is there."""
    told = {"_index": alias, "_id": name, "version": version, "version_type": "external", "require_alias": True}
    return Action(of, name, _lines({"index": told}, source))


class Bulk:
    """Writes documents. `waited(seconds)` waits, and tells whether to give up."""

    def __init__(
        self,
        client: Elasticsearch,
        place: str,
        size_bytes: int = BULK_BYTES,
        waited: Waited = NEVER.wait,
        retried: Callable[[str], None] = lambda reason: None,
    ) -> None:
        """Take a client and how large a request may be; `retried` is told why something is tried again."""
        self._client, self._place, self._size = client, place, size_bytes
        self._waited, self._retried = waited, retried

    def write(self, actions: Sequence[Action]) -> list[Refusal]:
        """Write documents, and return those that are refused; when this returns, the others are kept.

        Raises:
            StoreError: some may be kept, and all may be written again.
        """
        return [refusal for part in _parts(actions, self._size) for refusal in self._written(part)]

    def _written(self, actions: Sequence[Action]) -> Iterator[Refusal]:
        waiting = list(actions)
        for wait_s in (*_WAITS_S, None):
            again: list[Action] = []
            reason = ""
            for action, item in zip(waiting, self._sent(waiting), strict=True):
                (outcome,) = item.values()
                status = outcome["status"]
                if status < 300 or status == _THERE:
                    continue
                error = outcome.get("error") or {}
                said = _reason(error)
                if (status == _BUSY or status >= 500) and not is_full(str(error.get("type")), said):
                    again.append(action)
                    reason = f"{error.get('type')}: {said}"
                else:
                    self._may_go_on(status, str(error.get("type")), said)
                    yield Refusal(action.of, action.id, f"{error.get('type')}: {said}")
            if not again:
                return
            waiting = again
            self._retried("busy")
            if wait_s is None or self._waited(wait_s):
                break
        raise StoreUnavailable(f"{self._place} is busy: {len(waiting)} documents were put off ({reason})")

    def _may_go_on(self, status: int, kind: str, reason: str) -> None:
        """Make sure that it is the document that is refused, and not everything. Raises: StoreError."""
        if is_full(kind, reason):
            raise StoreFull(f"{self._place} takes nothing: {reason}. {ROOM}")
        if status == 401 or kind == "security_exception":
            raise StoreRefused(f"{self._place} does not let relight write ({reason}). {CREDENTIALS}")
        if status == 404:
            raise StoreRefused(f"{self._place} is not set up ({reason}): run `relight setup elasticsearch`")

    def _sent(self, actions: Sequence[Action]) -> Sequence[Mapping[str, Any]]:
        body = b"".join(action.lines for action in actions)
        with translated(self._client, self._place):
            answer = self._client.perform_request("POST", _PATH, headers=_HEADERS, body=body)
        items: Sequence[Mapping[str, Any]] = answer["items"]
        return items


def _lines(told: Mapping[str, Any], source: Mapping[str, Any]) -> bytes:
    return orjson.dumps(told, option=orjson.OPT_APPEND_NEWLINE) + orjson.dumps(source, option=orjson.OPT_APPEND_NEWLINE)


def _parts(actions: Sequence[Action], size_bytes: int) -> Iterator[list[Action]]:
    part: list[Action] = []
    size = 0
    for action in actions:
        if part and size + len(action.lines) > size_bytes:
            yield part
            part, size = [], 0
        part.append(action)
        size += len(action.lines)
    if part:
        yield part


def _reason(error: Mapping[str, Any]) -> str:
    cause = error.get("caused_by") or {}
    reason = str(error.get("reason") or "no reason given")
    return (f"{reason} ({cause['reason']})" if cause.get("reason") else reason)[:800]
