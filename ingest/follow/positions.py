"""How far each source has been read and confirmed: kept in one JSON file, which may be lost without loss of lines.

Generations and offsets follow from the sources themselves, so a shipper without its positions says the same again,
and whoever reads it drops what it has seen.
"""

import os
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import orjson
from pydantic import Field, ValidationError

from ingest.errors import IngestError
from schemas.model import Model

VERSION: Final = 2
_FORGET_MS: Final = 24 * 3600 * 1000


class PositionsError(IngestError):
    """The file of the positions cannot be used. The message says why and what to do."""


class Position(Model):
    """How far a generation of a stream has been read. It began at `start_bytes`; `line` counts from 1."""

    stream: str
    generation: str
    start_bytes: int = Field(default=0, ge=0)
    offset_bytes: int = Field(ge=0)
    line: int = Field(ge=1)
    seen_ms: int = 0

    @property
    def key(self) -> str:
        """Return what the position is kept under: a stream goes on in one place."""
        return self.stream


class Cursor(Position):
    """A position in what is no file: `cursor` says where to go on reading."""

    cursor: str


class Shown(Model):
    """How far a file has been read that is no log and shown as lines (`ingest.renderings`).

    Its first `read_bytes` gave `lines_bytes` of lines. `rest_bytes` and `end_bytes` are where what waited there was
    told last, the end too; -1 where nothing was. `once`: the file is one record, and another one when it changes.
    """

    read_bytes: int = Field(default=0, ge=0)
    lines_bytes: int = Field(default=0, ge=0)
    rest_bytes: int = -1
    end_bytes: int = -1
    once: bool = False

    @property
    def told(self) -> bool:
        """Tell whether nothing waits for what may follow."""
        return self.read_bytes in (self.rest_bytes, self.end_bytes)


class Place(Position):
    """A position in a file, with what tells that the file is still the one that was read so far.

    `head` is the digest of the `head_bytes` at `start_bytes`, `last` that of the bytes before `read_bytes`. Of a file
    that is shown as lines offset and line are those of the lines.
    """

    part: int = Field(ge=0)
    device: int
    inode: int
    head_bytes: int
    head: str
    last: str
    shown: Shown | None = None

    @property
    def read_bytes(self) -> int:
        """Return how much of the file has been read."""
        return self.offset_bytes if self.shown is None else self.shown.read_bytes

    @property
    def key(self) -> str:
        """Return what the place is kept under: a stream may have several files, each with a generation."""
        return self.generation


class _Kept(Model):
    version: int = VERSION
    files: tuple[Place, ...] = ()
    cursors: tuple[Cursor, ...] = ()


