"""The units in which people write durations: `90s`, `45m`, `2h`, `7d`. What it takes of them each place says itself."""

from types import MappingProxyType
from typing import Final

SECONDS_IN: Final = MappingProxyType({"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800})
"""How many seconds a unit has."""
