"""Repeats: lines that say the same but for the time. Nobody need decide on each of them."""

import re
from typing import Final

_AS_ZERO: Final = bytes.maketrans(b"123456789", b"0" * 9)
_TIME: Final = re.compile(rb"(?<![0:])00:00:00(?:[.,]0{1,9})?(?![0:])|\[ *0{1,9}\.000000\]")
"""A time of the day, or the kernel's time since boot, in a line whose digits are all zeros."""

Wording = tuple[int | bytes, ...]
"""The shape of a line, as a number, and what stands in it before, between and behind its times."""


class Wordings:
    """Tells lines of one chunk apart by all that they say but for their times.

    Where the times are is looked up for each shape of line (which characters are digits), not for each line.
    """

    def __init__(self) -> None:
        """Know no shape yet."""
        self._shapes: dict[bytes, tuple[int, tuple[slice, ...]]] = {}

    def of(self, line: bytes) -> Wording:
        """Return the wording of a line; it determines the line but for the digits of its times."""
        shape = line.translate(_AS_ZERO)
        known = self._shapes.get(shape)
        if known is None:
            known = self._shapes[shape] = len(self._shapes), _between_times(shape)
        number, parts = known
        return (number, *[line[part] for part in parts])


def says(wording: Wording, message: bytes) -> bool:
    """Tell whether all lines of a wording say a message that one of them says: no time is a part of it."""
    return any(isinstance(part, bytes) and message in part for part in wording)


def _between_times(shape: bytes) -> tuple[slice, ...]:
    times = [match.span() for match in _TIME.finditer(shape)]
    begins, ends = [0, *(end for _, end in times)], [*(begin for begin, _ in times), len(shape)]
    return tuple(slice(begin, end) for begin, end in zip(begins, ends, strict=True))
