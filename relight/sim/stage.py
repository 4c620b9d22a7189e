"""A scenario on the stage of a job: who is the culprit, when it happens, and which lines are said of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from relight.sim import kubernetes, launchers
from relight.sim.cluster import Cluster
from relight.sim.jobs import Job, Rank
from relight.sim.nccl import Collective, warning_head
from relight.sim.scenario import Said, Scenario, Span
from relight.sim.tape import Kind, Mark, Tape
from relight.sim.templates import frameworks, script
from relight.sim.training import Course
from relight.sim.words import Moment, about_cluster, about_host, about_job, about_rank, drawn

_HOST_STREAMS = (Kind.KERNEL, Kind.SYSTEM, Kind.SLURMD, Kind.FABRIC, Kind.LAUNCHER)


@dataclass
class Stage:
    """An incident as it happens to a job; `number` counts the incidents of a simulation.

    `at_s` is the true time at which it happens, `dies_s` when the first process dies of it.
    """

    tape: Tape
    rng: Random
    cluster: Cluster
    job: Job
    course: Course
    scenario: Scenario
    number: int
    culprit: Rank
    at_s: float
    values: Mapping[str, Any]
    waiting: Collective
    dies_s: float

    def draw(self, span: Span) -> float:
        """Return a number from a range."""
        return self.rng.uniform(*span)

    def say(self, said: Sequence[Said], at_s: float, *, heal: bool = False) -> None:
        """Add lines, counted from a moment."""
        for one in said:
            time_s = at_s + self.draw(one.at_s)
            self._one(one, time_s, heal)
            if one.repeat is not None:
                for _ in range(round(self.draw(one.repeat.times))):
                    time_s += self.draw(one.repeat.every_s)
                    self._one(one, time_s, heal)

    def _one(self, said: Said, time_s: float, heal: bool) -> None:
        for rank in self._ranks(said):
            own_s = time_s + (self.rng.uniform(0, 1.5) if said.who in ("all", "others", "host", "neighbours") else 0.0)
            text = self._text(said, rank, own_s)
            mark = Mark(self.number, _telling(said, text), heal) if said.says else None
            self._add(said, rank, own_s, text, mark)

    def _ranks(self, said: Said) -> Sequence[Rank]:
        job, bad = self.job, self.culprit
        chosen: Mapping[str, Sequence[Rank]] = {
            "culprit": (bad,),
            "host": job.on(bad.host),
            "neighbours": [rank for rank in job.on(bad.host) if rank is not bad],
            "others": [rank for rank in job.ranks if rank.host is not bad.host],
            "all": job.ranks,
            "master": job.ranks[:1],
            "speaker": (job.speaker,),
            "one": [self.peer()],
        }
        ranks = chosen[said.who]
        if said.by in _HOST_STREAMS:
            return list({rank.host.name: rank for rank in ranks}.values())
        return ranks[:1] if said.by in (Kind.CONTROLLER, Kind.BATCH, Kind.SUBNET, Kind.EVENTS) else ranks

    def peer(self) -> Rank:
        """Return the rank that waits for the culprit first: the same GPU of the next host."""
        step = 8 if len(self.job.hosts) > 1 else 1
        return self.job.ranks[(self.culprit.number + step) % self.job.world]

    def _text(self, said: Said, rank: Rank, time_s: float) -> str:
        clock_s = time_s + (rank.host.skew_s if said.by not in (Kind.CONTROLLER, Kind.EVENTS, Kind.SUBNET) else 0.0)
        words = self.words(rank) | {"now": Moment(clock_s), "nccl_warn": warning_head(self.job, rank, time_s)}
        text = said.text.rstrip("\n").format(**words)
        if self.job.torch == "new" and said.by is Kind.APP and text.startswith("Traceback") and not said.plain:
            return "\n".join(f"[rank{rank.number}]: {line}" for line in text.split("\n"))
        return text

    def words(self, rank: Rank) -> dict[str, Any]:
        """Return the words that lines of a rank or its host are made of. The culprit's begin with `bad_`."""
        bad, stacks = about_rank(self.job, self.culprit), frameworks()["stacks"]
        peer = self.peer()
        return (
            about_cluster(self.cluster)
            | about_job(self.job)
            | about_rank(self.job, rank)
            | {f"bad_{name}": value for name, value in bad.items()}
            | {f"peer_{name}": value for name, value in about_host(peer.host).items()}
            | {
                "peer_rank": peer.number,
                "script": script(self.job.framework),
                "stack": stacks["model"][self.job.framework],
                "stack_data": stacks["data"][self.job.framework],
                "stack_save": stacks["save"][self.job.framework],
                "step": self.course.last_step or self.job.first_step,
                "seq": self.waiting.seq,
                "pod": kubernetes.pod(self.job, rank.host),
                "world_less": self.job.world - 8,
                "nodes_less": len(self.job.hosts) - 1,
                "elapsed": f"{int(self.at_s - self.job.start_s) // 60}",
            }
            | dict(self.values)
        )

    def _add(self, said: Said, rank: Rank, time_s: float, text: str, mark: Mark | None) -> None:
        tape, job = self.tape, self.job
        if said.by is Kind.APP:
            tape.app(time_s, job, rank, text, mark)
        elif said.by is Kind.LAUNCHER:
            tape.launcher(time_s, job, rank.host, text, mark)
        elif said.by is Kind.BATCH:
            tape.batch(time_s, job, text, mark)
        elif said.by is Kind.KERNEL:
            tape.kernel(time_s, rank.host, text, mark, said.level)
        elif said.by is Kind.SYSTEM:
            tape.system(time_s, rank.host, said.tag, text, mark, said.level)
        elif said.by is Kind.CONTROLLER:
            launchers.controller(tape, time_s, text, mark)
        elif said.by is Kind.SLURMD:
            launchers.slurmd(tape, time_s, rank.host, text, mark)
        elif said.by is Kind.EVENTS:
            kind, reason = said.event or ("Warning", "Failed")
            host = None if said.about == "PyTorchJob" else rank.host
            kubernetes.event(tape, time_s, job, host, kind, reason, text, mark, said.about)
        else:
            tape.of(said.by, time_s, text, rank.host if said.by is Kind.FABRIC else None, mark)


