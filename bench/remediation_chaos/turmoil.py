"""Turmoil: decides with dice which process is killed and when, and starts it again."""

import time
from collections import defaultdict
from dataclasses import dataclass, field
from random import Random
from typing import Final

from bench.chaos.fleet import Fleet
from bench.remediation_chaos.topics import Tail
from relight.topics import INCIDENTS, OUTCOMES
from relight.transports.port import EventLog, Record
from schemas.command import CommandOutcome, OutcomeStatus
from schemas.events import decoded

PLANNER: Final = "remediate"
_LOOKS_S: Final = 0.01
_IN_SLOW_MOTION: Final = 0.5
_LENGTH_S: Final = (0.8, 2.2)
_AIMS_S: Final = 2.5
_AFTER_S: Final = (0.0, 0.0, 0.01, 0.05, 0.3, 1.0)
"""So long after something is heard of it is struck at most."""


@dataclass
class Turmoil:
    """Kills processes of a fleet. `deaths` has when, by what they are members of: the planner, or a cluster."""

    fleet: Fleet
    dice: Random
    log: EventLog
    deaths: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    _due: dict[str, float] = field(default_factory=dict)

    def round(self) -> None:
        """Let one round pass, in which one process is killed, or several."""
        end_s = time.monotonic() + self.dice.uniform(*_LENGTH_S)
        for _ in range(self.dice.choice((1, 1, 2))):
            self._wait(self.dice.uniform(0, 0.6))
            self._strike()
        self._wait(end_s - time.monotonic())

    def end(self) -> None:
        """See that all processes run."""
        self._due.clear()
        for name in self.fleet.posts:
            self.fleet.start(name)

    def _strike(self) -> None:
        up = self.fleet.up()
        if not up:
            return
        stages = sorted({self.fleet.posts[name].stage for name in up})
        stage = PLANNER if PLANNER in stages and self.dice.random() < 0.35 else self.dice.choice(stages)
        names = [name for name in up if self.fleet.posts[name].stage == stage]
        how = self.dice.random()
        if how < 0.1:
            names = self.dice.sample(up, self.dice.randint(1, len(up)))
        else:
            names = [self.dice.choice(names)]
            if how < 0.75:
                self._aim(stage)
            if self.dice.random() < _IN_SLOW_MOTION:
                self.fleet.drag(names[0], self.dice.uniform(0.05, 0.7))
        for name in names:
            self._kill(name)

    def _aim(self, stage: str) -> None:
        """Wait until an agent has accepted or started something, or the planner has something to read, and a little."""
        tail = Tail(self.log, INCIDENTS if stage == PLANNER else OUTCOMES)
        tail.skip()
        status = self.dice.choice((OutcomeStatus.ACCEPTED, OutcomeStatus.STARTED))
        until_s = time.monotonic() + _AIMS_S
        while time.monotonic() < until_s and not any(_concerns(one, stage, status) for one in tail.new()):
            self._wait(_LOOKS_S)
        self._wait(self.dice.uniform(0, self.dice.choice(_AFTER_S)))

    def _kill(self, name: str) -> None:
        stage = self.fleet.posts[name].stage
        self.fleet.kill(name)
        self.deaths[stage].append(time.time())
        self._due[name] = time.monotonic() + self.dice.choice((0.0, 0.0, self.dice.uniform(0, 1.5)))

    def _wait(self, length_s: float) -> None:
        """Wait, and start meanwhile what was killed."""
        end_s = time.monotonic() + length_s
        while True:
            for name in [name for name, at_s in self._due.items() if at_s <= time.monotonic()]:
                del self._due[name]
                self.fleet.start(name)
            self.fleet.watch()
            if (left_s := end_s - time.monotonic()) <= 0:
                return
            time.sleep(min(_LOOKS_S, left_s))


def _concerns(record: Record, stage: str, status: OutcomeStatus) -> bool:
    """Tell whether a record is the planner's to read, or an agent's word that a command is so far."""
    said = decoded(record.value)
    if isinstance(said.data, CommandOutcome):
        return said.cluster == stage and said.data.status is status
    return stage == PLANNER
