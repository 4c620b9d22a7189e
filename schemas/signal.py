"""What matching says: a signature was seen in one source, how far a source has been read, and how time passes."""

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
    While a source is being followed a signal is said again when it has grown: of two with one id, the one that was
    said when more of the source had been read (`read_to`, bytes) holds. `vouched`: a trusted shipper says that it comes
    from this host; otherwise the host is what a line or a name says. `attested`: it knows who wrote the lines, too.
    `pace_s` and `pause_s`: the median and the longest time from one line of progress to the next (seconds), where
    lines tell times.
    """

    id: str
    read_to: int = 0
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
    vouched: bool = False
    attested: bool = False
    pace_s: float | None = None
    pause_s: float | None = None


class Level(Model):
    """Where a metric of a source stands, for a detector that compares it with that of others.

    `value` is the median of its last `points`, in the metric's unit, `time_s` the time of the last one (Unix, seconds).
    """

    detector: str
    metric: str
    value: float
    time_s: float
    points: int = Field(default=1, ge=1)
    host: str | None = None
    rank: int | None = None
    gpu: int | None = None


class SourceRead(Model):
    """A source was read to its end, or as far as it could be; while it is being followed, as far as it is known.

    `bytes_read` counts decompressed bytes. `first_s` and `last_s` are the earliest and latest times (Unix, seconds)
    seen in its matched, first and last lines; `problem` says why reading stopped early. `heard_s` is when the shipper
    of a followed source found nothing more to read (Unix, seconds, its host's clock): the source was silent, not late.
    `placed`: its name tells the host or the rank, and not which run it is. `complete`: nothing more will come of it.
    `levels` are its numbers that are compared with those of other sources.
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
    placed: bool = False
    lines: int = Field(ge=0)
    bytes_read: int = Field(ge=0)
    first_s: float | None = None
    last_s: float | None = None
    heard_s: float | None = None
    complete: bool = False
    levels: tuple[Level, ...] = ()
    problem: str | None = None


class Heard(Model):
    """Sources that had nothing new to say, and when their shippers last found so (Unix, seconds, by source)."""

    sources: dict[str, float]


class Withdrawn(Model):
    """A signal that does not hold any more, now that more of its source has been read (`read_to`, bytes)."""

    id: str
    source: str
    read_to: int


class Tick(Model):
    """Time has passed in a cluster: its live sources have been heard up to `time_s` (Unix, seconds).

    The correlation of a cluster decides at ticks only, so that what it decides follows from what was recorded, at the
    place where it was recorded. `number` counts them from 1.
    """

    number: int = Field(ge=1)
    time_s: float


class Placement(Model):
    """A job ran on hosts, from and until some time (Unix, seconds), as a scheduler or a file says."""

    job: str
    attempt: str | None = None
    hosts: tuple[str, ...]
    from_s: float | None = None
    until_s: float | None = None
