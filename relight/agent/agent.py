"""The agent: reads `relight.commands`, lets executors carry them out, and reports on `relight.outcomes`.

`accepted` is committed with the position, `started` before anything is done, and the end when it is known. What has
become of a command is in the topic of outcomes, so that an agent that comes after a crash goes on where that one was.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import Any, Final

import orjson
import structlog

from relight.agent.allowed import Allowed
from relight.agent.port import Executor
from relight.agent.work import Report, Workshop
from relight.keys import KeyFile
from relight.metrics import StageMetrics
from relight.topics import COMMANDS, OUTCOMES
from relight.transports.port import EventLog, Outgoing, Partition, Record
from relight.transports.reading import batches
from remediate.signing import NotAuthentic
from schemas.command import CommandOutcome, CommandWithdrawal, OutcomeStatus, RecoveryCommand
from schemas.events import Event, NotAnEvent, decoded, encoded
from schemas.signal import derived_id

NAME: Final = "agent"
_log = structlog.get_logger("relight")


class _Step(StrEnum):
    """Where an agent is with a command: before the executor is asked, before `started` is seen by all, or acting."""

    ACCEPTED = "accepted"
    PREPARING = "preparing"
    STARTING = "starting"
    ACTING = "acting"


@dataclass
class _Task:
    """A command that is not ended. `again`: it may have been carried out already, by an agent that crashed."""

    command: RecoveryCommand
    partition: Partition
    step: _Step = _Step.ACCEPTED
    before: Mapping[str, str] = field(default_factory=dict)
    again: bool = False


class Agent:
    """The agent, as a stage. `by` is who its outcomes are by; agents of one `group` share their commands."""

    inputs = (COMMANDS,)

    def __init__(
        self,
        log: EventLog,
        workshop: Workshop,
        allowed: Allowed,
        metrics: StageMetrics,
        *,
        cluster: str,
        by: str,
        commands: KeyFile,
        outcomes: KeyFile,
        group: str = "",
        at_once: int = 8,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Take what the agent works with, and the keys with which commands are checked and outcomes signed."""
        self.name = f"{NAME}.{group}" if group else NAME
        self._log, self._workshop, self._allowed, self._metrics = log, workshop, allowed, metrics
        self._cluster, self._by, self._now = cluster, by, now
        self._commands, self._outcomes = commands, outcomes
        self._pool = ThreadPoolExecutor(at_once, thread_name_prefix="relight-agent")
        self._tasks: dict[str, _Task] = {}
        self._adrift: dict[str, _Task] = {}
        self._seen: dict[Partition, set[str]] = {}
        self._ended: list[tuple[_Task, Report]] = []
        self._lock = threading.Lock()

    @property
    def executors(self) -> Sequence[Executor]:
        """Return what it carries out commands with."""
        return self._workshop.executors

    def gain(self, partition: Partition, position: int) -> None:
        """Find out what became of the commands of a partition, and go on with those that have not ended."""
        said = self._said()
        seen = self._seen[partition] = set()
        for records in batches(self._log, partition, None, position):
            for record in records:
                try:
                    command = self._message(record)
                except (NotAnEvent, NotAuthentic):
                    continue  # it was refused when it was read first
                if not isinstance(command, RecoveryCommand):
                    continue
                seen.add(command.id)
                last = said.get(command.id)
                if last is None or last.status.final:
                    continue
                if (adrift := self._adrift.pop(command.id, None)) is not None:
                    self._tasks[command.id] = adrift
                    continue
                task = self._tasks[command.id] = _Task(command, partition)
                if last.status is OutcomeStatus.STARTED:
                    task.step, task.before, task.again = _Step.STARTING, last.before, True

    def lose(self, partition: Partition) -> None:
        """Let go of the commands of a partition. What is being carried out here is remembered, should it come back."""
        self._seen.pop(partition, None)
        for name in [name for name, task in self._tasks.items() if task.partition == partition]:
            task = self._tasks.pop(name)
            if task.step is _Step.ACTING:
                self._adrift[name] = task

    def handle(self, records: Sequence[Record]) -> Iterable[Outgoing]:
        """Accept commands, or say why not."""
        for record in records:
            try:
                message = self._message(record)
            except NotAnEvent as error:
                self._metrics.dead_letter("not a command")
                yield self._refusal(record, f"it is no command: {error}")
            except NotAuthentic as error:
                self._metrics.dead_letter("not authentic")
                _log.warning("a command is not believed", record=f"{record.place}@{record.offset}", reason=str(error))
                yield self._refusal(record, f"it is not believed: {error}")
            else:
                yield from self._taken(message, record)

    def beat(self) -> Iterable[Outgoing]:
        """Let commands come a step further, and return what is to be said of them."""
        with self._lock:
            ended, self._ended = self._ended, []
        for task, report in ended:
            name = task.command.id
            if self._adrift.get(name) is task:
                self._end(task, report)  # it may come back
            if self._tasks.get(name) is not task:
                continue
            if report.status is OutcomeStatus.STARTED:
                task.step, task.before = _Step.STARTING, report.before
            else:
                del self._tasks[name]
            yield self._outcome(task.command, report)
        reported = {task.command.id for task, _ in ended}
        for name, task in self._tasks.items():
            if task.step is _Step.ACCEPTED:
                task.step = _Step.PREPARING
                self._pool.submit(self._prepare, task)
            elif task.step is _Step.STARTING and name not in reported:  # `started` is committed
                task.step = _Step.ACTING
                self._pool.submit(self._act, task)

    def close(self) -> None:
        """End the executors; what they have set going goes on."""
        for executor in self._workshop.executors:
            executor.close()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _taken(self, message: RecoveryCommand | CommandWithdrawal, record: Record) -> Iterator[Outgoing]:
        if message.cluster != self._cluster:
            return
        if isinstance(message, CommandWithdrawal):
            yield from self._withdrawn(message)
            return
        if not self._workshop.can(message.action.kind):
            return  # another agent's
        seen = self._seen.setdefault(record.place, set())
        if message.id in seen:
            yield self._refusal(record, f"command {message.id} has been here before: it is replayed")
            return
        seen.add(message.id)
        if (reason := self._allowed.why_not(message, self._now())) is not None:
            yield self._outcome(message, Report(OutcomeStatus.REJECTED, reason))
            return
        self._tasks[message.id] = _Task(message, record.place)
        yield self._outcome(message, Report(OutcomeStatus.ACCEPTED))

    def _withdrawn(self, message: CommandWithdrawal) -> Iterator[Outgoing]:
        """Give up a command that has not begun."""
        task = self._tasks.get(message.command)
        if task is None or task.step in (_Step.STARTING, _Step.ACTING):
            return
        del self._tasks[message.command]
        yield self._outcome(task.command, Report(OutcomeStatus.REJECTED, f"it was withdrawn: {message.reason}"))

    def _prepare(self, task: _Task) -> None:
        if (reason := self._allowed.why_not(task.command, self._now())) is not None:
            self._end(task, Report(OutcomeStatus.REJECTED, reason))
            return
        self._guarded(task, lambda: self._end(task, self._workshop.prepared(task.command)))

    def _act(self, task: _Task) -> None:
        act = partial(self._workshop.carried_out, task.command, task.before, partial(self._end, task))
        self._guarded(task, lambda: act(again=task.again))

    def _guarded(self, task: _Task, step: Callable[[], None]) -> None:
        """Do a step; a mistake in an executor is reported, and not taken for a success or a failure."""
        try:
            step()
        except Exception as error:  # whatever it is, the command must not be lost
            _log.exception("an executor has failed", command=task.command.id)
            self._end(task, Report(OutcomeStatus.UNKNOWN, f"the executor has failed: {error}"))

    def _end(self, task: _Task, report: Report) -> None:
        with self._lock:
            self._ended.append((task, report))

    def _message(self, record: Record) -> RecoveryCommand | CommandWithdrawal:
        """Return the command or withdrawal that a record holds. Raises: NotAnEvent, NotAuthentic."""
        data = decoded(record.value).data
        if not isinstance(data, RecoveryCommand | CommandWithdrawal):
            raise NotAnEvent(f"it does not belong to {COMMANDS}")
        self._commands.keys.check(_data(record.value))
        return data

    def _said(self) -> dict[str, CommandOutcome]:
        """Return what was said last of each command, by whoever has the keys. Raises: LogError."""
        found: dict[str, CommandOutcome] = {}
        for number in sorted(self._log.spans(OUTCOMES)):
            for records in batches(self._log, Partition(OUTCOMES, number)):
                for record in records:
                    if (outcome := self._own(record)) is None:
                        continue
                    before = found.get(outcome.command)
                    if before is None or not before.status.final:
                        found[outcome.command] = outcome
        return found

    def _own(self, record: Record) -> CommandOutcome | None:
        try:
            data = decoded(record.value).data
            self._outcomes.keys.check(_data(record.value))
        except (NotAnEvent, NotAuthentic):
            return None
        return data if isinstance(data, CommandOutcome) and data.cluster == self._cluster else None

    def _outcome(self, command: RecoveryCommand, report: Report) -> Outgoing:
        _log.info(
            "command", command=command.id, action=command.action.kind, target=command.target, status=str(report.status),
            reason=report.reason[:200],
        )  # fmt: skip
        return self._said_of(command.id, derived_id("outcome", self._by, command.id, report.status), report)

    def _refusal(self, record: Record, reason: str) -> Outgoing:
        """Return what is said of a record that is not believed, under a name of its own: the one in it is not its."""
        name = derived_id("refused", record.topic, record.partition, record.offset)
        return self._said_of(f"refused-{name}", name, Report(OutcomeStatus.REJECTED, reason))

    def _said_of(self, command: str, name: str, report: Report) -> Outgoing:
        outcome = CommandOutcome(
            id=name, cluster=self._cluster, command=command, by=self._by, at_s=round(self._now(), 3), **report.fields
        )
        event = Event(name, self._cluster, command, outcome.at_s, self._outcomes.keys.signed(outcome))
        return Outgoing(OUTCOMES, encoded(event), self._cluster.encode())


def _data(value: bytes | None) -> dict[str, Any]:
    data = orjson.loads(value or b"{}")["data"]
    return data if isinstance(data, dict) else {}
