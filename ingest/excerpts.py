"""Reads a source again around given places, to show a person a line with its neighbours, or its head or tail."""

import io
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final

from ingest.errors import Unreadable
from ingest.sources import Input

LINE_BYTES: Final = 4 * 1024
"""A line is shown up to here."""

MAX_LINES: Final = 200
"""How many lines an excerpt holds at most."""

REACH_BYTES: Final = 64 * 1024
"""How far an excerpt reaches back and ahead of its offset."""

_READ_BYTES: Final = 256 * 1024

Wanted = tuple[int, int, int]
"""A byte offset, and how many lines to show before and after the line that it lies in."""

Excerpt = list[tuple[int, bytes]]
"""Lines with their distance from the wanted one, in `\\n`: what it adds to the line number."""


def excerpts(source: Input, wanted: Sequence[Wanted]) -> list[Excerpt]:
    r"""Return the lines around byte offsets, in the order in which they are wanted.

    Lines end at `\n`, as line numbers count; of a line that was overwritten by `\r` its last segment is shown, at
    distance 0 the segment at the offset. An offset that cannot be reached gives no lines. Of members of one archive,
    read many with `around` and `archives.members`.

    Raises:
        Unreadable: The source cannot be opened. Damage on the way ends what can be shown.
    """
    with source.open() as stream:
        return _sought(stream, wanted) if source.seekable_path is not None else around(stream, wanted)


def around(stream: io.RawIOBase, wanted: Sequence[Wanted]) -> list[Excerpt]:
    """Return the same as `excerpts`, from a stream in one pass; holds the reach around one offset at a time."""
    found: list[Excerpt] = [[] for _ in wanted]
    held, begin, blocks, more = bytearray(), 0, _blocks(stream), True
    for index in sorted(range(len(wanted)), key=lambda index: wanted[index][0]):
        offset, before, after = wanted[index]
        while more and begin + len(held) < offset + REACH_BYTES:
            block = next(blocks, b"")
            more = bool(block)
            held += block
            drop = min(max(0, offset - REACH_BYTES - begin), len(held))
            del held[:drop]
            begin += drop
        drop = min(max(0, offset - REACH_BYTES - begin), len(held))
        window = bytes(held[drop : max(0, offset + REACH_BYTES - begin)])
        found[index] = _lines(window, offset - begin - drop, begin + drop == 0, before, after)
    return found


def head(source: Input, n_bytes: int) -> bytes:
    """Return the first bytes of a source. Raises: Unreadable, if it cannot be opened."""
    with source.open() as stream:
        parts, left = [], n_bytes
        for block in _blocks(stream):
            parts.append(block[:left])
            left -= len(parts[-1])
            if not left:
                break
        return b"".join(parts)


def tail(source: Input, n_bytes: int) -> bytes:
    """Return the last bytes of a source. Raises: Unreadable, if it cannot be opened."""
    with source.open() as stream:
        if source.seekable_path is not None:
            stream.seek(max(0, stream.seek(0, io.SEEK_END) - n_bytes))
        kept: deque[bytes] = deque()
        size = 0
        for block in _blocks(stream):
            kept.append(block)
            size += len(block)
            while len(kept) > 1 and size - len(kept[0]) >= n_bytes:
                size -= len(kept.popleft())
        return b"".join(kept)[-n_bytes:] if n_bytes else b""


def _sought(stream: io.RawIOBase, wanted: Sequence[Wanted]) -> list[Excerpt]:
    found = []
    for offset, before, after in wanted:
        begin = max(0, offset - REACH_BYTES)
        stream.seek(begin)
        window = _exactly(stream, offset + REACH_BYTES - begin)
        found.append(_lines(window, offset - begin, begin == 0, before, after))
    return found


def _exactly(stream: io.RawIOBase, size: int) -> bytes:
    parts = []
    try:
        while size and (block := stream.read(size)):
            parts.append(block)
            size -= len(block)
    except Unreadable:
        pass  # said already when the source was scanned; what there is, is shown
    return b"".join(parts)


def _blocks(stream: io.RawIOBase) -> Iterator[bytes]:
    """Yield a stream's bytes up to its end or to the damage that was said when it was scanned."""
    while block := _exactly(stream, _READ_BYTES):
        yield block


def _lines(window: bytes, at: int, whole: bool, before: int, after: int) -> Excerpt:
    """Cut a window into the lines around its index `at`. `whole`: it begins where the source does."""
    if at >= len(window):
        return []
    before = min(before, max(MAX_LINES // 2, MAX_LINES - 1 - after))
    after = min(after, MAX_LINES - 1 - before)
    begin = window.rfind(b"\n", 0, at) + 1
    newline = window.find(b"\n", at)
    end = len(window) if newline < 0 else newline
    earlier = window[: max(0, begin - 1)].split(b"\n") if begin else []
    known = earlier if whole else earlier[1:]
    back = known[len(known) - before :] if before < len(known) else known
    ahead = window[end + 1 :].split(b"\n", after)[:after] if end < len(window) - 1 else []
    lines = [(index - len(back), _shown(line)) for index, line in enumerate(back)]
    lines.append((0, _segment(window, begin, at, end)))
    return lines + [(index + 1, _shown(line)) for index, line in enumerate(ahead)]


def _segment(window: bytes, begin: int, at: int, end: int) -> bytes:
    """Return the segment that an index lies in; from the index on if it lies beyond what is shown of a line."""
    first = max(window.rfind(b"\r", begin, at) + 1, begin)
    stop = window.find(b"\r", at, end)
    segment = window[first if at - first < LINE_BYTES else at : end if stop < 0 else stop]
    return segment[:LINE_BYTES]


def _shown(line: bytes) -> bytes:
    """Return what a terminal shows of a line: the last of its segments, cut."""
    line = line.rstrip(b"\r")
    return line[line.rfind(b"\r") + 1 :][:LINE_BYTES]
