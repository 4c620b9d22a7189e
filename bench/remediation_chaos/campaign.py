"""A campaign: rounds in which planner and agents are killed, peace now and then, and a verdict each time."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Final

from bench.chaos.fleet import Fleet, environment
from bench.chaos.peace import keep
from bench.remediation_chaos.incidents import Incidents
from bench.remediation_chaos.systems import System, playbooks, toml
from bench.remediation_chaos.topics import Told, differences, keeps_up, told
from bench.remediation_chaos.turmoil import PLANNER, Turmoil
from bench.remediation_chaos.verdict import Happened, complaints, interrupted
from relight.keys import Role, place, renew
from relight.settings import Settings
from relight.topics import COMMANDS, INCIDENTS, OUTCOMES, specs
from relight.transports.opening import open_log
from relight.transports.port import EventLog

_PATIENCE_S: Final = 120.0
_QUIET_S: Final = 2.5
"""A program that was left behind by its agent may go on for so long."""
_AGAIN_S: Final = 5.0
_POLICY: Final = {
    "dry_run": False,
    "cooldown_s": 0,
    "restarts": 100_000,
    "hosts_out": 100_000,
    "percent_out": 100,
    "hosts_out_s": 0.5,
    "heal_s": 0.001,
    "heal_hosts_s": 0.001,
    "snapshot_s": 2,
}
"""Nothing is held back but what is always held back; snapshots are taken often, so that restarts rest on them."""


@dataclass
class Outcome:
    """What a campaign came to. `counts` has what was done; `table` has it by cluster and outcome."""

    seed: int
    rounds: int = 0
    seconds: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    table: dict[str, Counter[str]] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)
    told: Told = field(default_factory=Told)
    happened: Happened = field(default_factory=lambda: Happened({}))


@dataclass(frozen=True)
class Where:
    """Where a campaign takes place: a folder, the address of a Kafka or none, and variables that systems need."""

    folder: Path
    address: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def settings(self) -> Settings:
        """Return the settings of the planner."""
        return Settings.model_validate(
            {
                "embedded": {"path": self.folder / "relight.db"},
                "kafka": {"bootstrap": (self.address,) if self.address else ()},
                "keys": {"folder": self.folder / "keys"},
                "remediate": {**_POLICY, "playbooks": (self.folder / "playbooks.yaml",)},
            }
        )

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment of all processes."""
        kafka = {"kafka__bootstrap": self.address} if self.address else {}
        own = environment(embedded__path=self.folder / "relight.db", keys__folder=self.folder / "keys", **kafka)
        return own | dict(self.variables)


def campaign(
    where: Where,
    systems: Sequence[System],
    rounds: int,
    seed: int,
    every: int,
    say: Callable[[str], None] = lambda _: None,
) -> Outcome:
    """Hold rounds, with peace and a verdict after `every` of them and after the last; stop where something is wrong."""
    begun, settings, outcome = time.monotonic(), where.settings, Outcome(seed)
    (where.folder / "playbooks.yaml").write_text(playbooks(), encoding="utf-8")
    for role in Role:
        renew(place(settings, role))
    with open_log(settings) as log, open_log(settings) as another:
        log.create(specs(settings.topics.log_partitions, settings.topics.cluster_partitions))
        incidents = Incidents(another, systems, Random(f"{seed}/incidents"))
        outcome.happened = Happened({system.name: system.exact for system in systems}, incidents.asked)
        with _fleet(where, systems) as fleet:
            turmoil = Turmoil(fleet, Random(f"{seed}/turmoil"), log)
            while outcome.rounds < rounds and not outcome.complaints:
                some = min(every, rounds - outcome.rounds)
                with incidents.happening():
                    for _ in range(some):
                        turmoil.round()
                outcome.rounds += some
                turmoil.end()
                restless = _peace(log, fleet, incidents)
                _judge(outcome, log, settings, systems, turmoil)
                outcome.complaints += [*fleet.died, *([f"it does not come to rest: {restless}"] if restless else [])]
                say(f"{outcome.rounds} rounds, {len(outcome.told.commands)} commands, {time.monotonic() - begun:.0f} s")
                for system in () if outcome.complaints else systems:
                    system.forget()
            outcome.counts = fleet.counts + incidents.counts
        outcome.complaints += differences(log, settings)
        outcome.table = _table(outcome)
        outcome.seconds = time.monotonic() - begun
        if outcome.complaints:
            keep(log, where.folder / "topics")
    return outcome


@contextmanager
def _fleet(where: Where, systems: Sequence[System]) -> Iterator[Fleet]:
    fleet = Fleet(where.folder / "fleet", where.environment)
    fleet.folder.mkdir()
    remediate = {**_POLICY, "playbooks": [str(where.folder / "playbooks.yaml")]}
    try:
        planner = _written(where.folder / "planner.toml", toml({"remediate": remediate}))
        for member in "ab":
            fleet.add(f"{PLANNER}-{member}", "remediate", "--config", planner)
        for system in systems:
            own = {"cluster": {"name": system.name}, "agent": {"group": system.name}, **system.settings()}
            config = _written(where.folder / f"{system.name}.toml", toml(own))
            for member in "abc"[: system.agents]:
                fleet.add(f"{system.name}-{member}", "agent", "--config", config)
        yield fleet
    finally:
        fleet.close()


def _written(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def _peace(log: EventLog, fleet: Fleet, incidents: Incidents) -> str | None:
    """Wait until all that is to be done is done; return what is not, when that takes too long."""
    deadline, quiet_s, before = time.monotonic() + _PATIENCE_S, time.monotonic(), None
    while time.monotonic() < deadline:
        incidents.step()
        fleet.watch()
        now = [log.spans(topic) for topic in (INCIDENTS, COMMANDS, OUTCOMES)]
        if now != before or not incidents.over or not keeps_up(log):
            before, quiet_s = now, time.monotonic()
        elif time.monotonic() - quiet_s > _QUIET_S:
            return None
        time.sleep(0.2)
    return incidents.left() or "something is still said"


def _judge(outcome: Outcome, log: EventLog, settings: Settings, systems: Sequence[System], turmoil: Turmoil) -> None:
    """Note what has happened, and what is wrong about it. What a system does by itself may take a moment: ask twice."""
    alone = {system.name: tuple(turmoil.deaths[system.name]) for system in systems if system.agents == 1}
    for wait_s in (0.0, _AGAIN_S):
        time.sleep(wait_s)
        outcome.told = told(log, settings)
        effects = dict(outcome.happened.effects)
        for system in systems:
            effects |= system.effects([one for one in outcome.told.commands if one.cluster == system.name])
        silent = frozenset[str]().union(*(system.silent() for system in systems))
        outcome.happened = replace(outcome.happened, deaths=alone, silent=silent, effects=effects)
        outcome.complaints = [*complaints(outcome.told, outcome.happened)]
        if not outcome.complaints:
            return


def _table(outcome: Outcome) -> dict[str, Counter[str]]:
    """Return by cluster how many commands there were that are counted, how they ended, and what came in between."""
    found: dict[str, Counter[str]] = {name: Counter() for name in outcome.happened.exact}
    for command in outcome.told.commands:
        if command.id not in outcome.happened.effects:
            continue
        said = [one for one in outcome.told.outcomes if one.command == command.id]
        row = found[command.cluster]
        row["commands"] += 1
        row.update(str(one.status) for one in said if one.status.final)
        row["took effect"] += outcome.happened.effects[command.id] == 1
        row["killed over it"] += interrupted(said, outcome.happened.deaths.get(command.cluster, ()))
        row["found done"] += any(one.reason.startswith("it was found done") for one in said)
    return found
