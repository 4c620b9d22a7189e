"""Lines that are JSON records: journald's export, and what loggers and shippers write (message, time, level, host).

journald: systemd.journal-fields(7), and as Fluent Bit and Vector pass it on. The others have no common specification;
the keys are those of ECS, Bunyan, structlog, python-json-logger, zap, Filebeat, Fluent Bit, rsyslog and Vector.
"""

from collections.abc import Mapping
from typing import Any, Final

import orjson

from ingest.formats.kubernetes import about, job_of, node_of
from ingest.formats.levels import LEVELS, SEVERITIES
from ingest.formats.plain import without_escapes
from ingest.formats.recogniser import Format, Hints, Peeled
from ingest.formats.stamps import from_number, read_iso
from ingest.formats.syslog import provenance_of
from schemas.record import Origin
from schemas.vocabulary import Provenance

_MESSAGES: Final = ("message", "msg", "MESSAGE", "log", "event", "text")
_TIMES: Final = (
    "time",
    "ts",
    "timestamp",
    "@timestamp",
    "timereported",
    "asctime",
    "datetime",
    "date",
    "lastTimestamp",
    "eventTime",
)
_JOURNAL_TIMES: Final = ("_SOURCE_REALTIME_TIMESTAMP", "__REALTIME_TIMESTAMP")
_LEVELS: Final = ("level", "severity", "levelname", "log.level", "lvl", "syslogseverity")
_HOSTS: Final = ("host", "hostname", "host.name", "node", "_HOSTNAME")
_NODES: Final = ("host", "pod_node_name")
"""Where Fluent Bit and Vector write a pod's node. Filebeat writes `node.name`."""

Record = Mapping[str, Any]
"""The values of a JSON object that anybody may have written."""


def record(segment: bytes, hints: Hints) -> Peeled | None:
    """Take the message out of a JSON object; an object without one stays as it is, and only tells its origin."""
    fields = parsed(segment)
    if fields is None:
        return None
    if is_journal(fields):
        return _journal(segment, fields, hints)
    return _logger(segment, fields, hints)


def parsed(segment: bytes) -> Record | None:
    """Return the JSON object that a segment is, or `None`."""
    if segment.rstrip()[-1:] != b"}":
        return None
    try:
        value = orjson.loads(segment)
    except orjson.JSONDecodeError:
        return None if segment.isascii() else _mended(segment)
    return value if isinstance(value, dict) else None


def _mended(segment: bytes) -> Record | None:
    """Return a JSON object in which not all is UTF-8, as rsyslog and others pass on what a program printed."""
    try:
        value = orjson.loads(segment.decode("utf-8", "replace"))
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def message_of(fields: Record) -> bytes | None:
    """Return the message of a record, `None` where it has none that is text."""
    key = _key(fields)
    return None if key is None else _message(fields[key], b"")


def time_of(fields: Record) -> float | None:
    """Return the time that a record tells, in Unix seconds."""
    for key in _TIMES:
        if key in fields and (time_s := _time(fields[key])) is not None:
            return time_s
    return None


def journal_time_of(fields: Record) -> float | None:
    """Return the time that an entry of the journal tells: its source's, else its own, else what a shipper wrote."""
    told = (_time(fields.get(key)) for key in _JOURNAL_TIMES)
    return next((time_s for time_s in told if time_s is not None), time_of(fields))


def host_of(fields: Record) -> str | None:
    """Return the host that a record tells. A pod's node has the first word: a shipper's own pod has a host name too."""
    if (subject := about(fields)) is not None:
        return node_of(fields, subject)
    pod = fields.get("kubernetes")
    if isinstance(pod, dict) and (node := _text(pod, *_NODES) or nested_text(pod, "node", "name")):
        return node
    host = fields.get("host")
    return _text(host, "name", "hostname") if isinstance(host, dict) else _text(fields, *_HOSTS)


def nested_text(fields: Record, *path: str) -> str | None:
    """Return the text at a path of a record, `None` if there is none."""
    value: object = fields
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, str) and value else None


