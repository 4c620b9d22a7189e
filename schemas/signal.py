"""A signal: a signature was seen in one source; and what reading a source to its end has told."""

from uuid import UUID, uuid5

from pydantic import Field

from schemas.faults import FaultName
from schemas.model import Model
from schemas.vocabulary import Kind, Provenance, Severity

NAMESPACE = UUID("6f1c0c5e-6b0a-5b7e-9d59-5d8e0a1f7c11")
"""The namespace of every id that relight derives (UUIDv5)."""


def derived_id(*causes: object) -> str:
    """Return the id that follows from what caused it: the same causes give the same id, on every machine."""
    return str(uuid5(NAMESPACE, "\x1f".join(map(str, causes))))


class Mark(Model):
    """A place in a source: one line, and when it was written.

    `offset_bytes` and `line` (from 1) place it in its source; `time_s` is Unix time, `clock_s` a monotonic clock.
    Where the line has no time of its own (`timed` is false), they are those of the line before that has one.
    `unit` holds the first and last line of the multi-line message that the line belongs to.
    """

    offset_bytes: int = Field(ge=0)
    line: int = Field(ge=1)
    text: str
    time_s: float | None = None
    clock_s: float | None = None
    unit: tuple[int, int] | None = None
    timed: bool = False


class Signal(Model):
    """A signature matched in one source, once or many times in a row.

    Repetitions with the same identity (captures that the signature names, host, rank, GPU) are one signal with a
    count, its first and its last line. A signal ends where the run moves on: at the next start or progress.
    """

    id: str
    signature: str
    kind: Kind
    severity: Severity
    fault: FaultName | None = None
    source: str
    stream: str = ""
    part: int = 0
    first: Mark
    last: Mark
    count: int = Field(ge=1)
    host: str | None = None
    rank: int | None = None
    gpu: int | None = None
    job: str | None = None
    attempt: str | None = None
    captures: dict[str, str] = {}
    provenance: Provenance = Provenance.UNKNOWN


class SourceRead(Model):
    """A source was read to its end, or as far as it could be.

    `bytes_read` counts decompressed bytes. `first_s` and `last_s` are the earliest and latest times (Unix, seconds)
    seen in its matched, first and last lines; `problem` says why reading stopped early.
    """

    source: str
    path: tuple[str, ...] = ()
    stream: str = ""
    part: int = 0
    host: str | None = None
    rank: int | None = None
    gpu: int | None = None
    job: str | None = None
    attempt: str | None = None
    lines: int = Field(ge=0)
    bytes_read: int = Field(ge=0)
    first_s: float | None = None
    last_s: float | None = None
    problem: str | None = None
