"""How a stage is run: what goes wrong again and again is tried less and less often."""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import pytest

from relight.metrics import StageMetrics
from relight.stages.runner import Runner
from relight.stages.writing import PATIENCE_S, Writer
from relight.stores.embedded import EmbeddedStore
from relight.stores.port import StoreError, StoreFull, StoreRefused, StoreUnavailable
from relight.topics import LOGS, specs
from relight.transports.embedded import EmbeddedLog
from relight.transports.port import LogError, Outgoing, Partition, Record, Refused, Unavailable


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EmbeddedLog]:
    with EmbeddedLog(tmp_path / "relight.db", durable=False) as log:
        log.create(specs(log_partitions=1, cluster_partitions=1))
        yield log


class Failing:
    """A stage that does with records what it is told to."""

    name = "match"
    inputs = (LOGS,)

    def __init__(self, handling: Callable[[Sequence[Record]], None]) -> None:
        self.handling = handling

    def gain(self, partition: Partition, position: int) -> None: ...
    def lose(self, partition: Partition) -> None: ...
    def close(self) -> None: ...

    def beat(self) -> Iterable[Outgoing]:
        return ()

    def handle(self, records: Sequence[Record]) -> Iterable[Outgoing]:
        if records:
            self.handling(records)
        return ()


class Patience(threading.Event):
    """Tells how long was waited, without waiting; it is set when it has been waited for often enough."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times
        self.waits: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout)
        if len(self.waits) >= self.times:
            self.set()
        return self.is_set()


def ran(log: EmbeddedLog, handling: Callable[[Sequence[Record]], None], times: int) -> list[float | None]:
    """Run a stage that fails, and return how long was waited each time before it joined again."""
    log.append([Outgoing(LOGS, b"a line")])
    stop = Patience(times)
    Runner(Failing(handling), log, "test", StageMetrics("match"), stop).run()
    return stop.waits


@pytest.mark.parametrize("error", [Refused("wrong password"), Unavailable("no answer")])
def test_a_stage_that_joins_and_then_fails_waits_longer_each_time(log: EmbeddedLog, error: LogError) -> None:
    def fail(records: Sequence[Record]) -> None:
        raise error

    assert ran(log, fail, 5) == [0.5, 1.0, 2.0, 5.0, 5.0]


def test_after_records_were_handled_the_next_failure_is_tried_again_soon(log: EmbeddedLog) -> None:
    calls: list[int] = []

    def handle(records: Sequence[Record]) -> None:
        calls.append(len(records))
        if len(calls) != 3:
            raise Unavailable("no answer")
        log.append([Outgoing(LOGS, b"another line")])

    assert ran(log, handle, 4) == [0.5, 1.0, 0.1, 0.5]


# How a store is waited for


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EmbeddedStore]:
    with EmbeddedStore(tmp_path / "store.db", durable=False) as store:
        yield store


def written(
    store: EmbeddedStore,
    failures: list[StoreError],
    waited: Callable[[float], bool],
    monotonic: Callable[[], float] = lambda: 0.0,
) -> str:
    """Do something with a store that fails so often, and return what comes of it."""

    def step() -> str:
        if failures:
            raise failures.pop(0)
        return "done"

    writer = Writer(store, StageMetrics("index"), waited, monotonic=monotonic)
    try:
        return writer.patiently(step)
    finally:
        writer.close()


def test_a_store_that_refuses_for_a_while_is_waited_for_like_one_that_is_away(store: EmbeddedStore) -> None:
    waits: list[float] = []

    def waited(wait_s: float) -> bool:
        waits.append(wait_s)
        return False

    failures = [StoreRefused("wrong password"), StoreUnavailable("no answer"), StoreRefused("not set up")]
    assert written(store, failures, waited) == "done"
    assert waits == [0.2, 0.5, 1.0]


@pytest.mark.parametrize(
    ("error", "raised"),
    [(StoreRefused("no"), Refused), (StoreUnavailable("no"), Unavailable), (StoreFull("no"), Unavailable)],
)
def test_a_process_that_is_to_stop_waits_for_no_store(
    store: EmbeddedStore, error: StoreError, raised: type[Exception]
) -> None:
    with pytest.raises(raised, match="no"):
        written(store, [error] * 9, lambda wait_s: True)


def test_a_store_that_refuses_is_given_up_after_a_while(store: EmbeddedStore) -> None:
    now_s = 0.0

    def waited(wait_s: float) -> bool:
        nonlocal now_s
        now_s += wait_s
        return False

    with pytest.raises(Refused, match="wrong password"):
        written(store, [StoreRefused("wrong password")] * 1000, waited, lambda: now_s)
    assert PATIENCE_S < now_s < PATIENCE_S + 10
