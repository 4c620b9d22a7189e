"""Incidents as correlation would tell of them: they happen to systems, and are over when something was done."""

import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Final

from bench.remediation_chaos.systems import FAULT, Subject, System
from bench.remediation_chaos.topics import Tail
from relight.stages.remedies import Restored
from relight.topics import INCIDENTS
from relight.transports.port import EventLog, Outgoing
from remediate.cases import Cases
from schemas.events import Event, decoded, encoded
from schemas.history import DiagnosisSettled, Happening, IncidentResolved
from schemas.remedy import CommandHistory
from schemas.signal import derived_id
from tests.remediate.stories import incident

_LOOKS_S: Final = 0.1
_BETWEEN_S: Final = (0.1, 1.2)
_EARLY: Final = 0.1
_AT_ONCE: Final = 6
_UNTOUCHED_S: Final = 8.0
"""So long after an early end nothing is planned any more."""


@dataclass
class Open:
    """An incident, until what it happened to is used again. Times are monotonic, seconds."""

    name: str
    system: System
    subject: Subject
    settles_s: float
    early_s: float | None
    said: int = 2
    settled: bool = False
    over_s: float | None = None


@dataclass
class Incidents:
    """Tells of incidents. `asked` has the action that each stayed open for, of those that were not over early."""

    log: EventLog
    systems: Sequence[System]
    dice: Random
    asked: dict[str, str] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    _open: list[Open] = field(default_factory=list)
    _next_s: dict[str, float] = field(default_factory=dict)
    _numbers: "count[int]" = field(default_factory=lambda: count(1))
    _told: Restored = field(default_factory=Restored)
    _error: BaseException | None = None

    def __post_init__(self) -> None:
        """Begin to read on."""
        self._tail = Tail(self.log, INCIDENTS)

    @property
    def over(self) -> bool:
        """Tell whether no incident is open, and nothing more is to be done about any."""
        return not self._open

    def left(self) -> str:
        """Return in words what is waited for."""
        return "; ".join(
            f"{one.name} ({one.subject.action}): "
            + (", ".join(f"{each.id} {each.state}" for each in self._commands(one)) or "no command")
            for one in self._open[:5]
        )

    @contextmanager
    def happening(self) -> Iterator[None]:
        """Let incidents happen while a `with` block lasts. Raises what has gone wrong meanwhile."""
        stop = threading.Event()
        thread = threading.Thread(target=self._happen, args=(stop,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
        if self._error is not None:
            raise self._error

    def step(self, more: bool = False) -> None:
        """Read on, and tell of what is due; `more`: of new ones too. Raises: LogError."""
        for record in self._tail.new():
            self._told.take(decoded(record.value))
        now = time.monotonic()
        for one in list(self._open):
            self._go_on(one, now)
        for system in self.systems if more else ():
            if now >= self._next_s.get(system.name, 0.0):
                self._next_s[system.name] = now + self.dice.uniform(*_BETWEEN_S)
                if sum(one.system is system for one in self._open) < _AT_ONCE:
                    self._begin(system, now)

    def _happen(self, stop: threading.Event) -> None:
        try:
            while not stop.wait(_LOOKS_S):
                self.step(more=True)
        except BaseException as error:  # is raised where the campaign is
            self._error = error

    def _begin(self, system: System, now: float) -> None:
        subject = system.subject(self.dice)
        if subject is None:
            return
        name = derived_id("chaos", system.name, next(self._numbers))
        settles_s = now + self.dice.choice((0.0, 0.0, self.dice.uniform(0, 0.8)))
        early_s = settles_s + self.dice.uniform(0.1, 1.5) if self.dice.random() < _EARLY else None
        kind, about = subject.culprit
        told = incident(FAULT, name=name, kind=kind, job=subject.job, settled=False, **about)
        assert told.opened is not None
        assert told.diagnosed is not None
        self._open.append(Open(name, system, subject, settles_s, early_s))
        self.counts["incidents"] += 1
        self._say(system, name, 1, told.opened, told.diagnosed)

    def _go_on(self, one: Open, now: float) -> None:
        if not one.settled and now >= one.settles_s:
            one.settled = True
            self._tell(one, DiagnosisSettled(fault=FAULT, signature="nvrm.xid.79"))
        commands = self._commands(one)
        done = [each for each in commands if each.plan and each.plan.action.kind == one.subject.action]
        if one.over_s is None:
            early = one.early_s is not None and now >= one.early_s
            if early or any(each.state.ended for each in done):
                if not early:
                    self.asked[one.name] = one.subject.action
                self.counts["incidents over early"] += early
                one.over_s = now
                self._tell(one, IncidentResolved(reason="the job makes progress again"))
        elif self._is_through(one, commands, now - one.over_s):
            self._open.remove(one)
            one.system.release(one.subject)

    def _is_through(self, one: Open, commands: Sequence[CommandHistory], since_s: float) -> bool:
        """Tell whether nothing more is done about an incident that is over."""
        if not all(each.state.ended or _kind(each) == "notify" for each in commands):
            return False
        moved = any(_kind(each) == one.subject.action and each.result == "succeeded" for each in commands)
        if one.subject.mends and moved:
            return any(_kind(each) == one.subject.mends for each in commands)
        return one.early_s is None or since_s > _UNTOUCHED_S

    def _commands(self, one: Open) -> list[CommandHistory]:
        cases = self._told.clusters.get(one.system.name) or Cases(one.system.name)
        case = cases.cases.get(one.name)
        return [cases.commands[name] for name in case.commands] if case else []

    def _tell(self, one: Open, happening: Happening) -> None:
        one.said += 1
        self._say(one.system, one.name, one.said, happening)

    def _say(self, system: System, name: str, sequence: int, *happenings: Happening) -> None:
        events = [
            Event(derived_id("event", name, number), system.name, name, round(time.time(), 3), data, number)
            for number, data in enumerate(happenings, sequence)
        ]
        self.log.append([Outgoing(INCIDENTS, encoded(event), event.cluster.encode()) for event in events])


def _kind(command: CommandHistory) -> str:
    return command.plan.action.kind if command.plan else ""
