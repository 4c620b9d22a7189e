"""The lines of training programs with layouts of their own: MLPerf, NeMo, Megatron, DLLogger, HugeCTR, MXNet, elastic.

MLPerf: mlcommons/logging. NeMo: nemo/utils/formatters/base.py. DLLogger: NVIDIA/dllogger. HugeCTR:
base/debug/logger.cpp.
"""

from typing import Final

from ingest.formats.levels import LETTERS, LEVELS, level_in
from ingest.formats.linear import compiled
from ingest.formats.recogniser import NOTHING, Format, Hints, Peeled, host_origin, rank_origin, text_of
from ingest.formats.stamps import from_number, read_iso
from schemas.record import Origin

_MEGATRON: Final = compiled(rb" - PID:\d{1,10} - rank:\([\d, ]{1,64}\) - [\w.]{1,120}:\d{1,7} - [A-Z]{4,8} - ")
_HUGECTR: Final = compiled(rb"\[HCTR\]\[\d\d:\d\d:\d\d(?:\.\d{1,9})?\]\[(\w{1,12})\]\[RK(\d{1,6})\]\[[^\]]{1,64}\]: ?")
_MXNET: Final = compiled(rb"\[\d\d:\d\d:\d\d\] [\w./+-]{1,255}:\d{1,7}: ?")
_BOX: Final = compiled(rb"  (host {6}|rank {6}|time {6}): ([\w.:-]{1,255})")


def mllog(segment: bytes, hints: Hints) -> Peeled | None:
    """Read the time of `:::MLLOG {.. "time_ms": 1714536642181 ..}`; nothing is taken off."""
    time_s = mllog_time(segment, 0) if segment[:8] == b":::MLLOG" else None
    return None if time_s is None else (segment, Origin(time_s=time_s), "")


def mllog_time(segment: bytes, at: int) -> float | None:
    """Return the time that an MLPerf record names which begins at a place of the segment."""
    key = segment.find(b'"time_ms":', at, at + 256)
    if key < 0:
        return None
    window = segment[key + 10 : key + 32].lstrip()
    digits = window[: len(window) - len(window.lstrip(b"0123456789"))]
    return from_number(int(digits)) if digits else None


def nemo(segment: bytes, hints: Hints) -> Peeled | None:
    """Take off `[NeMo W 2024-05-01 22:04:12 file:349] `."""
    if segment[:6] != b"[NeMo " or segment[7:8] != b" " or segment[6] not in LETTERS:
        return None
    stamp, close = read_iso(segment[8:40]), segment.find(b"]", 27, 300)
    if stamp is None or close < 0:
        return None
    rest = segment[close + 1 :]
    return rest[1:] if rest[:1] == b" " else rest, Origin(time_s=stamp[0], level=LETTERS[segment[6]]), ""


def dllogger(segment: bytes, hints: Hints) -> Peeled | None:
    """Take off `DLL 2024-05-01 04:11:25.123456 - `."""
    stamp = read_iso(segment[4:40]) if segment[:4] == b"DLL " else None
    if stamp is None or segment[stamp[1] + 4 : stamp[1] + 7] != b" - ":
        return None
    return segment[stamp[1] + 7 :], Origin(time_s=stamp[0]), ""


def megatron(segment: bytes, hints: Hints) -> Peeled | None:
    """Take off `24-05-01 22:04:12 - PID:222 - rank:(0, 0, 0, 0) - file.py:39 - INFO - `; none of it is the rank."""
    if segment[17:23] != b" - PID":
        return None
    stamp, found = read_iso(b"20" + segment[:17]), _MEGATRON.match(segment[17:])
    if stamp is None or found is None:
        return None
    end = 17 + found.end()
    return segment[end:], Origin(time_s=stamp[0], level=level_in(segment[17:end])), ""


def hugectr(segment: bytes, hints: Hints) -> Peeled | None:
    """Take off `[HCTR][04:11:25.123][INFO][RK3][main]: `, whose time has no date."""
    found = _HUGECTR.match(segment)
    if found is None:
        return None
    rank = int(found[2])
    return segment[found.end() :], Origin(rank=rank, level=LEVELS.get(found[1])), f"rank{rank}"


def mxnet(segment: bytes, hints: Hints) -> Peeled | None:
    """Take off `[04:11:25] file.cc:12: `, whose time has no date."""
    found = _MXNET.match(segment) if segment[9:10] == b"]" else None
    return (segment[found.end() :], NOTHING, "") if found else None


def elastic_box(segment: bytes, hints: Hints) -> Peeled | None:
    """Read host, rank and time from the box that torchrun prints; nothing is taken off."""
    found = _BOX.match(segment) if segment[12:14] == b": " else None
    if found is None:
        return None
    field, value = found[1][:4], found[2]
    if field == b"host":
        return segment, host_origin(text_of(value)), ""
    if field == b"rank":
        return (segment, rank_origin(int(value)), "") if value.isdigit() and len(value) < 8 else None
    stamp = read_iso(value)
    return (segment, Origin(time_s=stamp[0]), "") if stamp else None


FORMATS: Final = (
    Format("mllog", b":", mllog, zoned=True),
    Format("nemo", b"[", nemo, second=b"N"),
    Format("dllogger", b"D", dllogger),
    Format("megatron", b"2", megatron),
    Format("hugectr", b"[", hugectr, second=b"H"),
    Format("mxnet", b"[", mxnet, second=b"012"),
    Format("elastic", b" ", elastic_box),
)
