"""What the tests of renderings share: a file in memory, its lines, and messages in the wire format."""

import io
import struct
import tracemalloc

import crc32c

from ingest.errors import Unreadable
from ingest.renderings.port import Rendering
from ingest.renderings.table import rendering_of
from ingest.spool import HEAD_BYTES


class File(io.BytesIO):
    """A file's bytes; `most` is the largest piece that was asked for."""

    label = "metrics.bin"
    most = 0

    def read(self, size: int | None = -1, /) -> bytes:
        assert size is not None
        assert size >= 0, "a rendering reads in pieces"
        self.most = max(self.most, size)
        return super().read(size)


def rendered(data: bytes, name: str = "metrics.bin") -> tuple[list[str], str]:
    """Return the lines that a file is shown as, and why no more of it could be read: nothing if all was."""
    rendering = rendering_of(name, data[:HEAD_BYTES])
    assert rendering is not None, "no rendering recognises the file"
    lines: list[str] = []
    try:
        for line in rendering.render(File(data)):
            assert line.endswith(b"\n")
            assert line.count(b"\n") == 1
            lines.append(line.decode("utf-8", "replace").removesuffix("\n"))
    except Unreadable as error:
        return lines, error.reason
    return lines, ""


def peak_bytes(rendering: Rendering, data: bytes) -> tuple[list[bytes], int]:
    """Return the lines that a file is shown as, and the memory that it took at most, without the file's own."""
    file = File(data)
    tracemalloc.start()
    lines = list(rendering.render(file))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return lines, peak


def lines_of(text: str, name: str = "metrics.txt") -> list[str]:
    lines, reason = rendered(text.encode(), name)
    assert reason == ""
    return lines


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def double(field: int, value: float) -> bytes:
    return varint(field << 3 | 1) + struct.pack("<d", value)


def single(field: int, value: float) -> bytes:
    return varint(field << 3 | 5) + struct.pack("<f", value)


def within(field: int, content: bytes | str) -> bytes:
    data = content.encode() if isinstance(content, str) else content
    return varint(field << 3 | 2) + varint(len(data)) + data


def masked(data: bytes) -> bytes:
    crc = crc32c.crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17 & 0xFFFFFFFF) + 0xA282EAD8) & 0xFFFFFFFF)


def framed(event: bytes) -> bytes:
    """Return an event as a record of a TFRecord file."""
    length = struct.pack("<Q", len(event))
    return length + masked(length) + event + masked(event)
