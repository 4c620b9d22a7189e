"""`relight replay --into store` as a library: what it holds while it runs, and after it."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from telling import Telling, small_log

from relight.rebuild import BATCH_BYTES, rebuild
from relight.settings import settings
from relight.stores.embedded import EmbeddedStore
from relight.stores.port import LineQuery, Refusal, StoreRefused
from relight.topics import LOGS, specs
from relight.transports.embedded import EmbeddedLog
from relight.transports.port import Outgoing, Partition, Record, Refused
from schemas.record import LogRecord
from schemas.shipped import Shipped

NOW_MS = 1_700_000_000_000


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EmbeddedLog]:
    with small_log(tmp_path) as log:
        yield log


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Telling]:
    with Telling(tmp_path / "store.db") as store:
        yield store


def chunk(text: bytes, host: str, observed_ms: int = NOW_MS) -> Outgoing:
    shipped = Shipped(
        cluster="c1", host=host, stream="/a", generation="1", offset_bytes=0, line=1, observed_ms=observed_ms
    )
    return Outgoing(LOGS, text, shipped.key, shipped.headers())


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("relight-store")]


def test_its_threads_end_and_the_store_stays_open(log: EmbeddedLog, store: EmbeddedStore) -> None:
    log.append([chunk(b"ERROR: no\n", "n1")])
    before = threads()
    done = rebuild(log, store, settings({}, None), lambda count: None)
    assert threads() == before
    assert done.lines == len(store.lines(LineQuery())) == 1


class Shut(EmbeddedStore):
    """A store that lets nobody in."""

    def put_lines(self, lines: Sequence[LogRecord]) -> Sequence[Refusal]:
        raise StoreRefused("wrong password")


def test_its_threads_end_also_when_it_fails(log: EmbeddedLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relight.stages.writing.PATIENCE_S", 0.0)
    log.append([chunk(b"ERROR: no\n", "n1")])
    before = threads()
    with Shut(tmp_path / "shut.db", durable=False) as store, pytest.raises(Refused):
        rebuild(log, store, settings({}, None), lambda count: None)
    assert threads() == before


def test_no_more_bytes_are_read_than_a_few_requests_need(log: EmbeddedLog, store: EmbeddedStore) -> None:
    size = 500_000
    log.append([chunk(b"x" * (size - 1) + b"\n", f"n{number}") for number in range(450)])
    batches: list[int] = []
    rebuild(log, store, settings({}, None), batches.append)
    assert sum(batches) == 450
    assert max(batches) * size < BATCH_BYTES + 100 * size


class Slow(EmbeddedLog):
    """A log to which a record came every minute."""

    def read(self, partition: Partition, offset: int, limit: int = 500) -> list[Record]:
        found = super().read(partition, offset, limit)
        return [replace(record, time_ms=NOW_MS + record.offset * 60_000) for record in found]


def test_a_source_that_was_silent_for_long_is_forgotten_as_by_the_stage(tmp_path: Path, store: Telling) -> None:
    others = [chunk(b"ERROR: no\n", f"n{number}") for number in range(1, 2500)]
    with Slow(tmp_path / "relight.db", durable=False) as log:
        log.create(specs(log_partitions=1, cluster_partitions=1))
        log.append([chunk(b"ERROR: no\n", "n0"), *others, chunk(b"ERROR: no\n", "n0", NOW_MS + 1)])
        rebuild(log, store, settings({}, None), lambda count: None)
    assert [line.observed_ms for line in store.put if line.host == "n0"] == [NOW_MS, NOW_MS + 1]


def test_small_records_are_read_many_at_once(log: EmbeddedLog, store: EmbeddedStore) -> None:
    log.append([chunk(b"ok\n", f"n{number}") for number in range(3000)])
    batches: list[int] = []
    rebuild(log, store, settings({}, None), batches.append)
    assert batches == [2000, 1000]
