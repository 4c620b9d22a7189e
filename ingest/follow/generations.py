"""Tells files apart by what they contain: a path is given to one file after another, and an inode number too."""

import hashlib
import os
from collections.abc import Container
from itertools import count
from typing import Final

from ingest.follow.positions import Place
from schemas.signal import derived_id

HEAD_BYTES: Final = 256
LAST_BYTES: Final = 256
_ID_DIGITS: Final = 12


def digest(data: bytes | bytearray | memoryview) -> str:
    """Return what stands for bytes that are not kept, for they may hold secrets."""
    return hashlib.blake2b(data, digest_size=8).hexdigest()


def generation_id(stream: str, inode: int, head: str, used: Container[str]) -> str:
    """Return the generation that a file's stream, inode number and head tell; a later one that has the same, another.

    The device's number is no part of it: it may change with every boot.
    """
    found = (short_id("generation", stream, inode, head, again) for again in count())
    return next(one for one in found if one not in used)


def short_id(*causes: object) -> str:
    """Return an id that follows from what caused it, short enough to be sent with every chunk."""
    return derived_id(*causes).replace("-", "")[:_ID_DIGITS]


def head_of(descriptor: int, start: int, whole: bool) -> bytes | None:
    """Return a file's first line, up to `HEAD_BYTES` of it; `None` while it is not complete, unless that is `whole`."""
    head = os.pread(descriptor, HEAD_BYTES, start)
    line, end, _ = head.partition(b"\n")
    if end or len(head) == HEAD_BYTES:
        return line + end
    return head if head and whole else None


def data_start(descriptor: int) -> int:
    """Return where a file's data begins: a hole is left where it was truncated under a writer that does not append."""
    try:
        return os.lseek(descriptor, 0, os.SEEK_DATA)
    except OSError:  # nothing but a hole, or a file system that does not tell
        return 0


def holds(descriptor: int, place: Place) -> bool:
    """Tell whether a file is still the one that was read up to a place: all that was read of it is still there."""
    if place.shown is not None and place.shown.once and os.fstat(descriptor).st_size != place.head_bytes:
        return False
    length = last_length(place)
    last = os.pread(descriptor, length, place.read_bytes - length)
    return begins(descriptor, place) and len(last) == length and digest(last) == place.last


def begins(descriptor: int, place: Place) -> bool:
    """Tell whether a file begins as the one of a place did."""
    return digest(os.pread(descriptor, place.head_bytes, place.start_bytes)) == place.head


def last_length(place: Place) -> int:
    """Return how many bytes before a place its digest `last` is of."""
    return min(LAST_BYTES, place.read_bytes - place.start_bytes)


def is_copy(descriptor: int, size: int, place: Place, original: int | None) -> bool:
    """Tell whether a file is a copy, finished or not, of the one that was read up to a place.

    `original` is the descriptor of that one, if it is still what it was.
    """
    if size >= place.read_bytes:
        return holds(descriptor, place)
    if not begins(descriptor, place):
        return False
    begin = max(0, size - LAST_BYTES)
    return original is None or os.pread(descriptor, size - begin, begin) == os.pread(original, size - begin, begin)


def taken_over(descriptor: int, size: int, place: Place, device: int, inode: int) -> Place:
    """Return the place in the copy that holds what is left of a file. It may be shorter than what has been read."""
    moved: dict[str, object] = {"device": device, "inode": inode}
    if size < place.read_bytes:
        length = min(LAST_BYTES, size - place.start_bytes)
        read = (
            {"offset_bytes": size} if place.shown is None else {"shown": place.shown.model_copy(update=_all_of(size))}
        )
        moved |= {**read, "last": digest(os.pread(descriptor, length, size - length))}
    return place.model_copy(update=moved)


def _all_of(size: int) -> dict[str, int]:
    return {"read_bytes": size, "end_bytes": size}
