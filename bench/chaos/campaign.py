"""A campaign: rounds of turmoil on one log, peace now and then, and a verdict each time."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

from bench.chaos.fleet import Fleet, environment
from bench.chaos.oracle import Oracle
from bench.chaos.peace import Peace, at_rest, keep, said
from bench.chaos.shipping import unshipped
from bench.chaos.story import Issued
from bench.chaos.turmoil import Broker, Turmoil
from bench.chaos.undisturbed import undisturbed
from bench.chaos.verdict import complaints, differences
from relight.catalogue import resolver
from relight.replay import rebuilt
from relight.scanning import known
from relight.settings import Settings
from relight.topics import LOGS, SIGNALS, specs
from relight.transports.opening import open_log
from relight.transports.port import EventLog
from relight.transports.reading import records

CLUSTERS: Final = ("east", "west")
"""Their partitions belong to different processes of `correlate`."""

_SETTLE_S: Final = 2.0
_SESSION_S: Final = 10.0
"""How long Kafka waits for a member of a group; the embedded log knows who lives."""

_PATIENCE_S: Final = 90.0


@dataclass
class Outcome:
    """What a campaign came to. `counts` has what was done, written and said; without `complaints` all is well."""

    seed: int
    rounds: int = 0
    seconds: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    complaints: list[str] = field(default_factory=list)
    issued: dict[int, Issued] = field(default_factory=dict)


@dataclass(frozen=True)
class Where:
    """Where a campaign takes place: a folder, and a Kafka by its address and as what can be harmed, or none."""

    folder: Path
    address: str | None = None
    broker: Broker | None = None

    @property
    def settings(self) -> Settings:
        """Return the settings of all processes."""
        return Settings.model_validate(
            {
                "embedded": {"path": self.folder / "relight.db"},
                "kafka": {"bootstrap": (self.address,) if self.address else ()},
                "topics": {"log_partitions": 4, "cluster_partitions": 3},
                "correlate": {"settle_s": _SETTLE_S},
            }
        )

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment of all processes. Snapshots are taken often, so that restarts rest on them."""
        return environment(
            embedded__path=self.folder / "relight.db",
            **({"kafka__bootstrap": self.address} if self.address else {}),
            ship__journal="false",
            ship__kernel="false",
            ship__heartbeat_s=1,
            match__snapshot_s=1,
            match__progress_s=0.5,
            correlate__snapshot_s=2,
            correlate__settle_s=_SETTLE_S,
        )


def campaign(where: Where, rounds: int, seed: int, every: int, say: Callable[[str], None] = lambda _: None) -> Outcome:
    """Hold rounds, with peace and a verdict after `every` of them and after the last; stop where something is wrong."""
    begun, settings = time.monotonic(), where.settings
    oracle = Oracle(where.folder / "logs", CLUSTERS, Random(f"{seed}/oracle"))
    outcome = Outcome(seed, issued=oracle.issued)
    with open_log(settings) as log:
        log.create(specs(settings.topics.log_partitions, settings.topics.cluster_partitions))
        with _fleet(where, oracle) as fleet:
            turmoil = Turmoil(fleet, Random(seed), _SESSION_S if where.address else None, where.broker)
            peace = Peace(log, fleet, oracle, {cluster: f"ship-{cluster}" for cluster in CLUSTERS})
            while outcome.rounds < rounds and not outcome.complaints:
                some = min(every, rounds - outcome.rounds)
                with oracle.writing():
                    for _ in range(some):
                        turmoil.round()
                outcome.rounds += some
                turmoil.end()
                outcome.complaints += _judged(peace)
                say(f"{outcome.rounds} rounds, {len(oracle.issued)} numbers, {time.monotonic() - begun:.0f} s")
                if not outcome.complaints:
                    oracle.forget()
            outcome.counts += fleet.counts
            for cluster in CLUSTERS:
                fleet.kill(f"ship-{cluster}")
            _rest(log)
        outcome.complaints += _compared(log, where, settings)
        _count(outcome, log, oracle)
        outcome.seconds = time.monotonic() - begun
        if outcome.complaints:
            keep(log, where.folder / "topics")
    return outcome


@contextmanager
def _fleet(where: Where, oracle: Oracle) -> Iterator[Fleet]:
    fleet = Fleet(where.folder / "fleet", where.environment)
    fleet.folder.mkdir()
    try:
        for cluster in CLUSTERS:
            fleet.add(f"ship-{cluster}", "ship", "--cluster", cluster, "--host", f"{cluster}-1",
                      str(oracle.folder / cluster))  # fmt: skip
        for stage in ("match", "correlate"):
            for member in "ab":
                fleet.add(f"{stage}-{member}", "diagnose", stage)
        yield fleet
    finally:
        fleet.close()


def _judged(peace: Peace) -> list[str]:
    """Return what is wrong once all is quiet; that it does not become quiet is wrong too."""
    restless = peace.wait(_PATIENCE_S)
    found = list(complaints(peace.oracle.issued, said(peace.log)))
    found += [*unshipped(peace.log, peace.oracle), *peace.fleet.died]
    return found or ([f"it does not come to rest: {restless}"] if restless else [])


def _rest(log: EventLog) -> None:
    """Wait until nothing is under way any more: no tick is written that nobody acts on."""
    deadline = time.monotonic() + _PATIENCE_S
    while not at_rest(log) and time.monotonic() < deadline:
        time.sleep(0.2)


def _compared(log: EventLog, where: Where, settings: Settings) -> Iterator[str]:
    """Yield where what was said is not what follows from what was recorded."""
    alone = undisturbed(log, where.folder / "undisturbed.db", settings)
    yield from differences(said(log), alone)
    replayed = rebuilt(log, resolver(known(())), _SETTLE_S)
    yield from (f"replay: {one}" for one in replayed.differences)


def _count(outcome: Outcome, log: EventLog, oracle: Oracle) -> None:
    found = said(log)
    outcome.counts |= Counter(
        {
            "lines": oracle.lines,
            "rotations and truncations": oracle.turned,
            "numbers": len(oracle.issued),
            "records of logs": sum(1 for _ in records(log, LOGS)),
            "records of signals": sum(1 for _ in records(log, SIGNALS)),
            "incidents": len(found.incidents),
            "incidents settled": sum(1 for incident in found.live if incident.settled),
            "incidents merged": len(found.incidents) - len(found.live),
            "events": len(found.events),
        }
    )
