"""The metrics: the numbers that relight knows by name, and how what a line says becomes one of them.

A capture, a column or a tag is a metric if it has a metric's name, or that name with another unit's ending:
`step_time_ms` is `step_time_s`, and `mfu_percent` is `mfu`.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any, Final

from schemas.model import Model
from schemas.yaml_files import loaded

NUMBER_CHARACTERS: Final = 64
"""A longer text is no number that anybody measured."""

_NUMBER: Final = re.compile(r"[+-]?(?:(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,4})?", re.ASCII)
_NO_NUMBER: Final = re.compile(r"([+-]?)(nan|inf(?:inity)?)", re.IGNORECASE | re.ASCII)
_BARE: Final = frozenset({"ratio", "number"})
"""Units that a metric's name does not end with."""


class Better(StrEnum):
    """Which way a metric goes when all is well; `none` where neither is better."""

    LOWER = "lower"
    HIGHER = "higher"
    NONE = "none"


class Metric(Model):
    """One entry of `schemas/metrics.yaml`. `inverse` are names of what is one divided by it."""

    name: str
    unit: str
    meaning: str
    better: Better
    inverse: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Conversion:
    """How a number told under another name becomes a metric: times `factor`, or `factor` divided by it."""

    metric: str
    factor: float = 1.0
    inverse: bool = False

    def of(self, number: float) -> float | None:
        """Return the metric's value; `None` where a rate of nothing, or of no number, tells no time."""
        if not self.inverse:
            return number * self.factor
        return self.factor / number if number and math.isfinite(number) else None


def number(text: str) -> float | None:
    """Return the number that a text is, `None` if it is none.

    Thousands may be parted by commas. What a program prints for a broken number (`nan`, `-inf`) is one too.
    """
    bare = text[: NUMBER_CHARACTERS + 1].strip()
    if len(bare) > NUMBER_CHARACTERS:
        return None
    if _NUMBER.fullmatch(bare):
        return float(bare.replace(",", ""))
    broken = _NO_NUMBER.fullmatch(bare)
    return float(broken[1] + broken[2][:3]) if broken else None


def reading(name: str, text: str) -> tuple[str, float] | None:
    """Return the metric that a capture of this name tells and its value, `None` if it tells none.

    Never raises, whatever name and text are.
    """
    conversion = conversions().get(name)
    found = number(text) if conversion else None
    value = conversion.of(found) if conversion and found is not None else None
    return (conversion.metric, value) if conversion and value is not None else None


@cache
def conversions() -> Mapping[str, Conversion]:
    """Return every name under which a metric may be told, with what makes it the metric."""
    found = {name: Conversion(name) for name in METRICS}
    for metric in METRICS.values():
        stem = metric.name if metric.unit in _BARE else metric.name.removesuffix(metric.unit).rstrip("_")
        for ending, factor in _UNITS[metric.unit].items():
            found[f"{stem}_{ending}" if stem else ending] = Conversion(metric.name, float(factor))
        found |= {name: Conversion(metric.name, 1.0, inverse=True) for name in metric.inverse}
    return MappingProxyType(found)


def _read() -> tuple[dict[str, dict[str, float]], dict[str, Metric]]:
    text = resources.files("schemas").joinpath("metrics.yaml").read_text("utf-8")
    data: dict[str, Any] = loaded(text)
    metrics = {name: Metric.model_validate({"name": name, **fields}) for name, fields in data["metrics"].items()}
    return data["units"], metrics


_UNITS, _METRICS = _read()
METRICS: Final[Mapping[str, Metric]] = MappingProxyType(_METRICS)
"""The metrics by their names, in the order of the table."""
