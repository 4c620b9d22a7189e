"""A stand for the demo: a training job in a folder of its own, with relight around it, on either log.

Everything is what an operator would start: `relight run` (or each stage as a process) and `relight agent`, which starts
the job. What they have said is read from the topics.
"""

import os
import re
import shutil
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from demo import train
from demo.pipeline import CLUSTER, PROMPT, NotInTime, Pipeline
from relight.agent.executors.attendant import State, read

JOB: Final = "demo"
STEPS: Final = 60
ALL_IN_ONE: Final = (("run", "{logs}"),)
"""All stages in one process, with the agent beside it."""
STAGE_BY_STAGE: Final = (("ship", "{logs}"), ("diagnose", "match"), ("diagnose", "correlate"), ("remediate",))
"""Each stage as a process, as it is done on Kafka."""
_HERE: Final = Path(__file__).parent
_STEP: Final = re.compile(r"^(\S+Z) INFO step (\d+)/", re.MULTILINE)


@dataclass(frozen=True)
class Step:
    """A step that the job has logged, and when (Unix, seconds)."""

    number: int
    at_s: float


@dataclass
class Stand(Pipeline):
    """A job and relight, in a folder. `kafka`: brokers, without them the embedded log; `stages` what is started."""

    kafka: str | None = None
    stages: Sequence[Sequence[str]] = ALL_IN_ONE

    @property
    def checkpoints(self) -> Path:
        """Return the folder of the job's checkpoints."""
        return self.folder / "checkpoints"

    @property
    def data(self) -> Path:
        """Return the file of the job's data."""
        return self.folder / "data.bin"

    def begin(self) -> None:
        """Make data and settings, and start relight; its agent starts the job."""
        self.folder.mkdir(parents=True, exist_ok=True)
        train.make_data(self.data)
        (self.folder / "relight.toml").write_text(self._settings(), encoding="utf-8")
        if self.kafka:
            self.call("keys", "new")
        self.call("setup")
        logs = str(self.folder / "jobs" / "*" / "attempt_*" / "output.log")
        for words in (*self.stages, ("agent",)):
            self.start([word.replace("{logs}", logs) for word in words])

    def program(self) -> int:
        """Return the pid of the job's program."""
        state = read(self.folder / "jobs" / JOB / "state.json", State)
        if state is None:
            raise NotInTime("the job has never begun")
        return state.program.pid

    def second_rank(self) -> int:
        """Return the pid of the job's second rank."""
        return int((self.folder / "rank1.pid").read_text())

    def steps(self, attempt: int) -> list[Step]:
        """Return the steps that an attempt has logged."""
        try:
            text = (self.folder / "jobs" / JOB / f"attempt_{attempt}" / "output.log").read_text(errors="replace")
        except FileNotFoundError:
            return []
        return [Step(int(number), datetime.fromisoformat(at).timestamp()) for at, number in _STEP.findall(text)]

    @property
    def attempts(self) -> int:
        """Return how many attempts of the job have begun."""
        return len([*(self.folder / "jobs" / JOB).glob("attempt_*")])

    def until_step(self, number: int, attempt: int = 1) -> None:
        """Wait until an attempt has logged a step."""
        self.until(lambda: any(step.number >= number for step in self.steps(attempt)), 60, f"step {number}")

    def close(self) -> None:
        """Stop relight, and what is left of the job."""
        super().close()
        with suppress(NotInTime, OSError):
            os.killpg(self.program(), signal.SIGKILL)  # its session has its number, and its ranks are in it

    def _settings(self) -> str:
        where = (
            f'[kafka]\nbootstrap = "{self.kafka}"' if self.kafka else f'[embedded]\npath = "{self.folder}/relight.db"'
        )
        program = (sys.executable, "-u", str(_HERE / "train.py"), str(self.folder), "--steps", str(STEPS))
        return f"""\
[cluster]
name = "{CLUSTER}"
[keys]
folder = "{self.folder}/keys"
[ship]
job = "{JOB}"
{PROMPT}[remediate]
dry_run = false
cooldown_s = 0
playbooks = ["{_HERE / "playbooks.yaml"}"]
[process]
folder = "{self.folder}/jobs"
stop_s = 2
checkpoints = "{self.checkpoints}/step_*.json"
free = ["{self.checkpoints}/cache/*.bin"]
[process.jobs]
{JOB} = {list(program)!r}
[exec.programs]
notify = ["{shutil.which("touch")}", "{self.folder}/told-of-{{incident}}"]
{where}
"""
