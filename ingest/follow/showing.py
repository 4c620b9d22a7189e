"""A file that is no log, read as the lines that show it while it grows (`ingest.renderings`).

Nothing of a rendering's state is kept: after a restart the file is read again up to where it was, and its lines are
dropped. Which lines a file's bytes give depends on the bytes alone, and on where its rest was told.
"""

import os
from collections.abc import Iterator
from typing import Final

from ingest.chunks import newlines
from ingest.errors import Unreadable
from ingest.follow import cutting, generations
from ingest.follow.cutting import Rest
from ingest.follow.positions import Place
from ingest.renderings.port import Growing, Rendering

END_MS: Final = 10 * 60 * 1000
"""A record that was begun waits so long for its end: programs that buffer what they write are slow to go on."""

MOST_BYTES: Final = 64 * 1024 * 1024
"""No dump that is shown is larger."""

COST: Final = 16
"""So much longer than to read a byte does it take, at least, to show it."""

_BLOCK_BYTES: Final = 128 * 1024


class Showing:
    """The lines of one file. `place` is behind those that were given; `read_bytes` may be further."""

    def __init__(self, rendering: Rendering, label: str, place: Place) -> None:
        """Begin at the file's beginning, on the way to where it has been read to."""
        assert place.shown is not None
        self.place = place
        self.read_bytes = 0
        self._shown = place.shown
        self._reading = rendering.begin(label) if isinstance(rendering, Growing) else _Dump(rendering, label)
        self._skipped = place.offset_bytes - place.shown.lines_bytes
        if self._again:
            self._told()

    @property
    def damage(self) -> str:
        """Return what could not be read of the file, nothing if all could."""
        return self._reading.damage

    @property
    def _again(self) -> bool:
        """Tell whether what is read was read before a restart."""
        return self.read_bytes < self._shown.read_bytes

    def read(self, descriptor: int, size: int) -> list[tuple[Place, bytes, Place]]:
        """Read the next block of a file of some size; return chunks between their places, none if it gives no line.

        Raises:
            OSError: The file cannot be read.
        """
        again = self._again
        data = os.pread(descriptor, max(0, min(_BLOCK_BYTES, self._stop(size) - self.read_bytes)), self.read_bytes)
        lines = self._reading.take(data)
        self.read_bytes += len(data)
        if not again:
            return self._pieces(descriptor, b"".join(lines), {})
        _pass_over(lines)
        self._told()
        return []

    def rest(self, descriptor: int, *, ended: bool) -> list[tuple[Place, bytes, Place]]:
        """Return what waits for what may follow, and say that it was told: a chunk without bytes if there is none."""
        if ended:
            return self._pieces(descriptor, b"".join(self._reading.end()), {"end_bytes": self.read_bytes}, always=True)
        return self._pieces(descriptor, b"".join(self._reading.rest()), {"rest_bytes": self.read_bytes}, always=True)

    def _stop(self, size: int) -> int:
        """Return up to where to read now: it was told before what waited at some places, and is told again there."""
        told = (self._shown.read_bytes, self._shown.rest_bytes, self._shown.end_bytes)
        return min((at for at in told if self.read_bytes < at <= self._shown.read_bytes), default=size)

    def _told(self) -> None:
        """Tell again what was told here."""
        if self.read_bytes == self._shown.rest_bytes:
            _pass_over(self._reading.rest())
        if self.read_bytes == self._shown.end_bytes:
            _pass_over(self._reading.end())

    def _pieces(
        self, descriptor: int, lines: bytes, told: dict[str, int], *, always: bool = False
    ) -> list[tuple[Place, bytes, Place]]:
        """Return lines in chunks. Only behind the last of them the file has been read as far as it has now."""
        skipped = min(self._skipped, len(lines))
        self._skipped -= skipped
        found, start = [], skipped
        for end in cutting.ends(lines, skipped, len(lines), Rest.SHIP) or [skipped] * always:
            value = lines[start:end]
            before, start = self.place, end
            moved: dict[str, object] = {
                "offset_bytes": before.offset_bytes + len(value), "line": before.line + newlines(value),
            }  # fmt: skip
            if end == len(lines):
                moved |= self._behind(descriptor, before.offset_bytes + len(value), told)
            self.place = before.model_copy(update=moved)
            found.append((before, value, self.place))
        return found

    def _behind(self, descriptor: int, lines_bytes: int, told: dict[str, int]) -> dict[str, object]:
        length = min(generations.LAST_BYTES, self.read_bytes)
        last = generations.digest(os.pread(descriptor, length, self.read_bytes - length))
        read = {"read_bytes": self.read_bytes, "lines_bytes": lines_bytes - self._skipped, **told}
        self._shown = self._shown.model_copy(update=read)
        return {"shown": self._shown, "last": last}


class _Dump:
    """The reading of a file that is written once: it is shown at its end."""

    def __init__(self, rendering: Rendering, label: str) -> None:
        self.damage = ""
        self._rendering = rendering
        self._label = label
        self._data = bytearray()

    def take(self, data: bytes) -> Iterator[bytes]:
        if len(self._data) <= MOST_BYTES:  # what is larger is refused in any case
            self._data += data
        return iter(())

    def rest(self) -> Iterator[bytes]:
        return iter(())

    def end(self) -> Iterator[bytes]:
        data, self._data = self._data, bytearray()
        try:
            yield from self._rendering.render(_Bytes(self._label, data))
        except Unreadable as error:
            self.damage = error.reason


class _Bytes:
    """Bytes that were read before (see `Readable`)."""

    def __init__(self, label: str, data: bytearray) -> None:
        self.label = label
        self._data = memoryview(data)

    def read(self, size: int, /) -> bytes:
        block, self._data = self._data[:size], self._data[size:]
        return bytes(block)


def _pass_over(lines: Iterator[bytes]) -> None:
    for _ in lines:
        pass
