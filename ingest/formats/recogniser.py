"""What a prefix recogniser is given and what it returns. No format is known here."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Final

from schemas.record import Origin

Peeled = tuple[bytes, Origin, str]
"""The rest behind the prefix, what the prefix told, and the writer's label. The rest may be the whole segment."""

NOTHING: Final = Origin()
"""The origin that tells nothing."""

ALNUM: Final = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class Hints:
    """What the head of a source says about its ambiguous prefixes.

    `syslog`, `kernel` (dmesg) and `journal` hold when the source is that format as a whole: only then does the format
    vouch for a provenance. `json`: records of a logger. `bracket_rank`: `[3] ` is a rank. `hosts` are the stems (names
    without digits) of the `host: ` labels; empty where such labels are not hosts. `modified_s` lends its year.
    """

    syslog: bool = False
    kernel: bool = False
    journal: bool = False
    json: bool = False
    bracket_rank: bool = False
    hosts: frozenset[bytes] = field(default_factory=frozenset)
    modified_s: float | None = None

    def inside(self) -> "Hints":
        """Return the hints for what a program printed: nothing in there vouches for a provenance."""
        return replace(self, syslog=False, kernel=False, journal=False)


Recogniser = Callable[[bytes, Hints], Peeled | None]


@dataclass(frozen=True, slots=True)
class Format:
    """A row of the table: a recogniser and the bytes with which its prefix can begin.

    `second` narrows it by the second byte, for the many formats that begin with a bracket. A format that `carries`
    passes the lines of other writers on, so that a format within may still vouch; the others wrap what one program
    printed. `zoned` times are in a known zone. Only a format that `repeats` is taken off twice in succession.
    """

    name: str
    first: bytes
    recognise: Recogniser
    second: bytes = b""
    carries: bool = False
    zoned: bool = False
    repeats: bool = False


@lru_cache(maxsize=4096)
def rank_origin(rank: int) -> Origin:
    """Return the origin that tells a rank only."""
    return Origin(rank=rank)


@lru_cache(maxsize=4096)
def host_origin(host: str) -> Origin:
    """Return the origin that tells a host only."""
    return Origin(host=host)


def text_of(raw: bytes) -> str:
    """Return bytes as text, whatever they are."""
    return raw.decode("utf-8", "replace")


_NOT_HOSTS: Final = frozenset(
    b"gpu cuda rank localrank layer epoch step iter iteration loss lr dim fold block stage head device line eth "
    b"thread conv fc bn batch pid tid node_rank local_rank seed trial run test train val top input output x y v "
    b"error warning info note worker_id col row case item group pipeline expert shard chunk file part".split()
)


_EXCEPTIONS: Final = (b"Error", b"Exception", b"Warning", b"Interrupt", b"Exit", b"Failure", b"Fault")


def host_stem(label: bytes) -> bytes | None:
    """Return a host's name without its digits, or `None` where the label cannot be told for a host.

    A host has a digit or a dot in its name: `node17`, `worker-0`, `10.0.0.3`, `gpu.example.com`; `epoch` has not.
    `torch.OutOfMemoryError` is an exception.
    """
    if not 2 <= len(label) <= 64 or label.strip(ALNUM + b"-._") or label[:1] in b"-._" or label[-1:] in b"-._":
        return None
    if label.endswith(_EXCEPTIONS):
        return None
    stem = label.translate(None, b"0123456789")
    if stem == b"...":
        return stem
    if stem.strip(b"-._").lower() in _NOT_HOSTS or not stem.strip(b"-._"):
        return None
    return stem if stem != label or b"." in label[1:-1] else None
