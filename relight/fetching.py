"""`relight metrics fetch`: writes the series of a Prometheus as metric lines into files, which `scan` and `ship` read.

How far the series have been fetched is kept with the lines (`fetched_folder`): after a crash none is lost or doubled.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Final

import structlog

from ingest.series import Measured, QueriesWrong, Query, aligned, queries_of
from relight.fetched_folder import FetchedFolder
from relight.prometheus import Prometheus, PrometheusUnavailable

SETTLED_S: Final = 30.0
"""What is younger may still be on its way into a Prometheus, as by remote write."""

FEW: Final = 20
MANY: Final = 1000
"""Of so many times values are asked for at first, and of so many at most: a Prometheus gives 11,000 of a series."""
VALUES: Final = 500_000
"""About so many values are held at once."""

_log = structlog.get_logger("relight")


@dataclass
class Fetched:
    """What has been written so far."""

    lines: int = 0
    hosts: set[str] = field(default_factory=set)


def queries(file: Path | None) -> tuple[Query, ...]:
    """Return the queries of a file, or those that come with relight. Raises: QueriesWrong, OSError."""
    if file is None:
        text = files("relight").joinpath("assets/prometheus/queries.yaml").read_text("utf-8")
        return queries_of(text, "queries.yaml")
    try:
        return queries_of(file.read_text("utf-8"), str(file))
    except UnicodeDecodeError:
        raise QueriesWrong(f"{file}: this is no text in UTF-8") from None


@dataclass
class Fetching:
    """Fetches from a Prometheus into a folder, in steps of `step_s` seconds."""

    source: Prometheus
    asked: Sequence[Query]
    folder: FetchedFolder
    step_s: int

    def fetch(self, begin_s: float, end_s: float, advance: Callable[[int], None] = lambda n: None) -> Fetched:
        """Fetch what was measured from one time to another (Unix, seconds); `advance` is told how many steps are done.

        Raises:
            PrometheusError: it does not answer; what was fetched before stays.
            OSError: a file cannot be written.
        """
        done, points = Fetched(), FEW
        at_s, last_s = aligned(begin_s, end_s, self.step_s)
        while at_s <= last_s:
            until_s = min(at_s + (points - 1) * self.step_s, last_s)
            measured = Measured()
            for query in self.asked:
                measured.add(query, self.source.range(query.query, at_s, until_s, self.step_s))
            lines = measured.lines()
            self.folder.append(lines.items(), until_s)
            done.lines += sum(map(len, lines.values()))
            done.hosts |= set(lines)
            advance((until_s - at_s) // self.step_s + 1)
            points = max(1, min(MANY, points * VALUES // max(1, measured.count)))
            at_s = until_s + self.step_s
        return done

    def follow(self, begin_s: float, every_s: float, waited: Callable[[float], bool]) -> None:
        """Fetch what is measured from now on, or from where it was left, until `waited(seconds)` says to stop.

        While Prometheus gives no answer it is asked again, and nothing is passed over.

        Raises:
            PrometheusRefused: a person has to change something.
            OSError: a file cannot be written.
        """
        while True:
            reached = self.folder.until_s
            try:
                self.fetch(begin_s if reached is None else reached + 1, time.time() - SETTLED_S)
            except PrometheusUnavailable as error:
                _log.warning(f"{error}; it is asked again", stage="fetch")
            if waited(every_s):
                return
