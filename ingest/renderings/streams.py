"""Reading for renderings: exactly so many bytes, or line by line, in bounded memory."""

from collections.abc import Iterator
from typing import Final

from ingest.renderings.port import Readable

LINE_BYTES: Final = 64 * 1024
"""Of a line no more than this is read; what follows up to its end is passed over."""

_BLOCK_BYTES: Final = 64 * 1024


def exactly(stream: Readable, size: int) -> bytes:
    """Read `size` bytes, fewer only where the stream ends. Raises: Unreadable."""
    parts = []
    while size > 0 and (block := stream.read(min(size, _BLOCK_BYTES))):
        parts.append(block)
        size -= len(block)
    return b"".join(parts)


def as_it_is(line: str) -> bytes:
    """Return a line that a rendering has nothing to say about: a dump may stand in the midst of a log."""
    return line.encode("utf-8", "surrogateescape") + b"\n"


def lines(stream: Readable) -> Iterator[str]:
    """Yield the lines as text, without their ends. Raises: Unreadable."""
    rest, cut = b"", False
    while block := stream.read(_BLOCK_BYTES):
        *whole, rest = (rest + block).split(b"\n")
        for line in whole:
            if not cut:
                yield line[:LINE_BYTES].rstrip(b"\r").decode("utf-8", "surrogateescape")
            cut = False
        if len(rest) > LINE_BYTES:
            if not cut:
                yield rest[:LINE_BYTES].decode("utf-8", "surrogateescape")
            rest, cut = b"", True
    if rest and not cut:
        yield rest.rstrip(b"\r").decode("utf-8", "surrogateescape")
