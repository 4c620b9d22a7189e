"""The port of renderings: what turns a file that is no log into lines. The renderings themselves: `table`."""

from collections.abc import Iterator
from typing import Protocol


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

    def render(self, stream: Readable) -> Iterator[bytes]:
        r"""Yield whole lines, each with its `\n`.

        Raises:
            Unreadable: The file, or the rest of it, cannot be read; its reason says why, in one line.
        """
