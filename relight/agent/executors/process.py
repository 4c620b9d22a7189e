"""The executor `process`: starts training programs on the agent's own host, restarts them, and makes room for them.

What runs is in files that attendants write (relight/agent/executors/attendant.py), and nothing of it in this process:
an agent that was killed finds it all again. No path and no program ever comes from a command.
"""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from relight.agent.executors import host
from relight.agent.executors.attendant import Attempt, Plan, State, StateError, Stop, lock, read, write
from relight.agent.executors.host import POLL_S, Checkpoints, alive, belonging, file_name, tail
from relight.agent.port import (
    ActionError,
    ActionFailed,
    ActionRejected,
    ActionUnknown,
    Done,
    Effect,
    Interrupted,
    Terms,
)
from relight.settings.agents import Process
from relight.stores.waiting import NEVER, Waited
from schemas.action import (
    CollectDiagnostics,
    FreeDisk,
    RestartJob,
    RestartJobExcludingHosts,
    RestartProcess,
    RollbackCheckpoint,
    SkipData,
)
from schemas.command import OUTPUT_CHARACTERS, RecoveryCommand

Restart = RestartProcess | RestartJob | RollbackCheckpoint | SkipData
"""What begins a new attempt."""

_ACTIONS: Final = frozenset(
    ("restart_process", "restart_job", "restart_job_excluding_hosts", "rollback_checkpoint", "skip_data")
)
_MARGIN_S: Final = 5.0  # is kept of the time until the deadline, for a start after a stop
_ENDING_S: Final = 2.0  # how long an attendant may take to note an end


