"""Brings the data of older events up to date, one version at a time, so that engines know the present version only.

To change an event: raise its version in `schemas.events`, and add the step that makes the new data of the old.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

Step = Callable[[Any], Any]
"""Returns the data of the next version."""

STEPS: Final[Mapping[tuple[str, int], Step]] = {}
"""The steps by the event's name and the version that they start from."""


def upcast(name: str, version: int, data: object, steps: Mapping[tuple[str, int], Step] = STEPS) -> object:
    """Return the data of an event in its newest version."""
    while (step := steps.get((name, version))) is not None:
        data, version = step(data), version + 1
    return data
