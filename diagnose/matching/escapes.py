"""Escapes: terminal sequences and NULs inside of words hide them from the scanning engine.

Chunks that hold any are scanned a second time without them; what is nominated there is mapped back to whole segments.
"""

import re
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

_ESCAPE: Final = re.compile(rb"\x1b\[[0-9;?]{0,32}[ -/]{0,4}[@-~]|\0")
"""A terminal's control sequence (ECMA-48, CSI), or a NUL."""

_ESC: Final = 0x1B
_Offsets = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True, slots=True)
class Borders:
    """Where the segments of some bytes end, before and after the escapes were taken out, and which segments had any."""

    original: _Offsets
    shortened: _Offsets
    escaped: np.ndarray[Any, np.dtype[np.bool_]]

    def joined(self, before: list[int], after: list[int], id_bits: int) -> list[int]:
        """Return nominations (end << id bits | expression): of segments with escapes those made `after` they went.

        Their ends are the ends of the original segments.
        """
        kept, _ = self._of(before, self.original, id_bits, escaped=False)
        found, segments = self._of(after, self.shortened, id_bits, escaped=True)
        mapped = self.original[segments] << id_bits | found & ((1 << id_bits) - 1)
        joined: list[int] = np.concatenate((kept, mapped)).tolist()
        return joined

    def _of(self, nominations: list[int], ends: _Offsets, id_bits: int, *, escaped: bool) -> tuple[_Offsets, _Offsets]:
        numbers = np.array(nominations, dtype=np.int64)
        segments = np.minimum(np.searchsorted(ends, (numbers >> id_bits) - 1, side="left"), len(ends) - 1)
        chosen = self.escaped[segments] == escaped
        return numbers[chosen], segments[chosen]


def has_escapes(data: bytes, start: int, end: int) -> bool:
    """Tell whether there may be escapes in a part of some bytes."""
    return data.find(b"\x1b", start, end) >= 0 or data.find(b"\0", start, end) >= 0


def without_escapes(data: bytes) -> tuple[bytes, Borders]:
    """Return bytes without escapes, and the borders of their segments, which stay in number and order."""
    codes = np.frombuffer(data, dtype=np.uint8)
    original, shorter = _ends(codes), _ESCAPE.sub(b"", data)
    escaped = np.zeros(len(original), dtype=np.bool_)
    escaped[np.searchsorted(original, np.flatnonzero((codes == _ESC) | (codes == 0)), side="left")] = True
    return shorter, Borders(original, _ends(np.frombuffer(shorter, dtype=np.uint8)), escaped)


def _ends(codes: np.ndarray[Any, np.dtype[np.uint8]]) -> _Offsets:
    ends = np.flatnonzero((codes == ord("\n")) | (codes == ord("\r")))
    return np.append(ends, len(codes)).astype(np.int64)
