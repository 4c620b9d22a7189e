"""The header of OpenSM, the subnet manager of InfiniBand: `Nov 24 03:12:01 123456 [7F3C2100] 0x02 -> `.

linux-rdma/opensm, opensm/osm_log.c. The number behind the time of day counts microseconds.
"""

from typing import Final

from ingest.formats.linear import compiled
from ingest.formats.recogniser import Format, Hints, Peeled
from ingest.formats.stamps import MONTHS, read_syslog
from schemas.record import Origin

_REST: Final = compiled(rb" (\d{6}) \[[0-9A-Fa-f]{1,16}\] 0x[0-9A-Fa-f]{2} -> ")


def header(segment: bytes, hints: Hints) -> Peeled | None:
    """Take off the time, the thread and the level, a bit mask that says nothing of how bad it is."""
    stamp = read_syslog(segment, hints.modified_s) if segment[:3] in MONTHS else None
    found = _REST.match(segment[stamp[1] : stamp[1] + 64]) if stamp else None
    if stamp is None or found is None:
        return None
    time_s = None if stamp[0] is None else stamp[0] + int(found[1]) / 1e6
    return segment[stamp[1] + found.end() :], Origin(time_s=time_s), ""


FORMATS: Final = (Format("opensm", b"JFMASOND", header),)
