"""A shipper of files with a clock of its own, as the tests of following use it."""

from dataclasses import dataclass, field
from pathlib import Path

from ingest.follow.files import Follower
from ingest.follow.pieces import Followed, Piece
from ingest.follow.positions import Positions
from ingest.sources import Problem, Skipped

MANY_BYTES = 1 << 30
START_MS = 1_000_000_000_000
"""Long before any file of a test was written: a fresh follower has seen none of them quiet yet."""


@dataclass
class Shipper:
    """A follower with a clock of its own; keeps what it gives as whoever reads it does, by generation and offset."""

    folder: Path
    followed: Followed
    now_ms: int = START_MS
    confirms: bool = True
    pieces: list[Piece] = field(default_factory=list)
    kept: dict[tuple[str, int, str], bytearray] = field(default_factory=dict)
    news: list[Problem | Skipped] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.start()

    @property
    def state(self) -> Path:
        return self.folder / "state" / "positions.json"

    def start(self) -> None:
        self.positions = Positions(self.state)
        self.follower = Follower(self.followed, self.positions)

    def restart(self, *, lost: bool = False) -> None:
        self.follower.close()
        if lost:
            self.state.unlink(missing_ok=True)
        else:
            self.positions.save()
        self.start()

    def turn(self, after_ms: int = 100, budget: int = MANY_BYTES) -> list[Piece]:
        """Let time pass, read, keep and confirm; return what was read."""
        self.now_ms += after_ms
        read = self.follower.read(self.now_ms, budget)
        for piece in read:
            self._keep(piece)
        if self.confirms:
            self.follower.confirm(read)
        self.pieces += read
        self.news += self.follower.news()
        return read

    def settle(self) -> list[Piece]:
        """Read on until all is quiet."""
        return [piece for _ in range(10) for piece in self.turn(2000)]

    def _keep(self, piece: Piece) -> None:
        header = piece.header
        have = self.kept.setdefault((header.stream, header.part, header.generation), bytearray())
        overlap = len(have) - header.offset_bytes
        assert overlap >= 0, f"a gap of {-overlap} bytes in {header}"
        again = piece.value[:overlap]
        assert have[header.offset_bytes : header.offset_bytes + len(again)] == again
        if len(piece.value) > overlap:
            have += piece.value[overlap:]
        assert header.line == 1 + bytes(have[: header.offset_bytes]).count(b"\n")

    def streams(self) -> dict[str, list[bytes]]:
        """Return what came of each stream, part by part."""
        found: dict[str, list[bytes]] = {}
        for (stream, _, _), data in sorted(self.kept.items()):
            found.setdefault(stream, []).append(bytes(data))
        return found

    def values(self) -> list[bytes]:
        return [piece.value for piece in self.pieces]


def write(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)
