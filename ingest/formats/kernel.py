"""The kernel's ring buffer as dmesg(1) of util-linux prints it: since boot, with `-T`, with `-x`, and raw.

Any program can print brackets, so these formats vouch for the kernel only in a source that is a dmesg as a whole.
"""

from typing import Final

from ingest.formats.levels import LEVELS, SEVERITIES
from ingest.formats.linear import compiled
from ingest.formats.recogniser import Format, Hints, Peeled
from ingest.formats.stamps import MONTHS, clock_s, midnight_s
from schemas.record import Origin
from schemas.vocabulary import Provenance

_CALLER: Final = compiled(rb"\[ {0,5}[TC]\d{1,7}\]")
_FACILITY: Final = compiled(
    rb"(kern|user|mail|daemon|auth|syslog|lpr|news|uucp|cron|authpriv|ftp|local[0-7]) *"
    rb":(emerg|alert|crit|err|warn|notice|info|debug) *: "
)
_EPOCH_S: Final = 1_000_000_000
"""No machine is up for thirty years: more seconds than these are a Unix time, which UCX writes in the same way."""
_DAYS: Final = frozenset(b"Mon Tue Wed Thu Fri Sat Sun".split())


def since_boot(segment: bytes, hints: Hints) -> Peeled | None:
    """Take off `[12345.678901] `, also with the caller that CONFIG_PRINTK_CALLER adds (`[    T1]`)."""
    close = segment.find(b"]", 8, 24)
    seconds, dot, micros = segment[1:close].rpartition(b".")
    if close < 0 or segment[:1] != b"[" or len(micros) != 6 or not seconds.lstrip(b" ").isdigit():
        return None
    if len(seconds) > 12 or int(seconds) >= _EPOCH_S or not micros.isdigit():
        return None
    rest = segment[close + 1 :]
    caller = _CALLER.match(rest) if rest[:1] == b"[" else None
    rest = rest[caller.end() :] if caller else rest
    origin = Origin(clock_s=float(seconds + dot + micros), provenance=_vouched(hints))
    return (rest[1:], origin, "") if rest[:1] in (b" ", b"") else None


def dated(segment: bytes, hints: Hints) -> Peeled | None:
    """Take off `[Mon Nov 24 03:12:01 2026] `, which `dmesg -T` writes."""
    month = MONTHS.get(segment[5:8])
    day, year = segment[9:11].lstrip(), segment[21:25]
    if segment[25:26] != b"]" or month is None or segment[1:4] not in _DAYS or not (day + year).isdigit():
        return None
    midnight, clock = midnight_s(int(year), month, int(day)) if day else None, clock_s(segment[12:20])
    if midnight is None or clock is None:
        return None
    rest = segment[27:] if segment[26:27] == b" " else segment[26:]
    return rest, Origin(time_s=float(midnight + clock), provenance=_vouched(hints)), ""


def decoded(segment: bytes, hints: Hints) -> Peeled | None:
    """Take off `kern  :err   : [12345.678901] `, which `dmesg -x` writes; other facilities are not the kernel's."""
    found = _FACILITY.match(segment) if segment.find(b":", 3, 9) > 0 else None
    if found is None:
        return None
    rest = segment[found.end() :]
    inner = since_boot(rest, hints) or dated(rest, hints)
    if inner is None:
        return None
    return inner[0], _told(inner[1], LEVELS[found[2]], found[1] == b"kern", hints), ""


def raw(segment: bytes, hints: Hints) -> Peeled | None:
    """Take off `<3>[12345.678901] `, which `dmesg -r` and serial consoles write; the facility is in the number."""
    close = segment.find(b">", 1, 5)
    number = segment[1:close] if close > 1 else b""
    inner = since_boot(segment[close + 1 :], hints) if number.isdigit() and int(number) < 192 else None
    if inner is None:
        return None
    return inner[0], _told(inner[1], SEVERITIES[int(number) & 7], int(number) < 8, hints), ""


def _told(origin: Origin, level: str, kernel: bool, hints: Hints) -> Origin:
    provenance = _vouched(hints) if kernel else Provenance.APP if hints.kernel else Provenance.UNKNOWN
    return Origin(time_s=origin.time_s, clock_s=origin.clock_s, level=level, provenance=provenance)


def _vouched(hints: Hints) -> Provenance:
    return Provenance.KERNEL if hints.kernel else Provenance.UNKNOWN


FORMATS: Final = (
    Format("kernel", b"[", since_boot, second=b" 0123456789", carries=True),
    Format("kernel", b"[", dated, second=b"MTWFS", carries=True),
    Format("kernel", b"kumdaslnucf", decoded, carries=True),
    Format("kernel", b"<", raw, carries=True),
)
