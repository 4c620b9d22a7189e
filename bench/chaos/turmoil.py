"""Turmoil: decides with dice what happens to the fleet and when, and sees to it in time."""

import heapq
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Final, Protocol

from bench.chaos.fleet import Fleet

_SHARED: Final = ("match", "correlate")
"""Stages whose processes share partitions."""

_IN_SLOW_MOTION: Final = 0.6


class Broker(Protocol):
    """A broker that can be harmed."""

    def kill(self) -> None:
        """Kill it as a power failure does."""
        ...

    def start(self) -> None:
        """Start it, wait until it answers."""
        ...

    def freeze(self) -> None:
        """Stop its clock."""
        ...

    def thaw(self) -> None:
        """Let it go on."""
        ...


@dataclass
class Turmoil:
    """What is to be done and when. `lease_s`: how long a silent member keeps its partitions, if not for ever."""

    fleet: Fleet
    dice: Random
    lease_s: float | None
    broker: Broker | None = None
    _due: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _order: "count[int]" = field(default_factory=count)
    _broker_down: bool = False

    def round(self) -> None:
        """Let one round pass: mostly one process is killed, sometimes several, sometimes something else happens."""
        length = self.dice.uniform(1.5, 3.2)
        for _ in range(self.dice.choice((1, 1, 1, 2, 2, 3))):
            self._at(self.dice.uniform(0, length), self._strike)
        self._work(time.monotonic() + length)

    def end(self) -> None:
        """Bring what has begun to its end, and see that all processes run."""
        while self._due:
            self._work(self._due[0][0])
        for name in self.fleet.posts:
            self.fleet.start(name)

    def _work(self, until_s: float) -> None:
        """Do what falls due up to a time (monotonic), and return then."""
        while self._due and self._due[0][0] <= until_s:
            due_s, _, what = heapq.heappop(self._due)
            time.sleep(max(0.0, due_s - time.monotonic()))
            what()
            self.fleet.watch()
        time.sleep(max(0.0, until_s - time.monotonic()))

    def _at(self, after_s: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._due, (time.monotonic() + after_s, next(self._order), what))

    def _strike(self) -> None:
        kinds = {self._kill: 66, self._kill_many: 8, self._nap: 10, self._double: 10}
        if self.lease_s is not None:
            kinds |= {self._outlive: 3}
        if self.broker is not None:
            kinds |= {self._break: 3, self._stall: 3}
        self.dice.choices(list(kinds), list(kinds.values()))[0]()

    def _kill(self) -> None:
        if up := self.fleet.up():
            self._kill_one(self.dice.choice(up))

    def _kill_many(self) -> None:
        up = self.fleet.up()
        for name in self.dice.sample(up, self.dice.randint(min(2, len(up)), len(up))):
            self._kill_one(name)

    def _kill_one(self, name: str) -> None:
        self._drag(name)
        self.fleet.kill(name)
        self._at(self.dice.choice((0, 0, self.dice.uniform(0, 1.5))), lambda: self.fleet.start(name))

    def _drag(self, name: str) -> None:
        """Mostly, slow a process down before something happens to it: else it happens while it waits."""
        if self.dice.random() < _IN_SLOW_MOTION:
            self.fleet.drag(name, self.dice.uniform(0.05, 0.7))

    def _nap(self) -> None:
        """Freeze a process for less than anybody notices."""
        self._freeze(self.dice.uniform(0.1, 1.5), self.fleet.up())

    def _outlive(self) -> None:
        """Freeze a process for longer than its lease: what it has, others get, and it does not know."""
        assert self.lease_s is not None
        if shared := self._shared():
            self.fleet.counts["frozen for longer than their lease"] += 1
            self._freeze(self.lease_s + self.dice.uniform(0.5, 2.5), shared)

    def _freeze(self, length_s: float, among: list[str]) -> None:
        if among:
            name = self.dice.choice(among)
            self.fleet.freeze(name)
            self._at(length_s, lambda: self.fleet.thaw(name))

    def _double(self) -> None:
        """Freeze a process, start another under its name, and let the old one wake up for a while."""
        if among := [name for name in self._shared() if name not in self.fleet.ghosts]:
            name = self.dice.choice(among)
            self._drag(name)
            self.fleet.double(name)
            awake_s = self.dice.uniform(1.0, 3.0)
            self._at(awake_s, lambda: self.fleet.wake(name))
            self._at(awake_s + self.dice.uniform(0.1, 1.0), lambda: self.fleet.lay(name))

    def _break(self) -> None:
        """Kill the broker, and start it again."""
        if self.broker is not None and not self._broker_down:
            self.fleet.counts["killed broker"] += 1
            self._broker_down = True
            self.broker.kill()
            self._at(self.dice.uniform(0, 1.5), self._mend)

    def _mend(self) -> None:
        assert self.broker is not None
        self.broker.start()
        self._broker_down = False

    def _stall(self) -> None:
        """Freeze the broker for a while."""
        if self.broker is not None and not self._broker_down:
            self.fleet.counts["froze broker"] += 1
            self._broker_down = True
            self.broker.freeze()
            self._at(self.dice.uniform(0.3, 3.0), self._go_on)

    def _go_on(self) -> None:
        assert self.broker is not None
        self.broker.thaw()
        self._broker_down = False

    def _shared(self) -> list[str]:
        return [name for name in self.fleet.up() if self.fleet.posts[name].stage in _SHARED]
