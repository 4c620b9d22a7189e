"""Slurm's own programs: run without a shell, asked again while slurmctld gives no answer, and what they say.

What changes something holds a name that only one process on the machine can hold, and a program that goes on after the
agent was killed keeps it. Whoever asks what has become of a command can so tell that this is still open.
"""

import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import IO, Final

from relight.agent.port import ActionError, ActionFailed, ActionUnknown, Interrupted
from relight.notify.cleaning import ending, line
from relight.settings import Misconfigured, agents
from relight.stores.waiting import NEVER, Waited

WAITING: Final = frozenset({"PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT"})
RUNNING: Final = frozenset({"CONFIGURING", "RESIZING", "RUNNING", "SIGNALING", "STAGE_OUT", "STOPPED", "SUSPENDED"})
ENDING: Final = "COMPLETING"
"""A job's processes are being cleared away; it may wait to run again already."""
UNFIT: Final = frozenset({"DOWN", "DRAIN", "FAIL", "INVAL", "INVALID_REG", "MAINT", "NOT_RESPONDING", "UNKNOWN"})
"""States of a node that is not well."""
_OPEN: Final = re.compile(
    r"unable to contact slurm|timed out|unexpected message received|zero bytes|connection (refused|reset)"
    r"|transport endpoint|standby mode|munge .*failed|communication.*failure|temporarily unable",
    re.IGNORECASE,
)
"""What programs say when slurmctld has given no answer; some of it may have been carried out all the same."""
_COLUMNS: Final = (
    ("JobArrayID", 64), ("State", 20), ("RestartCnt", 12), ("BatchFlag", 8), ("Requeue", 8), ("StartTime", 32),
    ("SubmitTime", 32), ("JobID", 24), ("PriorityLong", 24), ("Reason", 120),
)  # fmt: skip
"""Columns of squeue and their widths: nothing in them is written by whoever submits a job."""
_PAUSES_S: Final = (0.5, 8.0)
_LOOKS_S: Final = (0.005, 0.1)


class NoAnswer(Exception):
    """Slurm has given no answer."""


class Unsettled(NoAnswer):
    """Slurm has given no answer to what it was told: it may have been carried out, and may not."""


class Refused(Exception):
    """Slurm has said no, and has changed nothing."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long an answer is waited for: until when (Unix, seconds), and how to wait."""

    waited: Waited
    until_s: float

    def pause(self, seconds: float) -> bool:
        """Wait, and tell whether there is time left. Raises: Interrupted."""
        left_s = self.until_s - time.time()
        if left_s <= 0:
            return False
        if self.waited(min(seconds, left_s)):
            raise Interrupted
        return True


@dataclass(frozen=True, slots=True)
class Job:
    """A job as Slurm has it. `id` is as people write it: `123`, and a task of an array `123_4`."""

    id: str
    number: int
    state: str
    restarts: int
    batch: bool
    requeue: bool
    started_s: int | None
    submitted_s: int
    held: bool
    reason: str

    def __str__(self) -> str:
        """Return it in words for people."""
        why = f" ({self.reason})" if self.reason not in ("", "None") else ""
        return f"job {self.id} is {self.state}{why}, its restarts are {self.restarts}"


@dataclass(frozen=True, slots=True)
class Node:
    """A node as Slurm has it. `booted_s` is Unix time, and nothing while Slurm does not know."""

    name: str
    states: frozenset[str]
    reason: str
    booted_s: int | None

    @property
    def out(self) -> bool:
        """Tell whether it is given no new work."""
        return "DRAIN" in self.states

    @property
    def well(self) -> bool:
        """Tell whether it takes work."""
        return not self.states & UNFIT and not any(state.startswith("REBOOT") for state in self.states)


