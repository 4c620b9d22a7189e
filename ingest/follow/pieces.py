"""What a shipper is told to follow, and what it gets: pieces, each a chunk with its header and its position."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from ingest.follow.positions import Position
from ingest.sources import Problem, Skipped
from schemas.shipped import Shipped
from schemas.vocabulary import Provenance


@dataclass(frozen=True, slots=True)
class Followed:
    """What to follow, and what is known of it.

    `paths` are files, directories (with all below them) and globs; what is not there yet is followed when it comes.
    `host` is this machine's name; a path that names a host outranks it, for directories are shared between hosts.
    `job`, `attempt` and `rank` outrank what a path tells.
    """

    paths: tuple[str, ...]
    cluster: str
    host: str
    job: str | None = None
    attempt: str | None = None
    rank: int | None = None
    provenance: Provenance = Provenance.UNKNOWN


@dataclass(frozen=True, slots=True)
class Piece:
    """A chunk to ship, or a heartbeat (no bytes). `position` is how far its source has been read with it."""

    header: Shipped
    value: bytes
    position: Position


class Feed(Protocol):
    """Something that is followed. Nothing here blocks, waits or knows the time: times are the caller's (Unix, ms)."""

    def read(self, now_ms: int, budget_bytes: int) -> list[Piece]:
        """Return what has come, about `budget_bytes` of it. To be called again and again."""
        ...

    def at_end(self) -> bool:
        """Tell whether all that was there at the last `read` has been read: also a last line without its end."""
        ...

    def confirm(self, pieces: Iterable[Piece]) -> None:
        """Say that pieces have been kept by others, in any order: a restart goes on behind them."""
        ...

    def news(self) -> list[Problem | Skipped]:
        """Return what could not be read, or is not, since this was last asked. Each is said once while it lasts."""
        ...

    def close(self) -> None:
        """Let go of files and processes. What was not confirmed is read again next time."""
        ...


def elapsed(since_ms: int, now_ms: int, interval_ms: int) -> bool:
    """Tell whether an interval has passed; a clock that was set back does not make it last longer."""
    return not 0 <= now_ms - since_ms < interval_ms
