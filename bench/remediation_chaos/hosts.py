"""Systems on this host: training programs of the executor `process`, and one's own programs and a web server."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from random import Random
from typing import Final

from bench.remediation_chaos.stand_in import StandIn
from bench.remediation_chaos.systems import JOBS, Sections, Subject
from relight.agent.executors import host
from relight.agent.executors.attendant import Attempt, State, read
from relight.stores.waiting import NEVER
from schemas.command import RecoveryCommand

_ACTIONS: Final = ("restart_job", "rollback_checkpoint")
_CHECKPOINTS: Final = 3
_BEGUN: Final = re.compile(r"relight-attendant: .*: the program starts, pid \d+, for command (\S+)")
_PROGRAM: Final = """#!/bin/sh
sleep "0.$(($$ % 4))"
echo "$RELIGHT_COMMAND" >>"$0.done"
sleep "$(($$ % 2)).$(($$ % 10))"
"""
"""Notes its command in the midst of its work, so that it can be killed before and after that."""
_ANSWER_S: Final = 5.0


class Processes:
    """Training programs, each of which runs until it is stopped."""

    name: Final = "process"
    exact: Final = True

    def __init__(self, folder: Path, agents: int) -> None:
        """Take where the jobs' files are to be, and how many agents share them."""
        self.agents = agents
        self._folder, self._checkpoints = folder / "jobs", folder / "checkpoints"
        self._jobs = {
            f"{JOBS[action]}-{n}": action for action in ("restart_job", "rollback_checkpoint") for n in (1, 2)
        }
        self._free, self._steps = sorted(self._jobs), count(1)

    def settings(self) -> Sections:
        """Return the settings of its agent."""
        programs = {job: ["/bin/sh", "-c", "exec sleep 86400"] for job in self._jobs}
        pattern = str(self._checkpoints / "{job}" / "step_*")
        return {"process": {"folder": str(self._folder), "stop_s": 5, "checkpoints": pattern, "jobs": programs}}

    def subject(self, dice: Random) -> Subject | None:
        """Return a job; one that is to go back has checkpoints."""
        if not self._free:
            return None
        job = self._free.pop(dice.randrange(len(self._free)))
        for _ in range(_CHECKPOINTS if job.startswith("rollback") else 0):
            (self._checkpoints / job / f"step_{next(self._steps)}").mkdir(parents=True)
        return Subject(self._jobs[job], job)

    def release(self, subject: Subject) -> None:
        """Let a job be used again."""
        self._free.append(subject.job or "")

    def effects(self, commands: Sequence[RecoveryCommand]) -> Mapping[str, float]:
        """Return how many attempts each command has begun; for one that goes back, or else what it has set aside."""
        begun = self._begun()
        aside = Counter(path.name.rpartition(".set-aside-")[2] for path in self._checkpoints.glob("*/*.set-aside-*"))
        found: dict[str, float] = {}
        for command in commands:
            if command.action.kind == "restart_job":
                found[command.id] = begun[command.id]
            elif command.action.kind == "rollback_checkpoint":
                attempts, checkpoints = begun[command.id], aside[command.id]
                found[command.id] = attempts if attempts == checkpoints else max(attempts, checkpoints) + 0.5
            elif command.action.kind == "collect_diagnostics":
                found[command.id] = float((self._folder / ".diagnostics" / command.id).exists())
        return found

    def silent(self) -> frozenset[str]:
        """Return nothing: it can always be asked."""
        return frozenset()

    def forget(self) -> None:
        """Keep everything: nothing is in the way."""

    def close(self) -> None:
        """End the programs; their attendants end with them."""
        for job in self._jobs:
            state = read(self._folder / job / "state.json", State)
            if state is not None:
                host.end(state.program, Attempt(job, self._folder / job, state.attempt).mark, 0, NEVER.wait)

    def _begun(self) -> Counter[str]:
        """Count attempts by command, as their outputs tell. A job's state has to tell the same."""
        found: Counter[str] = Counter()
        for output in self._folder.glob("*/attempt_*/output.log"):
            found.update(_BEGUN.findall(output.read_text(encoding="utf-8")))
        for job in self._jobs:
            state = read(self._folder / job / "state.json", State)
            for name, times in Counter(state.commands if state else ()).items():
                found[name] = max(found[name], times)
        return found


class Programs:
    """A program of one's own, and a web server: nobody can ask them what they have done."""

    name: Final = "programs"
    exact: Final = False
    agents: Final = 1

    def __init__(self, folder: Path, dice: Random) -> None:
        """Write the program, and begin to serve."""
        folder.mkdir()
        self._program, self._server, self._numbers = folder / "program", StandIn(dice), count(1)
        self._program.write_text(_PROGRAM, encoding="utf-8")
        self._program.chmod(0o755)

    def settings(self) -> Sections:
        """Return the settings of its agent."""
        return {
            "exec": {"programs": {"restart_job": [str(self._program)]}},
            "webhook": {"url": self._server.url, "actions": ["restart_process"], "timeout_s": _ANSWER_S},
        }

    def subject(self, dice: Random) -> Subject | None:
        """Return a job that nobody has heard of before."""
        action = dice.choice(("restart_job", "restart_process"))
        return Subject(action, f"{JOBS[action]}-{next(self._numbers)}")

    def release(self, subject: Subject) -> None:
        """Do nothing: there are always more."""

    def effects(self, commands: Sequence[RecoveryCommand]) -> Mapping[str, float]:
        """Return how often the program was run, or the server asked, for each command."""
        path = self._program.with_name("program.done")
        ran = Counter(path.read_text(encoding="utf-8").split() if path.exists() else ())
        counts = {"restart_job": ran, "restart_process": self._server.asked}
        return {one.id: counts[one.action.kind][one.id] for one in commands if one.action.kind in counts}

    def silent(self) -> frozenset[str]:
        """Return the commands that the server did not answer."""
        return frozenset(self._server.silent)

    def forget(self) -> None:
        """Keep everything: nothing is in the way."""

    def close(self) -> None:
        """Stop serving."""
        self._server.close()
