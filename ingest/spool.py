"""The streams that sources are read from: a file as it is, blocks from elsewhere, standard input kept on disk."""

import atexit
import io
import os
import re
import tempfile
from collections.abc import Iterator
from typing import Any, Final, Protocol, Self

from ingest import codecs
from ingest.errors import Unreadable

_READ_BYTES: Final = 64 * 1024
_DISK: Final = "/var/tmp"  # noqa: S108 - `tempfile` chooses the name in it
_NULS: Final = 0.1
_CONTROL: Final = 0.05
_CONTROLS: Final = bytes(set(range(1, 32)) - set(b"\a\b\t\n\v\f\r\x1b"))
_MAGICS: Final = tuple(
    (kind, re.compile(magic, re.DOTALL))
    for kind, magic in (
        ("an ELF program", rb"\x7fELF"),
        ("a zip archive, such as a PyTorch checkpoint", rb"PK(?:\x03\x04|\x05\x06)"),
        ("safetensors", rb".{6}\0\0\{\s*\""),
        ("a NumPy array", rb"\x93NUMPY"),
        ("a Python pickle", rb"\x80[\x02-\x05]"),
        ("an SQLite database", rb"SQLite format 3\0"),
        ("an image", rb"\x89PNG|\xff\xd8\xff|GIF8[79]a"),
        ("a PDF document", rb"%PDF-"),
        ("a Parquet file", rb"PAR1\x15"),
        ("an HDF5 file", rb"\x89HDF\r\n"),
        ("a binary systemd journal: export it with journalctl", rb"LPKSHHRH"),
        ("UTF-16 text: convert it to UTF-8", rb"\xff\xfe|\xfe\xff"),
        ("lz4, which relight does not decompress", rb"\x04\x22\x4d\x18"),
        ("TFRecord, such as TensorBoard's events", rb"(?!\0{4}).{4}\0{4}.{4}[\x08-\x1a]"),
    )
)


HEAD_BYTES: Final = 8 * 1024
"""How much of a stream tells what it contains."""


class Pipe(Protocol):
    """What can be read once."""

    def read(self, size: int, /) -> bytes | None:
        """Read up to `size` bytes: none at the end."""


def spool(pipe: Pipe) -> str:
    """Copy a pipe to an anonymous temporary file as it comes. Return a path by which processes of this user open it.

    The file is gone when this process ends. It lies in `TMPDIR`, else in `/var/tmp`, which is seldom held in memory.

    Raises:
        OSError: The pipe cannot be read, or the disk is full.
    """
    directory = None if "TMPDIR" in os.environ or not os.access(_DISK, os.W_OK) else _DISK
    descriptor, path = tempfile.mkstemp(prefix="relight-", dir=directory)
    file = os.fdopen(descriptor, "wb")
    if os.path.isdir("/proc/self/fd"):
        os.unlink(path)
        path = f"/proc/{os.getpid()}/fd/{descriptor}"
    else:
        atexit.register(os.unlink, path)
    try:
        while block := pipe.read(_READ_BYTES):
            file.write(block)
        file.flush()
    except OSError:
        file.close()
        raise
    atexit.register(file.close)  # which keeps it open until then
    return path


def binary(stream: "PlainFile | Blocks") -> str | None:
    """Return why a stream is no log, `None` for text. Judges by its beginning; the position stays.

    A log that was truncated under its writer begins with NULs: then the end is judged, where it can be had.
    """
    head = stream.peek(HEAD_BYTES)
    for kind, magic in _MAGICS:
        if magic.match(head):
            return kind
    if head and not head.strip(b"\0"):
        head = stream.peek_end(HEAD_BYTES) if isinstance(stream, PlainFile) else b""
        return None if head.strip(b"\0") else "nothing but NULs"
    text = head.strip(b"\0")
    nuls = text.count(0)
    controls = len(text) - nuls - len(text.translate(None, _CONTROLS))
    return "binary" if nuls > len(text) * _NULS or controls > len(text) * _CONTROL else None


class PlainFile(io.FileIO):
    """A file as it is, whose errors are `Unreadable`."""

    def __init__(self, path: str, label: str) -> None:
        super().__init__(path, "rb")
        self.label = label

    def peek(self, size: int) -> bytes:
        """Return up to `size` bytes from the file's beginning; the position stays."""
        try:
            return os.pread(self.fileno(), size, 0)
        except OSError as error:
            raise self._unreadable(error) from error

    def peek_end(self, size: int) -> bytes:
        """Return up to `size` of the file's last bytes; the position stays."""
        try:
            return os.pread(self.fileno(), size, max(0, os.fstat(self.fileno()).st_size - size))
        except OSError as error:
            raise self._unreadable(error) from error

    def readinto(self, buffer: Any, /) -> int:
        """Read into a buffer. Raises: Unreadable."""
        try:
            return super().readinto(buffer) or 0
        except OSError as error:
            raise self._unreadable(error) from error

    def read(self, size: int | None = -1, /) -> bytes:
        """Read up to `size` bytes. Raises: Unreadable."""
        try:
            return super().read(-1 if size is None else size) or b""
        except OSError as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: OSError) -> Exception:
        return Unreadable(self.label, error.strerror or str(error))


class Blocks(io.RawIOBase):
    """Blocks of bytes, one after the other, as a stream; closes `below`, what they come from, with itself."""

    def __init__(self, label: str, blocks: Iterator[bytes], below: io.RawIOBase | None = None) -> None:
        super().__init__()
        self.label = label
        self._blocks = blocks
        self._below = below
        self._pending = memoryview(b"")
        self._error: Unreadable | None = None

    def readable(self) -> bool:
        """Return true."""
        return True

    def peek(self, size: int) -> bytes:
        """Return up to `size` of the bytes that come next; the position stays. Damage waits until it is read."""
        while len(self._pending) < size and (block := self._pull()):
            self._pending = memoryview(bytes(self._pending) + block)
        return bytes(self._pending[:size])

    def readinto(self, buffer: Any, /) -> int:
        """Read into a buffer. Raises: Unreadable, when all bytes before the damage have been read."""
        into = memoryview(buffer).cast("B")
        block = self._take(len(into))
        into[: len(block)] = block
        return len(block)

    def read(self, size: int | None = -1, /) -> bytes:
        """Read up to `size` bytes, all without it. Raises: Unreadable."""
        return bytes(self._take(size)) if size is not None and size >= 0 else self.readall()

    def readall(self) -> bytes:
        """Read what is left. Raises: Unreadable."""
        return b"".join(iter(lambda: self.read(_READ_BYTES), b""))

    def close(self) -> None:
        """Close this and what it reads from."""
        if self._below is not None and not self.closed:
            self._below.close()
        super().close()

    def __enter__(self) -> Self:
        return self

    def _take(self, size: int) -> memoryview:
        if not self._pending:
            self._pending = memoryview(self._pull())
        if not self._pending and self._error is not None:
            raise self._error
        block, self._pending = self._pending[:size], self._pending[size:]
        return block

    def _pull(self) -> bytes:
        try:
            if self._error is None:
                return next(filter(None, self._blocks), b"")
        except Unreadable as error:
            self._error = Unreadable(self.label, error.reason)
        except codecs.DAMAGE as error:
            self._error = Unreadable(self.label, f"damaged data: {error}")
        return b""


class Rendered(Blocks):
    """The lines that show a file which is no log. None is made before it is read."""
