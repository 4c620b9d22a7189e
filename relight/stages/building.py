"""The composition root of the pipeline: stages made from settings, each with its log, its name and its metrics."""

import fcntl
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from shutil import which
from typing import IO, Final

from ingest.follow.files import Follower
from ingest.follow.journal import Journal
from ingest.follow.kernel import KMSG, KernelLog
from ingest.follow.pieces import Feed, Followed
from ingest.follow.positions import Positions
from relight.catalogue import resolver
from relight.metrics import StageMetrics
from relight.scanning import known
from relight.settings import Settings
from relight.settings.models import state_folder
from relight.stages.correlate import Correlate
from relight.stages.keep import Keep
from relight.stages.match import Match
from relight.stages.process import Worker
from relight.stages.runner import Runner, Stage
from relight.stages.ship import Ship
from relight.stages.sources import matcher
from relight.stages.spool import Spool
from relight.topics import CONTROL, INCIDENTS, LOGS, OUTCOMES
from relight.transports.opening import open_log
from relight.transports.port import EventLog, Refused

JOURNAL: Final = Path("/run/systemd/journal")
"""Where this is, journald runs."""

_ORDINALS: Final = 1000


def match(settings: Settings, log: EventLog, metrics: StageMetrics) -> Stage:
    """Return the stage that matches."""
    rules = tuple(settings.match.rules)
    return Match(
        log,
        matcher(rules),
        resolver(known(rules)),
        metrics,
        cluster=settings.cluster.name,
        trusted=settings.topics.trusted,
        snapshot_s=settings.match.snapshot_s,
        progress_s=settings.match.progress_s,
    )


def correlate(settings: Settings, log: EventLog, metrics: StageMetrics) -> Stage:
    """Return the stage that correlates."""
    return Correlate(
        log,
        resolver(known(tuple(settings.match.rules))),
        metrics,
        settle_s=settings.correlate.settle_s,
        snapshot_s=settings.correlate.snapshot_s,
    )


def index(settings: Settings, log: EventLog, metrics: StageMetrics) -> Stage:
    """Return the stage that will index logs and incidents."""
    return Keep("index", (LOGS, INCIDENTS))


def remediate(settings: Settings, log: EventLog, metrics: StageMetrics) -> Stage:
    """Return the stage that will plan remediation."""
    return Keep("remediate", (INCIDENTS, OUTCOMES, CONTROL))


STAGES: Final[dict[str, Callable[[Settings, EventLog, StageMetrics], Stage]]] = {
    "match": match,
    "correlate": correlate,
    "index": index,
    "remediate": remediate,
}


@dataclass
class Built:
    """A worker and what has to be told of it."""

    worker: Worker
    metrics: StageMetrics


def stage(name: str, settings: Settings, stop: threading.Event) -> Built:
    """Return a stage as a worker. Its log is opened by the worker itself, in its own thread."""
    metrics = StageMetrics(name)

    def work() -> None:
        with member_name(name, settings) as member, open_log(settings) as log:
            Runner(STAGES[name](settings, log, metrics), log, member.name, metrics, stop).run()

    return Built(Worker(name, work), metrics)


def ship(paths: Sequence[str], settings: Settings, stop: threading.Event, *, once: bool = False) -> Built:
    """Return the shipper of paths as a worker."""
    metrics = StageMetrics("ship")
    own = settings.ship

    def work() -> None:
        with _alone(own.state_path):
            shipping()

    def shipping() -> None:
        positions = Positions(own.state_path)
        spool = Spool(own.spool_path / "spool.db", own.spool_bytes)
        feeds = _feeds(paths, settings, positions)
        if not feeds:
            raise Refused(
                "there is nothing to ship: name files, or run where a journal or the kernel's log can be read"
            )
        try:
            Ship(
                feeds,
                positions,
                lambda: open_log(settings),
                spool,
                metrics,
                flush_s=own.flush_ms / 1000,
                stop=stop,
                once=once,
            ).run()
        finally:
            for feed in feeds:
                feed.close()
            spool.close()

    return Built(Worker("ship", work), metrics)


@contextmanager
def _alone(state_path: Path) -> Iterator[None]:
    """Keep the state of a shipper to one process while a `with` block lasts.

    Raises:
        Refused: another process has it.
    """
    state_path.parent.mkdir(parents=True, exist_ok=True)
    with state_path.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Refused(
                f"another shipper keeps its state in {state_path}: give this one its own ship.state_path and "
                "ship.spool_path, or name all paths to one"
            ) from None
        yield


def _feeds(paths: Sequence[str], settings: Settings, positions: Positions) -> list[Feed]:
    """Return what is followed. Where the journal is, it has the kernel's lines too."""
    own, cluster = settings.ship, settings.cluster.name
    beat_ms = int(own.heartbeat_s * 1000)
    followed = Followed(tuple(paths), cluster, own.host, own.job, own.attempt, own.rank, own.provenance)
    feeds: list[Feed] = [Follower(followed, positions, heartbeat_ms=beat_ms)] if paths else []
    journal = own.journal is True or (own.journal == "auto" and JOURNAL.is_dir() and which("journalctl") is not None)
    if journal:
        feeds.append(Journal(cluster, own.host, positions, heartbeat_ms=beat_ms))
    if own.kernel is True or (own.kernel == "auto" and not journal and os.access(KMSG, os.R_OK)):
        feeds.append(KernelLog(cluster, own.host, positions, heartbeat_ms=beat_ms))
    return feeds


@dataclass
class member_name:  # noqa: N801 - it is used as a function is
    """Takes a name for a member of a stage's group while a `with` block lasts: one that no other process here has.

    The first process of a stage on a host is its number 0, the second 1: so a process that is started again after a
    crash has the name of the one that crashed, and with it its partitions at once.
    """

    stage: str
    settings: Settings
    name: str = ""
    _lock: IO[str] | None = None

    def __enter__(self) -> "member_name":
        folder = state_folder() / "members"
        for ordinal in range(_ORDINALS):
            self.name = f"{self.settings.cluster.member}-{self.stage}-{ordinal}"
            if self._take(folder, self.name):
                return self
        self.name = f"{self.settings.cluster.member}-{self.stage}-{os.getpid()}"
        return self

    def __exit__(self, *_: object) -> None:
        if self._lock is not None:
            self._lock.close()

    def _take(self, folder: Path, name: str) -> bool:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = (folder / f"{name}.lock").open("w")
        except OSError:
            return False
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._lock = lock
            return True
        lock.close()
        return False
