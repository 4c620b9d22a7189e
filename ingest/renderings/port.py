"""The port of renderings: what turns a file that is no log into lines. The renderings themselves: `table`."""

from collections.abc import Iterator
from typing import Protocol, runtime_checkable


class Readable(Protocol):
    """The bytes of a file, decompressed. `label` is its name as a person is shown it."""

    label: str

    def read(self, size: int, /) -> bytes:
        """Read up to `size` bytes: none at the end. Raises: Unreadable."""


class Rendering(Protocol):
    """Shows one sort of file as the lines of a log.

    The lines take the place of the file's bytes wherever it is read: offsets and line numbers are theirs. The same
    bytes give the same lines. A file is hostile input: memory is bounded, and nothing in it is executed.
    """

    def recognises(self, name: str, head: bytes) -> bool:
        """Tell whether a file is of this sort, by its name and its first bytes (up to `spool.HEAD_BYTES`)."""

    def awaits(self, head: bytes) -> bool:
        """Tell whether more bytes behind these, a whole line at least, may show that a file is of this sort, or not."""

    def render(self, stream: Readable) -> Iterator[bytes]:
        r"""Yield whole lines, each with its `\n`.

        Raises:
            Unreadable: The file, or the rest of it, cannot be read; its reason says why, in one line.
        """


class Reading(Protocol):
    """One file that is read as it grows.

    Which lines its bytes have given so far depends on the bytes alone, not on how they were cut. `damage` says what
    could not be read of them, nothing where all could.
    """

    @property
    def damage(self) -> str:
        """Return in one line what could not be read so far, and why."""

    def take(self, data: bytes) -> Iterator[bytes]:
        """Take the bytes that follow, and yield the lines that are whole with them. To be exhausted."""

    def rest(self) -> Iterator[bytes]:
        """Yield the lines that wait for what may follow them. If something does, it has lines of its own."""

    def end(self) -> Iterator[bytes]:
        """Yield the rest, with what a record that was begun and not ended tells: nothing is expected to follow."""


@runtime_checkable
class Growing(Rendering, Protocol):
    """A rendering of files that programs append to, record by record. All others are of files that are written once."""

    def begin(self, label: str) -> Reading:
        """Begin to read a file, whose name as a person is shown it is `label`."""
