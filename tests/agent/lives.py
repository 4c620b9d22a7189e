"""Lives of agents on a log, step by step, so that they can end between any two; and an executor that notes what it did.

A life that ends without `close` has crashed: what its threads are at must be held up for ever by the executor's hand.
"""

import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from relight.agent.agent import Agent
from relight.agent.allowed import Allowed
from relight.agent.gate import Gate
from relight.agent.port import ActionError, ActionFailed, Done, Effect, Executor, Interrupted, Terms
from relight.agent.work import Workshop
from relight.keys import KeyFile, renew
from relight.metrics import StageMetrics
from relight.topics import COMMANDS, OUTCOMES, group_of, specs
from relight.transports.port import EventLog, Outgoing, Partition, Record
from relight.transports.reading import records
from schemas.action import CordonNode
from schemas.command import CommandOutcome, CommandWithdrawal, OutcomeStatus, RecoveryCommand, Signed
from schemas.events import Event, decoded, encoded
from tests.agent.some_commands import command

PATIENCE_S = 30.0
LEASE_S = 1.5


@dataclass
class Notebook:
    """An executor that writes into a file what it has done. What it is asked is answered from there.

    `answer` is what it says instead; `fails` is raised instead of acting. `before` and `after` acting it waits until it
    may go on.
    """

    path: Path
    answer: Effect | None = None
    fails: ActionError | None = None
    unprepared: Exception | None = None
    before: threading.Event = field(default_factory=threading.Event)
    after: threading.Event = field(default_factory=threading.Event)
    begun: threading.Event = field(default_factory=threading.Event)
    name: str = "notebook"
    actions: frozenset[str] = frozenset({"cordon_node", "restart_process", "restart_job"})

    def __post_init__(self) -> None:
        self.before.set()
        self.after.set()

    def prepare(self, command: RecoveryCommand) -> Mapping[str, str]:
        if self.unprepared is not None:
            raise self.unprepared
        self._note("prepared", command)
        return {"noted": "before"}

    def execute(self, command: RecoveryCommand, terms: Terms) -> Done:
        assert terms.before["noted"] == "before"
        if time.time() > terms.deadline_s:
            raise ActionFailed("it is too late")
        self._note("began", command)
        self.begun.set()
        self._held(self.before, terms)
        if self.fails is not None:
            raise self.fails
        self._note("did", command)
        self._held(self.after, terms)
        return Done("it was cordoned", healthy=True)

    def found(self, command: RecoveryCommand, before: Mapping[str, str]) -> Effect:
        assert before["noted"] == "before"
        if self.answer is not None:
            return self.answer
        return Effect.DONE if command.id in self.done else Effect.NOT_DONE

    def close(self) -> None:
        pass

    @property
    def done(self) -> list[str]:
        """The commands that were carried out, each as often as it was."""
        return self.noted("did")

    def noted(self, word: str) -> list[str]:
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        return [line.split()[1] for line in lines if line.startswith(f"{word} ")]

    def _note(self, word: str, command: RecoveryCommand) -> None:
        with self.path.open("a") as file:
            file.write(f"{word} {command.id}\n")

    def _held(self, event: threading.Event, terms: Terms) -> None:
        while not event.wait(0.01):
            if terms.waited(0):
                raise Interrupted


@dataclass
class Lab:
    """A log with its topics, the keys of planner and agents, and a cluster that no other test has."""

    open: Callable[[], EventLog]
    keys: Path
    cluster: str = field(default_factory=lambda: f"lab-{secrets.token_hex(4)}")

    def __post_init__(self) -> None:
        self.lives: list[Life] = []
        for name in ("commands", "outcomes"):
            if not (self.keys / f"{name}.keys").exists():
                renew(self.keys / f"{name}.keys")
        self.log = self.open()
        self.log.create(specs(1, 2))

    def close(self) -> None:
        for life in self.lives:
            life.vanish()
        self.log.close()

    def file(self, name: str) -> KeyFile:
        return KeyFile(self.keys / f"{name}.keys")

    def command(self, number: int = 1, **other: Any) -> RecoveryCommand:
        now_s = round(time.time(), 3)
        own = {"id": f"{self.cluster}-{number}", "cluster": self.cluster, "issued_s": now_s, "expires_s": now_s + 300,
               "deadline_s": now_s + 600, "action": CordonNode(host=f"node{number}")}  # fmt: skip
        return command(number, **(own | other))

    def withdrawal(self, of: RecoveryCommand) -> CommandWithdrawal:
        return CommandWithdrawal(
            id=f"withdrawal of {of.id}", cluster=of.cluster, command=of.id, reason="it has healed", issued_s=time.time()
        )

    def send(self, *messages: Signed, partition: int = 0) -> None:
        """Publish messages as the planner does."""
        keys = self.file("commands").keys
        self.put(*(self.encoded(keys.signed(one)) for one in messages), partition=partition)

    def encoded(self, message: Any) -> bytes:
        return encoded(Event(message.id, message.cluster, "inc/cmd", message.issued_s, message))

    def put(self, *values: bytes | None, partition: int = 0) -> None:
        self.log.append([Outgoing(COMMANDS, value, b"host/node", partition=partition) for value in values])

    def outcomes(self) -> list[CommandOutcome]:
        """What was said, each once; it is signed."""
        found: dict[str, CommandOutcome] = {}
        for record in records(self.log, OUTCOMES):
            data = decoded(record.value).data
            assert isinstance(data, CommandOutcome)
            if data.cluster == self.cluster:
                found.setdefault(data.id, data)
        return list(found.values())

    def statuses(self, of: RecoveryCommand) -> list[str]:
        """What was said of a command, in order, without what was said again."""
        said = [str(one.status) for one in self.outcomes() if one.command == of.id]
        return [one for at, one in enumerate(said) if at == 0 or said[at - 1] != one]

    def have(self, commands: Sequence[RecoveryCommand], status: str) -> bool:
        """Tell whether commands have all come so far."""
        there = {one.command for one in self.outcomes() if one.status == status}
        return there >= {one.id for one in commands}

    def reasons(self) -> list[str]:
        return [one.reason for one in self.outcomes() if one.status is OutcomeStatus.REJECTED]


