"""`relight receive`: appends the alerts that an Alertmanager posts to `relight.logs`. The server: `receiving`.

The log is used by this stage's own thread alone. A request hands it records and waits until the log has them, so what
was answered with success is kept; what was not, Alertmanager sends again, and that changes nothing.
"""

import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TooLate
from dataclasses import dataclass, field
from typing import Final

import structlog

from ingest.alerts import STREAM
from relight.metrics import StageMetrics
from relight.stages.reaching import Reach
from relight.topics import LOGS
from relight.transports.port import EventLog, LogError, Outgoing, Unavailable
from schemas.shipped import Shipped

NAME: Final = "receive"
TOGETHER: Final = 50
"""So many requests are kept in one step at most, and so many may wait."""

_log = structlog.get_logger("relight")


@dataclass(frozen=True, slots=True)
class _Delivery:
    """Records of one request, and the promise that they are kept."""

    records: Sequence[Outgoing]
    kept: "Future[None]" = field(default_factory=Future)


@dataclass
class Receive:
    """Keeps what requests bring until `stop` is set. `open_log` is called again after the log was out of reach.

    `beat_s`: how often it says that it is there, so that time goes on in a cluster of which only alerts are known.
    """

    open_log: Callable[[], EventLog]
    metrics: StageMetrics
    cluster: str
    host: str
    beat_s: float = 5.0
    timeout_s: float = 10.0
    stop: threading.Event = field(default_factory=threading.Event)
    _waiting: "queue.Queue[_Delivery]" = field(default_factory=lambda: queue.Queue(TOGETHER))
    _reach: Reach = field(init=False)
    _tried: bool = False
    """Whether the log has been opened, or tried to be: what comes before that waits for it."""
    _beaten_s: float = 0.0

    def __post_init__(self) -> None:
        """Begin without a log."""
        self._reach = Reach(self.open_log, self.metrics, self._out_of_reach)

    def keep(self, records: Sequence[Outgoing]) -> None:
        """Return when the log has the records. For any thread.

        Raises:
            LogError: it may not have them: they are to be sent again.
        """
        if (self._reach.target is None and self._tried) or self.stop.is_set():
            raise Unavailable("the log is out of reach, or relight is about to stop: send it again")
        delivery = _Delivery(records)
        try:
            self._waiting.put(delivery, timeout=self.timeout_s)
            delivery.kept.result(self.timeout_s)
        except (queue.Full, TooLate):
            raise Unavailable(f"the log has not taken it in {self.timeout_s:.0f} s: send it again") from None

    def run(self) -> None:
        """Keep what comes until told to stop.

        Raises:
            Refused, TopicMissing: at the start: a person has to change something first.
        """
        self._reach.begin()
        self._tried = True
        try:
            while not self.stop.is_set():
                self._round()
        finally:
            self._end()

    def _round(self) -> None:
        if self._reach.target is None and not self._reached():
            self.stop.wait(0.1)
            return
        deliveries = self._next(0.1)
        records = [record for delivery in deliveries for record in delivery.records] + self._beats()
        error = self._append(records) if records else None
        for delivery in deliveries:
            if error is None:
                delivery.kept.set_result(None)
            else:
                delivery.kept.set_exception(error)
        if error is None:
            self.metrics.polled()

    def _next(self, wait_s: float) -> list[_Delivery]:
        """Return what waits; if nothing does, wait for it."""
        found: list[_Delivery] = []
        try:
            found.append(self._waiting.get(timeout=wait_s))
            while len(found) < TOGETHER:
                found.append(self._waiting.get_nowait())
        except queue.Empty:
            pass
        return found

    def _beats(self) -> list[Outgoing]:
        """Return a heartbeat if one is due: no alert is on its way that began before now."""
        now = time.monotonic()
        if now - self._beaten_s < self.beat_s:
            return []
        self._beaten_s = now
        header = Shipped(
            cluster=self.cluster, host=self.host, stream=STREAM, generation=NAME, offset_bytes=0, line=1,
            observed_ms=int(time.time() * 1000), at_end=True,
        )  # fmt: skip
        return [Outgoing(LOGS, b"", header.key, header.headers())]

    def _append(self, records: Sequence[Outgoing]) -> LogError | None:
        """Append records, and return what has gone wrong, if anything has."""
        if (error := self._reach.append(records)) is not None:
            return error
        for topic, appended in Counter(record.topic for record in records if record.value).items():
            self.metrics.produced(topic, appended)
        return None

    def _reached(self) -> bool:
        """Try to open the log again, now and then."""
        if not self._reach.again():
            return False
        _log.info("the log is back", stage=NAME)
        return True

    def _out_of_reach(self, error: LogError) -> None:
        if not self._reach.failures:
            _log.warning(f"{error}; alerts are refused until the log is back, and sent again", stage=NAME)

    def _end(self) -> None:
        """Let those who wait go, and close the log."""
        self.stop.set()
        for delivery in self._next(0):
            delivery.kept.set_exception(Unavailable("relight stops: send it again"))
        self._reach.close()
