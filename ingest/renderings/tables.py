"""CSV files of numbers as lines: a row means nothing without the header, so each row's line names what it tells.

The header decides: that of `nvidia-smi --query-gpu=... --format=csv` names properties of a GPU; any other one, such as
that of Lightning's CSVLogger, must hold a step, an epoch or a time, and a metric that relight knows.
"""

import csv
from collections.abc import Iterator, Sequence
from typing import Final

from ingest.formats.stamps import from_number, read_iso
from ingest.renderings.metric_line import TRAINING, instant, metric_line
from ingest.renderings.naming import Readings, cell, names
from ingest.renderings.port import Readable, Reading
from ingest.renderings.streams import TextReading, as_it_is, whole
from schemas.metrics import number

_SEPARATORS: Final = ",\t;"
_STEPS: Final = frozenset(
    {"step", "global_step", "_step", "iteration", "iter", "train/global_step", "trainer/global_step"}
)
_EPOCHS: Final = frozenset({"epoch", "train/epoch", "num_epoch"})
_TIMES: Final = frozenset(
    {"timestamp", "time", "_timestamp", "created_at", "datetime", "date", "wall_time", "walltime"}
)
_GPU_LABELS: Final = {
    "index": "gpu",
    "uuid": "gpu_uuid",
    "gpu_uuid": "gpu_uuid",
    "pci.bus_id": "pci",
    "gpu_bus_id": "pci",
}
_COLUMNS: Final = 1024


class MetricTable:
    """Renders CSV files with a header that names metrics."""

    def recognises(self, name: str, head: bytes) -> bool:
        """Tell whether the first line is such a header, and the second, if there is one, a row below it."""
        first, _, rest = head.lstrip(b"\xef\xbb\xbf").partition(b"\n")
        header = _Header.of(first.decode("utf-8", "replace").strip("\r"))
        second = rest.partition(b"\n")[0].decode("utf-8", "replace").strip("\r")
        return header is not None and (not second or len(_cells(second, header.separator)) == len(header.columns))

    def awaits(self, head: bytes) -> bool:
        """Tell whether there is a header that no row stands below yet."""
        return head.find(b"\n", head.find(b"\n") + 1) < 0 and self.recognises("", head.partition(b"\n")[0])

    def render(self, stream: Readable) -> Iterator[bytes]:
        """Yield one line for each row that tells a number, and what is no row as it is. Raises: Unreadable."""
        return whole(self.begin(stream.label), stream)

    def begin(self, label: str) -> Reading:
        """Begin to read a file."""
        return TextReading(_Rows())


class _Rows:
    """The rows, below the header that came last."""

    def __init__(self) -> None:
        self._header: _Header | None = None

    def line(self, text: str) -> Iterator[bytes]:
        header, bare = self._header, text.lstrip("\ufeff")
        if (header is None or bare[:1].isalpha() or bare[:1] in '"_') and (again := _Header.of(bare)):
            self._header = again  # a program that was started again wrote its header again
        elif header is not None and len(cells := _cells(text, header.separator)) == len(header.columns):
            yield from header.line(cells)
        elif text.strip():
            yield as_it_is(text)

    def rest(self) -> Iterator[bytes]:
        return iter(())


class _Header:
    """The columns of a table: their names in lower case without the units, and what they are readings of."""

    def __init__(self, separator: str, columns: Sequence[str], raw: Sequence[str]) -> None:
        self.separator = separator
        self.columns = columns
        self._raw = raw
        self._of_gpus = _of_gpus(columns)
        self._section = "smi_columns" if self._of_gpus else TRAINING

    @classmethod
    def of(cls, text: str) -> "_Header | None":
        """Return the header that a line is, `None` if it is none."""
        separator = max(_SEPARATORS, key=text.count)
        raw = _cells(text, separator)
        columns = [column.partition(" [")[0].strip().lower() for column in raw]
        if not 1 < len(columns) <= _COLUMNS or any(number(column) is not None for column in columns):
            return None
        placed = any(column in _STEPS | _EPOCHS | _TIMES for column in columns)
        known = any(column in names(TRAINING) for column in columns)
        return cls(separator, columns, raw) if _of_gpus(columns) or (placed and known) else None

    def line(self, row: Sequence[str]) -> Iterator[bytes]:
        """Yield the line of a row, nothing if it tells no number."""
        readings, labels, time = Readings(self._section), {}, ""
        for column, name, text in zip(self.columns, self._raw, row, strict=False):
            if column in _TIMES:
                time = _time(text) or time
            elif self._of_gpus:
                if column in _GPU_LABELS:
                    labels[_GPU_LABELS[column]] = text.strip()
                readings.add(column, cell(text))
            elif column in _STEPS:
                labels["step"] = _counted(text)
            elif column in _EPOCHS:
                labels["epoch"] = _counted(text)
            else:
                readings.add(name, cell(text), others=True)
        if readings:
            yield metric_line("gpu" if self._of_gpus else TRAINING, labels, readings.pairs(), time)


def _of_gpus(columns: Sequence[str]) -> bool:
    """Tell whether columns are what `nvidia-smi` can be asked for: a metric of it, and which GPU or when."""
    known = sum(column in names("smi_columns") for column in columns)
    return known > 1 or (known == 1 and any(column in _GPU_LABELS or column in _TIMES for column in columns))


def _cells(text: str, separator: str) -> list[str]:
    """Return the cells of a line; a quoted cell does not go on over a line's end."""
    if '"' not in text:
        return [part.strip() for part in text.split(separator)]
    try:
        return [cell.strip() for cell in next(csv.reader([text], delimiter=separator), [])]
    except csv.Error:
        return []


def _counted(text: str) -> str:
    """Return a step or an epoch as it is shown: `1200.0` is 1200."""
    value = number(text)
    if value is None or not abs(value) < 1e15:
        return ""
    return str(int(value)) if value == int(value) else repr(value)


def _time(text: str) -> str:
    """Return a time as a line begins with it. A stamp that tells no zone is left without one."""
    stamp = read_iso(text.strip().encode())
    if stamp is not None:
        zoned = text.strip()[-1:] == "Z" or text.strip()[19:].lstrip("0123456789.,")[:1] in ("+", "-")
        return instant(stamp[0]) if zoned else instant(stamp[0]).removesuffix("Z")
    value = number(text)
    return instant(from_number(value)) if value is not None else ""
