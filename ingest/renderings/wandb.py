"""W&B's run files (`run-*.wandb`): what was logged, and W&B's own readings of the machine, as lines.

The file is a log of LevelDB's format with a heading of its own; its records are `Record` messages.
https://github.com/wandb/wandb/blob/main/wandb/proto/wandb_internal.proto
"""

import struct
import zlib
from collections.abc import Iterator
from typing import Final

from ingest.renderings import wire
from ingest.renderings.metric_line import TRAINING, instant, metric_line
from ingest.renderings.naming import Readings
from ingest.renderings.port import Readable, Reading
from ingest.renderings.streams import whole
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

    def awaits(self, head: bytes) -> bool:
        """Tell whether the heading may have begun."""
        return len(head) < len(_HEADING) and _HEADING.startswith(head)

    def render(self, stream: Readable) -> Iterator[bytes]:
        """Yield a line for each step that was logged, and for each reading of a GPU or the host. Raises: Unreadable."""
        return whole(self.begin(stream.label), stream)

    def begin(self, label: str) -> Reading:
        """Begin to read a file."""
        return _Run()


class _Run:
    """The reading of a file: its records, and the host that the run is on. After damage there is nothing more."""

    def __init__(self) -> None:
        self.damage = ""
        self._records = _Records()
        self._host = ""

    def take(self, data: bytes) -> Iterator[bytes]:
        if self.damage:
            return
        try:
            for record in self._records.take(data):
                yield from self._told(record)
        except ValueError as error:
            self.damage = f"damaged: {error}"

    def rest(self) -> Iterator[bytes]:
        return iter(())

    def end(self) -> Iterator[bytes]:
        if self._records.unfinished and not self.damage:
            self.damage = f"damaged: it ends in the middle of a record, at byte {self._records.at}"
        return iter(())

    def _told(self, record: bytes) -> Iterator[bytes]:
        for kind, content in wire.fields(record):
            if not isinstance(content, bytes):
                continue
            if kind == _RUN:
                self._host = wire.text(content, 13)
            elif kind == _HISTORY:
                yield from _history(content)
            elif kind == _STATS:
                yield from _stats(content, self._host)


class _Records:
    """The records of a file, put together from their pieces. `at` is where the next piece begins."""

    def __init__(self) -> None:
        self.at = 0
        self._data = bytearray()
        self._passing = len(_HEADING)
        self._over = False
        self._pieces: list[bytes] = []
        self._size = 0

    @property
    def unfinished(self) -> bool:
        """Tell whether a piece has begun; room that was never written is none."""
        return not self._over and bool(self._data.strip(b"\0"))

    def take(self, data: bytes) -> Iterator[bytes]:
        """Yield the records that are whole now. Raises: ValueError: the file is damaged here."""
        self._data += b"" if self._over else data
        while (piece := self._piece()) is not None:
            kind, content = piece
            if kind in (_FULL, _FIRST):
                self._pieces, self._size = [], 0
            self._size += len(content)
            if self._size <= _RECORD_BYTES:
                self._pieces.append(content)
            if kind in (_FULL, _LAST) and self._size <= _RECORD_BYTES:
                yield b"".join(self._pieces)

    def _piece(self) -> tuple[int, bytes] | None:
        """Return kind and content of the next piece, `None` before it is whole."""
        if not self._passing and (left := _BLOCK_BYTES - self.at % _BLOCK_BYTES) < _CHUNK.size:
            self._passing = left
        self._passing -= self._pass(self._passing)
        if self._passing or len(self._data) < _CHUNK.size:
            return None
        checksum, length, kind = _CHUNK.unpack_from(self._data)
        if not (checksum or length or kind):  # room that was never written
            self._over = True
            self._data.clear()
            return None
        if len(self._data) < _CHUNK.size + length:
            return None
        content = bytes(self._data[_CHUNK.size : _CHUNK.size + length])
        if zlib.crc32(content, zlib.crc32(bytes([kind]))) != checksum:
            raise ValueError(f"the record at byte {self.at} has a wrong checksum")
        self._pass(_CHUNK.size + length)
        return kind, content

    def _pass(self, size: int) -> int:
        """Pass over so many bytes as far as they are there, and return how many that were."""
        passed = min(size, len(self._data))
        del self._data[:passed]
        self.at += passed
        return passed


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
