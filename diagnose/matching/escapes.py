"""Escapes: terminal sequences and NULs inside of words hide them from the scanning engine.

Chunks that hold any are scanned a second time without them; what is nominated there is mapped back to whole segments.
"""

import re
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

ESCAPE: Final = re.compile(rb"\x1b\[[0-9;?]{0,32}[ -/]{0,4}[@-~]|\0")
"""A terminal's control sequence (ECMA-48, CSI), or a NUL."""

_Offsets = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True, slots=True)
class Borders:
    """Where the segments of some bytes end, before and after the escapes were taken out of them."""

    original: _Offsets
    shortened: _Offsets

    def mapped(self, nominations: list[int], id_bits: int) -> list[int]:
        """Return nominations (end << id bits | expression) with the ends of the original segments that hold them."""
        if not nominations:
            return []
        numbers = np.array(nominations, dtype=np.int64)
        segments = np.searchsorted(self.shortened, (numbers >> id_bits) - 1, side="left")
        ends = self.original[np.minimum(segments, len(self.original) - 1)]
        mapped: list[int] = (ends << id_bits | numbers & ((1 << id_bits) - 1)).tolist()
        return mapped


def without_escapes(data: bytes) -> tuple[bytes, Borders]:
    """Return bytes without escapes, and the borders of their segments, which stay in number and order."""
    shorter = ESCAPE.sub(b"", data)
    return shorter, Borders(_ends(data), _ends(shorter))


def _ends(data: bytes) -> _Offsets:
    codes = np.frombuffer(data, dtype=np.uint8)
    ends = np.flatnonzero((codes == ord("\n")) | (codes == ord("\r")))
    return np.append(ends, len(data)).astype(np.int64)