class Programs:
    """Runs Slurm's programs. Used by several threads."""

    def __init__(self, settings: agents.Slurm) -> None:
        """Find the programs once and for all. Raises: Misconfigured."""
        self._timeout_s = settings.timeout_s
        where = str(settings.folder) if settings.folder else os.environ.get("PATH", os.defpath)
        self._paths = {name: _path(name, where) for name in ("scontrol", "squeue")}

    def ask(self, patience: Patience, program: str, *arguments: str) -> str:
        """Return what a program says that changes nothing.

        Raises:
            Refused: there is no such thing, or it may not be seen.
            NoAnswer: there was none in time.
            Interrupted: the agent is to stop.
        """
        return self._repeated(patience, (program, *arguments), None)

    def change(self, patience: Patience, command: str, *arguments: str) -> None:
        """Have scontrol do what may be done twice. Raises: as `ask`, but `Unsettled`."""
        with _alone(command, patience) as held:
            self._repeated(patience, ("scontrol", *arguments), held)

    def change_once(self, patience: Patience, command: str, *arguments: str) -> None:
        """Have scontrol do what must not be done twice. Raises: as `ask`, but `Unsettled`."""
        with _alone(command, patience) as held:
            self._run(patience, ("scontrol", *arguments), held)

    def jobs(self, patience: Patience, job: str) -> list[Job]:
        """Return the jobs with an id or a name that Slurm still knows; of an array its tasks. Raises: as `ask`."""
        which = f"--jobs={job}" if is_id(job) else f"--name={job}"
        wanted = ",".join(f"{name}:{width}" for name, width in _COLUMNS)
        said = self.ask(patience, "squeue", "--noheader", "--states=all", "--array", which, "-O", wanted)
        return [_job(row) for row in said.splitlines() if row.strip()]

    def hosts(self, patience: Patience, job: str) -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
        """Return the hosts that a job asks for, that it is not to run on, and that it has. Raises: as `ask`."""
        said = self.ask(patience, "squeue", "--noheader", "--states=all", f"--jobs={job}", "-o", "%n|%x|%N")
        fields = [self._expanded(patience, each) for each in (*said.strip().split("|"), "", "", "")]
        return fields[0], fields[1], fields[2]

    def node(self, patience: Patience, host: str) -> Node:
        """Return a node. Raises: as `ask`."""
        said = self.ask(patience, "scontrol", "show", "node", "-o", host)
        facts, _, why = said.partition(" Reason=")
        fields = dict(re.findall(r"(?:^| )(NodeName|State|BootTime)=(\S*)", facts))
        if fields.get("NodeName") != host:
            raise Refused(f"Node {host} not found")
        booted = fields.get("BootTime", "")
        return Node(
            name=host,
            states=_states(fields.get("State", "UNKNOWN")),
            reason=line(re.split(r" \[[^\[\]\s]+@[^\[\]\s]+\]", why)[0], 1500),
            booted_s=int(booted) if booted.isdigit() else None,
        )

    def _expanded(self, patience: Patience, hosts: str) -> frozenset[str]:
        """Return the names of a list such as `node[1-3],login`."""
        if hosts in ("", "(null)", "n/a"):
            return frozenset()
        return frozenset(self.ask(patience, "scontrol", "show", "hostnames", hosts).split())

    def _repeated(self, patience: Patience, arguments: Sequence[str], held: socket.socket | None) -> str:
        pause_s, longest_s = _PAUSES_S
        while True:
            try:
                return self._run(patience, arguments, held)
            except NoAnswer:
                if not patience.pause(pause_s):
                    raise
            pause_s = min(2 * pause_s, longest_s)

    def _run(self, patience: Patience, arguments: Sequence[str], held: socket.socket | None) -> str:
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as complaints:
            try:
                process = subprocess.Popen(  # noqa: S603  # a program of Slurm's, and no shell
                    [self._paths[arguments[0]], *arguments[1:]],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=complaints,
                    cwd="/",
                    env=_environment(),
                    start_new_session=True,
                    pass_fds=(held.fileno(),) if held else (),
                )
            except OSError as error:
                raise NoAnswer(f"{arguments[0]} could not be started: {error.strerror}") from error
            status = self._status(process, patience, may_go_on=held is not None)
            said, why = _all(output), line(f"{_all(complaints)} {_all(output)}", 500)
        if status == 0:
            return said
        if status is None:
            raise NoAnswer(f"{arguments[0]} was killed, for it had not ended in time")
        if status < 0 or _OPEN.search(why):
            raise NoAnswer(why or f"{arguments[0]} was killed by signal {-status}")
        raise Refused(why or f"{arguments[0]} ended with status {status}")

    def _status(self, process: "subprocess.Popen[bytes]", patience: Patience, may_go_on: bool) -> int | None:
        """Return the status with which a program has ended, or nothing where it was killed for it had not."""
        end_s = time.monotonic() + min(self._timeout_s, max(1.0, patience.until_s - time.time()))
        pause_s, longest_s = _LOOKS_S
        while (status := process.poll()) is None and time.monotonic() < end_s:
            if patience.waited(pause_s):
                if may_go_on:
                    process.returncode = 0  # else its end would be taken for forgotten
                else:
                    _kill(process)
                raise Interrupted
            pause_s = min(2 * pause_s, longest_s)
        if status is None:
            _kill(process)
        return status


