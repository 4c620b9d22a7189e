"""Reading for renderings: a file that grows, line by line or otherwise, in bounded memory."""

from collections.abc import Iterator
from typing import Final, Protocol

from ingest.errors import Unreadable
from ingest.renderings.port import Readable, Reading

LINE_BYTES: Final = 64 * 1024
"""Of a line no more than this is read; what follows up to its end is passed over."""

_BLOCK_BYTES: Final = 64 * 1024


def whole(reading: Reading, stream: Readable) -> Iterator[bytes]:
    """Yield the lines of a file that is there from beginning to end. Raises: Unreadable."""
    try:
        while block := stream.read(_BLOCK_BYTES):
            yield from reading.take(block)
    except Unreadable as error:
        yield from reading.rest()
        raise Unreadable(stream.label, reading.damage or error.reason) from error
    yield from reading.end()
    if reading.damage:
        raise Unreadable(stream.label, reading.damage)


class Told(Protocol):
    """What becomes of the lines of a text."""

    def line(self, text: str) -> Iterator[bytes]:
        """Take a line without its end, and yield what can be said with it."""

    def rest(self) -> Iterator[bytes]:
        """Yield what waits for the next line, and forget what was said of it."""


class TextReading:
    """The reading (see `Reading`) of a file of text whose lines `told` is given one by one."""

    damage = ""

    def __init__(self, told: Told) -> None:
        """Begin at a file's beginning."""
        self._told = told
        self._open, self._cut = b"", False

    def take(self, data: bytes) -> Iterator[bytes]:
        """Yield what can be said with the lines that are whole now."""
        *lines, self._open = (self._open + data).split(b"\n")
        for line in lines:
            if not self._cut:
                yield from self._told.line(_text(line))
            self._cut = False
        if len(self._open) > LINE_BYTES:
            if not self._cut:
                yield from self._told.line(_text(self._open))
            self._open, self._cut = b"", True

    def rest(self) -> Iterator[bytes]:
        """Yield what waits for the next line."""
        return self._told.rest()

    def end(self) -> Iterator[bytes]:
        """Yield what the last line tells, though it has no end, and the rest."""
        if self._open and not self._cut:
            yield from self._told.line(_text(self._open))
        self._open = b""
        yield from self._told.rest()


def as_it_is(line: str) -> bytes:
    """Return a line that a rendering has nothing to say about: a dump may stand in the midst of a log."""
    return line.encode("utf-8", "surrogateescape") + b"\n"


def _text(line: bytes) -> str:
    return line[:LINE_BYTES].rstrip(b"\r").decode("utf-8", "surrogateescape")
