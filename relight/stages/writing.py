"""Writes to a store from a stage: in parts, two at a time, and patiently, for what is not kept is not passed over."""

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, TypeVar

import structlog

from relight.metrics import StageMetrics
from relight.stores.port import IncidentStore, Refusal, StoreError, StoreFull, StoreRefused, StoreUnavailable
from relight.stores.waiting import Waited
from relight.transports.port import Partition, Record, Refused, Unavailable
from schemas.document import IncidentDocument
from schemas.record import LogRecord

PATIENCE_S: Final = 120.0
"""A stage waits so long for its store with what it has in hand; then it lets go, and reads it again."""

_AT_ONCE: Final = 2
_PART_LINES: Final = 5000
_BACKOFF_S: Final = (0.2, 0.5, 1.0, 2.0, 5.0)
_T = TypeVar("_T")

Rejected = tuple[Record, str]
"""A record that holds what the store does not take, and why."""

_log = structlog.get_logger("relight")


class Writer:
    """Writes to a store. `waited(seconds)` waits, and tells whether the process is to stop."""

    def __init__(
        self,
        store: IncidentStore,
        metrics: StageMetrics,
        waited: Waited,
        bulk_bytes: int = 4 * 1024 * 1024,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the store and what tells of it."""
        self._monotonic = monotonic
        self._store, self._metrics, self._waited, self._bulk_bytes = store, metrics, waited, bulk_bytes
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="relight-store")

    def lines(self, lines: Iterable[tuple[LogRecord, Record]]) -> list[Rejected]:
        """Write log lines, and return the records of those that the store does not take, each once.

        Raises:
            LogError: the store has not taken them in time: read them again.
        """
        running: list[Future[list[Rejected]]] = []
        found: list[Rejected] = []
        try:
            for part in _parts(lines, self._bulk_bytes // 2):
                while len(running) >= _AT_ONCE:
                    found += running.pop(0).result()
                running.append(self._pool.submit(self._part, part))
            for one in running:
                found += one.result()
        finally:
            for one in running:
                one.cancel()
        return found

    def incidents(self, documents: Sequence[IncidentDocument]) -> Sequence[Refusal]:
        """Write incidents, and return those that the store does not take. Raises: LogError."""
        if not documents:
            return ()
        refused = self.patiently(lambda: self._store.put_incidents(documents))
        self._metrics.indexed("incident", len(documents) - len({one.of for one in refused}), len(refused))
        return refused

    def patiently(self, step: Callable[[], _T]) -> _T:
        """Do something with the store until it is done.

        Raises:
            Unavailable: it cannot be done within `PATIENCE_S`, or the process is to stop.
            Refused: the same, and a person has to change something first.
        """
        deadline = self._monotonic() + PATIENCE_S
        for wait_s in itertools.chain(_BACKOFF_S, itertools.repeat(_BACKOFF_S[-1])):
            try:
                with self._metrics.bulk():
                    return step()
            except StoreError as error:
                self._metrics.bulk_retry(_word(error))
                self._metrics.unreachable(str(error))
                _log.warning("the store takes nothing; waiting", reason=str(error), wait_s=wait_s)
                if self._monotonic() > deadline or self._waited(wait_s):
                    raise (Refused if isinstance(error, StoreRefused) else Unavailable)(str(error)) from error
        raise AssertionError("a chain without end has ended")

    def close(self) -> None:
        """End the threads; what they write is waited for."""
        self._pool.shutdown()

    def _part(self, part: Sequence[tuple[LogRecord, Record]]) -> list[Rejected]:
        refused = self.patiently(lambda: self._store.put_lines([line for line, _ in part]))
        self._metrics.indexed("line", len(part) - len(refused), len(refused))
        return by_record((part[one.of][1], one) for one in refused)


def by_record(refusals: Iterable[tuple[Record, Refusal]]) -> list[Rejected]:
    """Return each record of which something was refused once, with one reason."""
    found: dict[tuple[Partition, int], tuple[Record, list[Refusal]]] = {}
    for record, refusal in refusals:
        found.setdefault((record.place, record.offset), (record, []))[1].append(refusal)
    return [(record, _reason(ones)) for record, ones in found.values()]


def _parts(lines: Iterable[tuple[LogRecord, Record]], size_bytes: int) -> Iterator[list[tuple[LogRecord, Record]]]:
    part: list[tuple[LogRecord, Record]] = []
    size = 0
    for line in lines:
        part.append(line)
        size += len(line[0].text) * 2 + 400
        if size >= size_bytes or len(part) >= _PART_LINES:
            yield part
            part, size = [], 0
    if part:
        yield part


def _reason(refusals: Sequence[Refusal]) -> str:
    more = f", and {len(refusals) - 1} more of it" if len(refusals) > 1 else ""
    return f"the store does not take document {refusals[0].id}{more}: {refusals[0].reason}"


def _word(error: StoreError) -> str:
    match error:
        case StoreFull():
            return "full"
        case StoreUnavailable():
            return "unavailable"
        case StoreRefused():
            return "refused"
    return "other"
