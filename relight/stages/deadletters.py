"""Dead letters: what a stage cannot read is kept whole in `relight.deadletters`, and the stage goes on."""

import hashlib
import time
from typing import Final

from relight.topics import DEADLETTERS
from relight.transports.port import Outgoing, Record
from schemas.deadletter import RecordRefused
from schemas.events import Event, encoded
from schemas.signal import derived_id

KEPT_BYTES: Final = 2 * 1024 * 1024 - 64 * 1024
"""So much of a record fits a letter, as base64; of one that is larger the rest is found where it came from."""

_REASON: Final = 1000


def cluster_of(record: Record) -> str:
    """Return the cluster that a record's key names, where what is in it cannot be read."""
    return (record.key or b"unknown").decode("utf-8", "replace")


def refused(stage: str, cluster: str, record: Record, reason: str) -> Outgoing:
    """Return the dead letter of a record. Its id follows from where the record was: it is the same when read again."""
    name = derived_id("refused", stage, record.topic, record.partition, record.offset)
    return _letter(name, stage, cluster, record, reason)


def turned_away(stage: str, cluster: str, origin: str, content: bytes | None, reason: str) -> Outgoing:
    """Return the dead letter of what never became a record: `content`, or its beginning, that came from `origin`.

    Its id follows from all these: what comes again is the same letter.
    """
    name = derived_id("refused", stage, cluster, origin, hashlib.sha256(content or b"").hexdigest(), reason)
    return _letter(name, stage, cluster, Record(origin, 0, 0, origin.encode(), content, (), 0), reason)


def _letter(name: str, stage: str, cluster: str, record: Record, reason: str) -> Outgoing:
    value, reason = record.value, reason[:_REASON]
    headers = record.headers if sum(len(v) for _, v in record.headers) < KEPT_BYTES // 4 else ()
    room = KEPT_BYTES * 3 // 4 - len(record.key or b"")
    if value is not None and len(value) > room:
        value, reason = value[:room], f"{reason} (of {len(value)} bytes, the first {room} are kept here)"
    data = RecordRefused(
        stage=stage,
        reason=reason,
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        key=record.key,
        value=value,
        headers=headers,
        refused_ms=int(time.time() * 1000),
    )
    return Outgoing(DEADLETTERS, encoded(Event(name, cluster, str(record.place), None, data)), record.key)
