"""A simulation from its seed: a site, its jobs, what befalls them, and the truth about it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Final

from relight.sim import noise
from relight.sim.cluster import Cluster, built
from relight.sim.jobs import Job, placed
from relight.sim.layouts import LAYOUTS, Layout
from relight.sim.scenario import Scenario, scenario, scenarios
from relight.sim.spreads import spread
from relight.sim.stage import Stage, staged
from relight.sim.tape import Mark, Tape
from relight.sim.templates import frameworks
from relight.sim.training import Course, begun, trained
from relight.sim.words import Moment, about_job, about_rank

DAY_S: Final = 86_400
_EPOCH_S: Final = 1_772_323_200
"""2026-03-01, before which nothing happens."""
VARIANTS: Final = ("alone", "precursor", "distraction")
_SLOWEST_S: Final = 2_700
"""No consequence takes longer to show: a timeout of half an hour, and what follows."""


class Impossible(Exception):
    """What was asked for cannot be simulated; the message says why and what to ask for instead."""


@dataclass(frozen=True, slots=True)
class Options:
    """What is simulated. `variant`: `precursor` adds a similar error that is survived, `distraction` another's.

    It begins at `start_s` (Unix), or, without it, when the seed says. `scenarios` is a folder of other scenarios.
    """

    seed: int
    hosts: int = 8
    days: float = 0.25
    incidents: int = 1
    scenario: str | None = None
    scenarios: Path | None = None
    variant: str = "alone"
    loss: float = 0.0
    skew_s: float = 1.0
    noise: float = 1.0
    cluster: str | None = None
    start_s: float | None = None


@dataclass
class World:
    """A simulation: its tape, and what the truth is made of. Times are Unix, s."""

    options: Options
    tape: Tape
    cluster: Cluster
    layout: Layout
    jobs: Sequence[Job]
    courses: Sequence[Course]
    stages: Sequence[Stage]
    ended_s: dict[str, float]
    start_s: float
    end_s: float


def simulated(options: Options) -> World:
    """Simulate.

    Raises:
        Impossible: there are more incidents than hosts, or a scenario needs more hosts.
        UnknownScenario: there is no scenario of that name.
    """
    rng = Random(f"{options.seed}/world")
    chosen = _chosen(rng, options)
    layout, drawn_s = _layout(rng, chosen), _EPOCH_S + rng.randrange(180) * DAY_S + rng.randrange(DAY_S)
    start_s = drawn_s if options.start_s is None else options.start_s
    cluster = _fitting(built(rng, options.hosts, start_s, options.skew_s), chosen, options)
    count = max(1, len(chosen)) if chosen or options.hosts < 16 else rng.choice((1, 2))
    jobs = [
        _suited(rng, job, one) for job, one in _paired(placed(rng, cluster, count, start_s, layout.scheduler), chosen)
    ]
    world = World(options, Tape(), cluster, layout, jobs, [], [], {}, start_s, start_s + options.days * DAY_S)
    world.courses, world.stages = _played(world, rng, chosen)
    noise.added(
        world.tape, Random(f"{options.seed}/noise"), cluster, layout.scheduler, (start_s, world.end_s), options.noise
    )
    for job in jobs:
        noise.job_added(
            world.tape, Random(f"{options.seed}/noise/{job.id}"), cluster, job, world.ended_s.get(job.id, world.end_s)
        )
    return world


def _chosen(rng: Random, options: Options) -> list[Scenario]:
    if options.incidents > options.hosts:
        raise Impossible(
            f"{options.incidents} incidents need as many jobs, and so as many hosts: ask for more --hosts."
        )
    known = scenarios(options.scenarios)
    names = list(known)
    chosen = [scenario(options.scenario, options.scenarios)] if options.scenario and options.incidents else []
    share = options.hosts // max(1, options.incidents)
    while len(chosen) < options.incidents:
        other = known[rng.choice(names)]
        if _together([*chosen, other]) and other.needs.hosts <= share:
            chosen.append(other)
    for one in chosen:
        if one.needs.hosts > share:
            raise Impossible(f"{one.name} needs a job of {one.needs.hosts} hosts or more: ask for more --hosts.")
    return chosen


def _together(chosen: Sequence[Scenario]) -> bool:
    """Tell whether scenarios can happen at one site."""
    for key in ("scheduler", "fabric", "filesystem"):
        if len({getattr(one.needs, key) for one in chosen} - {None}) > 1:
            return False
    return True


def _layout(rng: Random, chosen: Sequence[Scenario]) -> Layout:
    wanted = next((one.needs.scheduler for one in chosen if one.needs.scheduler), None)
    return LAYOUTS[rng.choice([name for name, layout in LAYOUTS.items() if wanted in (None, layout.scheduler)])]


def _fitting(cluster: Cluster, chosen: Sequence[Scenario], options: Options) -> Cluster:
    for one in chosen:
        cluster = replace(
            cluster,
            fabric=one.needs.fabric or cluster.fabric,
            filesystem=one.needs.filesystem or cluster.filesystem,
        )
    return replace(cluster, name=options.cluster or cluster.name)


def _paired(jobs: Sequence[Job], chosen: Sequence[Scenario]) -> list[tuple[Job, Scenario | None]]:
    return [(job, chosen[index] if index < len(chosen) else None) for index, job in enumerate(jobs)]


def _suited(rng: Random, job: Job, one: Scenario | None) -> Job:
    """Return a job to which a scenario can happen."""
    wanted = one.needs.frameworks if one else ()
    return replace(job, framework=rng.choice(wanted)) if wanted and job.framework not in wanted else job


def _played(world: World, rng: Random, chosen: Sequence[Scenario]) -> tuple[list[Course], list[Stage]]:
    """Play all jobs: first those that end before their time, for the others are watched as long as those need."""
    courses = [Course(stops_s=world.end_s, running=True) for _ in world.jobs]
    pairs = list(enumerate(_paired(world.jobs, chosen)))
    stages: dict[int, Stage] = {}
    for number, (job, one) in sorted(pairs, key=lambda pair: not (pair[1][1] and pair[1][1].ends_run)):
        own = Random(f"{world.options.seed}/job/{number}")
        course = courses[number]
        course.stops_s = world.end_s
        if one is None:
            _healthy(world, own, job, course)
            continue
        at_s = _onset(own, world, job, one)
        stages[number] = staged(world.tape, own, world.cluster, job, course, one, number, at_s)
        ended_s = _happened(world, stages[number])
        if one.ends_run:
            world.ended_s[job.id] = ended_s
            world.end_s = max(world.end_s, ended_s + 300)
    return courses, [stages[number] for number in sorted(stages)]


def _healthy(world: World, rng: Random, job: Job, course: Course) -> None:
    """Play a job that nothing happens to: it finishes, or is still running."""
    if rng.random() < 0.6:
        stops_s = max(world.end_s - rng.uniform(600, 1500), job.start_s + job.init_s + 3 * job.step_s)
        course.stops_s, course.finishes, course.running = stops_s, True, False
        world.ended_s[job.id] = stops_s + 40
    begun(world.tape, rng, world.cluster, job)
    trained(world.tape, rng, job, course)


def _onset(rng: Random, world: World, job: Job, one: Scenario) -> float:
    """Return when a scenario strikes."""
    if one.when == "start":
        return job.start_s + job.init_s * rng.uniform(0.1, 0.2)
    if one.when == "load":
        return job.start_s + job.init_s * rng.uniform(0.75, 0.95)
    first = job.start_s + job.init_s + 8 * job.step_s
    last = max(first, world.end_s - _SLOWEST_S)
    return first + (last - first) * rng.uniform(0.3, 0.95)


def _happened(world: World, stage: Stage) -> float:
    """Play a job to its fault and beyond. Returns when it had ended."""
    one, job, course, tape = stage.scenario, stage.job, stage.course, stage.tape
    early = one.when in ("start", "load")
    changes = one.spread.curve != "steady" or one.spread.slower != (1.0, 1.0)
    if one.ends_run:
        course.running, course.stops_s = False, stage.dies_s if changes else stage.at_s
        course.turns_s, course.curve = (stage.at_s, one.spread.curve) if changes else (course.turns_s, "steady")
    else:
        course.turns_s, course.curve, course.slower = stage.at_s, one.spread.curve, stage.draw(one.spread.slower)
    opening = Tape()
    begun(opening, stage.rng, world.cluster, job)
    absent = stage.culprit.host if one.when == "start" and one.spread.kind == "hang" else None
    tape.entries += [
        e
        for e in opening.entries
        if not early or not one.ends_run or (e.time_s < stage.at_s and (e.job is None or e.host is not absent))
    ]
    if one.spread.curve != "steady":
        course.mark = Mark(stage.number, 2 if job.framework == "deepspeed" else 0)
    if not early or not one.ends_run:
        trained(tape, stage.rng, job, course)
    if one.when == "save":
        _saving(stage)
    _before(world, stage)
    stage.say(one.lines, stage.at_s)
    return spread(stage)


def _saving(stage: Stage) -> None:
    job, time_s = stage.job, stage.at_s - stage.rng.uniform(2, 6)
    moment = Moment(time_s + job.speaker.host.skew_s)
    words = (
        about_job(job)
        | about_rank(job, job.speaker)
        | {"step": stage.course.last_step, "loss": job.loss, "now": moment}
    )
    tape_text = frameworks()["save_begin"][job.framework].format(**words)
    stage.tape.app(time_s, job, job.speaker, tape_text)


def _before(world: World, stage: Stage) -> None:
    """Add what the run survived before: a similar error, or another fault's that did no harm."""
    variant, rng = world.options.variant, stage.rng
    first, last = stage.job.start_s + stage.job.init_s, stage.at_s
    if last - first < 300 or variant == "alone":
        return
    if variant == "precursor":
        stage.say(stage.scenario.precursor, first + (last - first) * rng.uniform(0.15, 0.6), heal=True)
        return
    others = [
        one
        for one in scenarios(world.options.scenarios).values()
        if one.precursor and one.name != stage.scenario.name and _at_home(world, one)
    ]
    if not others:
        return
    other = rng.choice(others)
    beside = staged(stage.tape, rng, world.cluster, stage.job, stage.course, other, stage.number, stage.at_s)
    beside.say(other.precursor, last - rng.uniform(200, min(1500, last - first)), heal=True)


def _at_home(world: World, one: Scenario) -> bool:
    needs = one.needs
    return (
        needs.scheduler in (None, world.layout.scheduler)
        and needs.fabric in (None, world.cluster.fabric)
        and needs.filesystem in (None, world.cluster.filesystem)
    )
