"""Dead letters: what a stage cannot read is kept whole in `relight.deadletters`, and the stage goes on."""

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
    name = derived_id("refused", stage, record.topic, record.partition, record.offset)
    return Outgoing(DEADLETTERS, encoded(Event(name, cluster, str(record.place), None, data)), record.key)
