"""Reaching: a log that lines are sent to, which may be out of reach for a while, and is opened again now and then."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from relight.metrics import StageMetrics
from relight.topics import LOGS
from relight.transports.port import EventLog, LogError, Outgoing, Refused, TopicMissing

RETRY_S: Final = (0.5, 1.0, 2.0, 5.0)
"""How long is waited after each failure in a row before the log is tried again; the last one from then on."""


@dataclass
class Reach:
    """What sends to `relight.logs` holds this, for one thread. `lost` is told whenever the log is out of reach."""

    open_log: Callable[[], EventLog]
    metrics: StageMetrics
    lost: Callable[[LogError], None]
    target: EventLog | None = None
    failures: int = 0
    _retry_s: float = 0.0

    def begin(self) -> None:
        """Open the log for the first time.

        Raises:
            Refused, TopicMissing: a person has to change something first.
        """
        try:
            self.target = self._opened()
        except (Refused, TopicMissing):
            raise
        except LogError as error:
            self._out_of_reach(error)

    def again(self) -> bool:
        """Try to open the log again, if it is time; tell whether it is back."""
        if time.monotonic() < self._retry_s:
            return False
        try:
            self.target, self.failures = self._opened(), 0
        except LogError as error:
            self._out_of_reach(error)
            return False
        return True

    def append(self, records: Sequence[Outgoing]) -> LogError | None:
        """Append records to the log, which is there; return what has gone wrong, if anything has."""
        assert self.target is not None
        try:
            with self.metrics.transaction():
                self.target.append(records)
        except LogError as error:
            self._out_of_reach(error)
            return error
        return None

    def close(self) -> None:
        """Close the log, if it is there."""
        if self.target is not None:
            self.target.close()

    def _opened(self) -> EventLog:
        """Open the log, and make sure that it takes lines. Raises: LogError."""
        target = self.open_log()
        try:
            target.spans(LOGS)
        except LogError:
            target.close()
            raise
        return target

    def _out_of_reach(self, error: LogError) -> None:
        self._retry_s = time.monotonic() + RETRY_S[min(self.failures, len(RETRY_S) - 1)]
        self.lost(error)
        self.failures += 1
        self.metrics.unreachable(str(error))
        if self.target is not None:
            self.target.close()
            self.target = None
            self.metrics.reconnected()
