"""Log files as the records of a shipper: chunks in any cuts, of many sources in any order, and heartbeats."""

import random
from collections.abc import Iterable, Iterator
from pathlib import Path

from ingest.names import origin_of
from relight.topics import LOGS
from relight.transports.port import Outgoing, Record
from schemas.shipped import Shipped

NOW_MS = 1_800_000_000_000
"""When the shipper reads: long after the lines were written."""


def chunks(path: Path, root: Path, cluster: str, dice: random.Random) -> Iterator[Outgoing]:
    """Yield a file as chunks of whole lines, with a heartbeat at its end and one an hour later."""
    data, at, line = path.read_bytes(), 0, 1
    host = origin_of(path.relative_to(root).parts).host or "login01"
    while at < len(data):
        end = data.rfind(b"\n", at, at + dice.choice([300, 2000, 20_000, 64_000])) + 1
        end = end if end > at else data.find(b"\n", at) + 1 or len(data)
        yield _record(path, host, cluster, at, line, data[at:end])
        line += data.count(b"\n", at, end)
        at = end
    for later_ms in (0, 3_600_000):
        yield _record(path, host, cluster, at, line, b"", later_ms)


def _record(path: Path, host: str, cluster: str, at: int, line: int, value: bytes, later_ms: int = 0) -> Outgoing:
    shipped = Shipped(
        cluster=cluster,
        host=host,
        stream=str(path),
        generation="1",
        offset_bytes=at,
        line=line,
        observed_ms=NOW_MS + later_ms,
        at_end=not value,
    )
    return Outgoing(LOGS, value, shipped.key, shipped.headers())


def interleaved(root: Path, cluster: str, seed: int) -> list[Outgoing]:
    """Return the records of all files below a folder, as shippers of many hosts send them: each file in its order."""
    dice = random.Random(seed)
    files = sorted(path for path in root.rglob("*") if path.is_file())
    waiting = [list(chunks(path, root, cluster, dice)) for path in files]
    beats = [own.pop() for own in waiting]
    found: list[Outgoing] = []
    while waiting := [own for own in waiting if own]:
        found.append(dice.choice(waiting).pop(0))
    return found + beats


def beats(records: Iterable[Outgoing], later_ms: int) -> list[Outgoing]:
    """Return a heartbeat of every source that has sent all its lines, so much later than the last line was read."""
    ends: dict[bytes | None, Shipped] = {}
    for record in records:
        shipped = Shipped.from_headers(record.headers)
        assert shipped is not None
        ends[record.key] = shipped
    later = (end.model_copy(update={"observed_ms": NOW_MS + later_ms}) for end in ends.values())
    return [Outgoing(LOGS, b"", shipped.key, shipped.headers()) for shipped in later]


def as_read(outgoing: Iterable[Outgoing]) -> Iterator[Record]:
    """Yield records as they would be read from one partition."""
    for offset, one in enumerate(outgoing):
        yield Record(one.topic, 0, offset, one.key, one.value, one.headers, NOW_MS)