def staged(
    tape: Tape, rng: Random, cluster: Cluster, job: Job, course: Course, scenario: Scenario, number: int, at_s: float
) -> Stage:
    """Return a scenario on its stage, with the culprit drawn."""
    culprit = _culprit(rng, job, scenario)
    dies_s = at_s + rng.uniform(*scenario.spread.after_s)
    values, waiting = drawn(rng, scenario.values), Collective(rng, job)
    return Stage(tape, rng, cluster, job, course, scenario, number, culprit, at_s, values, waiting, dies_s)


def _culprit(rng: Random, job: Job, scenario: Scenario) -> Rank:
    if scenario.spread.ranks == "speaker":
        return job.speaker
    if scenario.strikes == "master" or scenario.spread.ranks == "master":
        return job.ranks[0]
    able = [rank for rank in job.ranks if rank.host is not job.hosts[0]] if scenario.strikes == "worker" else job.ranks
    return rng.choice(able)


def _telling(said: Said, text: str) -> int:
    """Return which of a text's lines tells the cause: of a traceback the one with the exception."""
    lines = text.split("\n")
    if said.line is not None:
        return said.line
    heads = [number for number, line in enumerate(lines) if line.endswith("Traceback (most recent call last):")]
    after = heads[-1] + 1 if heads else 0
    return next(
        n for n, line in enumerate(lines) if n >= after and _bare(line) and (not heads or _bare(line)[0] != " ")
    )


def _bare(line: str) -> str:
    """Return a line without the `[rank3]: ` that c10d puts before a traceback's lines."""
    return line.partition("]: ")[2] if line.startswith("[rank") else line
