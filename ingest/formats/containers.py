"""What container runtimes write around a container's output: the CRI log format of Kubernetes, Docker's json-file.

CRI: kubernetes/community, contributors/design-proposals/node/kubelet-cri-logging.md. Docker: the json-file driver.
"""

from typing import Final

from ingest.formats.plain import without_escapes
from ingest.formats.recogniser import Format, Hints, Peeled
from ingest.formats.records import parsed
from ingest.formats.stamps import read_iso
from schemas.record import Origin

_STREAMS: Final = (b" stdout ", b" stderr ")


def cri(segment: bytes, hints: Hints) -> Peeled | None:
    """Take off `2024-05-01T03:33:45.123456789Z stderr F `."""
    if segment[10:11] != b"T" or b" std" not in segment[19:45]:
        return None
    stamp = read_iso(segment)
    if stamp is None or segment[stamp[1] : stamp[1] + 8] not in _STREAMS:
        return None
    tags, _, rest = segment[stamp[1] + 8 :].partition(b" ")
    if tags[:1] not in (b"F", b"P") or len(tags) > 64:
        return None
    return rest, Origin(time_s=stamp[0]), ""


def json_file(segment: bytes, hints: Hints) -> Peeled | None:
    """Take the line out of `{"log":"...","stream":"stderr","time":"2024-05-01T03:33:45.123456789Z"}`."""
    if segment[:7] != b'{"log":':
        return None
    fields = parsed(segment)
    if fields is None or not {"log", "stream", "time"} <= fields.keys():
        return None
    log, time = fields["log"], fields["time"]
    if not isinstance(log, str) or not isinstance(time, str):
        return None
    stamp = read_iso(time.encode())
    return without_escapes(log.encode().rstrip(b"\r\n")), Origin(time_s=stamp[0] if stamp else None), ""


FORMATS: Final = (
    Format("cri", b"12", cri, zoned=True),
    Format("docker", b"{", json_file, zoned=True),
)
