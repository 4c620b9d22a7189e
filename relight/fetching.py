"""`relight metrics fetch`: writes the series of a Prometheus as metric lines into files, which `scan` and `ship` read.

A folder has one folder for each host and in it one file for each day, `node07/metrics-2025-02-03.log`. How far the
series have been fetched is written beside them behind the lines: after a crash some are fetched again, none are lost.
"""

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.resources import files
from itertools import groupby
from pathlib import Path
from typing import Final

import orjson
import structlog

from ingest.series import Measured, QueriesWrong, Query, aligned, queries_of
from relight.prometheus import Prometheus, PrometheusUnavailable

POSITION: Final = ".fetched.json"
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
    folder: Path
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
            for host, lines in measured.lines().items():
                self._write(host, lines)
                done.lines += len(lines)
                done.hosts.add(host)
            self._remember(until_s)
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
        reached = self.reached_s()
        at_s = begin_s if reached is None else reached + 1
        while True:
            try:
                self.fetch(at_s, time.time() - SETTLED_S)
            except PrometheusUnavailable as error:
                _log.warning(f"{error}; it is asked again", stage="fetch")
            reached = self.reached_s()
            at_s = at_s if reached is None else reached + 1
            if waited(every_s):
                return

    def reached_s(self) -> float | None:
        """Return up to when series have been fetched into the folder (Unix, seconds), `None` if they have not."""
        try:
            told = orjson.loads((self.folder / POSITION).read_bytes())
            return float(told["until_s"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _write(self, host: str, lines: Sequence[tuple[float, bytes]]) -> None:
        folder = self.folder / host
        folder.mkdir(parents=True, exist_ok=True)
        for day, own in groupby(lines, key=lambda line: datetime.fromtimestamp(line[0], UTC).date()):
            with (folder / f"metrics-{day}.log").open("ab") as file:
                file.write(b"".join(line for _, line in own))
                file.flush()
                os.fsync(file.fileno())

    def _remember(self, until_s: float) -> None:
        with tempfile.NamedTemporaryFile(dir=self.folder, delete=False) as file:
            file.write(orjson.dumps({"until_s": until_s}))
            file.flush()
            os.fsync(file.fileno())
        os.replace(file.name, self.folder / POSITION)
