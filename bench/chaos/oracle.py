"""The oracle: a thread that writes the logs of many jobs, and knows which fault stands where."""

import os
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import IO, Final

from bench.chaos.story import Issued, Numbers, Story, Turned, Turning, Written

_JOBS: Final = 5
_PAUSE_S: Final = 0.015


@dataclass
class Oracle:
    """Writes below a folder, a subfolder for each cluster. `issued` has the faults whose writing has begun."""

    folder: Path
    clusters: Sequence[str]
    dice: Random
    issued: dict[int, Issued] = field(default_factory=dict)
    lines: int = 0
    turned: int = 0
    _numbers: Numbers = field(default_factory=Numbers)
    _jobs: list["_Job"] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Make the clusters' folders."""
        for cluster in self.clusters:
            (self.folder / cluster).mkdir(parents=True)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Write while the block lasts; then bring every job that has begun to its end."""
        stop = threading.Event()
        with ThreadPoolExecutor(1) as thread:
            done = thread.submit(self._write, stop)
            try:
                yield
            finally:
                stop.set()
            done.result()

    def files(self, cluster: str) -> list[Path]:
        """Return the logs of a cluster that are there."""
        return [path for path in (self.folder / cluster).rglob("*") if path.is_file()]

    def forget(self) -> None:
        """Delete the logs of all jobs: they have ended. The caller knows that they have been read."""
        for cluster in self.clusters:
            for job in (self.folder / cluster).iterdir():
                shutil.rmtree(job)

    def _write(self, stop: threading.Event) -> None:
        while not stop.is_set():
            while len(self._jobs) < _JOBS:
                self._jobs.append(self._begun())
            self._step(self.dice.choice(self._jobs))
            time.sleep(self.dice.uniform(0, 2 * _PAUSE_S))
        while self._jobs:
            self._step(self.dice.choice(self._jobs))

    def _begun(self) -> "_Job":
        cluster, job = self.dice.choice(self.clusters), self._numbers.next_job()
        folder = self.folder / cluster / f"job-{job}"
        folder.mkdir()
        return _Job(folder, Story(cluster, job, self.dice, self._numbers).steps())

    def _step(self, job: "_Job") -> None:
        step = next(job.steps, None)
        if step is None:
            job.close()
            self._jobs.remove(job)
        elif isinstance(step, Turned):
            job.turn(step)
            self.turned += 1
        else:
            if step.issued is not None:
                self.issued[step.issued.number] = step.issued
            job.write(step, self.dice)
            self.lines += len(step.lines)


@dataclass
class _Job:
    """The logs of a job: one a rank, kept open as its writer keeps it."""

    folder: Path
    steps: Iterator[Written | Turned]
    _logs: dict[int, IO[bytes]] = field(default_factory=dict)

    def write(self, written: Written, dice: Random) -> None:
        log = self._log(written.rank)
        data = "".join(f"{line}\n" for line in written.lines).encode()
        cuts = sorted(dice.sample(range(1, len(data)), 2)) if written.torn else []
        for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
            log.write(data[begin:end])
            log.flush()
            if end < len(data):
                time.sleep(dice.uniform(0, 0.02))

    def turn(self, turned: Turned) -> None:
        """Rotate a log, older parts first, or truncate it."""
        path = self._path(turned.rank)
        if not path.exists():
            return
        if turned.how is not Turning.TRUNCATED:
            older = len(list(self.folder.glob(f"{path.name}.*")))
            for number in range(older, 0, -1):
                os.rename(f"{path}.{number}", f"{path}.{number + 1}")
        if turned.how is Turning.RENAMED:
            os.rename(path, f"{path}.1")
            self._logs.pop(turned.rank).close()
            return
        if turned.how is Turning.COPIED:
            shutil.copyfile(path, f"{path}.1")
        os.truncate(path, 0)

    def close(self) -> None:
        for log in self._logs.values():
            log.close()

    def _path(self, rank: int) -> Path:
        return self.folder / f"rank_{rank}.log"

    def _log(self, rank: int) -> IO[bytes]:
        if rank not in self._logs:
            self._logs[rank] = self._path(rank).open("ab")
        return self._logs[rank]
