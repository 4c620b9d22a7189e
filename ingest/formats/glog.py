"""The header of glog, Kubernetes' klog, absl and PyTorch's c10 logging: `E1016 03:33:45.123456 1234 file:12] `.

glog: google/glog, "Log Line Prefix". PyTorch writes it in brackets (C++) and bare (Python), with and without a time.
"""

from typing import Final

from ingest.formats.levels import LETTERS, level_origin
from ingest.formats.linear import compiled
from ingest.formats.recogniser import Format, Hints, Peeled, rank_origin
from ingest.formats.stamps import clock_s, fraction, midnight_s, without_year
from schemas.record import Origin

_UNTIMED: Final = compiled(rb"\[[VDIWEFC] [^\s\]:]{1,200}:\d{1,7}\] ?")
_RANK: Final = compiled(rb"\[(?:PG [^\]]{0,120} )?Rank (\d{1,7})\] ")


def header(segment: bytes, hints: Hints) -> Peeled | None:
    """Take off `E1016 03:33:45.123456    1234 file.go:12] `."""
    return _header(segment, 0, hints)


def bracketed(segment: bytes, hints: Hints) -> Peeled | None:
    """Take off `[E1016 03:33:45.123456789 ProcessGroupNCCL.cpp:607] ` and `[E ProcessGroupNCCL.cpp:475] `."""
    if segment[2:3] != b" ":
        return _header(segment, 1, hints)
    found = _UNTIMED.match(segment)
    return (segment[found.end() :], level_origin(LETTERS[segment[1]]), "") if found else None


def _header(segment: bytes, at: int, hints: Hints) -> Peeled | None:
    """Take off a header that begins with its letter at a place of the segment.

    Newer glog puts the year first, and c10 writes the month without a leading zero: `E20240516`, `E0516`, `E516`.
    """
    digits = segment[at + 1 : at + 10].find(b" ")
    if digits not in (3, 4, 8):
        return None
    day, start = segment[at + 1 : at + 1 + digits], at + 2 + digits
    if segment[start - 1 : start] != b" " or segment[start + 2 : start + 3] != b":" or not day.isdigit():
        return None
    clock = clock_s(segment[start : start + 8])
    if clock is None:
        return None
    part, end = fraction(segment, start + 8)
    close = segment.find(b"]", end, end + 256)
    if close < 0 or not _is_place(segment[end:close].split()):
        return None
    month, month_day, time_s = int(day[-4:-2]), int(day[-2:]), clock + part
    if digits < 8:
        time = without_year(month, month_day, time_s, hints.modified_s)
    else:
        midnight = midnight_s(int(day[:4]), month, month_day)
        time = None if midnight is None else midnight + time_s
    rest = segment[close + 1 :]
    return rest[1:] if rest[:1] == b" " else rest, Origin(time_s=time, level=LETTERS[segment[at]]), ""


def _is_place(words: list[bytes]) -> bool:
    """Say whether words are a file with a line, and in front of it at most a thread."""
    if not words or len(words) > 2 or (len(words) == 2 and not words[0].isdigit()):
        return False
    file, _, line = words[-1].rpartition(b":")
    return bool(file) and line.isdigit()


def watchdog(segment: bytes, hints: Hints) -> Peeled | None:
    """Read the rank of `[Rank 3] Watchdog caught ...` and `[PG 0 Rank 3] ...`; nothing is taken off."""
    found = _RANK.match(segment[:160])
    return (segment, rank_origin(int(found[1])), f"rank{int(found[1])}") if found else None


FORMATS: Final = (
    Format("glog", b"VDIWEFC", header),
    Format("glog", b"[", bracketed, second=b"VDIWEFC"),
    Format("watchdog", b"[", watchdog, second=b"RP"),
)
