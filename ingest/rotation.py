"""Finds the parts of rotated logs by their names, and the order in which people count; opens nothing.

Known: `x.log.2.gz` (logrotate, Python, Docker), `x.log-20240501.gz` (logrotate's dateext), `x.log.2024-05-01_12-00-00`
(Python), `0.log.20240501-120000.gz` (Kubernetes), `x.2024-05-01_12-00-00_000000.log` (loguru).
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_COMPRESSED: Final = re.compile(r"\.(?:gz|zst|xz|bz2)$")
_DATE: Final = r"(?:19|20)\d\d-?(?:0\d|1[0-2])-?[0-3]\d(?:[-_T.]?\d\d(?:[-:]?\d\d){0,2}(?:[_.]\d{6})?)?"
_NUMBERED: Final = re.compile(r"(?P<base>.+)\.(?P<number>\d{1,3})")
_DATED: Final = re.compile(rf"(?P<base>.+?)[-.](?P<date>{_DATE}|1\d{{9}})(?:\.(?P<number>\d{{1,3}}))?")
_DATED_INSIDE: Final = re.compile(rf"(?P<base>.+?)\.(?P<date>{_DATE})(?P<ending>\.[a-z]+)")
_LOG: Final = re.compile(r".*\.(?:log|out|err|txt|jsonl?)")
_SYSTEM: Final = frozenset({"messages", "syslog", "dmesg", "secure", "kern.log", "daemon.log", "mcelog", "cron"})

_Age = tuple[int, str, int]
"""Sorts the oldest part first: dated ones, then numbered ones, then the log that is being written."""


@dataclass(frozen=True, slots=True)
class _Part:
    index: int
    age: _Age
    rotated: bool
    zero: bool = False


def streams(names: Sequence[str]) -> list[tuple[str, int]]:
    """Return the stream and the part (from 0, the oldest first) of each name; a log that is no rotation is its own.

    A number or a date at the end means rotation only beside the log without it, or where the rest is a log's name.
    Names that count from `.0` are ranks or steps rather than rotations, those of system logs excepted.
    """
    current = {_COMPRESSED.sub("", name) for name in names}
    found: dict[str, list[_Part]] = defaultdict(list)
    for index, name in enumerate(names):
        for base, part in _readings(index, name):
            found[base].append(part)
    result = [(name, 0) for name in names]
    for base, parts in found.items():
        if _is_rotation(base, parts, base in current):
            for place, part in enumerate(sorted(parts, key=lambda part: (part.age, names[part.index]))):
                result[part.index] = (base, place)
    return result


def natural(name: str) -> tuple[tuple[str | int, ...], str]:
    """Return a sorting key that puts `node2` before `node10`."""
    parts = re.split(r"([0-9]+)", name)
    return tuple(int(part) if place % 2 else part for place, part in enumerate(parts)), name


def _readings(index: int, name: str) -> list[tuple[str, _Part]]:
    """Return the rotation that a name may be a part of, and the one whose newest part it may be."""
    bare = _COMPRESSED.sub("", name)
    place = bare.rfind("/") + 1
    folder, file = bare[:place], bare[place:]
    newest = (bare, _Part(index, (2, "", int(bare == name)), rotated=False))
    if match := _DATED.fullmatch(file):
        age = (0, _digits(match["date"]), int(match["number"] or 0))
        return [newest, (folder + match["base"], _Part(index, age, rotated=True))]
    if match := _DATED_INSIDE.fullmatch(file):
        age = (0, _digits(match["date"]), 0)
        return [newest, (folder + match["base"] + match["ending"], _Part(index, age, rotated=True))]
    if match := _NUMBERED.fullmatch(file):
        number = int(match["number"])
        return [newest, (folder + match["base"], _Part(index, (1, "", -number), rotated=True, zero=not number))]
    return [newest]


def _digits(date: str) -> str:
    return re.sub(r"\D", "", date).ljust(20, "0")


def _is_rotation(base: str, parts: list[_Part], current: bool) -> bool:
    file = base[base.rfind("/") + 1 :]
    if not any(part.rotated for part in parts):
        return False
    if file in _SYSTEM:
        return True
    if any(part.zero for part in parts):
        return False
    return current or bool(_LOG.fullmatch(file))
