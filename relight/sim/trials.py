"""Runs of the simulator in a row, each scanned by relight and judged, in one or several processes."""

import random
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Final

from diagnose.correlation.cluster import Cluster
from diagnose.correlation.reaction import Correlator
from relight.sim.living import Living, Telling
from relight.sim.living_score import LiveScore, live_scores
from relight.sim.scenario import scenarios
from relight.sim.scoring import FalseAlarm, Judged, Score, judged
from relight.sim.telling import write
from relight.sim.world import Options, World, simulated
from relight.sim.writing import texts
from schemas.model import Model

_VARIANTS: Final = (("alone", 0.6), ("precursor", 0.15), ("distraction", 0.15), ("pair", 0.1))
"""How often an incident comes alone, after a similar error that was survived, beside one, or with another job's."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One run of the simulator. `variant` is `pair` where two jobs of the site suffer."""

    options: Options
    variant: str


class Outcome(Model):
    """What came of a trial: of a scan, and, if it was asked for, of the living core (`live`, `live_alarms`)."""

    seed: int
    node_days: float
    healthy: bool
    bytes: int
    scores: tuple[Score, ...] = ()
    false_alarms: tuple[FalseAlarm, ...] = ()
    live: tuple[LiveScore, ...] = ()
    live_alarms: tuple[FalseAlarm, ...] = ()


def planned(
    seed: int,
    incidents: int,
    hosts: tuple[int, int],
    loss: float,
    skew_s: float,
    days: float,
    only: str | None = None,
    folder: Path | None = None,
) -> list[Trial]:
    """Return trials with at least so many incidents: all scenarios in turn, sizes and variants by the dice.

    `only` names one scenario; `folder` holds other scenarios than relight's own.
    """
    rng = random.Random(f"{seed}/trials")
    known = scenarios(folder)
    trials: list[Trial] = []
    names: list[str] = []
    count = 0
    while count < incidents:
        if not names:
            names = [only] if only else rng.sample(list(known), len(known))
        name = names.pop()
        one = known[name]
        size = max(_size(rng, hosts), one.needs.hosts)
        variant = rng.choices([v for v, _ in _VARIANTS], [w for _, w in _VARIANTS])[0]
        pair = variant == "pair" and size >= 2 * max(2, one.needs.hosts) and incidents - count > 1
        options = Options(
            seed=seed * 100_000 + len(trials),
            hosts=size,
            days=days,
            incidents=2 if pair else 1,
            scenario=name,
            scenarios=folder,
            variant="alone" if variant == "pair" else variant,
            loss=loss,
            skew_s=skew_s,
        )
        trials.append(Trial(options, variant if pair or variant != "pair" else "alone"))
        count += options.incidents
    return trials


def healthy(
    seed: int, node_days: float, hosts: tuple[int, int], loss: float, skew_s: float, days: float
) -> list[Trial]:
    """Return trials in which nothing goes wrong, with at least so many node days."""
    rng = random.Random(f"{seed}/healthy")
    trials: list[Trial] = []
    done = 0.0
    while done < node_days:
        size = _size(rng, hosts)
        number = seed * 100_000 + 50_000 + len(trials)
        trials.append(
            Trial(Options(seed=number, hosts=size, days=days, incidents=0, loss=loss, skew_s=skew_s), "healthy")
        )
        done += size * days
    return trials


def _size(rng: random.Random, hosts: tuple[int, int]) -> int:
    """Return a number of hosts: small ones as often as large ones, by their logarithm."""
    low, high = hosts
    size: float = low * (high / low) ** rng.random()
    return min(high, max(low, round(size)))


def tried(
    trials: list[Trial], jobs: int, advance: Callable[[int], None] = lambda count: None, *, live: bool = False
) -> Iterator[Outcome]:
    """Yield what comes of trials, in their order. `advance` is told of each that is done.

    `live`: also live through each, tick by tick.
    """
    if jobs <= 1 or len(trials) <= 1:
        for trial in trials:
            yield tried_once(trial, live=live)
            advance(1)
        return
    with ProcessPoolExecutor(min(jobs, len(trials)), mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(tried_once, trial, live=live) for trial in trials]
        for _ in as_completed(futures):
            advance(1)
        yield from (future.result() for future in futures)


def tried_once(trial: Trial, *, live: bool = False) -> Outcome:
    """Simulate, scan and judge once, in a directory that is gone afterwards."""
    from relight.scan import found, scan

    world = simulated(trial.options)
    with tempfile.TemporaryDirectory(prefix="relight-sim-") as folder:
        out = Path(folder)
        truth = write(world, out)
        report = scan(found([str(out / "logs")]), jobs=1)
        verdict: Judged = judged(truth, report, out / "logs", trial.variant)
    scores, alarms = live_scores(world, truth, lived(world), trial.variant) if live else ([], [])
    return Outcome(
        seed=truth.seed,
        node_days=truth.node_days,
        healthy=not truth.incidents,
        bytes=truth.bytes,
        scores=verdict.scores,
        false_alarms=verdict.false_alarms,
        live=tuple(scores),
        live_alarms=tuple(alarms),
    )


def lived(world: World) -> list[Telling]:
    """Live through a simulation, and return what was told."""
    from relight.catalogue import catalogue, resolver
    from relight.stages.sources import matcher

    options = world.options
    living = Living(Correlator(resolver(catalogue())), matcher(()), Cluster(world.cluster.name))
    return living.live(texts(world.tape, world.layout, options.seed, options.loss), world.end_s)
