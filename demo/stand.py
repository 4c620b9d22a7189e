"""A stand for the demo: a training job in a folder of its own, with relight around it, on either log.

Everything is what an operator would start: `relight run` (or each stage as a process) and `relight agent`, which starts
the job. What they have said is read from the topics.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Final

from demo import train
from relight.agent.executors.attendant import State, read
from relight.settings import Settings, settings
from relight.topics import INCIDENTS
from relight.transports import reading
from relight.transports.opening import open_log
from relight.transports.port import LogError
from remediate.cases import Cases
from schemas.events import decoded

JOB: Final = "demo"
CLUSTER: Final = "lab"
STEPS: Final = 60
ALL_IN_ONE: Final = (("run", "{logs}"),)
"""All stages in one process, with the agent beside it."""
STAGE_BY_STAGE: Final = (("ship", "{logs}"), ("diagnose", "match"), ("diagnose", "correlate"), ("remediate",))
"""Each stage as a process, as it is done on Kafka."""
_HERE: Final = Path(__file__).parent
_RELIGHT: Final = str(Path(sys.executable).parent / "relight")
_STEP: Final = re.compile(r"^(\S+Z) INFO step (\d+)/", re.MULTILINE)
_POLL_S: Final = 0.1
_STOP_S: Final = 10.0
_WORDS: Final = 500


class NotInTime(Exception):
    """What was waited for has not come. The message says what it was."""


@dataclass(frozen=True)
class Step:
    """A step that the job has logged, and when (Unix, seconds)."""

    number: int
    at_s: float


@dataclass
class Stand:
    """A job and relight, in a folder. `kafka`: brokers, without them the embedded log; `stages` what is started."""

    folder: Path
    kafka: str | None = None
    stages: Sequence[Sequence[str]] = ALL_IN_ONE
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _errors: list[IO[bytes]] = field(default_factory=list)

    @property
    def checkpoints(self) -> Path:
        """Return the folder of the job's checkpoints."""
        return self.folder / "checkpoints"

    @property
    def data(self) -> Path:
        """Return the file of the job's data."""
        return self.folder / "data.bin"

    @property
    def settings(self) -> Settings:
        """Return the settings of all its processes."""
        return settings(None, self.folder / "relight.toml")

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
            self._start([word.replace("{logs}", logs) for word in words])

    def call(self, *words: str) -> str:
        """Run a command of relight to its end, and return what it printed.

        Raises:
            NotInTime: It has failed, or did not end.
        """
        try:
            done = subprocess.run(
                [_RELIGHT, *words], env=self._environment, capture_output=True, text=True, timeout=60, check=False
            )
        except subprocess.TimeoutExpired:
            raise NotInTime(f"`relight {' '.join(words)}` does not end") from None
        if done.returncode:
            raise NotInTime(f"`relight {' '.join(words)}` has failed: {done.stderr[-_WORDS:]}")
        return done.stdout

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

    def until(self, look: Callable[[], Any], patience_s: float, what: str) -> Any:
        """Return what is looked for, when it is there.

        Raises:
            NotInTime: It is not there in time, or a process of relight has ended.
        """
        deadline = time.monotonic() + patience_s
        while not (found := look()):
            if dead := next((name for name, one in self.running.items() if one.poll() is not None), None):
                raise NotInTime(f"`relight {dead}` has ended: {self._said(dead)[-_WORDS:]}")
            if time.monotonic() > deadline:
                raise NotInTime(f"{what} has not come within {patience_s:g} s")
            time.sleep(_POLL_S)
        return found

    def happened(self) -> Cases:
        """Return what has been said on the topic of incidents, as a state."""
        cases = Cases(CLUSTER)
        with suppress(LogError), open_log(self.settings) as log:
            for record in reading.records(log, INCIDENTS):
                cases.apply(decoded(record.value))
        return cases

    def close(self) -> None:
        """Stop relight, and what is left of the job."""
        for process in self.running.values():
            process.send_signal(signal.SIGTERM)
        for process in self.running.values():
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.running.clear()
        for errors in self._errors:
            errors.close()
        with suppress(NotInTime, OSError):
            os.killpg(self.program(), signal.SIGKILL)  # its session has its number, and its ranks are in it

    def _start(self, words: Sequence[str]) -> None:
        name = " ".join(word for word in words if word.isalpha())
        errors = self._errors_of(name).open("ab")
        self._errors.append(errors)
        self.running[name] = subprocess.Popen([_RELIGHT, *words], env=self._environment, stdout=errors, stderr=errors)

    def _said(self, name: str) -> str:
        return self._errors_of(name).read_text(errors="replace")

    def _errors_of(self, name: str) -> Path:
        return self.folder / f"{name.replace(' ', '_')}.err"

    @property
    def _environment(self) -> dict[str, str]:
        own = {"XDG_STATE_HOME": str(self.folder / "state"), "RELIGHT_CONFIG": str(self.folder / "relight.toml")}
        return {name: value for name, value in os.environ.items() if not name.startswith("RELIGHT_")} | own

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
provenance = "app"
heartbeat_s = 0.5
journal = false
kernel = false
[match]
progress_s = 0.5
[correlate]
settle_s = 1
[remediate]
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
