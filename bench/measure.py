"""Measuring: one command at a time through `launch`, and what several rounds of it come to."""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

LAUNCH: Final = Path(__file__).with_name("launch.py")
ROOT: Final = Path(__file__).resolve().parent.parent


class FailedError(Exception):
    """A command did not do what it should; the message is its last word, `cost` what it cost until then."""

    def __init__(self, what: str, cost: "Cost") -> None:
        """Keep the reason and the cost."""
        super().__init__(what)
        self.cost = cost


@dataclass(frozen=True, slots=True)
class Cost:
    """What one run cost. `peak_bytes` is the resident set of the largest process."""

    wall_s: float
    cpu_s: float
    peak_bytes: int
    output: Path


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of some values, with the least and the most."""

    median: float
    least: float
    most: float


def spread(values: Sequence[float]) -> Spread:
    """Return the median and the range of at least one value."""
    return Spread(statistics.median(values), min(values), max(values))


@dataclass(frozen=True)
class Bench:
    """Where runs write, which cores there are, and which of them a pinned run has for itself.

    A run that takes longer than `limit_s` is ended. relight keeps its compiled catalogue below `folder`, so that
    nothing outside of it is read or changed.
    """

    folder: Path
    rounds: int
    limit_s: int
    say: Callable[[str], None]

    @property
    def cores(self) -> tuple[int, ...]:
        """Return the cores that this process may use."""
        return tuple(sorted(os.sched_getaffinity(0)))

    def run(
        self,
        command: Sequence[str],
        *,
        all_cores: bool = False,
        cache: str = "cache",
        below: Path = ROOT,
        fine: tuple[int, ...] = (0,),
    ) -> Cost:
        """Run a command to its end, on the last core alone or on all.

        Args:
            command: What to run.
            all_cores: Do not pin it.
            cache: The name of the folder in which relight keeps its cache.
            below: The working directory, and where Python looks for packages first.
            fine: The exit statuses that are no failure.

        Raises:
            FailedError: it ended otherwise.
        """
        report, output, errors = (self.folder / name for name in ("cost.json", "output", "errors"))
        cores = ",".join(map(str, self.cores if all_cores else self.cores[-1:]))
        environment = {**os.environ, "XDG_CACHE_HOME": str(self.folder / cache), "PYTHONPATH": str(below)}
        launched = [sys.executable, "-I", "-S", str(LAUNCH), str(report), cores, str(self.limit_s), *command]
        with output.open("wb") as out, errors.open("wb") as err:
            subprocess.run(launched, stdout=out, stderr=err, check=True, cwd=below, env=environment)
        cost = json.loads(report.read_text(encoding="ascii"))
        made = Cost(cost["wall_s"], cost["cpu_s"], cost["peak_bytes"], output)
        if cost["status"] == -9:
            raise FailedError(f"ended after {made.wall_s:.0f} s", made)
        if cost["status"] not in fine:
            raise FailedError(f"exit status {cost['status']}: {_last_line(errors)}", made)
        return made


def relight(*arguments: str | int | Path) -> list[str]:
    """Return the command that runs relight as the console script does."""
    start = "from relight.cli import main; main()"
    return [sys.executable, "-c", start, *map(str, arguments)]


def _last_line(errors: Path) -> str:
    lines = errors.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line.strip()[:200] for line in reversed(lines) if line.strip()), "without a word")
