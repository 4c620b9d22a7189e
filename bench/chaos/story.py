"""What the oracle's jobs write: starts, progress, and faults that carry a number. Which of it, and when, dice decide.

A job of one rank may be started again and fail twice; the ranks of a larger one fail together, of one thing. Logs are
rotated by renaming or by copying, and truncated; what truncation destroys never holds a fault.
"""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from random import Random
from typing import Final

NUMBER: Final = re.compile(r"\boracle-(\d{6})\b")
"""How a number stands in a line."""

_TRACEBACK: Final = (
    "Traceback (most recent call last):",
    '  File "/opt/train/train.py", line 118, in <module>',
    "    main()",
)
_OUT_OF_MEMORY: Final = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB for {}. GPU 0 is full."
_FAULTS: Final = {
    "python.value-error": (*_TRACEBACK, "ValueError: sample {} is empty"),
    "python.key-error": (*_TRACEBACK, "KeyError: '{}'"),
    "python.assertion-error": ("AssertionError: checksum of shard {}",),
    "python.file-not-found": (
        *_TRACEBACK,
        "FileNotFoundError: [Errno 2] No such file or directory: '/data/{}.bin'",
    ),
    "cuda.oom": (_OUT_OF_MEMORY,),
}
_START: Final = "[{}] torch.distributed.elastic.agent.server.api: [INFO] [default] Starting worker group"


@dataclass(frozen=True, slots=True)
class Issued:
    """A fault with its number: where it was written, and what has to be concluded from it."""

    number: int
    cluster: str
    job: str
    signature: str
    text: str


class Turning(Enum):
    """What happens to a log that has become long."""

    RENAMED = "renamed"
    COPIED = "copied"
    TRUNCATED = "truncated"


@dataclass(frozen=True, slots=True)
class Written:
    """Lines that a rank writes. `torn`: in several goes, not at the ends of lines."""

    rank: int
    lines: tuple[str, ...]
    torn: bool = False
    issued: Issued | None = None


@dataclass(frozen=True, slots=True)
class Turned:
    """The log of a rank is rotated or truncated."""

    rank: int
    how: Turning


@dataclass
class Numbers:
    """Where jobs get their numbers from, and faults theirs."""

    job: int = 0
    fault: int = 0

    def next_job(self) -> str:
        """Return the id of a new job."""
        self.job += 1
        return str(self.job)

    def next_fault(self) -> int:
        """Return the number of a new fault."""
        self.fault += 1
        return self.fault


@dataclass
class Story:
    """What one job writes, step by step; each step tells the time at which it is taken."""

    cluster: str
    job: str
    dice: Random
    numbers: Numbers

    def steps(self) -> Iterator[Written | Turned]:
        """Yield what the job's ranks write, up to the fault that ends it."""
        ranks = self.dice.choice((1, 1, 2))
        attempts = 2 if ranks == 1 and self.dice.random() < 0.4 else 1
        for attempt in range(attempts):
            for rank in range(ranks):
                yield Written(rank, (_START.format(_now(",")),))
            yield from self._training(ranks, may_lose=attempts == 1)
            yield from self._failing(ranks)
            if attempt + 1 < attempts and self.dice.random() < 0.5:
                yield Turned(0, self.dice.choice((Turning.RENAMED, Turning.COPIED)))

    def _training(self, ranks: int, *, may_lose: bool) -> Iterator[Written | Turned]:
        turnings = [Turning.RENAMED, Turning.COPIED, *([Turning.TRUNCATED] if may_lose else [])]
        step = 0
        for _ in range(self.dice.randint(2, 9)):
            rank = self.dice.randrange(ranks)
            if self.dice.random() < 0.12:
                yield Turned(rank, self.dice.choice(turnings))
            lines = [self._line(step + at) for at in range(self.dice.choice((1, 3, 10, 10, 30)))]
            if self.dice.random() < 0.01:
                lines += [f"loading shard {at} of 3000" for at in range(3000)]
            step += len(lines)
            yield Written(rank, tuple(lines), torn=self.dice.random() < 0.2)
        for rank in range(ranks):  # every rank gets somewhere, so that what is said of the job does not hang on luck
            yield Written(rank, (self._line(step),))

    def _line(self, step: int) -> str:
        if self.dice.random() < 0.5:
            return f"{_now('.')} INFO step {step}/100000 loss {self.dice.uniform(1, 3):.4f} lr 0.0003"
        return f"{_now('.')} INFO prefetched {self.dice.randint(1, 64)} batches in {self.dice.randint(1, 900)} ms"

    def _failing(self, ranks: int) -> Iterator[Written]:
        signature = self.dice.choice(sorted(_FAULTS))
        number = self.numbers.next_fault()
        lines = tuple(line.format(f"oracle-{number:06d}") for line in _FAULTS[signature])
        issued = Issued(number, self.cluster, self.job, signature, lines[-1])
        for rank in range(ranks):
            yield Written(rank, lines, torn=self.dice.random() < 0.5, issued=issued)


def _now(separator: str) -> str:
    now = datetime.fromtimestamp(time.time(), UTC)
    return f"{now:%Y-%m-%d %H:%M:%S}{separator}{now.microsecond // 1000:03d}"
