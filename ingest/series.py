"""Series of a Prometheus as metric lines: which are asked for, and what was answered, a line for each thing and time.

    2025-02-03T04:05:06.000Z metric of=gpu host=node07 gpu=3 gpu_uuid=GPU-... gpu_temperature_c=87 gpu_power_w=312.4

What is measured of one thing at one time stands on one line. `docs/metrics.md` has the grammar.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Annotated, Final, Literal

import yaml
from pydantic import AfterValidator, Field, ValidationError

from ingest.errors import IngestError
from ingest.foreign import UNKNOWN_HOST
from ingest.renderings.metric_line import instant, metric_line
from ingest.subjects import subject_of
from schemas.metrics import METRICS
from schemas.model import Model
from schemas.record import LATEST_S

Of = Literal["gpu", "disk", "nic", "host"]
_PARTS: Final[Mapping[str, tuple[str, ...]]] = {
    "gpu": ("gpu", "gpu_uuid", "pci"), "disk": ("disk",), "nic": ("nic",), "host": (),
}  # fmt: skip


def _known(name: str) -> str:
    if name not in METRICS:
        near = get_close_matches(name, METRICS, 1)
        raise ValueError(f"there is no metric {name!r}{f': did you mean {near[0]}?' if near else ''}")
    return name


class QueriesWrong(IngestError):
    """A file of queries has a mistake. The message says which, where, and what to do."""


class Query(Model):
    """What to ask for: a metric's name, what it is measured of, and the expression in PromQL."""

    metric: Annotated[str, AfterValidator(_known)]
    of: Of
    query: str = Field(min_length=1, max_length=4000)


class Series(Model):
    """What was answered: labels, and values with their times (Unix, seconds)."""

    metric: dict[str, str]
    values: tuple[tuple[float, str], ...]


class _Queries(Model):
    queries: tuple[Query, ...] = Field(min_length=1)


def queries_of(text: str, name: str) -> tuple[Query, ...]:
    """Return the queries that a file holds; `name` is the file's. Raises: QueriesWrong."""
    try:
        return _Queries.model_validate(yaml.safe_load(text)).queries
    except yaml.YAMLError as error:
        raise QueriesWrong(f"{name}: this is not YAML: {' '.join(str(error).split())}") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where, what = ".".join(map(str, first["loc"])) or "the file", first["msg"].removeprefix("Value error, ")
        raise QueriesWrong(
            f"{name}: {where}: {what}. A file of queries holds `queries:`, a list of metric, of and query"
        ) from None


class Measured:
    """Values of a span of time, as they come from queries; `lines` has them by host."""

    def __init__(self) -> None:
        """Begin with none. `count` is how many values there are."""
        self.count = 0
        self._values: dict[tuple[float, Of, tuple[tuple[str, str], ...]], dict[str, float]] = defaultdict(dict)

    def add(self, query: Query, found: Iterable[Series]) -> None:
        """Take what was answered. Of two values of one thing at one time the larger counts."""
        for series in found:
            subject = subject_of(series.metric, _PARTS[query.of])
            thing = tuple({"host": subject.host or UNKNOWN_HOST, **subject.parts}.items())
            for time_s, text in series.values:
                if (value := _number(text)) is not None and 0 < time_s < LATEST_S:
                    told = self._values[time_s, query.of, thing]
                    self.count += query.metric not in told
                    told[query.metric] = max(value, told.get(query.metric, value))

    def lines(self) -> dict[str, list[tuple[float, bytes]]]:
        """Return the lines of each host with their times (Unix, seconds), in the order of these."""
        found: dict[str, list[tuple[float, bytes]]] = defaultdict(list)
        for time_s, of, thing in sorted(self._values):
            labels, told = dict(thing), self._values[time_s, of, thing]
            found[labels["host"]].append((time_s, metric_line(of, labels, told.items(), instant(time_s))))
        return dict(found)


def aligned(begin_s: float, end_s: float, step_s: int) -> tuple[int, int]:
    """Return the first and the last time in a range (Unix, seconds) that is a multiple of the step.

    So a range that is asked for again, or in other parts, has the same times.
    """
    return -(-int(begin_s) // step_s) * step_s, int(end_s) // step_s * step_s


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
