"""A log and a store in files of the test's own; the store tells what was put there, also what it had already."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from relight.stores.embedded import EmbeddedStore
from relight.stores.port import Refusal
from relight.topics import specs
from relight.transports.embedded import EmbeddedLog
from schemas.record import LogRecord


class Telling(EmbeddedStore):
    """The store."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, durable=False)
        self.put: list[LogRecord] = []

    def put_lines(self, lines: Sequence[LogRecord]) -> Sequence[Refusal]:
        self.put += lines
        return super().put_lines(lines)


@contextmanager
def small_log(folder: Path) -> Iterator[EmbeddedLog]:
    """Give a log whose topics have one partition."""
    with EmbeddedLog(folder / "relight.db", durable=False) as log:
        log.create(specs(log_partitions=1, cluster_partitions=1))
        yield log
