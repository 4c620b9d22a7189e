"""The wire format of protocol buffers: the fields of one message, in bounded memory. What they mean is the caller's.

https://protobuf.dev/programming-guides/encoding
"""

import struct
from collections.abc import Iterator
from typing import Final

_VARINT_BYTES: Final = 10
_SIZES: Final = {1: 8, 5: 4}


def fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield number and value of each field: an `int` for a varint, the bytes of all else.

    Raises:
        ValueError: The message is damaged here.
    """
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(message, at)
            yield key >> 3, value
            continue
        if kind == 2:
            size, at = _varint(message, at)
        elif kind in _SIZES:
            size = _SIZES[kind]
        else:
            raise ValueError(f"a field of wire type {kind}")
        if at + size > len(message):
            raise ValueError("a field that ends outside of its message")
        yield key >> 3, message[at : at + size]
        at += size


def parts(message: bytes, number: int) -> Iterator[bytes]:
    """Yield the values of a repeated field that holds bytes, text or messages. Raises: ValueError."""
    return (value for found, value in fields(message) if found == number and isinstance(value, bytes))


def part(message: bytes, number: int) -> bytes:
    """Return the value of such a field, empty if it is not there. Raises: ValueError."""
    return next(parts(message, number), b"")


def text(message: bytes, number: int) -> str:
    """Return a field's text. Raises: ValueError."""
    return part(message, number).decode("utf-8", "replace")


def varints(value: int | bytes) -> Iterator[int]:
    """Yield the numbers of a repeated field of varints, packed or not. Raises: ValueError."""
    if isinstance(value, int):
        yield value
        return
    at = 0
    while at < len(value):
        number, at = _varint(value, at)
        yield number


def double(value: int | bytes) -> float:
    """Return a field that is a double or a float. Raises: ValueError."""
    if isinstance(value, bytes) and len(value) in (4, 8):
        return float(struct.unpack("<d" if len(value) == 8 else "<f", value)[0])
    raise ValueError("a floating-point number of another size")


def signed(value: int) -> int:
    """Return a varint as an int64."""
    return value - (1 << 64) if value >= 1 << 63 else value


def zigzag(value: int) -> int:
    """Return a varint as a sint64."""
    return (value >> 1) ^ -(value & 1)


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift, byte in enumerate(message[at : at + _VARINT_BYTES]):
        value |= (byte & 0x7F) << 7 * shift
        if byte < 0x80:
            return value & (1 << 64) - 1, at + shift + 1
    raise ValueError("a number that does not end")
