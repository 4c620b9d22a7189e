"""What an agent does about one command: which executor takes it, how it is carried out, and what is said of it.

Between `accepted` and acting there is a step that others see: `started` is committed with what the executor has noted.
Whoever finds a command started asks the executor first what is so.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ingest.redaction import masked
from relight.agent.executors.notify import Deferring
from relight.agent.gate import Gate
from relight.agent.port import (
    ActionError,
    ActionFailed,
    ActionRejected,
    ActionUnknown,
    Done,
    Effect,
    Executor,
    Interrupted,
    Terms,
)
from relight.stores.waiting import Waited
from schemas.command import OUTPUT_CHARACTERS, REASON_CHARACTERS, OutcomeStatus, RecoveryCommand

BY: Final = "executor"
"""Under this `before` has the name of the executor that a command was given to."""
_ASK_S: Final = (1.0, 2.0, 5.0, 10.0, 30.0)


@dataclass(frozen=True, slots=True)
class Report:
    """What is to be said of a command."""

    status: OutcomeStatus
    reason: str = ""
    output: str = ""
    before: Mapping[str, str] = field(default_factory=dict)
    healthy: bool | None = None

    @property
    def fields(self) -> dict[str, Any]:
        """Return it as fields of an outcome, cut to what an outcome holds."""
        return {
            "status": self.status,
            "reason": masked(_sound(self.reason))[:REASON_CHARACTERS],
            "output": masked(_sound(self.output))[-OUTPUT_CHARACTERS:],
            "before": {_sound(name): _sound(value) for name, value in self.before.items()},
            "healthy": self.healthy,
        }


@dataclass(frozen=True)
class Workshop:
    """The executors of an agent. `waited(seconds)` waits, and tells whether the agent is to stop.

    `gate` is where those of them wait that begin several commands together, if there are any.
    """

    executors: Sequence[Executor]
    waited: Waited
    gate: Gate | None = None

    def can(self, action: str) -> bool:
        """Tell whether an action is one that an executor here carries out."""
        return any(action in executor.actions for executor in self.executors)

    def taken(self, command: RecoveryCommand, ended: Callable[[Report], None]) -> str | None:
        """Hand a command that is accepted to the executor that begins it at the gate, together with others.

        Returns the name of that executor, `None` where there is none, or it does not take the command. `ended` is told
        how it ended, once, by another thread.
        """
        executor = next((one for one in self.executors if command.action.kind in one.actions), None)
        if self.gate is None or not isinstance(executor, Deferring):
            return None
        try:
            executor.take(command, lambda result: ended(_report(result)))
        except (ActionRejected, Interrupted):
            return None
        return executor.name

    def prepared(self, command: RecoveryCommand) -> Report:
        """Return `started` with what the first executor that takes the command has noted, or why none does."""
        reasons = []
        for executor in self.executors:
            if command.action.kind not in executor.actions:
                continue
            try:
                before = dict(executor.prepare(command))
            except ActionRejected as error:
                reasons.append(str(error))
            except ActionError as error:
                return Report(OutcomeStatus.FAILED, str(error), error.output)
            else:
                return Report(OutcomeStatus.STARTED, before=before | {BY: executor.name})
        return Report(OutcomeStatus.REJECTED, "; ".join(reasons) or "no executor carries it out")

    def carried_out(
        self, command: RecoveryCommand, before: Mapping[str, str], ended: Callable[[Report], None], *, again: bool
    ) -> None:
        """Carry out a command that has been started, and tell how it ended; not at all if the agent is to stop.

        Args:
            command: what is to be done.
            before: what was noted before.
            ended: is told how it ended, once, maybe by another thread and later.
            again: it may have been carried out before a crash: the executor is asked first.
        """
        executor = next((one for one in self.executors if one.name == before.get(BY)), None)
        if executor is None:
            ended(Report(OutcomeStatus.UNKNOWN, f"its executor {before.get(BY)!r} is not in use any more"))
            return
        try:
            if again and (report := self._found(executor, command, before)) is not None:
                ended(report)
            elif isinstance(executor, Deferring):
                executor.take(command, lambda result: ended(_report(result)))
            else:
                terms = Terms(before, self.waited, command.deadline_s)
                ended(_report(executor.execute(command, terms)))
        except ActionError as error:
            ended(_report(error))
        except Interrupted:
            return

    def _found(self, executor: Executor, command: RecoveryCommand, before: Mapping[str, str]) -> Report | None:
        """Return how a command ended that was started before, `None` where it has not been carried out.

        Raises:
            Interrupted: the agent is to stop.
        """
        attempt = 0
        while True:
            try:
                effect = executor.found(command, before)
                break
            except ActionError as error:
                wait_s = _ASK_S[min(attempt, len(_ASK_S) - 1)]
                attempt += 1
                if time.time() + wait_s > command.deadline_s:
                    return Report(OutcomeStatus.UNKNOWN, f"the agent was interrupted, and cannot ask: {error}")
                if self.waited(wait_s):
                    raise Interrupted from None
        match effect:
            case Effect.DONE:
                return Report(OutcomeStatus.SUCCEEDED, "it was found done after the agent was interrupted")
            case Effect.UNKNOWN:
                return Report(OutcomeStatus.UNKNOWN, "the agent was interrupted: nobody can tell whether it is done")
            case Effect.NOT_DONE:
                return None  # late or not: the executor may have to put back what it had begun


def _sound(text: str) -> str:
    """Return a text as JSON can hold it: what a program has printed may be anything."""
    return text.encode("utf-8", "replace").decode()


def _report(result: Done | ActionError) -> Report:
    match result:
        case Done():
            return Report(OutcomeStatus.SUCCEEDED, output=result.output, healthy=result.healthy)
        case ActionRejected():
            return Report(OutcomeStatus.REJECTED, str(result), result.output)
        case ActionUnknown():
            return Report(OutcomeStatus.UNKNOWN, str(result), result.output)
        case ActionFailed() | ActionError():
            return Report(OutcomeStatus.FAILED, str(result), result.output)
