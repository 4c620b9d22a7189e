"""The line that every rendering of numbers writes; `docs/metrics.md` has its grammar, `metrics.yaml` its signatures."""

import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final
from urllib.parse import quote

from schemas.record import LATEST_S

TRAINING: Final = "training"
PAIRS: Final = 64
"""A line tells at most so many numbers, and how many it leaves out."""

_NAME_BYTES: Final = 120
_WHOLE: Final = 1e15
_LABELS: Final = ("step", "epoch", "host", "gpu", "gpu_uuid", "pci", "disk", "nic")


def metric_line(of: str, labels: Mapping[str, str], told: Iterable[tuple[str, float]], time: str = "") -> bytes:
    """Return `TIME metric of=gpu gpu=3 gpu_power_w=312.45` with its line end. What it is of has the first word."""
    pairs = list(told)
    left = len(pairs) - PAIRS
    words = [f"metric of={of}", *(f"{name}={escaped(labels[name])}" for name in _LABELS if labels.get(name))]
    words += [f"{escaped(name)}={shown(value)}" for name, value in pairs[:PAIRS]]
    return _line(time, [*words, f"left_out={left}"] if left > 0 else words)


def health_line(labels: Mapping[str, str], check: str, status: str, what: str, time: str = "") -> bytes:
    """Return `TIME health of=gpu gpu=3 check=pcie status=warning: what` with its line end."""
    words = ["health of=gpu", *(f"{name}={escaped(labels[name])}" for name in _LABELS if labels.get(name))]
    bare = " ".join(what.split())
    return _line(time, [*words, f"check={escaped(check)}", f"status={escaped(status)}: {bare}".rstrip(": ")])


def _line(time: str, words: list[str]) -> bytes:
    return " ".join([time, *words] if time else words).encode("utf-8", "replace") + b"\n"


def escaped(name: str) -> str:
    """Return a name or a label's value as one word without `=`: other characters are written as `%20`."""
    return _quoted(name[:_NAME_BYTES])


@lru_cache(maxsize=4096)
def _quoted(name: str) -> str:
    return quote(name.encode("utf-8", "replace")[:_NAME_BYTES], safe="/:.,@+-_()[]")


def shown(value: float) -> str:
    """Return a number in the shortest way that reads back the same; what is whole has no fraction."""
    return str(int(value)) if math.isfinite(value) and value == int(value) and abs(value) < _WHOLE else repr(value)


def instant(time_s: float | None) -> str:
    """Return a time (Unix, seconds) as a line begins with it, to the millisecond; nothing for what is no time."""
    if time_s is None or not 0 < time_s < LATEST_S:
        return ""
    return datetime.fromtimestamp(time_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
