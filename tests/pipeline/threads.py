"""Stages in threads of the test's own process, on one log: quick to start, and to start again."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from diagnose.correlation.evidence import Resolve
from diagnose.matching.scanner import Scanner
from diagnose.matching.stream import Matcher
from ingest.decode import LogFormats
from ingest.redaction import shown
from relight.metrics import StageMetrics
from relight.stages.correlate import Correlate
from relight.stages.match import Match
from relight.stages.process import Worker
from relight.stages.runner import Runner, Stage
from relight.transports.port import EventLog


def match(log: EventLog, scanner: Scanner, resolve: Resolve) -> Match:
    return Match(log, Matcher(scanner, LogFormats(), shown), resolve, StageMetrics("match"), cluster="lab")


def correlate(log: EventLog, resolve: Resolve) -> Correlate:
    return Correlate(log, resolve, StageMetrics("correlate"))


@contextmanager
def running(log: EventLog, stage: Stage) -> Iterator[Runner]:
    """Run a stage while the block lasts. What ends it early is raised at the end of the block."""
    stop = threading.Event()
    runner = Runner(stage, log, "test", StageMetrics(stage.name), stop)
    worker = Worker(stage.name, runner.run)
    worker.start(stop)
    try:
        yield runner
    finally:
        stop.set()
        worker.thread.join(10)
        if worker.error is not None:
            raise worker.error
    assert not worker.thread.is_alive()
