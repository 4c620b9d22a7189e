r"""Cuts a stream of bytes into chunks of whole segments; knows nothing of where the bytes come from or what they mean.

A segment ends at `\n`, `\r` or `\r\n`. Where a chunk ends depends on the bytes alone, never on how `read` cut them.
"""

import os
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Protocol, cast

import numpy as np

from ingest.errors import Unreadable
from schemas.record import SEGMENT_BYTES, WINDOW_BYTES, Chunk

SIZE_BYTES: Final = 1024 * 1024
"""The usual size of a chunk: large enough to hide what is paid once a chunk, small enough for a core's cache."""

_READ_BYTES: Final = 64 * 1024
_PAGE_BYTES: Final = 4 * 1024
_ALIGN_BYTES: Final = 64
_KEPT_BYTES: Final = 16 * 1024 * 1024
_NEWLINE: Final = ord("\n")


class Readable(Protocol):
    """Bytes in order, as every binary file gives them."""

    def readinto(self, buffer: memoryview, /) -> int | None:
        """Read into a buffer, return how many bytes: 0 at the end."""


def chunks(
    stream: Readable, size_bytes: int = SIZE_BYTES, *, begin: int = 0, end: int | None = None
) -> Iterator[Chunk]:
    """Yield a stream's bytes as chunks of whole segments (see `Chunk`).

    A chunk ends at the last line end at or before `size_bytes` from its start; where the first segment is longer than
    that, at this segment's end; and after a segment of more than `SEGMENT_BYTES`, of which only the beginning is kept.
    A file's last line is a segment even if no line end follows.

    Args:
        stream: Read from where it stands. With `begin` it must be able to seek.
        size_bytes: How much of the source a chunk holds at most, unless its only segment is longer.
        begin: Cut from this byte on, the beginning of a range from `ranges`. Offsets are the file's, line numbers
            count from 1 here, and the window before it holds the file's bytes, even of an over-long segment.
        end: Cut up to this byte, the end of the range. Windows reach beyond it.

    Raises:
        Unreadable, OSError: Reading failed; all that was read before has been yielded.
    """
    window = min(begin, WINDOW_BYTES)
    if begin:
        cast(Any, stream).seek(begin - window)
    cutter = _Cutter(_Buffer(stream, size_bytes, begin - window), size_bytes, window, end)
    while (chunk := cutter.next()) is not None:
        yield chunk
    if cutter.buffer.error is not None:
        raise cutter.buffer.error


