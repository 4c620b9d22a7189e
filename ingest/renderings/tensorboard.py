"""TensorBoard's event files: the scalars of TF1 and TF2 as lines. Images, histograms and graphs are passed over.

https://github.com/tensorflow/tensorboard/blob/master/tensorboard/compat/proto/event.proto
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

import crc32c

from ingest.renderings import wire
from ingest.renderings.metric_line import PAIRS, TRAINING, instant, metric_line
from ingest.renderings.naming import Readings
from ingest.renderings.port import Readable, Reading
from ingest.renderings.streams import whole

_HEADER: Final = struct.Struct("<QI")
_VERSION: Final = b"brain.Event:"
_EVENT_BYTES: Final = 1 << 20
"""A larger event holds an image or a graph: scalars are small."""

_MASK: Final = 0xA282EAD8
_TYPES: Final = {1: "<f", 2: "<d", 3: "<i", 4: "<B", 9: "<q", 19: "<e"}
"""The numbers of TensorFlow's `DataType` with their layouts."""

_LISTS: Final = {5: "<f", 6: "<d"}
"""The packed fields of a `TensorProto` that hold floating-point numbers."""

_VARINTS: Final = frozenset({7, 10})


class TensorBoard:
    """Renders `events.out.tfevents.*`."""

    def recognises(self, name: str, head: bytes) -> bool:
        """Tell whether a file begins with a framed event that says which version of events follows."""
        if len(head) < _HEADER.size:
            return False
        length, checksum = _HEADER.unpack_from(head)
        return length < 256 and checksum == masked(head[:8]) and _VERSION in head[12 : 12 + length]

    def awaits(self, head: bytes) -> bool:
        """Tell whether the first event may have begun and not ended."""
        return head[1:8] == bytes(7)[: len(head) - 1] and len(head) < _HEADER.size + 256

    def render(self, stream: Readable) -> Iterator[bytes]:
        """Yield one line for each step's scalars that stand together. Raises: Unreadable."""
        return whole(self.begin(stream.label), stream)

    def begin(self, label: str) -> Reading:
        """Begin to read a file."""
        return _Steps()


class _Steps:
    """The reading of a file: its events, and the scalars of the last step, which another event may add to."""

    def __init__(self) -> None:
        self._batch, self._damage = _Batch(), _Damage()
        self._events = _Events(self._damage)

    @property
    def damage(self) -> str:
        return self._damage.what

    def take(self, data: bytes) -> Iterator[bytes]:
        for event in self._events.take(data):
            for tag, value in _scalars(event, self._damage):
                time_s, step = _told(event)
                if self._batch.full(step, tag):
                    yield from self.rest()
                self._batch.add(time_s, step, tag, value)

    def rest(self) -> Iterator[bytes]:
        yield from self._batch.line()
        self._batch = _Batch()

    def end(self) -> Iterator[bytes]:
        self._events.end()
        return self.rest()


@dataclass(slots=True)
class _Damage:
    """What could not be read: the first of it, and how often there was something."""

    first: str = ""
    count: int = 0

    def note(self, what: str) -> None:
        self.first = self.first or what
        self.count += 1

    @property
    def what(self) -> str:
        return self.first + (f" (the first of {self.count})" if self.count > 1 else "")


@dataclass(slots=True)
class _Batch:
    """Scalars of one step that were written together."""

    readings: Readings = field(default_factory=lambda: Readings(TRAINING))
    step: int = 0
    time_s: float = 0.0
    tags: set[str] = field(default_factory=set)

    def full(self, step: int, tag: str) -> bool:
        return bool(self.tags) and (step != self.step or tag in self.tags or len(self.tags) >= PAIRS)

    def add(self, time_s: float, step: int, tag: str, value: float) -> None:
        if not self.tags:
            self.time_s, self.step = time_s, step
        self.tags.add(tag)
        self.readings.add(tag, value, others=True)

    def line(self) -> Iterator[bytes]:
        if self.readings:
            yield metric_line(TRAINING, {"step": str(self.step)}, self.readings.pairs(), instant(self.time_s))


def masked(data: bytes) -> int:
    """Return TFRecord's checksum of data: a CRC-32C, rotated and moved, so that one of data with its own differs."""
    return _masked(crc32c.crc32c(data))


def _masked(crc: int) -> int:
    return ((crc >> 15 | crc << 17) + _MASK) & 0xFFFFFFFF


