"""What others call the metrics, from `names.yaml`, and the numbers that stand in cells and behind keys."""

from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any, Final

from schemas.metrics import METRICS, conversions, number
from schemas.yaml_files import loaded

_WORDS: Final = {"active": 1.0, "yes": 1.0, "not active": 0.0, "no": 0.0}
_CELL_CHARACTERS: Final = 100


@cache
def names(section: str) -> Mapping[str, str]:
    """Return what a section of `names.yaml` says: foreign names in lower case, each with the metric's.

    In the section `training` the metrics' own names are known, too.
    """
    data: dict[str, Any] = loaded(resources.files("ingest.renderings").joinpath("names.yaml").read_text("utf-8"))
    known = {foreign.lower(): name for name, others in data[section].items() for foreign in others}
    return MappingProxyType({name: name for name in conversions()} | known if section == "training" else known)


def cell(text: str) -> float | None:
    """Return the number in a cell: `81559 MiB`, `98 %`, `Not Active`; `None` for `[N/A]` and words."""
    text = text[:_CELL_CHARACTERS].strip()
    if (word := _WORDS.get(text.lower())) is not None:
        return word
    first, _, unit = text.partition(" ")
    return number(first) if len(unit) < 8 and not unit[:1].isdigit() else None


class Readings:
    """What one line of metrics is going to say: known metrics by their names, other numbers by those they came with."""

    def __init__(self, section: str) -> None:
        """Take the section of `names.yaml` by which foreign names are known."""
        self._names = names(section)
        self.known: dict[str, float] = {}
        self.others: dict[str, float] = {}

    def add(self, foreign: str, value: float | None, *, others: bool = False) -> bool:
        """Take a number under a foreign name; tell whether it was taken. `others`: if it is no metric, too.

        Several parts of a total add up; of other metrics the largest counts.
        """
        if value is None:
            return False
        name = self._names.get(foreign.lower())
        if name is None:
            if others:
                self.others[foreign] = value
            return others
        conversion = conversions()[name]
        converted = conversion.of(value)
        if converted is None:
            return False
        before = self.known.get(conversion.metric)
        self.known[conversion.metric] = converted if before is None else _joined(conversion.metric, before, converted)
        return True

    def __bool__(self) -> bool:
        """Tell whether there is anything to say."""
        return bool(self.known or self.others)

    def pairs(self) -> Iterable[tuple[str, float]]:
        """Return what was taken: metrics in the order of their table, then the others in theirs."""
        return [*((name, self.known[name]) for name in METRICS if name in self.known), *self.others.items()]


def _joined(metric: str, before: float, value: float) -> float:
    if metric.endswith("_total"):
        return before + value
    return value if not value <= before else before  # a broken number is the one to be seen
