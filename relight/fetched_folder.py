"""The folder that series are fetched into: the lines of a step and the position behind it are there together, or not.

A step is written down whole in one file first, which is put in place at once: that commits it. Then its lines are
appended to the files that they belong to. What a crash leaves undone of that is done at the next start; files only
ever grow, by the bytes that were committed, so whoever follows them reads each line once.
"""

import os
import tempfile
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Final

import orjson
from pydantic import Field, ValidationError

from schemas.model import Model

POSITION: Final = ".fetched.json"


class _Append(Model):
    """Lines that belong at an offset of a file, which is named by its path in the folder."""

    path: str
    offset_bytes: int = Field(ge=0)
    lines: str


class _Step(Model):
    """How far series have been fetched (Unix, seconds), and what has to be in the files with that."""

    until_s: float
    appends: tuple[_Append, ...] = ()


class PositionDamaged(Exception):
    """The file of the position cannot be used. The message says why and what to do."""


class FetchedFolder:
    """A folder with one folder for each host and in it one file for each day, `node07/metrics-2025-02-03.log`."""

    def __init__(self, folder: Path) -> None:
        """Finish what a crash has left undone. Raises: PositionDamaged, OSError."""
        self.folder = folder
        self._step = self._read()
        if self._step is not None and self._step.appends:
            self._finish(self._step)

    @property
    def until_s(self) -> float | None:
        """Return up to when series have been fetched (Unix, seconds), `None` if they have not."""
        return None if self._step is None else self._step.until_s

    def append(self, lines: Iterable[tuple[str, Sequence[tuple[float, bytes]]]], until_s: float) -> None:
        """Add the lines of hosts, each with its time, and say that all up to a time is there.

        Raises:
            OSError: They cannot be written. What is committed is finished by the next one, or the next start.
        """
        if self._step is not None and self._step.appends:
            self._finish(self._step)
        step = _Step(until_s=until_s, appends=tuple(self._appends(lines)))
        self._commit(step)
        self._finish(step)

    def _appends(self, lines: Iterable[tuple[str, Sequence[tuple[float, bytes]]]]) -> Iterable[_Append]:
        for host, told in lines:
            for day, own in groupby(told, key=lambda line: datetime.fromtimestamp(line[0], UTC).date()):
                path = f"{host}/metrics-{day}.log"
                text = b"".join(line for _, line in own).decode("utf-8", "replace")
                yield _Append(path=path, offset_bytes=_size(self.folder / path), lines=text)

    def _finish(self, step: _Step) -> None:
        """Append what is missing of a step that is committed, and forget its lines."""
        for append in step.appends:
            file = self.folder / append.path
            file.parent.mkdir(parents=True, exist_ok=True)
            there = _size(file) - append.offset_bytes
            with file.open("ab") as stream:
                stream.write(append.lines.encode()[max(there, 0) :])
                stream.flush()
                os.fsync(stream.fileno())
            _sync(file.parent)
        self._commit(_Step(until_s=step.until_s))

    def _commit(self, step: _Step) -> None:
        with tempfile.NamedTemporaryFile(dir=self.folder, prefix=f"{POSITION}.", delete=False) as file:
            file.write(orjson.dumps(step.model_dump(exclude_defaults=True)))
            file.flush()
            os.fsync(file.fileno())
        os.replace(file.name, self.folder / POSITION)
        _sync(self.folder)
        self._step = step

    def _read(self) -> _Step | None:
        path = self.folder / POSITION
        try:
            return _Step.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError:
            raise PositionDamaged(
                f"{path}: the position is damaged. Name another folder, or delete the file to begin at --since"
            ) from None


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _sync(folder: Path) -> None:
    """Make sure that the names in a folder outlast a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
