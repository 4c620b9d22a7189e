"""The agent: reads `relight.commands`, lets executors carry them out, and reports on `relight.outcomes`.

`accepted` is committed with the position, `started` before anything is done, and the end when it is known. What has
become of a command is in the topic of outcomes, so that an agent that comes after a crash goes on where that one was.

Partitions move from member to member while something is being carried out. Who has lost one goes on, says now and then
that it is still at it, and how it has ended; who has got one asks the system when nothing of that was heard for long.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Final

import structlog

from relight.agent.allowed import Allowed
from relight.agent.crew import Crew
from relight.agent.gate import Gate, Party
from relight.agent.port import Executor
from relight.agent.reporting import Reporter
from relight.agent.task import Step, Task
from relight.agent.told import MEMBER, Told
from relight.agent.work import Report, Workshop
from relight.keys import KeyFile
from relight.metrics import StageMetrics
from relight.topics import COMMANDS
from relight.transports.port import EventLog, LogError, Outgoing, Partition, Record
from relight.transports.reading import batches
from remediate.signing import NotAuthentic
from schemas.command import CommandWithdrawal, OutcomeStatus, RecoveryCommand
from schemas.events import NotAnEvent, data_of, decoded

NAME: Final = "agent"
LEASE_S: Final = 60.0
"""A member of which nothing was heard for so long is not at it any more."""
STOPPING_S: Final = 2.0
"""So long an agent that stops waits for what is about to end."""
_AGAIN_S: Final = 5.0
"""An end that the topic does not show is said again after this."""
_LOOK_S: Final = 2.0
_MARGIN_S: Final = 30.0
"""So long before a command expires that waits for others it is begun."""
_log = structlog.get_logger("relight")


class Agent:
    """The agent, as a stage. `by` is who its outcomes are by; agents of one `group` share their commands.

    `member` is what this process is called in its group: no two processes that run are called alike.
    """

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
        member: str = "",
        group: str = "",
        at_once: int = 8,
        lease_s: float = LEASE_S,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Take what the agent works with, and the keys with which commands are checked and outcomes signed."""
        self.name = f"{NAME}.{group}" if group else NAME
        self._log, self._workshop, self._metrics = log, workshop, metrics
        self._crew, self._gate = Crew(workshop, allowed, now), workshop.gate or Gate()
        self._cluster, self._by, self._member, self._now = cluster, by, member or by, now
        self._commands, self._told = commands, Told(log, outcomes, cluster)
        self._reporter = Reporter(cluster, by, outcomes, now)
        self._at_once, self._lease_s = at_once, lease_s
        self._tasks: dict[str, Task] = {}
        self._adrift: dict[str, Task] = {}
        self._seen: dict[Partition, set[str]] = {}
        self._unsure: dict[str, tuple[RecoveryCommand, Report, float]] = {}
        self._beat, self._beat_s, self._looked_s = 0, float("inf"), 0.0

    @property
    def executors(self) -> Sequence[Executor]:
        """Return what it carries out commands with."""
        return self._workshop.executors

    def gain(self, partition: Partition, position: int) -> None:
        """Find out what became of the commands of a partition, and go on with those that have not ended."""
        self._told.read()
        seen = self._seen[partition] = set()
        for records in batches(self._log, partition, None, position):
            for record in records:
                try:
                    command = self._message(record)
                except (NotAnEvent, NotAuthentic):
                    continue  # it was refused when it was read first
                if isinstance(command, RecoveryCommand):
                    seen.add(command.id)
                    self._resume(command, partition)

    def lose(self, partition: Partition) -> None:
        """Let go of the commands of a partition. What is being carried out here goes on, and its end is told."""
        self._seen.pop(partition, None)
        for name in [name for name, task in self._tasks.items() if task.partition == partition]:
            task = self._tasks.pop(name)
            if task.held:
                self._adrift[name] = task

    def handle(self, records: Sequence[Record]) -> Iterable[Outgoing]:
        """Accept commands, or say why not."""
        if records:
            self._told.read()
        for record in records:
            try:
                message = self._message(record)
            except NotAnEvent as error:
                self._metrics.dead_letter("not a command")
                yield self._reporter.refusal(record, f"it is no command: {error}")
            except NotAuthentic as error:
                self._metrics.dead_letter("not authentic")
                _log.warning("a command is not believed", record=f"{record.place}@{record.offset}", reason=str(error))
                yield self._reporter.refusal(record, f"it is not believed: {error}")
            else:
                yield from self._taken(message, record)

    def beat(self) -> Iterable[Outgoing]:
        """Let commands come a step further, and return what is to be said of them."""
        now = time.monotonic()
        self._beat += 1
        yield from self._ends(now)
        self._look(now)
        yield from self._said_again(now)
        yield from self._handed_over(now)
        for party in self._gate.waiting():
            yield from self._at_the_gate(party)
        if now - self._beat_s < self._lease_s / 2:  # else this process stood still: what it has may be another's by now
            yield from self._go_on()
        self._beat_s = now

    def close(self) -> None:
        """End the executors; what they have set going goes on. What ends soon is still reported."""
        self._gate.close()
        for executor in self._workshop.executors:
            executor.close()
        until_s = time.monotonic() + STOPPING_S
        while any(task.busy for task in self._all()) and time.monotonic() < until_s:
            time.sleep(0.02)
        try:
            if said := [*self._ends(0.0)]:
                self._log.append(said)
        except LogError as error:
            _log.warning("what has ended could not be reported", reason=str(error))

    def _resume(self, command: RecoveryCommand, partition: Partition) -> None:
        """Go on with a command that was read before, if it was accepted and has not ended."""
        said, adrift = self._told.of(command.id), self._adrift.pop(command.id, None)
        if said is None or said.status.final or command.id in self._unsure:
            return
        if adrift is not None:
            adrift.partition = partition
            if adrift.step is Step.STARTING and said.status is OutcomeStatus.ACCEPTED:
                adrift.step = Step.TAKEN
            self._tasks[command.id] = adrift
            return
        task = self._tasks[command.id] = Task(command, partition)
        if said.status is OutcomeStatus.STARTED:
            own = said.last == self._member
            task.step, task.before, task.again = Step.STARTING if own else Step.ELSEWHERE, said.before, True
            task.starts, task.heard_s = said.starts, time.monotonic()

    def _taken(self, message: RecoveryCommand | CommandWithdrawal, record: Record) -> Iterator[Outgoing]:
        if message.cluster != self._cluster:
            return
        if isinstance(message, CommandWithdrawal):
            yield from self._withdrawn(message)
            return
        if not self._workshop.can(message.action.kind):
            return  # another agent's
        said = self._told.of(message.id)
        if any(message.id in own for own in self._seen.values()) or (said and said.closed_to(self._by)):
            yield self._reporter.refusal(record, f"command {message.id} has been here before: it is replayed")
            return
        self._seen.setdefault(record.place, set()).add(message.id)
        if said is not None and (said.status is OutcomeStatus.STARTED or self._by in said.takers):
            self._resume(message, record.place)  # another is at it, or the group's position was lost
        elif (reason := self._crew.why_not(message)) is not None:
            yield self._reporter.outcome(message, Report(OutcomeStatus.REJECTED, reason))
        else:
            self._tasks[message.id] = Task(message, record.place)
            yield self._reporter.outcome(message, Report(OutcomeStatus.ACCEPTED))

    def _withdrawn(self, message: CommandWithdrawal) -> Iterator[Outgoing]:
        """Give up a command that has not begun; what waits for others is given up if all of them are."""
        task = self._tasks.get(message.command)
        if task is None or task.step in (Step.STARTING, Step.ACTING, Step.ELSEWHERE):
            return
        task.withdrawn = message.reason
        if task.step is not Step.TAKEN:
            yield self._given_up(task)

    def _given_up(self, task: Task) -> Outgoing:
        del self._tasks[task.command.id]
        return self._reporter.outcome(
            task.command, Report(OutcomeStatus.REJECTED, f"it was withdrawn: {task.withdrawn}")
        )

    def _ends(self, now: float) -> Iterator[Outgoing]:
        """Yield what is to be said of commands that a step has ended for."""
        for task, report in self._crew.ended():
            name = task.command.id
            adrift = self._adrift.get(name) is task and self._adrift.pop(name) is task
            if task.step is Step.ACTING:
                self._tasks.pop(name, None)
                self._unsure[name] = task.command, report, now
                yield self._reporter.outcome(task.command, report)
            elif adrift or self._tasks.get(name) is not task:
                continue  # another member has it, from the beginning
            elif report.status is OutcomeStatus.STARTED:
                yield self._starting(task, report)
            else:
                del self._tasks[name]
                yield self._reporter.outcome(task.command, report)

    def _starting(self, task: Task, report: Report) -> Outgoing:
        task.step, task.beat = Step.STARTING, self._beat
        task.before = {**report.before, MEMBER: self._member}
        return self._reporter.outcome(task.command, Report(OutcomeStatus.STARTED, before=task.before))

    def _look(self, now: float) -> None:
        """Read what was said, where something depends on it."""
        starting = any(task.step is Step.STARTING and not task.again for task in self._tasks.values())
        elsewhere = any(task.step is Step.ELSEWHERE for task in self._tasks.values())
        if self._unsure or starting or (elsewhere and now - self._looked_s >= min(_LOOK_S, self._lease_s / 4)):
            self._told.read()
            self._looked_s = now

    def _said_again(self, now: float) -> Iterator[Outgoing]:
        """Yield the ends that the topic does not show, and of what is carried out for another that it goes on."""
        for name, (command, report, said_s) in list(self._unsure.items()):
            if self._told.over(name):
                del self._unsure[name]
            elif now - said_s >= _AGAIN_S:
                self._unsure[name] = command, report, now
                yield self._reporter.outcome(command, report)
        for task in self._adrift.values():
            if task.step is Step.ACTING and now - task.heard_s >= self._lease_s / 4:
                task.starts, task.heard_s = task.starts + 1, now
                report = Report(OutcomeStatus.STARTED, before=task.before)
                yield self._reporter.outcome(task.command, report, task.starts)

    def _handed_over(self, now: float) -> Iterator[Outgoing]:
        """Take over what another has started and is not at any more."""
        for name, task in list(self._tasks.items()):
            if task.step is not Step.ELSEWHERE:
                continue
            said = self._told.of(name)
            if said is None or said.status.final:
                del self._tasks[name]
            elif said.starts != task.starts:
                task.starts, task.before, task.heard_s = said.starts, said.before, now
            elif now - task.heard_s >= self._lease_s:
                yield self._starting(task, Report(OutcomeStatus.STARTED, before=task.before))

    def _at_the_gate(self, party: Party) -> Iterator[Outgoing]:
        """Start commands that are to be begun together, and let them pass when that is committed."""
        own = [self._tasks[name] for name in sorted(party.names) if name in self._tasks]
        if len(own) < len(party.names):
            self._send_back(party, own)
            return
        if all(task.step is Step.TAKEN and task.withdrawn is not None for task in own):
            yield from map(self._given_up, own)
            self._gate.let(party, passes=False)
            return
        for task in own:
            if task.step is Step.TAKEN:
                yield self._starting(task, Report(OutcomeStatus.STARTED, before=task.before))
        if all(task.step is Step.ACTING for task in own):
            self._gate.let(party, passes=True)

    def _send_back(self, party: Party, own: Sequence[Task]) -> None:
        """Let commands that were to be begun together with others come again."""
        for name in party.names:
            self._adrift.pop(name, None)
        for task in own:
            task.step, task.gated = Step.ACCEPTED if task.step is Step.TAKEN else Step.STARTING, False
        self._gate.let(party, passes=False)

    def _go_on(self) -> Iterator[Outgoing]:
        """Let commands come a step further, as many at once as may be."""
        free = self._at_once - sum(task.at_work for task in self._all())
        for name, task in list(self._tasks.items()):
            if task.step is Step.STARTING and task.beat < self._beat:
                if task.again and free > 0:
                    self._crew.act(task)
                    free -= 1
                elif not task.again and self._is_first(name):
                    self._act(task)
            elif task.step is Step.TAKEN and self._now() > task.command.expires_s - _MARGIN_S:
                yield self._starting(task, Report(OutcomeStatus.STARTED, before=task.before))
            elif task.step is Step.ACCEPTED and task.withdrawn is not None:
                yield self._given_up(task)
            elif task.step is Step.ACCEPTED and not self._crew.takes(task) and free > 0:
                self._crew.prepare(task)
                free -= 1

    def _act(self, task: Task) -> None:
        """Let a command be carried out; a thread of its executor's that waits at the gate does it by itself."""
        if task.gated:
            task.step = Step.ACTING
        else:
            self._crew.act(task)

    def _is_first(self, name: str) -> bool:
        """Tell whether this member may carry a command out; give it up if another was first to start it."""
        said = self._told.of(name)
        if said is None or said.first is None:
            return False  # what was committed is not seen yet
        if said.first != self._member:
            _log.warning("another has started the same command", command=name, member=said.first)
            del self._tasks[name]
        return said.first == self._member

    def _all(self) -> Iterator[Task]:
        return chain(self._tasks.values(), self._adrift.values())

    def _message(self, record: Record) -> RecoveryCommand | CommandWithdrawal:
        """Return the command or withdrawal that a record holds. Raises: NotAnEvent, NotAuthentic."""
        data = decoded(record.value).data
        if not isinstance(data, RecoveryCommand | CommandWithdrawal):
            raise NotAnEvent(f"it does not belong to {COMMANDS}")
        self._commands.keys.check(data_of(record.value))
        return data
