"""Plain text: terminal escapes (CSI sequences of ECMA-48, 5.4) and NULs are no part of a message."""

from typing import Final

_INTRODUCER: Final = b"\x1b["
_PARAMETERS: Final = bytes(range(0x30, 0x40))
_INTERMEDIATE: Final = bytes(range(0x20, 0x30))


def without_escapes(segment: bytes) -> bytes:
    """Return a segment without NULs and CSI sequences, such as colours."""
    if b"\x00" in segment:
        segment = segment.replace(b"\x00", b"")
    if _INTRODUCER not in segment:
        return segment
    first, *others = segment.split(_INTRODUCER)
    return first + b"".join(map(_after, others))


def _after(part: bytes) -> bytes:
    """Return what follows a sequence whose introducer stood before a part; without a final byte it was none."""
    rest = part.lstrip(_PARAMETERS).lstrip(_INTERMEDIATE)
    return rest[1:] if b"@" <= rest[:1] <= b"~" else _INTRODUCER + part
