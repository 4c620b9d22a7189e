r"""Decides where chunks end in bytes that are still being written; where lines are complete is all that counts."""

from enum import Enum
from typing import Final

CHUNK_BYTES: Final = 64 * 1024
"""The most that a chunk holds, so the most that must be kept of a line."""


class Rest(Enum):
    r"""What becomes of a line without its end: it waits, goes up to its last `\r`, or goes as it is."""

    WAIT = "wait"
    RETURN = "return"
    SHIP = "ship"


def ends(data: bytes | bytearray, start: int, stop: int, rest: Rest) -> list[int]:
    r"""Return where the chunks of `data[start:stop]` end: as many whole lines each as go into `CHUNK_BYTES`.

    A line that is longer is cut at `\r`, as progress bars are, else anywhere, but never between `\r` and `\n`.
    """
    found = []
    while start < stop:
        limit = min(start + CHUNK_BYTES, stop)
        end = data.rfind(b"\n", start, limit) + 1
        if not end and stop - start >= CHUNK_BYTES:
            end = data.rfind(b"\r", start, limit - 1) + 1 or limit - data.endswith(b"\r", start, limit)
        elif not end and rest is not Rest.WAIT:
            end = stop if rest is Rest.SHIP else data.rfind(b"\r", start, stop - 1) + 1
        if not end:
            break
        found.append(end)
        start = end
    return found
