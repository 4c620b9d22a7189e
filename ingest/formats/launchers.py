"""The labels that launchers put in front of each line that a process writes: srun, pdsh, mpirun, torchrun, Ray.

srun(1) `--label`; pdsh(1), also under DeepSpeed; mpirun(1) `--tag-output`; torchrun's `--tee`; Ray's driver output.
"""

from typing import Final

from ingest.formats.linear import compiled
from ingest.formats.recogniser import (
    ALNUM,
    NOTHING,
    Format,
    Hints,
    Peeled,
    host_origin,
    host_stem,
    rank_origin,
    text_of,
)
from schemas.record import Origin

_ROLES: Final = frozenset((b"default", b"trainer", b"worker"))
_TAGGED: Final = compiled(rb"\[(?:[\w.-]{1,200}@)?(\d{1,7}),(\d{1,7})\](?:\[[^\]\s]{1,200}\])?<std(?:out|err|diag)>: ?")
_PREPENDED: Final = compiled(rb"\[(\d{1,7})\](?: |$)")
_RAY: Final = compiled(rb"\(([A-Za-z_][^()]{0,200}? ?pid=\d{1,10})(?:, ip=([0-9A-Za-z.:-]{2,64}))?\)(?: |$)")


def srun(segment: bytes, hints: Hints) -> Peeled | None:
    """Take off `12: ` and ` 0: `; the label is the rank of the task."""
    colon = segment.find(b":", 1, 9)
    if colon < 0 or segment[colon + 1 : colon + 2] not in (b" ", b""):
        return None
    digits = segment[:colon].lstrip(b" ")
    if not digits.isdigit():
        return None
    rank = int(digits)
    return segment[colon + 2 :], rank_origin(rank), str(rank)


def pdsh(segment: bytes, hints: Hints) -> Peeled | None:
    """Take off `host: ` where the head of the source shows that such labels are hosts."""
    if not hints.hosts:
        return None
    found = host_label(segment)
    if found is None or found[1] not in hints.hosts:
        return None
    host = text_of(found[0])
    return segment[len(found[0]) + 2 :], host_origin(host), host


def host_label(segment: bytes) -> tuple[bytes, bytes] | None:
    """Return the label of `host: ` and its stem, or `None` where it cannot be one of a host."""
    colon = segment.find(b":", 1, 66)
    if colon < 0 or segment[colon + 1 : colon + 2] not in (b" ", b""):
        return None
    label = segment[:colon]
    stem = host_stem(label)
    return None if stem is None else (label, stem)


def rank(segment: bytes, hints: Hints) -> Peeled | None:
    """Take off `[rank3]: ` and the `[rank3]:` of c10d."""
    close = segment.find(b"]:", 6, 16)
    digits = segment[5:close].lstrip(b" ")
    if close < 0 or segment[1:5] not in (b"rank", b"Rank") or not digits.isdigit():
        return None
    number = int(digits)
    rest = segment[close + 2 :]
    return rest[1:] if rest[:1] == b" " else rest, rank_origin(number), f"rank{number}"


def torchrun(segment: bytes, hints: Hints) -> Peeled | None:
    """Take off `[default3]:`. Its number is the local rank: it tells writers apart, and no global rank."""
    close = segment.find(b"]:", 7, 16)
    writer = segment[1:close]
    role = writer.rstrip(b"0123456789")
    if close < 0 or role == writer or role not in _ROLES:
        return None
    return segment[close + 2 :], NOTHING, text_of(writer)


def mpirun(segment: bytes, hints: Hints) -> Peeled | None:
    """Take off `[1,3]<stderr>: `: job 1 of the launcher, rank 3."""
    found = _TAGGED.match(segment) if b">:" in segment[6:300] else None
    if found is None:
        return None
    return segment[found.end() :], rank_origin(int(found[2])), f"{int(found[1])},{int(found[2])}"


def prepended(segment: bytes, hints: Hints) -> Peeled | None:
    """Take off the `[3] ` of Hydra's and Intel MPI's `-prepend-rank`, where the source is full of them."""
    found = _PREPENDED.match(segment) if hints.bracket_rank else None
    if found is None:
        return None
    number = int(found[1])
    return segment[found.end() :], rank_origin(number), str(number)


def ray(segment: bytes, hints: Hints) -> Peeled | None:
    """Take off `(RayTrainWorker pid=123, ip=10.0.0.3) `; `[repeated 3x across cluster]` stays in the message."""
    found = _RAY.match(segment) if b"pid=" in segment[1:240] else None
    if found is None:
        return None
    host = text_of(found[2]) if found[2] else None
    label = text_of(found[1])
    return segment[found.end() :], Origin(host=host), f"{label}, ip={host}" if host else label


FORMATS: Final = (
    Format("srun", b" 0123456789", srun),
    Format("mpirun", b"[", mpirun, second=ALNUM),
    Format("prepended", b"[", prepended, second=b"0123456789"),
    Format("rank", b"[", rank, second=b"rR"),
    Format("torchrun", b"[", torchrun, second=b"dtw"),
    Format("ray", b"(", ray),
    Format("pdsh", ALNUM, pdsh, carries=True),
)
