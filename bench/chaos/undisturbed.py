"""The same logs, undisturbed: one process reads a copy of them with fresh groups, and nothing happens to it."""

import threading
import time
from pathlib import Path
from typing import Final

from bench.chaos.peace import at_rest, said
from bench.chaos.verdict import Said
from relight.settings import Settings
from relight.stages.building import stage
from relight.topics import LOGS, specs
from relight.transports.embedded import EmbeddedLog
from relight.transports.port import EventLog, Outgoing
from relight.transports.reading import records

_BATCH: Final = 1000
_PATIENCE_S: Final = 120.0


def undisturbed(log: EventLog, path: Path, settings: Settings) -> Said:
    """Return what is concluded from a log's `relight.logs`; the log for it is made at `path`.

    Raises:
        TimeoutError: it takes too long.
    """
    own = settings.model_copy(update={"embedded": settings.embedded.model_copy(update={"path": path, "durable": False}),
                                      "kafka": settings.kafka.model_copy(update={"bootstrap": ()})})  # fmt: skip
    with EmbeddedLog(path, durable=False) as fresh:
        fresh.create(specs(settings.topics.log_partitions, settings.topics.cluster_partitions))
        _copy(log, fresh)
        stop = threading.Event()
        workers = [stage(name, own, stop).worker for name in ("match", "correlate")]
        for worker in workers:
            worker.start(stop)
        try:
            _wait(fresh, stop)
        finally:
            stop.set()
            for worker in workers:
                worker.thread.join()
        for worker in workers:
            if worker.error is not None:
                raise worker.error
        return said(fresh)


def _copy(log: EventLog, fresh: EventLog) -> None:
    batch: list[Outgoing] = []
    for record in records(log, LOGS):
        batch.append(Outgoing(LOGS, record.value, record.key, record.headers, record.partition))
        if len(batch) == _BATCH:
            fresh.append(batch)
            batch = []
    fresh.append(batch)


def _wait(log: EventLog, stop: threading.Event) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not stop.is_set() and not at_rest(log):
        if time.monotonic() > deadline:
            raise TimeoutError(f"two stages did not come to the end of the logs within {_PATIENCE_S:.0f} s")
        stop.wait(0.2)