class _Events:
    """The events of a file. One with a wrong checksum is left out; after a wrong length there are no more."""

    def __init__(self, damage: _Damage) -> None:
        self._damage = damage
        self._data = bytearray()
        self._at = 0
        self._length: int | None = None
        self._left = self._crc = 0
        self._lost = False

    def take(self, data: bytes) -> Iterator[bytes]:
        """Yield the events that are whole now and may hold scalars."""
        self._data += b"" if self._lost else data
        while (event := self._next()) is not None:
            if event:
                yield event

    def end(self) -> None:
        """Say that nothing follows."""
        if self._data or self._length is not None:
            self._damage.note(f"it ends in the middle of an event, at byte {self._at}")

    def _next(self) -> bytes | None:
        """Return the next event, empty if it tells nothing; `None` before it is whole."""
        if self._length is None and not self._headed():
            return None
        assert self._length is not None
        large = self._length > _EVENT_BYTES
        if large:  # it is passed over as it comes
            passed = self._data[: self._left]
            self._crc, self._left = crc32c.crc32c(bytes(passed), self._crc), self._left - len(passed)
            del self._data[: len(passed)]
        if len(self._data) < self._left + 4 or (large and self._left):
            return None
        event = bytes(self._data[: self._left])
        told = int.from_bytes(self._data[self._left : self._left + 4], "little")
        sound = told == _masked(crc32c.crc32c(event, self._crc))
        if not sound:
            self._damage.note(f"the event at byte {self._at} has a wrong checksum")
        del self._data[: self._left + 4]
        self._at += _HEADER.size + self._length + 4
        self._length = None
        return event if sound else b""

    def _headed(self) -> bool:
        """Tell whether the length of the next event is there, and take it."""
        if len(self._data) < _HEADER.size:
            return False
        length, checksum = _HEADER.unpack_from(self._data)
        if checksum != masked(bytes(self._data[:8])):
            self._damage.note(f"the length at byte {self._at} has a wrong checksum")
            self._data.clear()
            self._lost = True
            return False
        del self._data[: _HEADER.size]
        self._length, self._left, self._crc = length, length, 0
        return True


def _told(event: bytes) -> tuple[float, int]:
    """Return an event's time (Unix, seconds) and its step."""
    time_s, step = 0.0, 0
    for number, value in wire.fields(event):
        if number == 1:
            time_s = wire.double(value)
        elif number == 2 and isinstance(value, int):
            step = wire.signed(value)
    return time_s, step


def _scalars(event: bytes, damage: _Damage) -> list[tuple[str, float]]:
    """Return the scalars of an event; one that cannot be read has none."""
    try:
        values = [value for summary in wire.parts(event, 5) for value in wire.parts(summary, 1)]
        found = [scalar for value in values if (scalar := _scalar(value))]
        return found if not found or _told(event) else []
    except ValueError as error:
        damage.note(f"an event that cannot be read: {error}")
        return []


def _scalar(value: bytes) -> tuple[str, float] | None:
    """Return a summary's value with its tag, `None` if it is no scalar."""
    tag, number = "", None
    for field_number, content in wire.fields(value):
        if field_number == 1 and isinstance(content, bytes):
            tag = content.decode("utf-8", "replace")
        elif field_number == 2:
            number = wire.double(content)
        elif field_number == 8 and isinstance(content, bytes):
            number = _element(content)
    return (tag, number) if tag and number is not None else None


def _element(tensor: bytes) -> float | None:
    """Return the only number of a tensor, `None` if it has more, or is of text."""
    kind, scalar = 0, True
    found: list[float] = []
    for number, value in wire.fields(tensor):
        if number == 1 and isinstance(value, int):
            kind = value
        elif number == 2 and isinstance(value, bytes):
            scalar = _of_one(value)
        elif number == 4 and isinstance(value, bytes):
            found += _unpacked(_TYPES.get(kind, ""), value)
        elif number in _LISTS and isinstance(value, bytes):
            found += _unpacked(_LISTS[number], value)
        elif number in _VARINTS:
            found += [float(wire.signed(one)) for one in islice(wire.varints(value), 2)]
    return found[0] if scalar and len(found) == 1 else None


def _unpacked(layout: str, data: bytes) -> list[float]:
    """Return the number of this layout that the data is, none if it is something else."""
    return [float(struct.unpack(layout, data)[0])] if layout and len(data) == struct.calcsize(layout) else []


def _of_one(shape: bytes) -> bool:
    """Tell whether a tensor of this shape has one element."""
    sizes = [next((size for n, size in wire.fields(one) if n == 1), 0) for one in wire.parts(shape, 2)]
    return all(size == 1 for size in sizes)
