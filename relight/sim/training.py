"""A job that trains: what its ranks and its scheduler say from the start to the end, as long as nothing goes wrong."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from relight.sim import launchers, nccl
from relight.sim.cluster import Cluster
from relight.sim.jobs import Job
from relight.sim.tape import Mark, Tape
from relight.sim.templates import frameworks
from relight.sim.words import Moment, about_job, about_rank

STEPS_TO_GO = 120_000


@dataclass
class Course:
    """How a job's training goes. Scenarios change it: `stops_s` is when it makes no step any more (true time).

    From `turns_s` on a step takes `slower` times as long, and the loss follows `curve`: `steady`, `nan`, `spike` or
    `diverge`; `mark` goes to the lines that show it. `finishes` tells whether it ends by itself at `stops_s`;
    else somebody or something else says why.
    """

    stops_s: float
    finishes: bool = False
    running: bool = False
    turns_s: float = math.inf
    slower: float = 1.0
    curve: str = "steady"
    begins: bool = True
    mark: Mark | None = None
    last_step: int = 0
    last_save_s: float = 0.0


def begun(tape: Tape, rng: Random, cluster: Cluster, job: Job) -> None:
    """Add the start of a job up to its first step."""
    launchers.started(tape, rng, job)
    nccl.initialised(tape, rng, cluster, job)
    speaker, first = job.speaker, job.start_s + 0.4 * job.init_s
    for number, template in enumerate(frameworks()["start"][job.framework]):
        time_s = first + number * 0.05 * job.init_s
        tape.app(
            time_s, job, speaker, _filled(job, template, time_s, _figures(rng, job, job.first_step, 0.0, job.step_s))
        )


def trained(tape: Tape, rng: Random, job: Job, course: Course) -> None:
    """Add the steps, checkpoints and validations of a job, up to where its course ends."""
    say = frameworks()
    step, time_s = job.first_step, job.start_s + job.init_s
    while True:
        pace = job.step_s * (course.slower if time_s >= course.turns_s else 1.0)
        took = pace * rng.uniform(0.97, 1.04)
        time_s += took
        if time_s >= course.stops_s:
            break
        step += 1
        figures = _figures(rng, job, step, time_s, took, course)
        for line in _said(say, job, step):
            if time_s >= course.stops_s:
                break  # it ended in the middle of a checkpoint
            mark = course.mark if time_s >= course.turns_s and line is say["step"][job.framework] else None
            tape.app(time_s, job, job.speaker, _filled(job, line, time_s, figures), mark)
            time_s += rng.uniform(3, 9) if line is say["save_begin"][job.framework] else 0.002
        course.last_save_s = time_s if step % job.checkpoint_every == 0 else course.last_save_s
    course.last_step = step
    if course.finishes:
        figures = _figures(rng, job, step, course.stops_s, job.step_s)
        tape.app(course.stops_s, job, job.speaker, _filled(job, say["end"][job.framework], course.stops_s, figures))
        launchers.finished(tape, rng, job, course.stops_s + rng.uniform(8, 30))


def logged_every(job: Job) -> int:
    """Return how many steps pass from one line of progress to the next."""
    return {"hf": 5, "torchtitan": 10, "nanogpt": 1, "deepspeed": 10, "lightning": 5}.get(job.framework, 1)


def _said(say: Mapping[str, Any], job: Job, step: int) -> Iterator[str]:
    """Yield the templates of what is said after a step."""
    if step % logged_every(job) == 0 or step == job.first_step + 1:
        yield say["step"][job.framework]
    if step % job.validate_every == 0:
        yield say["validation"][job.framework]
    if step % job.checkpoint_every == 0:
        yield say["save_begin"][job.framework]
        if end := say["save_end"][job.framework]:
            yield end


def _filled(job: Job, template: str, time_s: float, figures: Mapping[str, Any]) -> str:
    moment = Moment(time_s + job.speaker.host.skew_s)
    return template.format(now=moment, **about_job(job), **about_rank(job, job.speaker), **figures)


def _figures(
    rng: Random, job: Job, step: int, time_s: float, took_s: float, course: Course | None = None
) -> dict[str, Any]:
    """Return the figures of a step."""
    loss, norm = _loss(rng, job, step, time_s, course)
    done = 100 * step / STEPS_TO_GO
    batch = job.world * 4
    return {
        "step": step,
        "steps": STEPS_TO_GO,
        "first": job.first_step,
        "first_next": job.first_step + 1,
        "samples": step * batch,
        "examples": STEPS_TO_GO * batch,
        "batch": batch,
        "batch_tokens": batch * 4096,
        "step_s": took_s,
        "step_ms": took_s * 1000,
        "run_s": time_s - job.start_s,
        "tflops": 400 * job.step_s / took_s,
        "mfu": 40 * job.step_s / took_s,
        "tps": int(8192 * 4 / took_s),
        "rate": batch / took_s,
        "lr": 3e-4 * (1 - step / (2 * STEPS_TO_GO)),
        "loss": loss,
        "norm": norm,
        "ppl": math.exp(min(loss, 20)) if loss == loss else math.nan,
        "nans": int(loss != loss),
        "skipped": int(loss != loss),
        "epoch": step / STEPS_TO_GO,
        "memory": 61.4 + 0.01 * (step % 7),
        "percent": 77.2,
        "save_s": rng.uniform(3, 9),
        "percent_done": done,
        "bar": "█" * int(done / 10) + " " * (10 - int(done / 10)),
        "elapsed": _clock(time_s - job.start_s),
        "left": _clock((STEPS_TO_GO - step) * took_s),
    }


def _loss(rng: Random, job: Job, step: int, time_s: float, course: Course | None) -> tuple[float, float]:
    """Return the loss and the gradient's norm."""
    loss = job.loss + 6.5 * math.exp(-step / 900) + rng.gauss(0, 0.012)
    norm = abs(rng.gauss(0.42, 0.05)) + 3 * math.exp(-step / 500)
    if course is None or time_s < course.turns_s:
        return loss, norm
    since = (time_s - course.turns_s) / job.step_s
    if course.curve == "nan":
        return math.nan, math.nan
    if course.curve == "diverge":
        return loss + min(7.5, 0.25 * since) + rng.gauss(0, 0.2), norm * min(400, 1 + since**1.5)
    if course.curve == "spike" and since < 12:
        return loss + 4.1 * math.exp(-since / 4), norm * 60 * math.exp(-since / 4)
    return loss, norm


def _clock(duration_s: float) -> str:
    minutes, seconds = divmod(int(max(0.0, duration_s)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes:02d}:{seconds:02d}"
