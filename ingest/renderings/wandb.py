"""W&B's run files (`run-*.wandb`): what was logged, and W&B's own readings of the machine, as lines.

The file is a log of LevelDB's format with a heading of its own; its records are `Record` messages.
https://github.com/wandb/wandb/blob/main/wandb/proto/wandb_internal.proto
"""

import struct
import zlib
from collections.abc import Iterator
from typing import Final

from ingest.errors import Unreadable
from ingest.renderings import wire
from ingest.renderings.metric_line import TRAINING, instant, metric_line
from ingest.renderings.naming import Readings
from ingest.renderings.port import Readable
from ingest.renderings.streams import exactly
from schemas.metrics import number

_HEADING: Final = b":W&B\xe1\xbe\x00"
_CHUNK: Final = struct.Struct("<IHB")
_BLOCK_BYTES: Final = 32 * 1024
_RECORD_BYTES: Final = 16 << 20
"""A larger record is no history item; its pieces are passed over."""

_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4
_HISTORY, _STATS, _RUN = 2, 7, 17


class WandbRun:
    """Renders `run-*.wandb`."""

    def recognises(self, name: str, head: bytes) -> bool:
        """Tell whether a file has W&B's heading."""
        return head.startswith(_HEADING)

    def render(self, stream: Readable) -> Iterator[bytes]:
        """Yield a line for each step that was logged, and for each reading of a GPU or the host. Raises: Unreadable."""
        host = ""
        try:
            for record in _records(stream):
                for kind, content in wire.fields(record):
                    if not isinstance(content, bytes):
                        continue
                    if kind == _RUN:
                        host = wire.text(content, 13)
                    elif kind == _HISTORY:
                        yield from _history(content)
                    elif kind == _STATS:
                        yield from _stats(content, host)
        except ValueError as error:
            raise Unreadable(stream.label, f"damaged: {error}") from error


def _records(stream: Readable) -> Iterator[bytes]:
    """Yield the records of a file, put together from their pieces.

    Raises:
        ValueError: The file is damaged here.
        Unreadable: It cannot be read.
    """
    at = len(exactly(stream, len(_HEADING)))
    pieces: list[bytes] = []
    size = 0
    while True:
        if (left := _BLOCK_BYTES - at % _BLOCK_BYTES) < _CHUNK.size:
            at += len(exactly(stream, left))
        header = exactly(stream, _CHUNK.size)
        if not header.strip(b"\0"):
            return  # the end, or room that was never written
        if len(header) < _CHUNK.size:
            raise ValueError(f"it ends in the middle of a record, at byte {at}")
        checksum, length, kind = _CHUNK.unpack(header)
        data = exactly(stream, length)
        if len(data) < length:
            raise ValueError(f"it ends in the middle of a record, at byte {at}")
        if zlib.crc32(data, zlib.crc32(bytes([kind]))) != checksum:
            raise ValueError(f"the record at byte {at} has a wrong checksum")
        at += _CHUNK.size + length
        if kind in (_FULL, _FIRST):
            pieces, size = [], 0
        size += length
        if size <= _RECORD_BYTES:
            pieces.append(data)
        if kind in (_FULL, _LAST) and size <= _RECORD_BYTES:
            yield b"".join(pieces)


def _history(record: bytes) -> Iterator[bytes]:
    readings, labels, time_s = Readings(TRAINING), {}, None
    for item in wire.parts(record, 1):
        name, value = _key(item), _number(item)
        if value is None or name in ("_runtime", "_wandb"):
            continue
        if name == "_timestamp":
            time_s = value
        elif name == "_step":
            labels["step"] = str(int(value))
        elif name.rpartition("/")[2] == "epoch":
            labels["epoch"] = str(value)
        else:
            readings.add(name, value, others=True)
    if "step" not in labels and (step := wire.part(record, 2)):
        labels["step"] = next((str(v) for n, v in wire.fields(step) if n == 1 and isinstance(v, int)), "")
    if readings:
        yield metric_line(TRAINING, labels, readings.pairs(), instant(time_s))


def _stats(record: bytes, host: str) -> Iterator[bytes]:
    """Yield one line for each GPU, and one for the host."""
    things: dict[str, Readings] = {}
    for item in wire.parts(record, 3):
        name, value = wire.text(item, 1), number(wire.text(item, 16))
        gpu = ""
        if name.startswith("gpu.") and (index := name.split(".", 2)[1]).isdecimal() and len(index) < 4:
            gpu, name = index, "gpu." + name.split(".", 2)[2]
        things.setdefault(gpu, Readings("wandb_system")).add(name, value)
    stamp = {n: v for n, v in wire.fields(wire.part(record, 2)) if isinstance(v, int)}
    time = instant(stamp.get(1, 0) + stamp.get(2, 0) / 1e9)
    for gpu in sorted(things):
        if things[gpu]:
            of = "gpu" if gpu else "host"
            yield metric_line(of, {"host": host, "gpu": gpu}, things[gpu].pairs(), time)


def _key(item: bytes) -> str:
    """Return an item's name; one within an object is named by its path."""
    nested = [part.decode("utf-8", "replace") for part in wire.parts(item, 2)]
    return ".".join(nested) if nested else wire.text(item, 1)


def _number(item: bytes) -> float | None:
    """Return the number of an item, `None` if it is something else."""
    for field, value in wire.fields(item):
        if field == 5 and isinstance(value, int):
            return float(wire.zigzag(value))
        if field == 6:
            return wire.double(value)
        if field == 16 and isinstance(value, bytes):
            return number(value[:100].decode("utf-8", "replace").strip('"'))
    return None
