"""Snapshots in `relight.snapshots`: a stage's state, written in the transaction of what it covers, and read back.

A state is compressed and cut into parts that fit a record. Parts of one snapshot follow each other in their partition;
what a newer and shorter one leaves of an older one is not taken for a part of it.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import orjson
import zstandard

from relight.topics import SNAPSHOTS
from relight.transports.port import EventLog, Outgoing, Partition, Record
from relight.transports.reading import batches
from schemas.events import Event, NotAnEvent, decoded, encoded
from schemas.signal import derived_id
from schemas.snapshot import SnapshotPart

PART_BYTES: Final = 384 * 1024
_READ: Final = 200
_LEVEL: Final = 1


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A state of `version` under a key; `covers` is the offset of the first record of the input that is not in it."""

    stage: str
    key: str
    version: int
    covers: int
    state: Any


def written(snapshot: Snapshot, cluster: str, partition: int) -> Iterator[Outgoing]:
    """Yield the records that hold a snapshot."""
    body = zstandard.compress(orjson.dumps(snapshot.state), _LEVEL)
    pieces = [body[at : at + PART_BYTES] for at in range(0, len(body), PART_BYTES)]
    for number, piece in enumerate(pieces):
        data = SnapshotPart(
            stage=snapshot.stage,
            key=snapshot.key,
            version=snapshot.version,
            covers=snapshot.covers,
            part=number,
            parts=len(pieces),
            body=piece,
        )
        name = derived_id("snapshot", cluster, partition, snapshot.stage, snapshot.key, snapshot.covers, number)
        event = Event(name, cluster, f"{snapshot.stage}/{snapshot.key}", None, data)
        yield Outgoing(SNAPSHOTS, encoded(event), _key(snapshot.stage, snapshot.key, number), partition=partition)


def forgotten(stage: str, key: str, partition: int) -> Outgoing:
    """Return the record that deletes a snapshot."""
    return Outgoing(SNAPSHOTS, None, _key(stage, key, 0), partition=partition)


def newest(log: EventLog, stage: str, partition: int, version: int) -> dict[str, Snapshot]:
    """Return the newest whole snapshot of each of a stage's keys in a partition; those of other versions are left out.

    Raises:
        LogError: the partition cannot be read.
    """
    parts: dict[str, list[SnapshotPart]] = defaultdict(list)
    found: dict[str, Snapshot] = {}
    kept = batches(log, Partition(SNAPSHOTS, partition), size=_READ)
    for record in (record for batch in kept for record in batch):
        own, key, number = _named(record.key or b"")
        if own != stage:
            continue
        if record.value is None:
            found.pop(key, None)
            parts.pop(key, None)
        if (part := _part(record)) is None:
            continue
        if number == 0:
            parts[key] = []
        if len(parts[key]) == number:
            parts[key].append(part)
        if len(parts[key]) == part.parts and part.version == version:
            body = b"".join(one.body for one in parts.pop(key))
            found[key] = Snapshot(stage, key, version, part.covers, orjson.loads(zstandard.decompress(body)))
    return found


def _part(record: Record) -> SnapshotPart | None:
    """Return the part that a record holds, `None` where it holds none."""
    try:
        data = decoded(record.value).data if record.value is not None else None
    except NotAnEvent:
        return None
    return data if isinstance(data, SnapshotPart) else None


def _key(stage: str, key: str, number: int) -> bytes:
    return f"{stage}\0{key}\0{number}".encode()


def _named(key: bytes) -> tuple[str, str, int]:
    stage, _, rest = key.decode("utf-8", "replace").partition("\0")
    name, _, number = rest.rpartition("\0")
    return stage, name, int(number) if number.isdigit() else 0
