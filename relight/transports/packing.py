"""Headers as bytes that SQLite keeps, and back."""

import orjson

from relight.transports.port import Headers


def packed(headers: Headers) -> bytes:
    """Return headers as bytes."""
    return orjson.dumps([(name, value.decode("latin-1")) for name, value in headers])


def unpacked(data: bytes) -> Headers:
    """Return the headers that bytes hold."""
    return tuple((name, text.encode("latin-1")) for name, text in orjson.loads(data))
