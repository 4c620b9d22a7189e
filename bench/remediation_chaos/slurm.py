"""A real Slurm as a system; and jobs that are there before something happens to them."""

import re
import subprocess
from collections import Counter
from collections.abc import Callable, Container, Mapping, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from random import Random
from typing import Final

from bench.remediation_chaos.systems import JOBS, Sections, Subject
from schemas.action import CordonNode, DrainNode, RestartJob, RestartJobExcludingHosts
from schemas.command import RecoveryCommand
from tests.servers.slurm_server import SlurmServer

_RESTARTS: Final = re.compile(r"JobName=(\S+)\n(?:.+\n)*?.* Restarts=(\d+)")
_OUT: Final = re.compile(r"update_node: node \S+ reason set to: relight: .*command (\S+)")
_RESTART, _ELSEWHERE = JOBS["restart_job"], JOBS["restart_job_excluding_hosts"]


class Stock:
    """Jobs that were submitted ahead, by what their names begin with: a job is for one incident, once it runs."""

    def __init__(self, submit: Callable[[str], None], words: Sequence[str], size: int) -> None:
        """Submit the first ones. `submit` is given the name of each."""
        self._submit, self._numbers, self._size = submit, count(1), size
        self._waiting: dict[str, list[str]] = {word: [] for word in words}
        self.used: list[str] = []
        for word in words:
            self._fill(word)

    def taken(self, word: str, running: Container[str]) -> str | None:
        """Return a job of those that run, and submit another one; nothing where none runs."""
        job = next((name for name in self._waiting[word] if name in running), None)
        if job is not None:
            self._waiting[word].remove(job)
            self.used.append(job)
            self._fill(word)
        return job

    def _fill(self, word: str) -> None:
        while len(self._waiting[word]) < self._size:
            name = f"{word}-{next(self._numbers)}"
            self._submit(name)
            self._waiting[word].append(name)


class Slurm:
    """Jobs and nodes of a Slurm, which counts the restarts of each job, and logs what is done to nodes."""

    name: Final = "slurm"
    exact: Final = True
    agents: Final = 1

    def __init__(self, server: SlurmServer) -> None:
        """Take a Slurm that runs, and submit some jobs."""
        self._server, self._log = server, Path(server.environment["SLURM_CONF"]).with_name("slurmctld.log")
        self._free = ["node1", "node2"]
        self._stock = Stock(self._submit, (_RESTART, _ELSEWHERE), 2)

    def settings(self) -> Sections:
        """Return the settings of its agent."""
        return {"slurm": {"enabled": True, "timeout_s": 10}}

    def subject(self, dice: Random) -> Subject | None:
        """Return a job that runs, or a node to be drained."""
        kind = dice.choice(("restart_job", "restart_job", "drain_node", "restart_job_excluding_hosts"))
        if kind != "restart_job" and not self._free:
            return None
        if kind == "drain_node":
            return Subject(kind, host=self._free.pop())
        said = self._server.run("squeue", "--noheader", "--states=RUNNING", "--format=%j")
        job = self._stock.taken(JOBS[kind], said.split())
        if job is None:
            return None
        if kind == "restart_job":
            return Subject(kind, job)
        return Subject(kind, job, self._free.pop(), mends="cordon_node")

    def release(self, subject: Subject) -> None:
        """Put a node back into service."""
        if subject.host is not None:
            with suppress(subprocess.CalledProcessError):  # it was not taken out
                self._server.run("scontrol", "update", f"nodename={subject.host}", "state=resume")
            self._free.insert(0, subject.host)

    def effects(self, commands: Sequence[RecoveryCommand]) -> Mapping[str, float]:
        """Return how often jobs were started again, and nodes taken out, as slurmctld has logged it."""
        out = Counter(_OUT.findall(self._log.read_text(encoding="utf-8", errors="replace")))
        restarts = {name: int(times) for name, times in _RESTARTS.findall(self._server.run("scontrol", "show", "job"))}
        found: dict[str, float] = {}
        for command in commands:
            action = command.action
            if isinstance(action, RestartJob | RestartJobExcludingHosts) and action.job in restarts:
                found[command.id] = restarts[action.job]
            elif isinstance(action, DrainNode | CordonNode):
                found[command.id] = out[command.id]
        return found

    def silent(self) -> frozenset[str]:
        """Return nothing: it can always be asked."""
        return frozenset()

    def forget(self) -> None:
        """End the jobs that were used."""
        for job in self._stock.used:
            self._server.run("scancel", f"--jobname={job}")
        self._stock.used.clear()

    def close(self) -> None:
        """Do nothing: whoever has started it stops it."""

    def _submit(self, job: str) -> None:
        self._server.run("sbatch", f"--job-name={job}", "--output=/dev/null", "--wrap=exec sleep 86400")
