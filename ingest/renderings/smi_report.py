"""`nvidia-smi -q`: one line for each GPU of a report, with its memory, clocks, ECC errors and remapped rows."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from ingest.renderings.metric_line import instant, metric_line
from ingest.renderings.naming import Readings, cell
from ingest.renderings.port import Readable
from ingest.renderings.streams import as_it_is, lines

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

    def render(self, stream: Readable) -> Iterator[bytes]:
        """Yield one line for each GPU, and what is no report as it is. Raises: Unreadable."""
        stanza = _Stanza("", "")
        time = ""
        for text in lines(stream):
            name, colon, value = text.partition(" : ")
            if begun := _BEGINNING.fullmatch(text):
                yield from stanza.line()
                stanza = _Stanza(begun[1], time)
            elif text.startswith("Timestamp"):
                time = _time(value)
            elif stanza.pci and text.startswith(_INDENT * " "):
                stanza.take(name, value if colon else None)
            elif text.strip():
                yield from stanza.line()
                stanza = _Stanza("", time)
                yield as_it_is(text)
        yield from stanza.line()


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
        if self._readings:
            labels = {"gpu_uuid": self._uuid, "pci": self.pci}
            yield metric_line("gpu", labels, self._readings.pairs(), self._time)


def _time(text: str) -> str:
    """Return `Mon Feb  3 04:05:06 2025` as a line begins with it; the report tells no zone."""
    try:
        moment = datetime.strptime(" ".join(text.split()), _CLOCK)
    except ValueError:
        return ""
    return instant(moment.replace(tzinfo=UTC).timestamp()).removesuffix("Z")
