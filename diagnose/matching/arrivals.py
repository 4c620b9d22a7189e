"""Arrivals: when lines of progress were read that tell no time of their own, and at which pace they come.

Only of a source that is followed to its end does that say when they were written: what was there before is a backlog.
"""

from dataclasses import dataclass, field
from typing import Final

from diagnose.matching.lines import Hit
from diagnose.matching.pace import Passed, pace_s, passed
from diagnose.matching.signals import Span
from schemas.signal import Mark, Signal
from schemas.vocabulary import Kind

SIGNALS: Final = 64
"""Of so many signals it is remembered when they came."""


@dataclass(slots=True)
class Arrivals:
    """The state of one source. Times are Unix, s, by the clock of the host whose shipper read the lines.

    `live` tells whether the source was read to its end before. `came` gives for each signal when its first and its last
    line were read, `paces` for each signature when how many of its lines had been.
    """

    live: bool = False
    came: dict[str, tuple[float, float, int]] = field(default_factory=dict)
    paces: dict[str, list[Passed]] = field(default_factory=dict)
    longest_s: dict[str, float] = field(default_factory=dict)

    def note(self, spans: dict[str, Span], observed_s: float, *, at_end: bool) -> None:
        """Take in what is known of a source's story now."""
        for name, span in spans.items():
            known = self.came.get(name)
            if self.live and _untimed(span) and (known is None or known[2] < span.count):
                self.came[name] = known[0] if known else observed_s, observed_s, span.count
                self._pace(span.first.signature.id, observed_s, span.count - (known[2] if known else 0))
        for name in [*self.came][:-SIGNALS]:
            del self.came[name]
        self.live = self.live or at_end

    def dated(self, name: str, signal: Signal) -> Signal:
        """Return a signal of progress with the times at which its lines came, where they tell none themselves."""
        known = self.came.get(name)
        if known is None or signal.last.timed:
            return signal
        usual_s = pace_s(self.paces.get(signal.signature, ()))
        return signal.model_copy(
            update={
                "first": _at(signal.first, known[0]),
                "last": _at(signal.last, known[1]),
                "pace_s": usual_s,
                "pause_s": self.longest_s.get(signal.signature) if usual_s is not None else None,
            }
        )

    def _pace(self, signature: str, now_s: float, more: int) -> None:
        own = self.paces.setdefault(signature, [])
        if len(own) > 1:
            self.longest_s[signature] = max(now_s - own[-1][0], self.longest_s.get(signature, 0.0))
        passed(own, now_s, (own[-1][1] if own else 0) + more)


def _untimed(span: Span) -> bool:
    if span.first.signature.kind is not Kind.PROGRESS:
        return False
    return not (isinstance(span.last, Hit) and span.last.timed)


def _at(mark: Mark, time_s: float) -> Mark:
    return mark if mark.timed else mark.model_copy(update={"time_s": time_s, "timed": True})
