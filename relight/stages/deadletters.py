"""Dead letters: what a stage cannot read is kept whole in `relight.deadletters`, and the stage goes on."""

import time

from relight.topics import DEADLETTERS
from relight.transports.port import Outgoing, Record
from schemas.deadletter import RecordRefused
from schemas.events import Event, encoded
from schemas.signal import derived_id


def refused(stage: str, cluster: str, record: Record, reason: str) -> Outgoing:
    """Return the dead letter of a record. Its id follows from where the record was: it is the same when read again."""
    data = RecordRefused(
        stage=stage,
        reason=reason,
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        key=record.key,
        value=record.value,
        headers=record.headers,
        refused_ms=int(time.time() * 1000),
    )
    name = derived_id("refused", stage, record.topic, record.partition, record.offset)
    return Outgoing(DEADLETTERS, encoded(Event(name, cluster, str(record.place), None, data)), record.key)