class Positions:
    """The confirmed positions. Used by one thread; `save` now and then and at the end.

    Raises:
        PositionsError: The file is there, but damaged or from a newer relight.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._confirmed: dict[str, Position] = {}
        self._inodes: defaultdict[int, set[str]] = defaultdict(set)
        self._early: defaultdict[str, dict[int, Position]] = defaultdict(dict)
        self._changed = False
        kept = _read(path)
        for position in (*kept.files, *kept.cursors):
            self.put(position)
        self._changed = False

    def __iter__(self) -> Iterator[Position]:
        return iter(self._confirmed.values())

    def get(self, key: str) -> Position | None:
        """Return what is known under a key."""
        return self._confirmed.get(key)

    def cursor(self, stream: str) -> Cursor | None:
        """Return where a stream that is no file goes on."""
        found = self._confirmed.get(stream)
        return found if isinstance(found, Cursor) else None

    def places(self, inode: int) -> list[Place]:
        """Return the places in files with an inode number, the latest part first."""
        found = [self._confirmed[key] for key in self._inodes.get(inode, ())]
        return sorted((one for one in found if isinstance(one, Place)), key=lambda one: one.part, reverse=True)

    def put(self, position: Position) -> None:
        """Keep a position as it is, in place of what was known under its key."""
        before = self._confirmed.get(position.key)
        if isinstance(before, Place):
            self._inodes[before.inode].discard(before.key)
        if isinstance(position, Place):
            self._inodes[position.inode].add(position.key)
        self._confirmed[position.key] = position
        self._changed = True

    def move(self, place: Place) -> None:
        """Say that a generation lies in another file now, which has been read up to `place`."""
        known = self._confirmed.get(place.key)
        if isinstance(known, Place) and known.offset_bytes < place.offset_bytes:
            place = known.model_copy(update={"device": place.device, "inode": place.inode})
        self.put(place)

    def confirm(self, steps: Iterable[tuple[int, Position]]) -> None:
        """Take over positions, each with the offset that its piece began at; those behind a gap wait for it."""
        for begin, position in steps:
            early = self._early[position.generation]
            early[begin] = position
            while (begin := min(early, default=begin)) in early and begin <= (known := self._offset(position)):
                following = early.pop(begin)
                if following.offset_bytes > known or self._told_more(following):
                    self._advance(following)
            if not early:
                del self._early[position.generation]

    def seen(self, keys: Iterable[str], now_ms: int) -> None:
        """Say which files are there; those that have not been for a day are forgotten."""
        for key in keys:
            if (position := self._confirmed.get(key)) is not None:
                self.put(position.model_copy(update={"seen_ms": now_ms}))
        for position in [*self._confirmed.values()]:
            if isinstance(position, Place) and now_ms - position.seen_ms > _FORGET_MS:
                self._inodes[position.inode].discard(position.key)
                del self._confirmed[position.key]
                self._changed = True

    def save(self) -> None:
        """Write the file, all of it or nothing, if anything has changed.

        Raises:
            PositionsError: It cannot be written.
        """
        if not self._changed:
            return
        kept = _Kept(
            files=tuple(one for one in self if isinstance(one, Place)),
            cursors=tuple(one for one in self if isinstance(one, Cursor)),
        )
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self.path.parent, prefix=f".{self.path.name}.", delete=False) as new:
                new.write(orjson.dumps(kept.model_dump(mode="json")))
                new.flush()
                os.fsync(new.fileno())
            os.replace(new.name, self.path)
        except OSError as error:
            raise PositionsError(
                f"{self.path}: the positions cannot be written: {error.strerror}. Make room, or name another file."
            ) from error
        self._changed = False

    def _offset(self, position: Position) -> int:
        known = self._confirmed.get(position.key)
        current = known is not None and known.generation == position.generation
        return known.offset_bytes if known is not None and current else position.start_bytes

    def _told_more(self, position: Position) -> bool:
        """Tell whether more of a file was read, though it gave no line."""
        known = self._confirmed.get(position.key)
        if (
            not isinstance(known, Place)
            or not isinstance(position, Place)
            or known.offset_bytes > position.offset_bytes
        ):
            return False
        return position.shown is not None and position.shown != known.shown and position.read_bytes >= known.read_bytes

    def _advance(self, position: Position) -> None:
        """Move on. Which file it is stays as it is known: it may have become another one meanwhile (copytruncate)."""
        known = self._confirmed.get(position.key)
        if isinstance(known, Place) and isinstance(position, Place):
            moved = {"offset_bytes": position.offset_bytes, "line": position.line, "last": position.last}
            moved["shown"] = position.shown
            self._confirmed[position.key] = known.model_copy(update=moved)
            self._changed = True
        else:
            self.put(position)


def _read(path: Path) -> _Kept:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return _Kept()
    except OSError as error:
        raise PositionsError(f"{path}: the positions cannot be read: {error.strerror}.") from error
    try:
        value: Any = orjson.loads(content)
        version = value.get("version") if isinstance(value, dict) else None
        if isinstance(version, int) and version > VERSION:
            raise PositionsError(
                f"{path}: positions of version {version}, this relight knows {VERSION}. Update it, or delete {_OVER}"
            )
        return _Kept.model_validate(value)
    except (orjson.JSONDecodeError, ValidationError) as error:
        raise PositionsError(f"{path}: the positions are damaged. Delete {_OVER}") from error


_OVER: Final = "the file and start over: nothing is lost or doubled, all is only read once more."
