"""What Open MPI and UCX put in front of their own diagnostics: host and process id. Nothing is taken off.

Open MPI's `opal_output`; UCX, src/ucs/debug/log.c, also as hpcx builds it.
"""

from typing import Final

from ingest.formats.levels import level_in
from ingest.formats.linear import compiled
from ingest.formats.recogniser import ALNUM, Format, Hints, Peeled, text_of
from ingest.formats.stamps import from_number
from schemas.record import Origin

_HOST: Final = compiled(
    rb"(?:\[(\d{10}\.\d{3,6})\] )?\[([A-Za-z0-9][\w.-]{0,254}):(\d{2,10})(?: {0,8}:[\w-]{1,10}(?::\d{1,10})?)?\] "
)
_UCX_LEVEL: Final = compiled(rb" *[\w.-]{1,64}:\d{1,6} +\w{1,12} +(?:FATAL|ERROR|WARN|DIAG|INFO|DEBUG|TRACE) ")
_NOT_HOSTS: Final = frozenset(b"epoch step iter iteration rank gpu cuda batch layer line frame trial loss".split())


def bracketed(segment: bytes, hints: Hints) -> Peeled | None:
    """Read `[node044:127107] `, `[node:227  :0:227] Caught signal` and `[1714601803.470] [node:227:0]  f.c:12 UCX`."""
    found = _HOST.match(segment) if _may_open(segment) else None
    if found is None or found[2].isdigit() or found[2].lower() in _NOT_HOSTS:
        return None
    rest = segment[found.end() : found.end() + 160]
    level = _UCX_LEVEL.match(rest) if found[1] else None
    host = text_of(found[2])
    origin = Origin(
        host=host,
        time_s=from_number(float(found[1])) if found[1] else None,
        level=level_in(rest[: level.end()]) if level else None,
    )
    return segment, origin, f"{host}:{text_of(found[3])}"


def _may_open(segment: bytes) -> bool:
    """Say cheaply whether a bracket may hold `host:pid`, or a time that such a bracket follows."""
    close = segment.find(b"] ", 4, 280)
    if segment[11:12] == b"." and segment[close + 2 : close + 3] == b"[":
        return True
    return close > 0 and segment[5:6] != b"-" and segment.find(b":", 2, close) > 0


FORMATS: Final = (Format("mpi", b"[", bracketed, second=ALNUM, zoned=True),)
