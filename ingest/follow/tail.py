"""One file that is being followed: what has been read of it, whether there is more, and the next block of it."""

import os
from dataclasses import dataclass, field
from typing import Final

from ingest.chunks import newlines
from ingest.follow import cutting, generations
from ingest.follow.cutting import Rest
from ingest.follow.finding import Found
from ingest.follow.pieces import elapsed
from ingest.follow.positions import Place
from ingest.follow.showing import MOST_BYTES, Showing
from ingest.renderings.port import Growing, Rendering
from ingest.renderings.table import rendering_of, undecided
from ingest.spool import HEAD_BYTES

BLOCK_BYTES: Final = 1024 * 1024
_RETIRED_WAITS: Final = 10
"""So many times the quiet that an older part may take before the next is read although the older is still written."""


class Buffer:
    """Memory for one block with the bytes before it, used for every file: what is read is not kept here."""

    def __init__(self) -> None:
        self.data = bytearray(generations.LAST_BYTES + BLOCK_BYTES)
        self.view = memoryview(self.data)


@dataclass(slots=True, eq=False)
class Tail:
    """A file that is being followed, by its device and inode; `path` is where it was last seen.

    `place` is how far it has been read, `None` before its first line is known; `ended` how far the generation was read
    that was truncated before this one. `rendering` shows it, if it is no log; its end is told after `end_ms`.
    `changed_ms` is when it was last seen to change. `suspect`: it has changed, so it may be truncated. `gone_ms` is
    when it was first not found, `retired_ms` when a newer part of its stream came.
    """

    path: str
    stream: str
    device: int
    inode: int
    size: int
    changed_ns: int
    changed_ms: int
    quiet_ms: int
    end_ms: int
    named: bool = False
    rendering: Rendering | None = None
    place: Place | None = None
    ended: Place | None = None
    suspect: bool = True
    gone_ms: int | None = None
    retired_ms: int | None = None
    descriptor: int | None = None
    _showing: Showing | None = None
    _settled: bool = field(default=False)
    _held_bytes: int = field(default=-1)
    _held_ms: int | None = field(default=None)

    @classmethod
    def of(cls, found: Found, stream: str, now_ms: int, quiet_ms: int, end_ms: int) -> "Tail":
        """Return the tail of a file that was found: it has been quiet for as long as its time of change says."""
        changed_ms = min(now_ms, found.changed_ns // 1_000_000)
        device, inode, size, changed_ns = found[2:]
        return cls(found.path, stream, device, inode, size, changed_ns, changed_ms, quiet_ms, end_ms, not found.root)

    @property
    def offset(self) -> int:
        """Return the offset up to which the file has been read."""
        if self._showing is not None:
            return self._showing.read_bytes
        return self.place.read_bytes if self.place is not None else 0

    @property
    def at_end(self) -> bool:
        """Tell whether all has been read, as far as is known."""
        shown = self.place.shown if self.place is not None else None
        return self.size <= self.offset and (shown is None or (shown.told and shown.read_bytes == self.offset))

    @property
    def waits(self) -> bool:
        """Tell whether a record may have begun whose end is waited for."""
        return self.place is not None and self.place.shown is not None and self.place.shown.end_bytes != self.size

    @property
    def damage(self) -> str:
        """Return what could not be shown of the file, nothing if all could."""
        return self._showing.damage if self._showing is not None else ""

    def observe(self, size: int, changed_ns: int, now_ms: int) -> bool:
        """Take note of a file's size and time of change; return whether they are new."""
        if (size, changed_ns) == (self.size, self.changed_ns):
            return False
        self.size, self.changed_ns, self.changed_ms = size, changed_ns, now_ms
        self.suspect = True
        return True

    def quiet(self, now_ms: int) -> bool:
        """Tell whether the file has not changed for a while."""
        return elapsed(self.changed_ms, now_ms, self.quiet_ms)

    def ready(self, now_ms: int) -> bool:
        """Tell whether reading may give something, or tell that the file was truncated."""
        if self.suspect and self.place is not None:
            return True
        if self.place is not None and self.place.shown is not None:
            return self.size > self.offset or self._due(now_ms) is not None
        if self.at_end:
            return False
        return self.size != self._held_bytes or self.quiet(now_ms) or self._waited(now_ms)

    def settled(self, now_ms: int) -> bool:
        """Tell whether the next part of the stream may be read: nothing more is to be expected here."""
        if not self._settled and self.at_end:
            waits = self.quiet_ms * _RETIRED_WAITS
            late = self.retired_ms is not None and elapsed(self.retired_ms, now_ms, waits)
            self._settled = late or self.quiet(now_ms)
        return self._settled

    def look(self, now_ms: int) -> bool:
        """Take note of how large an open file is now; return whether it has changed."""
        status = os.fstat(self.open())
        return self.observe(status.st_size, status.st_mtime_ns, now_ms)

    def open(self) -> int:
        """Open the file, if it is not, and return its descriptor.

        Raises:
            OSError: It cannot be opened, or another file is at its path now.
        """
        if self.descriptor is None:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            status = os.fstat(descriptor)
            if (status.st_dev, status.st_ino) != (self.device, self.inode):
                os.close(descriptor)
                raise FileNotFoundError(2, "No such file any more")
            self.descriptor = descriptor
        return self.descriptor

    def close(self) -> None:
        """Close the file, if it is open."""
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None

    def truncated(self) -> bool:
        """Tell whether what was read is not there any more, if that is to be suspected; then a generation has ended."""
        suspect, self.suspect = self.suspect, False
        if not suspect or self.place is None or generations.holds(self.open(), self.place):
            return False
        self.ended, self.place, self._showing = self.place, None, None
        self._held_bytes, self._held_ms = -1, None
        return True

    def head(self, now_ms: int) -> tuple[int, bytes] | None:
        """Return where the file's data begins, and its first line; `None` while there is none, or an unfinished one.

        Of a file that is shown as lines and written once, the head is all of it.
        """
        start = generations.data_start(self.open())
        head = generations.head_of(self.open(), start, self.quiet(now_ms))
        if head is not None and start == 0:
            head = self._recognised(head, self.quiet(now_ms))
        if head is None:
            self._hold(now_ms)
        return None if head is None else (start, head)

    def _recognised(self, line: bytes, quiet: bool) -> bytes | None:
        """Find out whether the file is shown as lines; return its head, `None` while that cannot be told."""
        head = os.pread(self.open(), HEAD_BYTES, 0)
        if not quiet and len(head) < HEAD_BYTES and undecided(head):
            return None
        self.rendering = rendering_of(self.path, head)
        if self.rendering is None or isinstance(self.rendering, Growing):
            return line
        return os.pread(self.open(), MOST_BYTES + 1, 0) if quiet else None

    def read(self, buffer: Buffer, limit_bytes: int, now_ms: int) -> list[tuple[Place, bytes, Place]]:
        """Return the next chunks, each between the places before and behind it; a fresh last line has to be complete.

        Args:
            buffer: Memory to read to; nothing is left in it.
            limit_bytes: Read so much at most, but as much as one chunk takes.
            now_ms: The time, for what may wait.

        Raises:
            OSError: The file cannot be read.
        """
        assert self.place is not None
        if self.place.shown is not None:
            return self._shown(now_ms)
        lead = generations.last_length(self.place)
        wanted = min(BLOCK_BYTES, max(limit_bytes, cutting.CHUNK_BYTES), self.size - self.offset)
        first = self.offset - lead
        count = os.preadv(self.open(), [buffer.view[: lead + wanted]], first)
        more = self.offset + wanted < self.size
        found = []
        for end in cutting.ends(buffer.data, lead, count, Rest.WAIT if more else self._rest(now_ms)):
            value = bytes(buffer.view[self.offset - first : end])
            before, self.place = self.place, self._behind(value, buffer.view[:end], first + end)
            found.append((before, value, self.place))
        if found:
            self._held_ms = None
        if not self.at_end and (not more or count < lead + wanted):
            self._hold(now_ms)
        return found

    def _shown(self, now_ms: int) -> list[tuple[Place, bytes, Place]]:
        """Return the next lines that show the file."""
        assert self.place is not None
        if self._showing is None:
            rendering = self.rendering or rendering_of(self.path, os.pread(self.open(), HEAD_BYTES, 0))
            if rendering is None:  # another relight could show it
                self.place = None
                return []
            self._showing = Showing(rendering, self.path, self.place)
        found = self._showing.read(self.open(), self.size)
        if not found and (ended := self._due(now_ms)) is not None:
            found = self._showing.rest(self.open(), ended=ended)
        self.place = self._showing.place
        return found

    def _due(self, now_ms: int) -> bool | None:
        """Tell whether the end of what is shown is to be told, or its rest; `None` if neither is."""
        shown = self.place.shown if self.place is not None else None
        if shown is None or self.size > self.offset or not self.quiet(now_ms) or shown.end_bytes == self.offset:
            return None
        if shown.once or self.gone_ms is not None or elapsed(self.changed_ms, now_ms, self.end_ms):
            return True
        return None if self.at_end else False

    def _behind(self, value: bytes, read: memoryview, offset: int) -> Place:
        assert self.place is not None
        length = min(generations.LAST_BYTES, offset - self.place.start_bytes)
        moved = {
            "offset_bytes": offset,
            "line": self.place.line + newlines(value),
            "last": generations.digest(read[len(read) - length :]),
        }
        return self.place.model_copy(update=moved)

    def _rest(self, now_ms: int) -> Rest:
        if self.quiet(now_ms):
            return Rest.SHIP
        return Rest.RETURN if self._waited(now_ms) else Rest.WAIT

    def _waited(self, now_ms: int) -> bool:
        return self._held_ms is not None and elapsed(self._held_ms, now_ms, self.quiet_ms)

    def _hold(self, now_ms: int) -> None:
        """Wait for more than there is now: for the end of a line."""
        self._held_bytes = self.size
        if self._held_ms is None:
            self._held_ms = now_ms
