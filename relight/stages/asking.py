"""How a stage asks for ticks: it writes one, and acts on it when it reads it back; until then it asks for no other."""

from dataclasses import dataclass
from typing import Final

RETRY_S: Final = 5.0
"""What does not come back is written again after this."""


@dataclass(slots=True)
class Asking:
    """The number of the last tick that was written, and when (seconds of a clock that only runs)."""

    number: int = 0
    at_s: float = 0.0

    def waits(self, tick: int, now: float) -> bool:
        """Tell whether a tick behind the last one that was read is still on its way."""
        return self.number > tick and now - self.at_s < RETRY_S

    def next(self, tick: int, now: float) -> int:
        """Return the number of the tick that is written now, behind the last one that was read."""
        self.number, self.at_s = tick + 1, now
        return self.number
