"""NCCL's lines, `host:pid:tid [gpu] NCCL WARN ...`: nothing is taken off, for its warnings are matched as they are.

NCCL, src/debug.cc. The bracket is the CUDA device. Newer versions put a time in front and a file and line behind.
"""

from typing import Final

from ingest.formats.levels import LEVELS
from ingest.formats.recogniser import ALNUM, Format, Hints, Peeled, text_of
from ingest.formats.stamps import read_iso
from schemas.record import Origin

_WITHIN: Final = 480


def line(segment: bytes, hints: Hints) -> Peeled | None:
    """Read host and GPU of a NCCL line."""
    end = segment.find(b" NCCL ", 8, _WITHIN)
    return _read(segment, 0, end, None) if end > 0 else None


def timed(segment: bytes, hints: Hints) -> Peeled | None:
    """Read time, host and GPU of a NCCL line that begins with `[2024-05-01 04:11:25] `."""
    end = segment.find(b" NCCL ", 28, _WITHIN)
    if end < 0:
        return None
    stamp = read_iso(segment[1:48])
    if stamp is None or segment[stamp[1] + 1 : stamp[1] + 3] != b"] ":
        return None
    return _read(segment, stamp[1] + 3, end, stamp[0])


def _read(segment: bytes, start: int, end: int, time_s: float | None) -> Peeled | None:
    """Read `host:pid:tid [gpu]`, which a file with a line may follow, between two places of a segment."""
    who, _, place = segment[start:end].partition(b" [")
    names, (gpu, close, place) = who.split(b":"), place.partition(b"]")
    if not close or not gpu.isdigit() or len(gpu) > 3 or len(names) != 3 or place.count(b" ") > 1:
        return None
    if not (names[1] + names[2]).isdigit() or not names[0] or names[0].strip(ALNUM + b"._-"):
        return None
    host = text_of(names[0])
    level = LEVELS.get(segment[end + 6 : end + 18].partition(b" ")[0])
    origin = Origin(host=host, gpu=int(gpu), time_s=time_s, level=level)
    return segment, origin, f"{host}:{text_of(names[1])}"


FORMATS: Final = (
    Format("nccl", ALNUM, line),
    Format("nccl", b"[", timed, second=b"12"),
)
