"""`relight ship`: sends what is written to files, the journal and the kernel's log to `relight.logs`.

A position is confirmed when its lines are kept by the log, or by the spool while the log is out of reach. When that
is full too, nothing more is read: the lines wait in their files. Of what a file holds that cannot be read a dead letter
tells.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog

from ingest.follow.pieces import Feed, Piece
from ingest.follow.positions import Positions
from ingest.sources import Problem, Skipped
from relight.metrics import StageMetrics
from relight.stages.deadletters import turned_away
from relight.stages.reaching import RETRY_S, Reach
from relight.stages.spool import Spool
from relight.topics import DEADLETTERS, LOGS
from relight.transports.port import EventLog, Full, LogError, Outgoing, Refused

NAME: Final = "ship"
BUDGET_BYTES: Final = 8 * 1024 * 1024
SAVE_S: Final = 1.0
_SAY_AGAIN_S: Final = 30.0
_LETTERS: Final = 1000
"""So many dead letters wait at most for the log to come back."""

_log = structlog.get_logger("relight")


@dataclass
class Ship:
    """Ships from feeds to a log until `stop` is set. `open_log` is called again after the log was out of reach."""

    feeds: Sequence[Feed]
    positions: Positions
    open_log: Callable[[], EventLog]
    spool: Spool
    metrics: StageMetrics
    flush_s: float = 0.2
    stop: threading.Event = field(default_factory=threading.Event)
    once: bool = False
    cluster: str = "default"
    host: str = "unknown"
    _letters: deque[Outgoing] = field(default_factory=lambda: deque(maxlen=_LETTERS))
    _reach: Reach = field(init=False)
    _said: dict[str, float] = field(default_factory=dict)
    _saved_s: float = 0.0

    def __post_init__(self) -> None:
        """Begin without a log."""
        self._reach = Reach(self.open_log, self.metrics, self._out_of_reach)

    def run(self) -> None:
        """Ship until told to stop, or, with `once`, until all that is there has been sent.

        Raises:
            Refused, TopicMissing: at the start: a person has to change something first.
        """
        self._reach.begin()
        try:
            while not self.stop.is_set():
                begun = time.monotonic()
                if not self._round() and not self.spool.records:
                    if self.once and all(feed.at_end() for feed in self.feeds):
                        break
                    self.stop.wait(max(0.0, self.flush_s - (time.monotonic() - begun)))
        finally:
            self._save()
            self._reach.close()

    def _round(self) -> bool:
        """Read and send once; return whether there were lines, so that more may be waiting."""
        self._drain()
        lines = False
        for feed in self.feeds:
            pieces = feed.read(int(time.time() * 1000), BUDGET_BYTES)
            for news in feed.news():
                self._tell(news)
            if pieces:
                self._keep(feed, pieces)
                lines = lines or any(piece.value for piece in pieces)
        self._post()
        if self._reach.target is not None:
            self.metrics.polled()
        self.metrics.spool(self.spool.size_bytes)
        if time.monotonic() - self._saved_s >= SAVE_S:
            self._save()
        return lines

    def _keep(self, feed: Feed, pieces: Sequence[Piece]) -> None:
        """Send pieces or spool them, and confirm them; wait as long as neither is possible."""
        while not self.stop.is_set():
            records = [Outgoing(LOGS, p.value, p.header.key, p.header.headers()) for p in pieces]
            if self._reach.target is not None and not self.spool.records and self._sent(records):
                break
            lines = [record for record in records if record.value]  # a heartbeat that comes late tells nothing
            try:
                self.spool.append(lines)
                break
            except Full as error:
                self._say("full", f"{error}; nothing more is read until the log is back")
                self.stop.wait(RETRY_S[0])
                self._drain()
        else:
            return
        feed.confirm(pieces)
        self.metrics.consumed(LOGS, len(pieces), sum(len(piece.value) for piece in pieces))

    def _sent(self, records: Sequence[Outgoing]) -> bool:
        if self._reach.append(records) is not None:
            return False
        self.metrics.produced(LOGS, len(records))
        return True

    def _post(self) -> None:
        """Send dead letters. They never hold lines up: what the log does not take for good is in this log alone."""
        while self._letters and self._reach.target is not None:
            error = self._reach.append([self._letters[0]])
            if error is not None and not isinstance(error, Refused):
                return
            self._letters.popleft()
            if error is None:
                self.metrics.produced(DEADLETTERS)

    def _drain(self) -> None:
        """Send what waits in the spool, as far as the log takes it."""
        if self._reach.target is None and not self._reached():
            return
        while self.spool.records and self._reach.target is not None and not self.stop.is_set():
            last, records = self.spool.first(BUDGET_BYTES)
            if not self._sent(records):
                return
            self.spool.drop(last)
            if not self.spool.records:
                _log.info("the spool is empty again", stage=NAME)

    def _reached(self) -> bool:
        """Try to open the log again, now and then."""
        if not self._reach.again():
            return False
        _log.info("the log is back", stage=NAME, spooled_bytes=self.spool.size_bytes)
        return True

    def _out_of_reach(self, error: LogError) -> None:
        self._say("unreachable", f"{error}; lines are kept in {self.spool.path}")

    def _tell(self, news: Problem | Skipped) -> None:
        """Log what could not be read, or is not."""
        if isinstance(news, Problem):
            _log.warning(f"{news.path}: {news.what}. {news.advice}", stage=NAME)
            if news.damaged:
                self._letters.append(turned_away(NAME, self.cluster, f"{self.host}:{news.path}", None, news.what))
                self.metrics.dead_letter("unreadable")
        else:
            _log.info(f"{news.path} is passed over: {news.reason}", stage=NAME)

    def _say(self, kind: str, what: object) -> None:
        """Log a thing that lasts, once in a while."""
        now = time.monotonic()
        if now - self._said.get(kind, -_SAY_AGAIN_S) >= _SAY_AGAIN_S:
            self._said[kind] = now
            _log.warning(str(what), stage=NAME)

    def _save(self) -> None:
        self._saved_s = time.monotonic()
        self.positions.save()
