"""The attendant of one attempt of a job: starts its program, waits for it, and says in its output how it ended.

It is a process of its own, so that neither the program nor the news of its end depend on the agent. The order is what
makes an attempt begin exactly once. Whoever begins one holds the lock of the job, and the attendant inherits it; so
does its child, which writes `state.json` with its own pid and then becomes the program, which lets go of the lock.
Who gets the lock therefore sees an attempt that has begun, or one that never will. Files, below the job's folder:

    lock                  held while an attempt is stopped or begun
    state.json            the last attempt that has begun, and the commands that have begun one
    attendant.log         what attendants could not say elsewhere
    attempt_2/lock        held by its attendant as long as that lives
    attempt_2/output.log  what the program says, and the attendant's lines
    attempt_2/stop.json   for which command it is being stopped
    attempt_2/end.json    how it ended
"""

import fcntl
import os
import select
import signal
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NoReturn, TypeVar

from pydantic import PositiveInt, ValidationError

from relight.agent.executors.host import Identity, alive, identity_of
from schemas.model import Model

FOLDER: Final = "RELIGHT_ATTEMPT_FOLDER"
"""Is in the environment of a program and what it starts, and nowhere else: the folder of its attempt."""
_IGNORED: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_M = TypeVar("_M", bound=Model)


class StateError(Exception):
    """What is known of a job cannot be read. The message names the file and what to do."""


class State(Model):
    """The last attempt of a job that has begun, and the last commands that have begun one."""

    attempt: PositiveInt
    command: str | None
    program: Identity
    attendant: Identity
    began_s: float
    commands: tuple[str, ...] = ()


class Stop(Model):
    """A program is being stopped for a command, and an end until then is due to it."""

    command: str
    until_s: float


class End(Model):
    """How a program ended, in words and, where that is known, as its status or the negative number of a signal."""

    how: str
    status: int | None
    at_s: float


class Plan(Model):
    """What an attendant is to do. Without `arguments` it watches a program that runs, whose attendant has died.

    `lock` is the number of the descriptor that it inherits. `folder` is the job's.
    """

    job: str
    folder: Path
    attempt: PositiveInt
    command: str | None = None
    arguments: tuple[str, ...] = ()
    directory: Path | None = None
    environment: dict[str, str] = {}
    lock: int | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt and its files. `job_folder` is the job's."""

    job: str
    job_folder: Path
    number: int

    @property
    def folder(self) -> Path:
        """Return where its files lie; the name is read by who follows its output."""
        return self.job_folder / f"attempt_{self.number}"

    @property
    def output(self) -> Path:
        """Return the file of what it says."""
        return self.folder / "output.log"

    @property
    def mark(self) -> str:
        """Return what is in the environment of its processes and of no others."""
        return f"{FOLDER}={self.folder}"

    def say(self, what: str) -> None:
        """Write a line of the attendant into the output, with the time first, on a line of its own."""
        stamp = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = f"{stamp} relight-attendant: job {self.job}, attempt {self.number}: {printable(what)}\n".encode()
        with self.output.open("ab+") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(0, size - 1))
            log.write(line if log.read(1) in (b"", b"\n") else b"\n" + line)

    def stop(self) -> Stop | None:
        """Return for which command it is being stopped."""
        return read(self.folder / "stop.json", Stop)

    def end(self) -> End | None:
        """Return how it ended, if it has and that was noted."""
        return read(self.folder / "end.json", End)

    def close(self, what: str, status: int | None) -> None:
        """Note how it ended, in its output first."""
        self.say(what)
        write(self.folder / "end.json", End(how=what, status=status, at_s=time.time()))

    def close_unseen(self) -> None:
        """Note that it ended, if no attendant has done so or will."""
        held = lock(self.folder / "lock")
        if held is not None:
            try:
                if self.end() is None:
                    self.close(_stopped(self.stop(), "") or "the program has ended, and nobody saw how", None)
            finally:
                os.close(held)


def read(path: Path, model: type[_M]) -> _M | None:
    """Return what a file holds; `None` if there is no such file.

    Raises:
        StateError: It cannot be read.
    """
    try:
        return model.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise StateError(
            f"{path} cannot be read ({type(error).__name__}). Look what runs, and take it away."
        ) from error


