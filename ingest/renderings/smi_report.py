"""`nvidia-smi -q`: one line for each GPU of a report, with its memory, clocks, ECC errors and remapped rows."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from ingest.renderings.metric_line import instant, metric_line
from ingest.renderings.naming import Readings, cell
from ingest.renderings.port import Readable, Reading
from ingest.renderings.streams import TextReading, as_it_is, whole

_TITLE: Final = b"=NVSMI LOG="
_BEGINNING: Final = re.compile(r"GPU ([0-9A-Fa-f]{8}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.\d)\s*")
_CLOCK: Final = "%a %b %d %H:%M:%S %Y"
_INDENT: Final = 4
_DEPTH: Final = 6


class SmiReport:
    """Renders the text of `nvidia-smi -q`, also of several runs of it one after the other."""

    def recognises(self, name: str, head: bytes) -> bool:
        """Tell whether a file begins with the report's title."""
        return _TITLE in head.lstrip()[:200]

    def awaits(self, head: bytes) -> bool:
        """Return false: the first line tells."""
        return False

    def render(self, stream: Readable) -> Iterator[bytes]:
        """Yield one line for each GPU, and what is no report as it is. Raises: Unreadable."""
        return whole(self.begin(stream.label), stream)

    def begin(self, label: str) -> Reading:
        """Begin to read a file."""
        return TextReading(_Report())


class _Report:
    """The lines of reports, as far as they have come."""

    def __init__(self) -> None:
        self._stanza = _Stanza("", "")
        self._time = ""

    def line(self, text: str) -> Iterator[bytes]:
        name, colon, value = text.partition(" : ")
        if begun := _BEGINNING.fullmatch(text):
            yield from self._stanza.line()
            self._stanza = _Stanza(begun[1], self._time)
        elif text.startswith("Timestamp"):
            self._time = _time(value)
        elif self._stanza.pci and text.startswith(_INDENT * " "):
            self._stanza.take(name, value if colon else None)
        elif text.strip():
            yield from self._stanza.line()
            self._stanza = _Stanza("", self._time)
            yield as_it_is(text)

    def rest(self) -> Iterator[bytes]:
        return self._stanza.line()


class _Stanza:
    """What is said of one GPU: values below headings that are told apart by how far they are indented."""

    def __init__(self, pci: str, time: str) -> None:
        self.pci = pci
        self._time = time
        self._uuid = ""
        self._path: list[str] = []
        self._readings = Readings("smi_report")

    def take(self, name: str, value: str | None) -> None:
        """Take a heading, or a name with its value."""
        depth = (len(name) - len(name.lstrip())) // _INDENT - 1
        if depth < 0 or depth > _DEPTH:
            return
        self._path = [*self._path[:depth], name.strip()]
        if value is None:
            return
        if self._path == ["GPU UUID"]:
            self._uuid = value.strip()
        self._readings.add("/".join(self._path), cell(value))

    def line(self) -> Iterator[bytes]:
        """Yield the line of what was taken since the last one."""
        if self._readings:
            labels = {"gpu_uuid": self._uuid, "pci": self.pci}
            yield metric_line("gpu", labels, self._readings.pairs(), self._time)
            self._readings = Readings("smi_report")


def _time(text: str) -> str:
    """Return `Mon Feb  3 04:05:06 2025` as a line begins with it; the report tells no zone."""
    try:
        moment = datetime.strptime(" ".join(text.split()), _CLOCK)
    except ValueError:
        return ""
    return instant(moment.replace(tzinfo=UTC).timestamp()).removesuffix("Z")
