"""Reading what a log holds from end to end: a partition or a topic, a few records at a time."""

from collections.abc import Iterator
from typing import Final

from relight.transports.port import EventLog, Partition, Record

_BATCH: Final = 500


def batches(
    log: EventLog, partition: Partition, begin: int | None = None, end: int | None = None, size: int = _BATCH
) -> Iterator[list[Record]]:
    """Yield the records of a partition from an offset to another, both its own if not given, up to `size` at a time.

    Raises: LogError.
    """
    if begin is None or end is None:
        span = log.spans(partition.topic)[partition.number]
        begin, end = span.begin if begin is None else begin, span.end if end is None else end
    while begin < end and (found := log.read(partition, begin, size)):
        yield [record for record in found if record.offset < end]
        begin = found[-1].offset + 1


def records(log: EventLog, topic: str, size: int = _BATCH) -> Iterator[Record]:
    """Yield all records that a topic holds now, partition by partition. Raises: LogError."""
    for number, span in sorted(log.spans(topic).items()):
        for found in batches(log, Partition(topic, number), span.begin, span.end, size):
            yield from found