class ProcessExecutor:
    """Carries out actions on the jobs of the settings. `moment_s`: how long a new attempt must run until it counts."""

    name: Final = "process"

    def __init__(self, settings: Process, own_host: str | None = None, moment_s: float = 1.0) -> None:
        """Take the settings and the name of the own host."""
        self._settings = settings
        self._folder = Path(os.path.realpath(settings.folder))
        self._host = own_host or socket.gethostname()
        self._moment_s = moment_s
        self._children: list[subprocess.Popen[bytes]] = []
        self._launching = threading.Lock()

    @property
    def actions(self) -> frozenset[str]:
        """Return what it can do: what its settings name."""
        jobs = _ACTIONS | {"collect_diagnostics"} if self._settings.jobs else frozenset()
        return jobs | {"free_disk"} if self._settings.free else jobs

    def prepare(self, command: RecoveryCommand) -> Mapping[str, str]:
        """Return which attempt is the last before the command, for people: `found` needs no note."""
        action = self._checked(command)
        if not isinstance(action, Restart):
            return {}
        with _failing(ActionFailed):
            state = self._state(action.job)
        return {"attempt": str(state.attempt)} if state else {}

    def execute(self, command: RecoveryCommand, terms: Terms) -> Done:
        """Carry out a command. A restart has taken effect when the program of the new attempt has run for a moment."""
        action = self._checked(command)
        if time.time() > terms.deadline_s:
            raise ActionFailed("its deadline had passed before it was begun")
        if isinstance(action, Restart):
            return self._restarted(command, action, terms)
        with _failing(ActionFailed):
            if isinstance(action, FreeDisk):
                return Done(host.free(self._settings.free, self._settings.keep, terms.waited)[-OUTPUT_CHARACTERS:])
            return Done(self._collected(command.id, action, terms)[-OUTPUT_CHARACTERS:])

    def found(self, command: RecoveryCommand, before: Mapping[str, str]) -> Effect:
        """Return whether a command has begun an attempt or saved its diagnostics; a disk can be freed twice."""
        action = command.action
        if isinstance(action, CollectDiagnostics):
            return Effect.DONE if self._diagnostics(command.id).exists() else Effect.NOT_DONE
        if not isinstance(action, Restart):
            return Effect.NOT_DONE
        if action.job not in self._settings.jobs:
            return Effect.UNKNOWN
        with _failing(ActionFailed), self._locked(action.job, NEVER.wait, self._patience_s(), ActionFailed):
            return Effect.DONE if _has_begun(command.id, self._state(action.job)) else Effect.NOT_DONE

    def start(self, job: str) -> bool:
        """Start a job that has no attempt yet, never one that has ended; look after one that lost its attendant.

        Returns: Whether it was started.

        Raises:
            ActionError: It could not be started.
        """
        self._known(job)
        with _failing(ActionFailed):
            with self._locked(job, NEVER.wait, self._patience_s(), ActionFailed) as held:
                if state := self._state(job):
                    self._adopt(job, state)
                    return False
                self._launch(self._plan(job, None, None, None), held)
            with self._locked(job, NEVER.wait, self._patience_s(), ActionFailed):
                if self._state(job) is None:
                    raise ActionFailed(f"job {job} has not begun", self._complaints(job))
        return True

    def close(self) -> None:
        """Reap what it has set going; that goes on."""
        for child in self._children:
            with suppress(subprocess.TimeoutExpired):
                child.wait(_ENDING_S)

    def _checked(self, command: RecoveryCommand) -> Restart | FreeDisk | CollectDiagnostics:
        """Return the action, if it is one for this host and these settings."""
        action = command.action
        match action:
            case RestartProcess() if action.host and not self._is_own(action.host):
                raise ActionRejected(f"job {action.job} runs on {self._host}, not on {action.host}")
            case RestartProcess() | RestartJob() | RollbackCheckpoint() | SkipData():
                self._known(action.job)
            case RestartJobExcludingHosts() if any(map(self._is_own, action.hosts)):
                raise ActionRejected(f"job {action.job} can only run on {self._host}, which is to be excluded")
            case RestartJobExcludingHosts():
                raise ActionRejected(f"job {action.job} runs on {self._host} only: there is nothing to exclude")
            case FreeDisk() if not self._settings.free:
                raise ActionRejected("the settings say of no files that they may go")
            case FreeDisk() if not self._is_own(action.host):
                raise ActionRejected(f"this is {self._host}, not {action.host}")
            case CollectDiagnostics() if action.hosts and not any(map(self._is_own, action.hosts)):
                raise ActionRejected(f"this is {self._host}, which is not asked for")
            case CollectDiagnostics() if action.job:
                self._known(action.job)
            case FreeDisk() | CollectDiagnostics():
                pass
            case _:
                raise ActionRejected(f"{action.kind} is nothing that can be done to processes")
        return action

    def _known(self, job: str) -> None:
        if job not in self._settings.jobs:
            raise ActionRejected("the settings have no program for this job")

    def _is_own(self, host: str) -> bool:
        """Tell whether a host is this one; a short name stands for a full one."""
        one, other = host.lower(), self._host.lower()
        return one == other or (one.partition(".")[0] == other.partition(".")[0] and ("." in one) != ("." in other))

    def _restarted(self, command: RecoveryCommand, action: Restart, terms: Terms) -> Done:
        job, late = action.job, terms.deadline_s
        with _failing(ActionFailed), self._locked(job, terms.waited, late, ActionFailed) as held:
            state = self._state(job)
            if not _has_begun(command.id, state):
                self._left_behind(command.id, action)  # before anything is stopped
                self._stop(job, state, command.id, terms)
                if behind := self._left_behind(command.id, action):
                    behind.set_aside()
                self._launch(self._plan(job, state, command.id, action), held)
        with _failing(ActionUnknown), self._locked(job, terms.waited, late, ActionUnknown):
            state = self._state(job)
        if state is None or not _has_begun(command.id, state):
            raise ActionFailed(f"job {job} has not begun again", self._complaints(job))
        return self._settled(job, state, command.id, terms.waited)

    def _stop(self, job: str, state: State | None, command: str, terms: Terms) -> None:
        """End what is left of the last attempt, and see that its end is noted."""
        if state is None:
            return
        attempt = self._attempt(job, state.attempt)
        attempt.folder.mkdir(exist_ok=True)  # somebody may have tidied up
        if belonging(state.program, attempt.mark):
            grace_s = max(0.0, min(self._settings.stop_s, terms.deadline_s - time.time() - _MARGIN_S))
            if attempt.end() is None:
                write(attempt.folder / "stop.json", Stop(command=command, until_s=time.time() + grace_s + 60))
            if left := host.end(state.program, attempt.mark, grace_s, terms.waited):
                pids = ", ".join(str(one.pid) for one in sorted(left, key=lambda one: one.pid))
                raise ActionFailed(f"job {job} was killed and does not go: pid {pids}")
        self._close(attempt, terms.waited)
        if time.time() > terms.deadline_s:
            raise ActionFailed(f"job {job} was stopped, and then it was too late to begin it again")

    def _close(self, attempt: Attempt, waited: Waited) -> None:
        """See that an end is noted: by its attendant, or here if that is gone."""
        until = time.monotonic() + _ENDING_S
        while attempt.end() is None and time.monotonic() < until:
            if waited(POLL_S):
                raise Interrupted
        attempt.close_unseen()

    def _settled(self, job: str, state: State, command: str, waited: Waited) -> Done:
        """Return when the program of the new attempt has run for a moment, or has done all that it was to do."""
        if state.command != command:
            return Done(f"job {job} has begun again for it, and since then another time: attempt {state.attempt} runs")
        attempt, until = self._attempt(job, state.attempt), time.monotonic() + self._moment_s
        while alive(state.program) and time.monotonic() < until:
            if waited(POLL_S):
                raise Interrupted
        with _failing(ActionUnknown):
            if alive(state.program):
                self._adopt(job, state)
                return Done(f"attempt {attempt.number} of job {job} runs, pid {state.program.pid}: {attempt.output}")
            self._close(attempt, waited)
            ended = attempt.end()
        how = f"attempt {attempt.number} of job {job}: {ended.how if ended else 'the program has ended'}"
        if ended and ended.status == 0:
            return Done(f"{how}\n{tail(attempt.output, 20)}"[-OUTPUT_CHARACTERS:])
        raise ActionFailed(how[:500], tail(attempt.output, 100)[-OUTPUT_CHARACTERS:])

    def _plan(self, job: str, state: State | None, command: str | None, action: Restart | None) -> Plan:
        number = state.attempt + 1 if state else 1
        environment = {"RELIGHT_JOB": job, "RELIGHT_ATTEMPT": str(number)}
        environment |= {"RELIGHT_COMMAND": command} if command else {}
        if isinstance(action, RollbackCheckpoint) and not self._settings.checkpoints:  # or it would go back twice
            environment["RELIGHT_ROLLBACK_CHECKPOINTS"] = str(action.checkpoints)
        elif isinstance(action, SkipData):
            environment["RELIGHT_SKIP_BATCHES"] = str(action.batches)
        return Plan(
            job=job,
            folder=self._folder / job,
            attempt=number,
            command=command,
            arguments=self._settings.jobs[job],
            directory=self._settings.directory,
            environment=environment,
        )

    def _launch(self, plan: Plan, held: int | None) -> None:
        """Start an attendant, which inherits the lock of the job if it is to begin an attempt."""
        told = plan.model_copy(update={"lock": held}).model_dump_json()
        with (plan.folder / "attendant.log").open("ab") as log:
            child = subprocess.Popen(  # noqa: S603 - this program's own, no shell
                [sys.executable, "-P", "-m", "relight.agent.executors.attendant", told],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=() if held is None else (held,),
                start_new_session=True,
            )
        with self._launching:
            self._children = [child, *(one for one in self._children if one.poll() is None)]

    def _adopt(self, job: str, state: State) -> None:
        """Give an attempt whose attendant has died another, or note its end."""
        attempt = self._attempt(job, state.attempt)
        attempt.folder.mkdir(exist_ok=True)
        if attempt.end() is None and not alive(state.program):
            attempt.close_unseen()
        elif attempt.end() is None and (held := lock(attempt.folder / "lock")) is not None:
            os.close(held)
            self._launch(Plan(job=job, folder=self._folder / job, attempt=state.attempt), None)

    def _left_behind(self, command: str, action: Restart) -> Checkpoints | None:
        """Return what a rollback leaves behind; of checkpoints at least one must remain."""
        if not self._settings.checkpoints or not isinstance(action, RollbackCheckpoint):
            return None
        pattern = self._settings.checkpoints.replace("{job}", action.job)  # the name of a job holds nothing special
        found = host.checkpoints(pattern, action.checkpoints, command)
        if not found.remaining:
            raise ActionFailed(f"job {action.job} has no checkpoint that is {action.checkpoints} before its last")
        return found

    def _collected(self, command: str, action: CollectDiagnostics, terms: Terms) -> str:
        """Save diagnostics in a folder whose name begins with a dot: what is copied there must not be read as news."""
        final = self._diagnostics(command)
        if not final.exists():
            part = final.with_name(f"{final.name}.part")
            part.mkdir(parents=True, exist_ok=True)
            for job in (action.job,) if action.job else sorted(self._settings.jobs):
                self._collect_job(job, part / job, terms)
            host.save_gpus(part, terms.deadline_s, terms.waited)
            os.rename(part, final)
        files = sorted(str(path.relative_to(final)) for path in final.rglob("*") if path.is_file())
        return "\n".join((*files, f"saved in {final}"))

    def _collect_job(self, job: str, folder: Path, terms: Terms) -> None:
        state = self._state(job)
        if state is None:
            return
        attempt = self._attempt(job, state.attempt)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "output.log").write_text(tail(attempt.output, self._settings.lines), encoding="utf-8")
        write(folder / "state.json", state)
        for one in sorted(belonging(state.program, attempt.mark), key=lambda one: one.pid):
            host.save(one, folder / str(one.pid), terms.deadline_s, terms.waited)

    def _diagnostics(self, command: str) -> Path:
        return self._folder / ".diagnostics" / file_name(command)

    def _complaints(self, job: str) -> str:
        return tail(self._folder / job / "attendant.log", 20)[-OUTPUT_CHARACTERS:]

    def _state(self, job: str) -> State | None:
        return read(self._folder / job / "state.json", State)

    def _attempt(self, job: str, number: int) -> Attempt:
        return Attempt(job, self._folder / job, number)

    def _patience_s(self) -> float:
        """Return until when somebody else may stop and begin a job (Unix, seconds)."""
        return time.time() + self._settings.stop_s + 30

    @contextmanager
    def _locked(self, job: str, waited: Waited, until_s: float, late: type[ActionError]) -> Iterator[int]:
        folder = self._folder / job
        folder.mkdir(parents=True, exist_ok=True)
        while (held := lock(folder / "lock")) is None:
            if time.time() > until_s:
                raise late(f"job {job} is just being stopped or begun")
            if waited(POLL_S):
                raise Interrupted
        try:
            yield held
        finally:
            os.close(held)


@contextmanager
def _failing(how: type[ActionError]) -> Iterator[None]:
    """Say what the system or a file of a job refuses as an action's error."""
    try:
        yield
    except StateError as error:
        raise how(str(error)) from error
    except OSError as error:
        raise how(f"{error.filename or 'the system'}: {error.strerror}") from error


def _has_begun(command: str, state: State | None) -> bool:
    return state is not None and command in state.commands
