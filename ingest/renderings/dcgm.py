"""What `dcgmi` prints: columns of `dmon`, and the boxes of `health --check` and `diag`, as lines that name the GPU.

https://github.com/NVIDIA/DCGM: dcgmi/Health.cpp, dcgmi/Diag.cpp, dcgmi/DeviceMonitor.cpp
"""

import re
from collections.abc import Iterator
from typing import Final

from ingest.renderings.metric_line import health_line, metric_line
from ingest.renderings.naming import Readings, cell
from ingest.renderings.port import Readable, Reading
from ingest.renderings.streams import TextReading, as_it_is, whole

_COLUMNS: Final = re.compile(rb"#\s?Entity\s")
_ROW: Final = re.compile(r"GPU (\d{1,3})\s+(\S.*)")
_BOXES: Final = (b"Health Monitor Report", b"| Diagnostic                | Result", b"Successfully ran diagnostic")
_STATUSES: Final = {"warning": "warning", "warn": "warning", "failure": "fail", "fail": "fail"}
_DETAIL: Final = re.compile(r"(?:Warning|Error|Info)(?:: GPU ?\d{1,3})?")
_GPU: Final = re.compile(r"(?:GPU ID: )?(\d{1,3})")
_GPUS: Final = re.compile(r"- GPUs?: (\d{1,3}(?:, ?\d{1,3})*)$")
_GPU_NAMED: Final = re.compile(r"\bGPU (\d{1,3})\b")
_RESULT: Final = re.compile(r"GPU ?(\d{1,3}): (\w+)")
_SYSTEM: Final = re.compile(r"([\w ]{2,30}): (Warning|Failure) - (.*)")
_WORDS: Final = 4000
_BEGINNING: Final = 600


class DcgmColumns:
    """Renders `dcgmi dmon`: rows of one GPU each, below a header that comes again and again."""

    def recognises(self, name: str, head: bytes) -> bool:
        """Tell whether a file begins with the header."""
        return _COLUMNS.match(head.lstrip()) is not None

    def awaits(self, head: bytes) -> bool:
        """Return false: the first line tells."""
        return False

    def render(self, stream: Readable) -> Iterator[bytes]:
        """Yield one line for each row of a GPU, and what is no row as it is. Raises: Unreadable."""
        return whole(self.begin(stream.label), stream)

    def begin(self, label: str) -> Reading:
        """Begin to read a file."""
        return TextReading(_Columns())


class _Columns:
    """The rows, below the header that came last."""

    def __init__(self) -> None:
        self._columns: list[str] = []

    def line(self, text: str) -> Iterator[bytes]:
        if _COLUMNS.match(text.encode("utf-8", "surrogateescape")):
            self._columns = text.partition("Entity")[2].split()
        elif row := _ROW.match(text.strip()):
            readings = Readings("dcgm_columns")
            for column, value in zip(self._columns, row[2].split(), strict=False):
                readings.add(column, cell(value))
            if readings:
                yield metric_line("gpu", {"gpu": row[1]}, readings.pairs())
        elif text.strip() and not text.startswith("ID "):
            yield as_it_is(text)

    def rest(self) -> Iterator[bytes]:
        return iter(())


class DcgmBoxes:
    """Renders `dcgmi health --check` and `dcgmi diag`: one line for each thing that is not well."""

    def recognises(self, name: str, head: bytes) -> bool:
        """Tell whether a file begins like one of the two."""
        beginning = head.lstrip()[:_BEGINNING]
        return any(box in beginning for box in _BOXES) and b"\n+--" in b"\n" + beginning

    def awaits(self, head: bytes) -> bool:
        """Tell whether a box has begun whose title may follow, or a title behind which one may."""
        beginning = head.lstrip()[:_BEGINNING]
        return len(beginning) < _BEGINNING and beginning.startswith((b"+-", b"Successfully ran"))

    def render(self, stream: Readable) -> Iterator[bytes]:
        """Yield one line for each failure and warning, and what is in no box as it is. Raises: Unreadable."""
        return whole(self.begin(stream.label), stream)

    def begin(self, label: str) -> Reading:
        """Begin to read a file."""
        return TextReading(_Boxes())


class _Boxes:
    """The rows, as long as they are in a box of `dcgmi`."""

    def __init__(self) -> None:
        self._box, self._ours = _Box(), False

    def line(self, text: str) -> Iterator[bytes]:
        row = text.startswith(("|", "+-", "+="))
        self._ours = (self._ours and row) or any(title.decode() in text for title in _BOXES)
        cells = [part.strip() for part in text.strip().strip("|").split("|", 1)]
        if self._ours and text.startswith("|") and len(cells) == 2:
            yield from self._box.row(*cells)
        elif not text.startswith("|"):
            yield from self._box.end()
        if text.strip() and not (self._ours and row):
            yield as_it_is(text)

    def rest(self) -> Iterator[bytes]:
        return self._box.end()


class _Box:
    """A box in the making: the GPU and the check that its rows are about, and what is said of them."""

    def __init__(self) -> None:
        self._gpu = ""
        self._begin()

    def row(self, name: str, text: str) -> Iterator[bytes]:
        """Take a row. What stands before it is complete if the row begins something of its own."""
        bare = name.lstrip("-> ")
        if not bare or _DETAIL.fullmatch(bare):
            yield from self._more(text)
            return
        yield from self.end()
        word, _, rest = text.partition(" ")
        if numbered := _GPU.fullmatch(bare):
            self._gpu = numbered[1]
        elif bare != "Overall Health":
            self._begin(bare, word, rest)

    def end(self) -> Iterator[bytes]:
        """Yield what has been said of a check that is not well, for each GPU that it names."""
        if self._status:
            check = self._check.lower().removesuffix(" system").replace(" ", "_")
            named = self._gpus or [self._gpu] if self._gpu or self._gpus else _GPU_NAMED.findall(self._what)[:1]
            for gpu in named or [""]:
                yield health_line({"gpu": gpu}, check, self._status, self._what)
        self._begin()

    def _begin(self, check: str = "", word: str = "", rest: str = "") -> None:
        self._check = check
        self._status = _STATUSES.get(word.lower(), "")
        named = _GPUS.match(rest)
        self._gpus = re.findall(r"\d+", named[1]) if named else []
        self._what = "" if named else rest.removeprefix("- ")

    def _more(self, text: str) -> Iterator[bytes]:
        """Take what goes on below a check: the result of one GPU, a check of its own, or words."""
        if result := _RESULT.fullmatch(text):
            if result[2].lower() in _STATUSES:
                self._gpus.append(result[1])
        elif system := _SYSTEM.match(text):
            yield from self.end()
            self._begin(system[1], system[2], system[3])
        elif len(self._what) < _WORDS:
            self._what += " " + text
