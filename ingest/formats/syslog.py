"""Lines of syslog daemons and of `journalctl`: RFC 3164, RFC 5424, and the ISO stamps of rsyslog and systemd."""

from functools import lru_cache
from typing import Final

from ingest.formats.levels import SEVERITIES
from ingest.formats.linear import compiled
from ingest.formats.recogniser import ALNUM, Format, Hints, Peeled, text_of
from ingest.formats.stamps import MONTHS, read_iso, read_syslog
from schemas.record import Origin
from schemas.vocabulary import Provenance

_NAME: Final = ALNUM + b"._:-"
_TAG: Final = ALNUM + b"_./@()-"
_FIELDS: Final = compiled(
    rb" (\S{1,255}) (\S{1,48}) (\S{1,128}) \S{1,32} "
    rb'(?:-|(?:\[[^\]"]*(?:"(?:[^"\\]|\\.)*"[^\]"]*)*\])+)(?: (?:\xef\xbb\xbf)?|$)'
)

_DAEMONS: Final = {
    **dict.fromkeys(("slurmd", "slurmctld", "slurmstepd", "kubelet"), Provenance.SCHEDULER),
    **dict.fromkeys(("containerd", "dockerd"), Provenance.CONTAINER),
    "nv-fabricmanager": Provenance.FABRIC,
}


@lru_cache(maxsize=1024)
def provenance_of(tag: str, facility: int | None) -> Provenance:
    """Return who writes under a syslog tag. Where the facility is known, only facility 0 is the kernel's.

    Userspace can write to the kernel's buffer, and log under the tag `kernel`; the facility tells the two apart.
    """
    if tag == "kernel":
        return Provenance.KERNEL if facility in (None, 0) else Provenance.APP
    return _DAEMONS.get(tag.rpartition("/")[2], Provenance.APP)


def rfc3164(segment: bytes, hints: Hints) -> Peeled | None:
    """Take off `Nov 24 03:12:01 gpu-01 kernel: `."""
    stamp = read_syslog(segment, hints.modified_s) if segment[:3] in MONTHS else None
    return _tagged(segment, stamp[1], stamp[0], None, hints) if stamp else None


def iso(segment: bytes, hints: Hints) -> Peeled | None:
    """Take off `2026-11-24T03:12:01.123456+00:00 gpu-01 kernel: `.

    Outside of a syslog a process id or the tag `kernel` must confirm it: `<time> worker ready: ok` is no host.
    """
    if segment[10:11] != b"T":
        return None
    stamp = read_iso(segment)
    if stamp is None or not _zoned(segment[: stamp[1]]):
        return None
    return _tagged(segment, stamp[1], stamp[0], None, hints, sure=hints.syslog)


def _zoned(stamp: bytes) -> bool:
    return stamp[-1:] == b"Z" or b"+" in stamp or stamp.rfind(b"-") > 10


def rfc5424(segment: bytes, hints: Hints) -> Peeled | None:
    """Take off `1 2026-11-24T03:12:01.123Z gpu-01 kernel - - - `, which rsyslog writes to files without `<PRI>`."""
    return _structured(segment, None, hints) if segment[:2] == b"1 " else None


def with_priority(segment: bytes, hints: Hints) -> Peeled | None:
    """Take off `<3>` before either RFC's header. A bare `<3>` is left: anybody may print one."""
    close = segment.find(b">", 1, 5)
    if close < 2 or not segment[1:close].isdigit():
        return None
    priority, rest = int(segment[1:close]), segment[close + 1 :]
    if priority > 191:
        return None
    if rest[:2] == b"1 ":
        return _structured(rest, priority, hints)
    stamp = read_syslog(rest, hints.modified_s) or (read_iso(rest) if rest[:4].isdigit() else None)
    return _tagged(rest, stamp[1], stamp[0], priority, hints) if stamp else None


def _tagged(
    segment: bytes, at: int, time_s: float | None, priority: int | None, hints: Hints, *, sure: bool = True
) -> Peeled | None:
    """Take off a host and a tag that follow a stamp."""
    blank = segment.find(b" ", at + 1, at + 257)
    colon = segment.find(b":", blank, blank + 80)
    if segment[at : at + 1] != b" " or blank < 0 or colon < 0 or segment[colon + 1 : colon + 2] not in (b" ", b""):
        return None
    if segment[blank - 1 : blank] == b":":
        return _without_host(segment, at, blank, time_s, priority, hints)
    host, writer = segment[at + 1 : blank], segment[blank + 1 : colon]
    tag, bracket, process = writer.partition(b"[")
    if not host or not tag or host.strip(_NAME) or tag.strip(_TAG) or (bracket and not process[:-1].isdigit()):
        return None
    if not sure and not bracket and tag != b"kernel":
        return None
    return segment[colon + 2 :], _origin(text_of(host), text_of(tag), time_s, priority, hints), _label(host, writer)


def _without_host(
    segment: bytes, at: int, blank: int, time_s: float | None, priority: int | None, hints: Hints
) -> Peeled | None:
    """Take off a tag that follows a stamp at once, as `journalctl --no-hostname` prints it."""
    writer = segment[at + 1 : blank - 1]
    tag, bracket, process = writer.partition(b"[")
    if not tag or tag.strip(_TAG) or (bracket and not process[:-1].isdigit()) or not (bracket or tag == b"kernel"):
        return None
    return segment[blank + 1 :], _origin("", text_of(tag), time_s, priority, hints), text_of(writer)


def _structured(segment: bytes, priority: int | None, hints: Hints) -> Peeled | None:
    """Take off the header of RFC 5424, its version included; `-` stands for a field that is not told."""
    rest = segment[2:]
    stamp = read_iso(rest) or ((None, 1) if rest[:2] == b"- " else None)
    found = _FIELDS.match(rest[stamp[1] :]) if stamp else None
    if stamp is None or found is None:
        return None
    host, tag, process = found[1], found[2], found[3]
    origin = _origin("" if host == b"-" else text_of(host), text_of(tag), stamp[0], priority, hints)
    return rest[stamp[1] + found.end() :], origin, _label(host, tag if process == b"-" else tag + b"[" + process + b"]")


def _origin(host: str, tag: str, time_s: float | None, priority: int | None, hints: Hints) -> Origin:
    facility = None if priority is None else priority >> 3
    return Origin(
        host=host or None,
        time_s=time_s,
        level=None if priority is None else SEVERITIES[priority & 7],
        provenance=provenance_of(tag, facility) if hints.syslog else Provenance.UNKNOWN,
    )


def _label(host: bytes, tag: bytes) -> str:
    return text_of(host + b" " + tag)


FORMATS: Final = (
    Format("syslog", b"JFMASOND", rfc3164, carries=True, repeats=True),
    Format("syslog", b"12", iso, carries=True, zoned=True, repeats=True),
    Format("syslog", b"1", rfc5424, carries=True, zoned=True, repeats=True),
    Format("syslog", b"<", with_priority, carries=True, repeats=True),
)
