"""The threads of an agent: each is at one command, prepares it or carries it out, and leaves word of how that ended."""

import threading
from collections.abc import Callable
from functools import partial

import structlog

from relight.agent.allowed import Allowed
from relight.agent.task import Step, Task
from relight.agent.work import BY, Report, Workshop
from schemas.command import OutcomeStatus, RecoveryCommand

_log = structlog.get_logger("relight")


class Crew:
    """Works on commands in threads. They end with the process: what they are at is found out by the next one."""

    def __init__(self, workshop: Workshop, allowed: Allowed, now: Callable[[], float]) -> None:
        """Take what it works with, and what tells the time (Unix, seconds)."""
        self._workshop, self._allowed, self._now = workshop, allowed, now
        self._ended: list[tuple[Task, Report]] = []
        self._lock = threading.Lock()

    def why_not(self, command: RecoveryCommand) -> str | None:
        """Return why a command must not be begun now, `None` where it may."""
        return self._allowed.why_not(command, self._now())

    def prepare(self, task: Task) -> None:
        """Prepare a command."""
        self._run(task, Step.PREPARING, self._prepare)

    def act(self, task: Task) -> None:
        """Carry a command out."""
        self._run(task, Step.ACTING, self._act)

    def takes(self, task: Task) -> bool:
        """Hand a command to an executor that begins several together; tell whether there is one."""
        if self.why_not(task.command) is not None:
            return False
        task.step, task.gated = Step.TAKEN, True
        taken = self._workshop.taken(task.command, partial(self._end, task))
        if taken is None:
            task.step, task.gated = Step.ACCEPTED, False
            return False
        task.before = {BY: taken}
        return True

    def ended(self) -> list[tuple[Task, Report]]:
        """Return what has ended since this was asked last."""
        with self._lock:
            ended, self._ended = self._ended, []
        return ended

    def _run(self, task: Task, step: Step, work: Callable[[Task], None]) -> None:
        task.step, task.busy = step, True
        threading.Thread(target=self._guarded, args=(task, work), name="relight-agent", daemon=True).start()

    def _prepare(self, task: Task) -> None:
        reason = self.why_not(task.command)
        self._end(task, Report(OutcomeStatus.REJECTED, reason) if reason else self._workshop.prepared(task.command))

    def _act(self, task: Task) -> None:
        self._workshop.carried_out(task.command, task.before, partial(self._end, task), again=task.again)

    def _guarded(self, task: Task, work: Callable[[Task], None]) -> None:
        """Do a step; a mistake in an executor is reported, and not taken for a success."""
        nothing_done = task.step is Step.PREPARING
        try:
            work(task)
        except Exception as error:  # whatever it is, the command must not be lost
            _log.exception("an executor has failed", command=task.command.id)
            status = OutcomeStatus.FAILED if nothing_done else OutcomeStatus.UNKNOWN
            self._end(task, Report(status, f"the executor has failed: {error}"))
        finally:
            task.busy = False

    def _end(self, task: Task, report: Report) -> None:
        with self._lock:
            self._ended.append((task, report))
