"""The truth about a simulation: its runs and incidents, and where their telling lines stand."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from relight.sim.jobs import Job
from relight.sim.stage import Stage
from relight.sim.training import Course
from relight.sim.truth import TrueIncident, TrueLine, TrueOutcome, TrueRun, Truth
from relight.sim.world import DAY_S, World
from relight.sim.writing import Found, texts, written

_MOST_LINES: Final = 64


def write(world: World, out: Path) -> Truth:
    """Write the logs to `out/logs` and the truth to `out/truth.json`, and return it."""
    options, found, lines, size = world.options, list[Found](), 0, 0
    for text in texts(world.tape, world.layout, options.seed, options.loss):
        size += written(text, out / "logs")
        lines += len(text.lines)
        found += text.found
    truth = told(world, found, lines, size)
    (out / "truth.json").write_text(truth.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return truth


def told(world: World, found: Sequence[Found], lines: int, size: int) -> Truth:
    """Return the truth about a simulation whose telling lines stand where `found` says."""
    options = world.options
    return Truth(
        seed=options.seed,
        cluster=world.cluster.name,
        layout=world.layout.name,
        hosts=options.hosts,
        began=_at(world.start_s),
        ended=_at(world.end_s),
        node_days=round(options.hosts * (world.end_s - world.start_s) / DAY_S, 4),
        skew_s=options.skew_s,
        loss=options.loss,
        lines=lines,
        bytes=size,
        runs=tuple(_run(world, job, course) for job, course in zip(world.jobs, world.courses, strict=True)),
        incidents=tuple(_incident(stage, found) for stage in world.stages),
    )


def _run(world: World, job: Job, course: Course) -> TrueRun:
    one = next((stage.scenario for stage in world.stages if stage.job is job), None)
    ended = world.ended_s.get(job.id)
    outcome: TrueOutcome = "running" if ended is None else "succeeded" if course.finishes else "failed"
    return TrueRun(
        job=job.id,
        hosts=tuple(host.name for host in job.hosts),
        ranks=job.world,
        framework=job.framework,
        launcher=job.launcher,
        scheduler=job.scheduler,
        started=_at(job.start_s),
        ended=None if ended is None else _at(ended),
        outcome="cancelled" if one and one.cancels else outcome,
    )


def _incident(stage: Stage, found: Sequence[Found]) -> TrueIncident:
    one, bad = stage.scenario, stage.culprit
    own = sorted((f for f in found if f.mark.incident == stage.number), key=lambda f: (f.said_s, f.file, f.line))
    lines = tuple(_line(f) for f in own if not f.mark.heal)[:_MOST_LINES]
    to_blame = one.names_host
    return TrueIncident(
        scenario=one.name,
        run=stage.job.id,
        fault=one.fault,
        also=one.also,
        culprit=one.culprit,
        host=bad.host.name if to_blame else None,
        gpu=bad.host.pci(bad.local) if one.culprit == "gpu" else None,
        rank=bad.number if to_blame and one.culprit in ("rank", "gpu") else None,
        nic=f"mlx5_{bad.local}" if one.culprit == "nic" else None,
        happened=_at(stage.at_s),
        visible=lines[0].said if lines else None,
        first_line=lines[0] if lines else None,
        lines=lines,
        survived=tuple(_line(f) for f in own if f.mark.heal)[:_MOST_LINES],
        near_s=one.near_s,
        silent=one.silent,
        ended_run=one.ends_run,
    )


def _line(found: Found) -> TrueLine:
    text = found.text[:2000]
    return TrueLine(file=found.file, line=found.line, text=text, said=_at(found.said_s), stamped=_at(found.stamped_s))


def _at(unix_s: float) -> datetime:
    return datetime.fromtimestamp(round(unix_s, 3), UTC)