class Life:
    """An agent as a member of its group. `step` is what `Runner` does in one turn."""

    def __init__(
        self, lab: Lab, *executors: Executor, name: str = "a", gate: Gate | None = None, allowed: Allowed | None = None,
        lease_s: float = LEASE_S, at_once: int = 8, group: str = "",
    ) -> None:  # fmt: skip
        self.lab, self.log, self.stop = lab, lab.open(), threading.Event()
        self.agent = Agent(
            self.log,
            Workshop(executors, self.stop.wait, gate),
            allowed or Allowed(),
            StageMetrics("agent"),
            cluster=lab.cluster,
            by=name,
            commands=lab.file("commands"),
            outcomes=lab.file("outcomes"),
            group=lab.cluster + group,
            lease_s=lease_s,
            at_once=at_once,
        )
        self.member = self.log.join(group_of(self.agent.name), self.agent.inputs, name)
        self.share: set[Partition] = set()
        lab.lives.append(self)

    def step(self, dies: Callable[[Sequence[CommandOutcome]], bool] = lambda _: False) -> bool:
        """Poll, handle, and commit; tell whether it died before it had committed."""
        polled = self.member.poll(0.02)
        for lost in polled.lost & self.share:
            self.agent.lose(lost)
        for gained in sorted(polled.gained):
            position = self.log.positions(group_of(self.agent.name), gained.topic).get(gained.number, 0)
            self.agent.gain(gained, position)
        self.share = self.share - polled.lost | polled.gained
        outgoing = [*self.agent.handle(polled.records), *self.agent.beat()]
        if dies(said(outgoing)):
            return True
        self.commit(polled.records, outgoing)
        return False

    def commit(self, read: Sequence[Record], outgoing: Sequence[Outgoing]) -> None:
        if not read and not outgoing:
            return
        with self.member.transaction() as transaction:
            for one in outgoing:
                transaction.append(one)
            for record in read:
                transaction.advance(record.place, record.offset + 1)

    def until(self, condition: Callable[[], object], within_s: float = PATIENCE_S) -> None:
        """Go on until something holds."""
        until_s = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < until_s, self.lab.outcomes()
            self.step()

    def dies_when(self, says: OutcomeStatus) -> None:
        """Go on until it is about to commit that a command has come so far; it dies before that."""
        until_s = time.monotonic() + PATIENCE_S
        while not self.step(lambda outcomes: any(one.status is says for one in outcomes)):
            assert time.monotonic() < until_s

    def gets(self, of: RecoveryCommand, status: OutcomeStatus) -> None:
        """Go on until a command has come so far."""
        self.until(lambda: str(status) in self.lab.statuses(of))

    def rests(self, for_s: float = 0.3) -> None:
        """Go on for a while."""
        until_s = time.monotonic() + for_s
        while time.monotonic() < until_s:
            self.step()

    def end(self) -> None:
        """Stop as an operator does."""
        self.stop.set()
        for lost in sorted(self.share):
            self.agent.lose(lost)
        self.member.close()
        self.agent.close()
        self.log.close()

    def vanish(self) -> None:
        """Let go of what a process that has crashed would not hold any more."""
        self.stop.set()
        self.member.close()
        self.log.close()


def said(outgoing: Sequence[Outgoing]) -> list[CommandOutcome]:
    found = [decoded(one.value).data for one in outgoing]
    return [one for one in found if isinstance(one, CommandOutcome)]