@contextmanager
def answered(silent: type[ActionError], refused: type[ActionError]) -> Iterator[None]:
    """Say as an action's error that Slurm gives no answer, or says no."""
    try:
        yield
    except Unsettled as error:
        unsettled = ActionUnknown if silent is ActionFailed else silent
        raise unsettled(f"Slurm has not answered to what it was told: {error}") from error
    except NoAnswer as error:
        raise silent(f"Slurm gives no answer: {error}") from error
    except Refused as error:
        raise refused(f"Slurm says: {error}") from error


def a_moment() -> Patience:
    """Return the patience of a last look or word, when the time is up."""
    return Patience(NEVER.wait, time.time())


def is_id(job: str) -> bool:
    """Tell whether a job is named by its number; other names are its own."""
    return re.fullmatch(r"[0-9]+(_[0-9]+)?", job) is not None


def is_acting(command: str) -> bool:
    """Tell whether a program that was run for a command, maybe by an agent that was killed, still runs."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(_name(command))
        except OSError:
            return True
    return False


@contextmanager
def _alone(command: str, patience: Patience) -> Iterator[socket.socket]:
    """Hold a command's name; who inherits the socket holds it on."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as held:
        while True:
            try:
                held.bind(_name(command))
                break
            except OSError:
                if not patience.pause(_LOOKS_S[1]):
                    raise Unsettled("a program that was run for it earlier has not ended") from None
        try:
            yield held
        except NoAnswer as error:
            raise Unsettled(str(error)) from error


def _name(command: str) -> bytes:
    """Return a name in Linux's abstract namespace: the kernel frees it when its last holder is gone."""
    return b"\0relight/slurm/" + sha256(command.encode()).hexdigest()[:40].encode()


def _path(name: str, where: str) -> str:
    found = shutil.which(name, path=where)
    if found is None:
        raise Misconfigured(f"slurm: there is no program {name} in {where}; set slurm.folder to where it is")
    return os.path.abspath(found)


def _environment() -> dict[str, str]:
    """Return what Slurm's programs need; other variables could change what they print."""
    own = {name: os.environ[name] for name in ("HOME", "PATH", "SLURM_CONF", "SLURM_JWT") if name in os.environ}
    return {**own, "LANG": "C.UTF-8", "SLURM_TIME_FORMAT": "%s"}


def _job(row: str) -> Job:
    values, start = {}, 0
    for name, width in _COLUMNS:
        values[name], start = row[start : start + width].strip(), start + width
    return Job(
        id=values["JobArrayID"],
        number=_number(values["JobID"]) or 0,
        state=values["State"],
        restarts=_number(values["RestartCnt"]) or 0,
        batch=values["BatchFlag"] == "1",
        requeue=values["Requeue"] == "1",
        started_s=_number(values["StartTime"]),
        submitted_s=_number(values["SubmitTime"]) or 0,
        held=values["PriorityLong"] == "0",
        reason=line(values["Reason"], 100),
    )


def _states(text: str) -> frozenset[str]:
    """Return the states of `IDLE*+DRAIN`: the star stands for a node that does not respond."""
    names = {name.rstrip("*~#!%$@^-") for name in text.split("+")}
    return frozenset(names | ({"NOT_RESPONDING"} if "*" in text else set()))


def _number(text: str) -> int | None:
    return int(text) if text.isdigit() else None


def _kill(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait()


def _all(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode("utf-8", "replace")


def shown(texts: Sequence[str]) -> str:
    """Return what programs have said, for people."""
    return ending("\n".join(texts))
