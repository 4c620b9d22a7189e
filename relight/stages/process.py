"""A process of stages: one thread for each, stopped by SIGTERM or SIGINT within seconds, whatever they wait for.

What has not been committed by then is done again by whoever comes next, so nothing has to be waited for.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog

GRACE_S: Final = 4.0
"""How long a stage may take to stop; an operator waits for five seconds."""

_log = structlog.get_logger("relight")


@dataclass
class Worker:
    """A stage in its thread: `work` runs until the event that it was given is set."""

    name: str
    work: Callable[[], None]
    error: BaseException | None = None
    thread: threading.Thread = field(init=False)

    def start(self, stop: threading.Event) -> None:
        """Start the thread; when the work ends, the whole process is to stop."""
        self.thread = threading.Thread(target=self._run, args=(stop,), name=f"relight-{self.name}", daemon=True)
        self.thread.start()

    def _run(self, stop: threading.Event) -> None:
        try:
            self.work()
        except BaseException as error:  # handed to the main thread, which raises it
            self.error = error
        finally:
            stop.set()


def run(workers: Sequence[Worker], stop: threading.Event) -> None:
    """Run workers until one of them ends or the process is told to stop.

    Raises:
        Exception: what the first of the workers that failed has raised.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    for worker in workers:
        worker.start(stop)
    _log.info("started", stages=[worker.name for worker in workers])
    while not stop.wait(1.0):
        pass
    for worker in workers:
        worker.thread.join(GRACE_S / len(workers))
    late = [worker.name for worker in workers if worker.thread.is_alive()]
    _log.info("stopped", late=late)
    for worker in workers:
        if worker.error is not None:
            raise worker.error
    if late:
        sys.stderr.flush()
        os._exit(0)  # a thread that waits for a broker cannot be told to leave
