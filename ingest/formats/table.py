"""All formats, in the order in which they are tried, found by the first bytes of a segment."""

from typing import Final

from ingest.formats import (
    containers,
    glog,
    kernel,
    launchers,
    mpi,
    nccl,
    opensm,
    python_logging,
    records,
    slurm,
    syslog,
    training,
)
from ingest.formats.recogniser import Format

FORMATS: Final[tuple[Format, ...]] = (
    *containers.FORMATS,
    *syslog.FORMATS,
    *opensm.FORMATS,
    *kernel.FORMATS,
    *records.FORMATS,
    *training.FORMATS,
    *glog.FORMATS,
    *nccl.FORMATS,
    *slurm.FORMATS,
    *mpi.FORMATS,
    *python_logging.FORMATS,
    *launchers.FORMATS,
)

_BRACKET: Final = ord("[")
_BY_FIRST: Final = tuple(tuple(row for row in FORMATS if byte in row.first) for byte in range(256))
_BY_SECOND: Final = tuple(tuple(row for row in _BY_FIRST[_BRACKET] if byte in row.second) for byte in range(256))


def candidates(segment: bytes) -> tuple[Format, ...]:
    """Return the formats whose prefix the first bytes of a segment admit."""
    if not segment:
        return ()
    first = segment[0]
    if first != _BRACKET:
        return _BY_FIRST[first]
    return _BY_SECOND[segment[1]] if len(segment) > 1 else ()
