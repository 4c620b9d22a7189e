"""What a shipper says of a record of `relight.logs`: it stands in the record's headers, so a chunk is not parsed.

A record with these headers holds a chunk of consecutive whole lines of one source, bytes as they were, or nothing: a
heartbeat. A record without them is one line, raw or JSON, from a shipper of another kind.
"""

from collections.abc import Iterable
from typing import Final, Self

from pydantic import Field, ValidationError

from schemas.model import Model
from schemas.record import LATEST_S
from schemas.vocabulary import Provenance

VERSION_HEADER: Final = "relight"
VERSION: Final = b"1"
MOST: Final = 2**62
"""No file has so many bytes or lines; what is larger cannot be counted on in 64 bits."""

LATEST_MS: Final = LATEST_S * 1000

_HEADERS: Final = {
    "cluster": "relight-cluster",
    "host": "relight-host",
    "stream": "relight-stream",
    "provenance": "relight-provenance",
    "attested": "relight-attested",
    "generation": "relight-generation",
    "part": "relight-part",
    "offset_bytes": "relight-offset",
    "line": "relight-line",
    "observed_ms": "relight-observed",
    "at_end": "relight-at-end",
    "complete": "relight-complete",
    "job": "relight-job",
    "attempt": "relight-attempt",
    "rank": "relight-rank",
}


class Shipped(Model):
    """Where a chunk stands in its source, and who vouches for what of it.

    `stream` is the file's path, `journal` or `kernel`. `generation` tells the files apart that had the same path one
    after another (rotation, truncation); `part` counts them from 0. `offset_bytes` and `line` (from 1) are those of the
    chunk's first byte in the file. `observed_ms` is when the shipper read it (Unix, milliseconds, its host's clock).
    `attested`: the shipper itself knows who wrote the lines, from the journal, from the kernel, or by its settings; it
    does not lean on what a file looks like. `at_end`: behind the chunk there was nothing more to read then. A heartbeat
    is an empty chunk at the end. `complete`: nothing will ever come behind the chunk.
    """

    cluster: str = Field(min_length=1)
    host: str = Field(min_length=1)
    stream: str = Field(min_length=1)
    provenance: Provenance = Provenance.UNKNOWN
    attested: bool = False
    generation: str = Field(min_length=1)
    part: int = Field(default=0, ge=0, lt=MOST)
    offset_bytes: int = Field(ge=0, lt=MOST)
    line: int = Field(ge=1, lt=MOST)
    observed_ms: int = Field(ge=0, lt=LATEST_MS)
    at_end: bool = False
    complete: bool = False
    job: str | None = None
    attempt: str | None = None
    rank: int | None = Field(default=None, ge=0, lt=MOST)

    @property
    def key(self) -> bytes:
        """Return the record's key: host and stream, so that a source keeps its order."""
        return f"{self.host}\0{self.stream}".encode()

    def headers(self) -> tuple[tuple[str, bytes], ...]:
        """Return the headers that say this; what is not known is left out."""
        told = self.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
        named = ((_HEADERS[name], _bytes(value)) for name, value in told.items())
        return ((VERSION_HEADER, VERSION), *named)

    @classmethod
    def from_headers(cls, headers: Iterable[tuple[str, bytes]]) -> Self | None:
        """Return what a record's headers say, `None` if they are not those of a chunk.

        Raises:
            ValueError: they are, but of an unknown version, or malformed.
        """
        told = dict(headers)
        version = told.get(VERSION_HEADER)
        if version is None:
            return None
        if version != VERSION:
            raise ValueError(f"chunk headers of version {version[:40]!r}; this relight reads {VERSION!r}")
        try:
            return cls.model_validate({name: told[header] for name, header in _HEADERS.items() if header in told})
        except ValidationError as error:
            first = error.errors()[0]
            header = _HEADERS[str(first["loc"][0])]
            raise ValueError(f"header {header} is wrong: {first['msg']}") from None


def _bytes(value: object) -> bytes:
    return str(value).lower().encode() if isinstance(value, bool) else str(value).encode()
