"""The composition root of the pipeline: stages made from settings, each with its log, its name and its metrics."""

import os
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from shutil import which
from typing import Final

from ingest.choosing import Choice
from ingest.follow.files import QUIET_MS, Follower
from ingest.follow.journal import Journal
from ingest.follow.kernel import KMSG, KernelLog
from ingest.follow.pieces import Feed, Followed
from ingest.follow.positions import Positions
from ingest.follow.showing import END_MS
from relight.catalogue import resolver
from relight.keys import NoKeys, Role, key_file
from relight.metrics import Serving, StageMetrics
from relight.playbook_book import playbooks
from relight.scanning import known
from relight.settings import Settings
from relight.stages.correlate import Correlate
from relight.stages.index import Index
from relight.stages.match import Match
from relight.stages.names import alone, member_name
from relight.stages.process import Worker
from relight.stages.receive import Receive
from relight.stages.receiving import Server
from relight.stages.remediate import Remediate
from relight.stages.runner import Runner, Stage
from relight.stages.ship import Ship
from relight.stages.sources import matcher
from relight.stages.spool import Spool
from relight.stores.opening import open_store
from relight.stores.port import IncidentStore, StoreError, StoreUnavailable
from relight.stores.waiting import Waited
from relight.transports.opening import open_log
from relight.transports.port import EventLog, Refused

JOURNAL: Final = Path("/run/systemd/journal")
"""Where this is, journald runs."""


def match(settings: Settings, log: EventLog, metrics: StageMetrics, stop: threading.Event) -> Stage:
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


def correlate(settings: Settings, log: EventLog, metrics: StageMetrics, stop: threading.Event) -> Stage:
    """Return the stage that correlates."""
    return Correlate(
        log,
        resolver(known(tuple(settings.match.rules))),
        metrics,
        settle_s=settings.correlate.settle_s,
        snapshot_s=settings.correlate.snapshot_s,
    )


def index(settings: Settings, log: EventLog, metrics: StageMetrics, stop: threading.Event) -> Stage:
    """Return the stage that indexes logs and incidents.

    Raises:
        Refused: the store cannot be used as it is.
    """
    store = open_store(settings, stop.wait, metrics.bulk_retry)
    try:
        store.check()
    except StoreUnavailable:
        pass  # it may come
    except StoreError as error:
        store.close()
        raise Refused(str(error)) from error
    return indexing(log, store, settings, metrics, stop.wait)


def indexing(log: EventLog, store: IncidentStore, settings: Settings, metrics: StageMetrics, waited: Waited) -> Index:
    """Return what indexes into a store; `waited(seconds)` waits, and tells whether the process is to stop."""
    own = settings.index
    return Index(
        log,
        store,
        matcher(tuple(settings.match.rules)),
        metrics,
        choice=None if own.lines == "none" else Choice(own.lines == "all", own.around),
        waited=waited,
        cluster=settings.cluster.name,
        trusted=settings.topics.trusted,
        lines_days=own.lines_days,
        bulk_bytes=own.bulk_bytes,
        snapshot_s=settings.match.snapshot_s,
    )


def remediate(settings: Settings, log: EventLog, metrics: StageMetrics, stop: threading.Event) -> Stage:
    """Return the stage that plans remediation.

    Raises:
        Refused: its keys cannot be used.
    """
    own = settings.remediate
    try:
        commands, outcomes, requests = (key_file(settings, role) for role in Role)
    except NoKeys as error:
        raise Refused(str(error)) from error
    return Remediate(
        log,
        playbooks(tuple(own.playbooks)),
        own.policy,
        metrics,
        commands=commands,
        outcomes=outcomes,
        requests=requests,
        snapshot_s=own.snapshot_s,
    )


STAGES: Final[dict[str, Callable[[Settings, EventLog, StageMetrics, threading.Event], Stage]]] = {
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
        with (
            member_name(settings.cluster.member, name) as member,
            open_log(settings) as log,
            closing(STAGES[name](settings, log, metrics, stop)) as made,
        ):
            Runner(made, log, member, metrics, stop).run()

    return Built(Worker(name, work), metrics)


def ship(paths: Sequence[str], settings: Settings, stop: threading.Event, *, once: bool = False) -> Built:
    """Return the shipper of paths as a worker."""
    metrics = StageMetrics("ship")
    own = settings.ship

    def work() -> None:
        with alone(own.state_path):
            shipping()

    def shipping() -> None:
        positions = Positions(own.state_path)
        spool = Spool(own.spool_path / "spool.db", own.spool_bytes)
        feeds = _feeds(paths, settings, positions, once)
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
                cluster=settings.cluster.name,
                host=own.host,
            ).run()
        finally:
            for feed in feeds:
                feed.close()
            spool.close()

    return Built(Worker("ship", work), metrics)


def receive(settings: Settings, stop: threading.Event) -> Built:
    """Return what receives the alerts of an Alertmanager as a worker."""
    metrics = StageMetrics("receive")
    own, cluster = settings.receive, settings.cluster.name
    receiver = Receive(
        lambda: open_log(settings),
        metrics,
        cluster,
        settings.ship.host,
        beat_s=settings.ship.heartbeat_s,
        timeout_s=own.timeout_s,
        stop=stop,
    )

    def work() -> None:
        with Serving(Server(own, cluster, receiver.keep, metrics), "relight-receive"):
            receiver.run()

    return Built(Worker("receive", work), metrics)


def _feeds(paths: Sequence[str], settings: Settings, positions: Positions, once: bool) -> list[Feed]:
    """Return what is followed. Where the journal is, it has the kernel's lines too."""
    own, cluster = settings.ship, settings.cluster.name
    beat_ms = int(own.heartbeat_s * 1000)
    followed = Followed(tuple(paths), cluster, own.host, own.job, own.attempt, own.rank, own.provenance)
    end_ms = QUIET_MS if once else END_MS
    feeds: list[Feed] = [Follower(followed, positions, heartbeat_ms=beat_ms, end_ms=end_ms)] if paths else []
    journal = own.journal is True or (own.journal == "auto" and JOURNAL.is_dir() and which("journalctl") is not None)
    if journal:
        feeds.append(Journal(cluster, own.host, positions, heartbeat_ms=beat_ms))
    if own.kernel is True or (own.kernel == "auto" and not journal and os.access(KMSG, os.R_OK)):
        feeds.append(KernelLog(cluster, own.host, positions, heartbeat_ms=beat_ms))
    return feeds
