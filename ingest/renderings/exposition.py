"""The Prometheus text format, as DCGM exporter and node exporter answer it: one line for each GPU, disk and interface.

Of a scrape with thousands of samples only those that are metrics are told. Scrapes may follow each other in one file.
"""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from ingest.renderings.metric_line import instant, metric_line
from ingest.renderings.naming import Readings, names
from ingest.renderings.port import Readable, Reading
from ingest.renderings.streams import TextReading, as_it_is, whole

if TYPE_CHECKING:
    from prometheus_client.samples import Sample

_COMMENT: Final = re.compile(rb"# (?:HELP|TYPE) [a-zA-Z_:]")
_SAMPLE: Final = re.compile(r"#|[a-zA-Z_:][\w:]*(?:\{.*\})? +[-+.\w]+(?: +-?\d+)?$")
_THINGS: Final = 4096
"""When more things than this are spoken of, what has been read is told, and memory is free again."""

_Thing = tuple[str, tuple[tuple[str, str], ...]]
"""What a line is about, and its labels."""


class Exposition:
    """Renders dumps of `/metrics`."""

    def recognises(self, name: str, head: bytes) -> bool:
        """Tell whether a file begins with a comment of the format."""
        return _COMMENT.match(head.lstrip()) is not None

    def awaits(self, head: bytes) -> bool:
        """Return false: the first line tells."""
        return False

    def render(self, stream: Readable) -> Iterator[bytes]:
        """Yield one line for each thing of a scrape, and what is no sample as it is. Raises: Unreadable."""
        return whole(self.begin(stream.label), stream)

    def begin(self, label: str) -> Reading:
        """Begin to read a file."""
        return TextReading(_Scrapes())


class _Scrapes:
    """Scrapes that follow each other."""

    def __init__(self) -> None:
        self._scrape = _Scrape()

    def line(self, text: str) -> Iterator[bytes]:
        name = text.partition("{")[0].partition(" ")[0]
        if name.lower() not in names("exposition"):
            if text.strip() and not _SAMPLE.match(text):
                yield from self.rest()
                yield as_it_is(text)
            return
        if self._scrape.over(name):
            yield from self.rest()
        if not (samples := _samples(text)):
            yield as_it_is(text)
        for sample in samples:
            self._scrape.take(sample)

    def rest(self) -> Iterator[bytes]:
        yield from self._scrape.lines()
        self._scrape = _Scrape()


class _Scrape:
    """The samples of one scrape, by the thing that they tell of."""

    def __init__(self) -> None:
        self._things: dict[_Thing, Readings] = {}
        self._families: set[str] = set()
        self._family = ""
        self._time_s: float | None = None

    def over(self, family: str) -> bool:
        """Tell whether a sample of this family begins another scrape: in one, those of a family stand together."""
        again = family != self._family and family in self._families
        return again or len(self._things) > _THINGS

    def take(self, sample: "Sample") -> None:
        self._family = sample.name
        self._families.add(sample.name)
        if sample.timestamp is not None:
            self._time_s = float(sample.timestamp)
        self._things.setdefault(_thing(sample), Readings("exposition")).add(sample.name, sample.value)

    def lines(self) -> Iterator[bytes]:
        for (of, labels), readings in self._things.items():
            if readings:
                yield metric_line(of, dict(labels), readings.pairs(), instant(self._time_s))


def _samples(text: str) -> "list[Sample]":
    """Return the sample of a line; a line that is none has none."""
    from prometheus_client.parser import text_string_to_metric_families  # every start would pay for it

    try:
        return [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    except (ValueError, KeyError, IndexError):
        return []


def _thing(sample: "Sample") -> _Thing:
    labels = sample.labels
    host = labels.get("Hostname", "")
    if "gpu" in labels or "UUID" in labels:
        told = {"host": host, "gpu": labels.get("gpu", ""), "gpu_uuid": labels.get("UUID", "")}
        return "gpu", tuple({**told, "pci": labels.get("pci_bus_id", "")}.items())
    if "mountpoint" in labels:
        return "disk", (("host", host), ("disk", labels["mountpoint"]))
    if "device" in labels:
        return "nic", (("host", host), ("nic", labels["device"]))
    return "host", (("host", host),)
