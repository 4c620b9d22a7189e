"""The watermark of a cluster: up to which time its live sources have been heard. It decides what its ticks say.

A source is live while its shipper sends. One that its shipper has read to the end has been heard up to then; one in a
backlog, up to its last line: a backlog is not a silence. A source of a foreign shipper, which sends no heartbeats, is
taken to be silent as long as nothing comes of it. One that is complete is not waited for.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from schemas.signal import Heard, SourceRead

LOST_S: Final = 30.0
"""A source of which nothing has come for so long is lost: its silence says nothing."""

FORGET_S: Final = 3600.0
"""A foreign source of which nothing has come for so long is not waited for any more."""


@dataclass(slots=True)
class _Source:
    arrived_s: float
    last_s: float | None = None
    heard_s: float | None = None
    beats: bool = False


@dataclass
class Watermark:
    """What decides the time of ticks: it looks at the clock, so what it tells is recorded before it counts."""

    monotonic: Callable[[], float] = time.monotonic
    _sources: dict[str, _Source] = field(default_factory=dict)

    def note(self, said: SourceRead | Heard) -> None:
        """Take in that something has come of a source, or of several."""
        now = self.monotonic()
        if isinstance(said, Heard):
            for name, heard_s in said.sources.items():
                source = self._sources.setdefault(name, _Source(now))
                source.arrived_s, source.heard_s, source.beats = now, heard_s, True
            return
        if said.complete:
            return
        source = self._sources.setdefault(said.source, _Source(now))
        grown = said.heard_s is None or said.heard_s == source.heard_s
        source.arrived_s, source.last_s = now, said.last_s
        source.heard_s = None if grown else said.heard_s
        source.beats = source.beats or said.heard_s is not None

    def time_s(self) -> float | None:
        """Return the watermark (Unix, seconds); `None` where no live source tells a time."""
        now = self.monotonic()
        for name in [name for name, source in self._sources.items() if now - source.arrived_s > FORGET_S]:
            del self._sources[name]
        times = [time for source in self._sources.values() if (time := self._heard_to(source, now)) is not None]
        return min(times, default=None)

    def _heard_to(self, source: _Source, now: float) -> float | None:
        silent_s = now - source.arrived_s
        if source.beats:
            if silent_s > LOST_S:
                return None
            return source.heard_s if source.heard_s is not None else source.last_s
        return None if source.last_s is None else source.last_s + silent_s
