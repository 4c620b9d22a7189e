"""What an HTTP request brought and was refused, kept as dead letters: the same thing once, and within a limit."""

import hashlib
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from relight.stages.deadletters import turned_away
from relight.transports.port import LogError, Outgoing

ORIGIN: Final = "alertmanager"
SPAN_S: Final = 3600.0
SPAN_BYTES: Final = 16 * 1024 * 1024
"""So much is kept at most of what is refused within a span of time: who goes on so says nothing new."""

_LEAST_BYTES: Final = 1024


@dataclass
class Refusals:
    """Keeps what a stage refuses, for any thread. `now_s` is a clock that is never set back."""

    stage: str
    cluster: str
    keep: Callable[[Sequence[Outgoing]], None]
    now_s: Callable[[], float] = time.monotonic
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _begun_s: float | None = None
    _bytes: int = 0
    _known: set[str] = field(default_factory=set)

    def take(self, content: bytes, reason: str) -> bool:
        """Keep what was refused, or its beginning; tell whether it is kept now or was before.

        Raises:
            LogError: the log may not have it: it is to be sent again.
        """
        digest, size = f"{hashlib.sha256(content).hexdigest()} {reason}", max(len(content), _LEAST_BYTES)
        with self._lock:
            self._begin()
            if digest in self._known or self._bytes + size > SPAN_BYTES:
                return digest in self._known
            self._known.add(digest)
            self._bytes += size
        try:
            self.keep([turned_away(self.stage, self.cluster, ORIGIN, content, reason)])
        except LogError:
            with self._lock:
                self._known.discard(digest)
                self._bytes -= size
            raise
        return True

    def _begin(self) -> None:
        """Begin another span of time, if one is over."""
        now_s = self.now_s()
        if self._begun_s is None or now_s - self._begun_s >= SPAN_S:
            self._begun_s, self._bytes = now_s, 0
            self._known.clear()
