"""What crosses between reading and matching: a source, a chunk of its lines, and what a line says about itself."""

from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from pydantic import Field

from schemas.model import Model
from schemas.vocabulary import Kept, Provenance

LATEST_S: Final = 253_402_300_799
"""The end of the year 9999 (Unix, seconds), after which a calendar has no dates."""

SEGMENT_BYTES: Final = 32 * 1024
"""Matching sees this much of a segment; what follows up to the next line end is counted, not read."""

WINDOW_BYTES: Final = 16 * 1024
"""How far matching may look back and ahead of a chunk, for the time of a line or the rest of a traceback."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a line came from, as its source's name or its own prefix tells. `None`: not told.

    `time_s` is Unix time in seconds. `clock_s` is a monotonic clock, such as the kernel's time since boot.
    """

    host: str | None = None
    rank: int | None = None
    gpu: int | None = None
    job: str | None = None
    attempt: str | None = None
    time_s: float | None = None
    clock_s: float | None = None
    level: str | None = None
    provenance: Provenance = Provenance.UNKNOWN

    def over(self, other: "Origin") -> "Origin":
        """Return this origin with what it does not tell taken from another."""
        known = Provenance.UNKNOWN
        return Origin(
            host=self.host if self.host is not None else other.host,
            rank=self.rank if self.rank is not None else other.rank,
            gpu=self.gpu if self.gpu is not None else other.gpu,
            job=self.job if self.job is not None else other.job,
            attempt=self.attempt if self.attempt is not None else other.attempt,
            time_s=self.time_s if self.time_s is not None else other.time_s,
            clock_s=self.clock_s if self.clock_s is not None else other.clock_s,
            level=self.level if self.level is not None else other.level,
            provenance=self.provenance if self.provenance is not known else other.provenance,
        )


@dataclass(frozen=True, slots=True)
class Decoded:
    """A segment without its prefixes: the message, what the prefixes told, and the prefix's bytes as a label.

    `label` tells the lines of interleaved writers apart: lines of one writer have the same label, such as `3` of
    `srun -l` or `worker-0`. A message of a JSON record may hold several lines.
    """

    message: bytes
    origin: Origin
    label: str = ""


class Decoder(Protocol):
    """Takes the prefixes off one segment. Never raises, whatever the bytes."""

    def __call__(self, segment: bytes) -> Decoded:
        """Return the message and what its prefixes tell."""
        ...


Told = dict[str, Any]
"""What the head of a source tells of its format, as JSON can hold it."""


class Formats(Protocol):
    """Finds out how the lines of a source are to be decoded."""

    def survey(self, source: "Source", head: bytes) -> Told:
        """Return what the beginning of a source tells of its format. Never raises, whatever the bytes."""
        ...

    def decoder(self, told: Told) -> Decoder:
        """Return the decoder for what a survey told."""
        ...


@dataclass(frozen=True, slots=True)
class Source:
    """A stream of lines: a file, a member of an archive, standard input.

    `name` is what a person is shown, `path` its components below the directory that was asked for. Rotated files
    are parts of one `stream`, the oldest first: `part` is the place among them.
    `modified_s` is the time of its last change (Unix, seconds): time stamps without a year lean on it.
    `key` is what ids derive from, where that is not the name. `vouched`: a trusted shipper says what `origin` says.
    `attested`: it knows who writes the lines as well. `placed`: its name tells the host or the rank, and not which run
    it is. `complete`: nothing comes behind what is there.
    """

    name: str
    path: tuple[str, ...] = ()
    origin: Origin = field(default_factory=Origin)
    modified_s: float | None = None
    size_bytes: int | None = None
    stream: str = ""
    part: int = 0
    key: str = ""
    vouched: bool = False
    attested: bool = False
    placed: bool = False
    complete: bool = False


@dataclass(frozen=True, slots=True)
class Chunk:
    r"""Consecutive whole segments of one source, as bytes, with the bytes around them.

    `data[start:end]` are the chunk's own segments, with `lines` line ends `\n`; before `start` and after `end` lie
    up to `WINDOW_BYTES` of their neighbours, cut anywhere. `offset` is the byte offset of `data[start]` in the source,
    `line` its line number (from 1, counted in `\n`). Of a segment longer than `SEGMENT_BYTES` only the beginning is
    there, followed by its line end; such a segment is the last of its chunk, so that offsets within a chunk are those
    of the source.
    """

    data: bytes
    start: int
    end: int
    offset: int
    line: int
    lines: int


class LogRecord(Model):
    """One log line as a person and as a store see it: masked, and free of terminal escapes.

    `id` follows from where the line is, so a line has the same one whenever it is read. `stream` is its file's path,
    `source` host and stream. `time_ms` is the line's own time, or that of a line before (Unix, milliseconds),
    `observed_ms` when its shipper read it. `kept` is why it was kept.
    """

    id: str
    cluster: str
    source: str
    stream: str
    line: int = Field(ge=1)
    offset_bytes: int = Field(ge=0)
    text: str
    observed_ms: int
    time_ms: int | None = None
    host: str | None = None
    rank: int | None = None
    gpu: int | None = None
    job: str | None = None
    attempt: str | None = None
    level: str | None = None
    provenance: Provenance = Provenance.UNKNOWN
    kept: Kept = Kept.ALL