def ranges(path: Path | str, parts: int) -> list[tuple[int, int]]:
    r"""Divide a plain file into at most `parts` byte ranges `(begin, end)` that each begin just after a `\n`.

    Together they cover the file as it is now. A file without `\n` is one range, an empty file none.

    Raises:
        OSError: The file cannot be read.
    """
    with open(path, "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        begins = [0]
        for part in range(1, parts):
            target = size * part // parts
            if target > begins[-1]:
                begins.append(_line_begin(file.fileno(), target, size))
        edges = [*(begin for begin in begins if begin < size), size]
    return list(pairwise(edges))


def _line_begin(descriptor: int, target: int, size: int) -> int:
    r"""Return the first offset at or after `target` that follows a `\n`, or `size`."""
    at = target - 1
    while at < size and (block := os.pread(descriptor, _READ_BYTES, at)):
        found = block.find(b"\n")
        if found >= 0:
            return min(at + found + 1, size)
        at += len(block)
    return size


class _Buffer:
    """The part of a stream that is being cut. `data[:end]` is filled, `offset` is the place of `data[0]` in the source.

    The kernel copies twice as fast to an aligned address, so the place to read to is kept aligned.
    """

    def __init__(self, stream: Readable, size_bytes: int, offset: int) -> None:
        _keep_memory()
        longest = max(size_bytes, SEGMENT_BYTES)
        self.data = bytearray(2 * longest + 4 * WINDOW_BYTES + 2 * _READ_BYTES)
        self.view = memoryview(self.data)
        self._address = int(np.frombuffer(self.data, np.uint8).ctypes.data)
        self.first = self.end = -self._address % _ALIGN_BYTES
        self.offset = offset - self.first
        self.error: Exception | None = None
        self._ended = False
        self._stream = stream

    def need(self, target: int, keep: int) -> int:
        """Read until `data[:target]` is filled or the stream ends, and return by how much all moved to the front.

        What lies before `keep` is forgotten if room is short.
        """
        shift = self._forget(keep) if target > len(self.data) - _PAGE_BYTES and not self._ended else 0
        while self.end < target - shift and not self._ended:
            self._fill(target - shift)
        return shift

    def _forget(self, keep: int) -> int:
        kept = self.end - keep
        to = -(self._address + kept) % _ALIGN_BYTES
        self.view[to : to + kept] = self.view[keep : self.end]
        self.end = to + kept
        self.offset += keep - to
        return keep - to

    def _fill(self, target: int) -> None:
        wanted = max(target - self.end, _READ_BYTES)
        wanted = min(wanted + -wanted % _PAGE_BYTES, len(self.data) - self.end)
        try:
            count = self._stream.readinto(self.view[self.end : self.end + wanted])
        except (Unreadable, OSError) as error:
            self.error, count = error, 0
        self._ended = not count
        self.end += count or 0


class _Cutter:
    """Cuts what a buffer holds. All places are indices into the buffer and move with it."""

    def __init__(self, buffer: _Buffer, size_bytes: int, window: int, stop: int | None) -> None:
        self.buffer = buffer
        self._size = size_bytes
        self._reach = max(size_bytes, SEGMENT_BYTES) + WINDOW_BYTES + 2
        self._start = buffer.first + window
        self._floor = buffer.first
        self._stop = stop
        self._before = b""
        self._line = 1

    def next(self) -> Chunk | None:
        """Return the next chunk, `None` at the end."""
        self._need(self._start + self._reach)
        top = self._top()
        if top <= self._start:
            return None
        long = self._long_segment(top)
        return self._whole(self._last_end(top)) if long is None else self._truncated(long)

    def _need(self, target: int) -> None:
        shift = self.buffer.need(target, max(self._floor, self._start - WINDOW_BYTES))
        self._start -= shift
        self._floor -= shift

    def _top(self) -> int:
        """Return where the bytes end that may be cut."""
        stop = self.buffer.end if self._stop is None else self._stop - self.buffer.offset
        return min(self.buffer.end, stop)

    def _long_segment(self, top: int) -> int | None:
        """Return the beginning of an over-long segment that this chunk must end with.

        Leaps to the last line end within `SEGMENT_BYTES`, again and again: where there is none, a segment is too long.
        """
        data, at = self.buffer.data, self._start
        last = self._start + self._size - SEGMENT_BYTES
        while top - at > SEGMENT_BYTES and (at <= last or at == self._start):
            beyond = at + SEGMENT_BYTES + 1
            found = data.rfind(b"\n", at, beyond)
            if found < 0:
                found = data.rfind(b"\r", at, beyond)
            if found < 0:
                return at
            at = found + 1
        return None

    def _last_end(self, top: int) -> int:
        """Return where a chunk without over-long segments ends."""
        limit = self._start + self._size
        if top <= limit:
            return top
        data = self.buffer.data
        if data[limit - 1 : limit + 1] == b"\r\n":
            limit -= 1
        newline = data.rfind(b"\n", self._start, limit) + 1
        end = max(newline, data.rfind(b"\r", max(newline, self._start), limit) + 1)
        if end:
            return end
        first = self._first_end(limit, top)
        return first + len(self._line_end(first, top))

    def _first_end(self, at: int, top: int) -> int:
        newline = self.buffer.data.find(b"\n", at, top)
        newline = top if newline < 0 else newline
        found = self.buffer.data.find(b"\r", at, newline)
        return newline if found < 0 else found

    def _line_end(self, at: int, top: int) -> bytes:
        end = bytes(self.buffer.view[at : min(at + 2, top)])
        return end if end == b"\r\n" else end[:1]

    def _whole(self, end: int) -> Chunk:
        lead, start = self._lead(end + WINDOW_BYTES)
        lines = newlines(self.buffer.view[self._start : end])
        stop = start + end - self._start
        chunk = Chunk(lead, start, stop, self.buffer.offset + self._start, self._line, lines)
        self._line += lines
        self._start = end
        return chunk

    def _truncated(self, segment: int) -> Chunk:
        """Return the chunk that ends with the over-long segment at `segment`, and pass over what is not kept of it."""
        offset = self.buffer.offset + self._start
        lead, start = self._lead(segment + SEGMENT_BYTES)
        lead += self._pass_over(segment + SEGMENT_BYTES)
        self._before = lead[-WINDOW_BYTES:]
        data = lead + self.buffer.view[self._start : min(self._start + WINDOW_BYTES, self.buffer.end)]
        lines = newlines(memoryview(lead)[start:])
        chunk = Chunk(data, start, len(lead), offset, self._line, lines)
        self._line += lines
        return chunk

    def _lead(self, end: int) -> tuple[bytes, int]:
        """Return the window before the chunk with all up to `end`, and where in it the chunk's own bytes start."""
        low = max(self._floor, self._start - WINDOW_BYTES)
        missing = WINDOW_BYTES - (self._start - low)
        before = self._before[-missing:] if missing else b""
        own = self.buffer.view[low : min(end, self.buffer.end)]
        return b"".join((before, own)), len(before) + self._start - low

    def _pass_over(self, at: int) -> bytes:
        """Skip to the segment after the line end that follows `at`. Return that line end."""
        self._start = self._floor = at
        while self._first_end(self._start, top := self._top()) == top:
            self._start = self._floor = top
            self._need(top + self._size)
            if self._top() == self._start:
                break
        self._start = self._floor = self._first_end(self._start, self._top())
        self._need(self._start + WINDOW_BYTES + 2)
        line_end = self._line_end(self._start, self._top())
        self._start = self._floor = self._start + len(line_end)
        return line_end


@cache
def _keep_memory() -> None:
    """Make glibc use the memory of one chunk for the next. It maps large blocks anew until a larger one was freed.

    The pages of a new mapping cost 0.5 s per gigabyte, more than all else here.
    """
    bytes(_KEPT_BYTES)


def newlines(data: bytes | memoryview) -> int:
    r"""Count `\n`: five times as fast as `bytes.count`, whatever the length of the lines."""
    return int(np.count_nonzero(np.frombuffer(data, np.uint8) == _NEWLINE))