def write(path: Path, what: Model) -> None:
    """Write a file, all of it or nothing, so that it survives a loss of power."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    with fresh.open("wb") as file:
        file.write(what.model_dump_json(indent=1).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def lock(path: Path) -> int | None:
    """Take a lock, and return the descriptor that holds it until all its copies are closed; `None`: somebody has it."""
    held = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(held)
        return None
    return held


def printable(text: str) -> str:
    """Return text that stays on its line and steers no terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)


def main() -> None:
    """Do what the plan in the first argument says, in a child: who has started this need not wait for it."""
    plan = Plan.model_validate_json(sys.argv[1])
    if plan.lock is not None:
        os.set_inheritable(plan.lock, False)
    attempt = Attempt(plan.job, plan.folder, plan.attempt)
    attempt.folder.mkdir(parents=True, exist_ok=True)
    if lock(attempt.folder / "lock") is None:  # held until the end of this process
        sys.exit(f"attempt {attempt.number} has an attendant already")
    if os.fork():
        os._exit(0)
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)  # at a shutdown it still says how the program ended
    if plan.arguments:
        _attend(plan, attempt)
    else:
        _watch(attempt)


def _attend(plan: Plan, attempt: Attempt) -> None:
    """Start the program, wait for it and note how it ended."""
    error, told = os.pipe()  # is closed when the child becomes the program
    attendant = identity_of(os.getpid())
    child = os.fork()
    if not child:
        _become(plan, attempt, attendant, told)
    os.close(told)
    os.chdir("/")
    with os.fdopen(error, encoding="utf-8", errors="replace") as errors:
        trouble = errors.read()
    state = read(plan.folder / "state.json", State)
    begun = state is not None and state.attempt == attempt.number
    if plan.lock is not None:
        os.close(plan.lock)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if not begun:
        sys.exit(f"attempt {attempt.number} has not begun: {trouble or _how(status)}")
    how = f"the program could not be started: {trouble}" if trouble else _stopped(attempt.stop(), _short(status))
    attempt.close(how or _how(status), status)


def _become(plan: Plan, attempt: Attempt, attendant: Identity, told: int) -> NoReturn:
    """Note that the attempt has begun, and become the program. Runs in the attendant's child."""
    try:
        os.setsid()
        log = os.open(attempt.output, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        before = read(plan.folder / "state.json", State)
        commands = ((before.commands if before else ()) + ((plan.command,) if plan.command else ()))[-1000:]
        state = State(
            attempt=attempt.number,
            command=plan.command,
            program=identity_of(os.getpid()),
            attendant=attendant,
            began_s=time.time(),
            commands=commands,
        )
        write(plan.folder / "state.json", state)
        with suppress(OSError):  # on a full disk it may still run
            attempt.say(f"the program starts, pid {os.getpid()}" + f", for command {plan.command}" * bool(plan.command))
        if plan.directory:
            os.chdir(plan.directory)
        for number in (*_IGNORED, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        mine = {name: value for name, value in os.environ.items() if not name.startswith("RELIGHT_")}
        os.execve(plan.arguments[0], plan.arguments, mine | plan.environment | {FOLDER: str(attempt.folder)})  # noqa: S606 - no shell is wanted
    except BaseException as error:  # nothing of the attendant may go on in its child
        os.write(told, str(error).encode()[:4000])
    finally:
        os._exit(127)


def _watch(attempt: Attempt) -> None:
    """Wait for the end of a program that is somebody else's child by now: how it ends cannot be known."""
    state = read(attempt.job_folder / "state.json", State)
    if state is None or state.attempt != attempt.number or attempt.end():
        return
    with suppress(ProcessLookupError):
        handle = os.pidfd_open(state.program.pid)
        if alive(state.program):
            select.select([handle], [], [])
    attempt.close(_stopped(attempt.stop(), "") or "the program has ended, and nobody saw how", None)


def _stopped(stop: Stop | None, status: str) -> str | None:
    """Return how a program ended that was being stopped; `None` if it was not."""
    if stop is None or time.time() > stop.until_s:
        return None
    return f"the program was stopped for command {stop.command}" + f" ({status})" * bool(status)


def _how(status: int) -> str:
    if status >= 0:
        return f"the program ended with status {status}" if status else "the program ended well"
    name = _name(-status)
    return f"the program was killed by signal {-status}" + f" ({name})" * bool(name)


def _short(status: int) -> str:
    return f"status {status}" if status >= 0 else f"signal {-status}, {_name(-status) or 'unnamed'}"


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return ""  # one of the real-time signals


if __name__ == "__main__":
    main()
