"""Bulk requests to Elasticsearch: what is there is well, what is refused is told, what is busy tried again."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import elasticsearch
import orjson
from elasticsearch import Elasticsearch

from relight.stores.elastic_client import CREDENTIALS, OTHER_LANGUAGE, not_set_up, room, said, translated
from relight.stores.port import Refusal, StoreFull, StoreRefused, StoreUnavailable
from relight.stores.waiting import NEVER, Waited

BULK_BYTES: Final = 4 * 1024 * 1024
ID_BYTES: Final = 512
"""No id may be longer; for one that is, Elasticsearch refuses all that is written with it."""
_WAITS_S: Final = (0.1, 0.3, 1.0, 2.0, 4.0)
_HEADERS: Final = {
    "accept": "application/vnd.elasticsearch+json; compatible-with=9",
    "content-type": "application/vnd.elasticsearch+x-ndjson; compatible-with=9",
}
_TOLD: Final = ("errors", "items.*.status", *(f"items.*.error.{name}" for name in ("type", "reason", "caused_by")))
_PATH: Final = f"/_bulk?filter_path={','.join(_TOLD)}"
_THERE: Final = 409
_BUSY: Final = 429
_TOO_LARGE: Final = 413
_WRONG: Final = 400


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
        fitting: list[Action] = []
        refused: list[Refusal] = []
        for one in actions:
            if len(one.id.encode()) <= ID_BYTES:
                fitting.append(one)
            else:
                refused.append(Refusal(one.of, one.id, f"its id is longer than {ID_BYTES} bytes"))
        return refused + [refusal for part in _parts(fitting, self._size) for refusal in self._written(part)]

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
                kind, why = str(error.get("type")), _reason(error)
                self._may_go_on(status, kind, why)
                if status == _BUSY or status >= 500:
                    again.append(action)
                    reason = f"{kind}: {why}"
                else:
                    yield Refusal(action.of, action.id, f"{kind}: {why}")
            if not again:
                return
            waiting = again
            self._retried("busy")
            if wait_s is None or self._waited(wait_s):
                break
        raise StoreUnavailable(f"{self._place} is busy: {len(waiting)} documents were put off ({reason})")

    def _may_go_on(self, status: int, kind: str, reason: str) -> None:
        """Make sure that it is the document that is refused, and not everything. Raises: StoreError."""
        if advice := room(kind, reason):
            raise StoreFull(f"{self._place} takes nothing: {reason}. {advice}")
        if status == 401 or kind == "security_exception":
            raise StoreRefused(f"{self._place} does not let relight write ({reason}). {CREDENTIALS}")
        if status == 404:
            raise not_set_up(self._place, reason)
        if kind == "strict_dynamic_mapping_exception":
            raise StoreRefused(
                f"{self._place} was set up by another relight ({reason}): run `relight setup elasticsearch --apply`"
            )

    def _sent(self, actions: Sequence[Action]) -> list[Mapping[str, Any]]:
        """Send documents, and return what became of each. What is refused as a whole is sent in halves."""
        body = b"".join(action.lines for action in actions)
        with translated(self._client, self._place):
            try:
                return list(self._client.perform_request("POST", _PATH, headers=_HEADERS, body=body)["items"])
            except elasticsearch.ApiError as error:
                kind, reason = said(error.body)
                if not _is_of_documents(error.status_code, kind):
                    raise
                status = error.status_code
        if half := len(actions) // 2:
            return [*self._sent(actions[:half]), *self._sent(actions[half:])]
        return [{"": {"status": status, "error": {"type": kind or "too large", "reason": reason}}}]


def _is_of_documents(status: int, kind: str) -> bool:
    """Tell whether an answer may refuse a whole request for one of its documents: others mean the client."""
    return status == _TOO_LARGE or (status == _WRONG and kind not in ("", OTHER_LANGUAGE))


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