def rank_of(fields: Record) -> int | None:
    """Return the global rank that a record tells. A local rank is none: every host has one of each."""
    for key in ("rank", "global_rank"):
        value = fields.get(key)
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 8:
            return int(value)
        if type(value) is int and 0 <= value < 10_000_000:
            return value
    return None


def is_journal(fields: Record) -> bool:
    """Tell whether a record is an entry of systemd's journal."""
    return "__REALTIME_TIMESTAMP" in fields or "_BOOT_ID" in fields


def _journal(segment: bytes, fields: Record, hints: Hints) -> Peeled:
    tag, process = _text(fields, "SYSLOG_IDENTIFIER", "_COMM"), _text(fields, "_PID")
    origin = Origin(
        host=_text(fields, "_HOSTNAME", "host"),
        time_s=journal_time_of(fields),
        level=_level(fields.get("PRIORITY")),
        provenance=_journal_provenance(fields, tag) if hints.journal else Provenance.UNKNOWN,
    )
    message = _message(fields.get("MESSAGE", fields.get("message")), segment)
    return message, origin, f"{tag}[{process}]" if process else tag or ""


def _journal_provenance(fields: Record, tag: str | None) -> Provenance:
    """Return who wrote a journal entry. Userspace may write to /dev/kmsg, which the kernel marks with facility 1."""
    if fields.get("_TRANSPORT") == "kernel":
        return Provenance.KERNEL if fields.get("SYSLOG_FACILITY") == "0" else Provenance.APP
    return Provenance.APP if tag in (None, "kernel") else provenance_of(str(tag), None)


def _logger(segment: bytes, fields: Record, hints: Hints) -> Peeled | None:
    key, time_s = _key(fields), time_of(fields)
    level = next((level for key in _LEVELS if (level := _level(fields.get(key))) is not None), None)
    level = level or _level(nested_text(fields, "log", "level"))
    if not (hints.json or time_s is not None or level is not None or key in ("message", "msg")):
        return None
    host, rank, subject = host_of(fields), rank_of(fields), about(fields)
    job = job_of(subject) if subject is not None else None
    message = segment if key is None else _message(fields[key], segment)
    if message[:1] == b" " and str(fields.get("syslogtag")).endswith(":"):
        message = message[1:]  # rsyslog counts the blank behind a tag's colon to the message
    label = f"rank{rank}" if rank is not None else host or ""
    return message, Origin(host=host, rank=rank, job=job, time_s=time_s, level=level), label


def _key(fields: Record) -> str | None:
    """Return the key of the message."""
    return next((key for key in _MESSAGES if isinstance(fields.get(key), str)), None)


def _message(value: object, segment: bytes) -> bytes:
    """Return a message that is a text, or an array of the values of its bytes; anything else leaves the segment."""
    if isinstance(value, str):
        raw = value.encode()
    elif isinstance(value, list) and all(type(byte) is int and 0 <= byte < 256 for byte in value):
        raw = bytes(value)
    else:
        return segment
    return without_escapes(raw.rstrip(b"\r\n"))


def _text(fields: Record, *keys: str) -> str | None:
    return next((value for key in keys if isinstance(value := fields.get(key), str) and value), None)


def _level(value: object) -> str | None:
    """Return the level that a word, a severity of syslog (0-7) or a level number of Python (10, 20, ..) names."""
    if isinstance(value, str):
        if value[:1].isdigit() and value in "01234567" and len(value) == 1:
            return SEVERITIES[int(value)]
        return LEVELS.get(value.lower().encode())
    if type(value) is int:
        return {10: "debug", 20: "info", 30: "warning", 40: "error", 50: "critical"}.get(value)
    return None


def _time(value: object) -> float | None:
    """Return the time that a number (s, ms, us, ns) or a stamp tells, as text or not."""
    if isinstance(value, str):
        raw = value.encode()
        if raw.isdigit() and len(raw) < 20:
            return from_number(int(raw))
        stamp = read_iso(raw)
        return stamp[0] if stamp else None
    return from_number(value) if type(value) in (int, float) else None  # type: ignore[arg-type]  # type() excludes bool


FORMATS: Final = (Format("record", b"{", record, carries=True, zoned=True, repeats=True),)
