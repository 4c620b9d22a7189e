"""Background noise: what hosts and jobs say on a good day, much of it alarming. What is said is data."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from random import Random
from typing import Any

from relight.sim import kubernetes, launchers
from relight.sim.cluster import GPUS_PER_HOST, Cluster, Host
from relight.sim.jobs import Job
from relight.sim.scenario import Needs, Said
from relight.sim.tape import Kind, Tape
from relight.sim.templates import loaded
from relight.sim.words import Moment, about_cluster, about_gpu, about_host, about_job, about_rank, drawn
from schemas.model import Model

DAY_S = 86_400


class Noise(Model):
    """Something that is said again and again: `per_day` times a day and host (or job, or site, as its file says).

    `group` are further lines that follow the first.
    """

    per_day: float
    said: Said
    group: tuple[Said, ...] = ()
    values: Mapping[str, Any] = {}
    needs: Needs = Needs()


@cache
def noises() -> Mapping[str, tuple[Noise, ...]]:
    """Return the noise of hosts, jobs, job starts and sites."""
    return {where: tuple(map(Noise.model_validate, entries)) for where, entries in loaded("noise").items()}


def added(tape: Tape, rng: Random, cluster: Cluster, scheduler: str, span: tuple[float, float], factor: float) -> None:
    """Add the noise of all hosts and of the site between two times, `factor` times as much as usual."""
    site = about_cluster(cluster)
    for host in cluster.hosts:
        words = site | about_host(host)
        for noise in _fitting("host", cluster, scheduler):
            for time_s in _times(rng, span, noise.per_day * factor):
                _say(tape, rng, host, noise, words | about_gpu(host, rng.randrange(GPUS_PER_HOST)), time_s)
    for noise in _fitting("site", cluster, scheduler):
        for time_s in _times(rng, span, noise.per_day * factor):
            host = rng.choice(cluster.hosts)
            _say(tape, rng, host, noise, site | about_host(host), time_s)


def job_added(tape: Tape, rng: Random, cluster: Cluster, job: Job, until_s: float) -> None:
    """Add the noise of a job: at its start, on all or some ranks, and as long as it trains."""
    starts_s = job.start_s + 0.35 * job.init_s
    for noise in _fitting("start", cluster, job.scheduler, job):
        ranks = job.ranks if noise.said.who == "all" and job.world <= 256 else (rng.choice(job.ranks), job.ranks[0])
        if rng.random() < noise.per_day:
            for rank in ranks:
                time_s = starts_s + rng.uniform(0, 0.3 * job.init_s)
                if time_s < until_s - 60:
                    words = about_cluster(cluster) | about_job(job) | about_rank(job, rank)
                    _say(tape, rng, rank.host, noise, words, time_s, job)
    for noise in _fitting("job", cluster, job.scheduler, job):
        begin = job.start_s + job.init_s + 60
        for time_s in _times(rng, (begin, max(begin, until_s - 300)), noise.per_day):
            rank = rng.choice(job.ranks)
            words = about_cluster(cluster) | about_job(job) | about_rank(job, rank)
            _say(tape, rng, rank.host, noise, words, time_s, job)


def _fitting(where: str, cluster: Cluster, scheduler: str, job: Job | None = None) -> Iterator[Noise]:
    for noise in noises()[where]:
        needs = noise.needs
        if needs.scheduler not in (None, scheduler) or needs.fabric not in (None, cluster.fabric):
            continue
        if needs.filesystem not in (None, cluster.filesystem):
            continue
        if job is None or not needs.frameworks or job.framework in needs.frameworks:
            yield noise


def _times(rng: Random, span: tuple[float, float], per_day: float) -> Iterator[float]:
    """Yield the times of a Poisson process."""
    time_s, end_s = span
    while per_day > 0:
        time_s += rng.expovariate(per_day / DAY_S)
        if time_s >= end_s:
            return
        yield time_s


def _say(
    tape: Tape, rng: Random, host: Host, noise: Noise, words: Mapping[str, Any], time_s: float, job: Job | None = None
) -> None:
    values = {**words, **drawn(rng, noise.values)} if noise.values else words
    for one in (noise.said, *noise.group):
        time_s += rng.uniform(*one.at_s)
        _one(tape, host, one, values, time_s, job)
        if one.repeat is not None:
            for _ in range(round(rng.uniform(*one.repeat.times))):
                time_s += rng.uniform(*one.repeat.every_s)
                _one(tape, host, one, values, time_s, job)


def _one(tape: Tape, host: Host, said: Said, words: Mapping[str, Any], time_s: float, job: Job | None) -> None:
    clock_s = time_s + (host.skew_s if said.by not in (Kind.CONTROLLER, Kind.SUBNET, Kind.EVENTS) else 0.0)
    text = said.text.rstrip("\n").format(**words, now=Moment(clock_s))
    if said.by is Kind.KERNEL:
        tape.kernel(time_s, host, text, level=said.level)
    elif said.by is Kind.SYSTEM:
        tape.system(time_s, host, said.tag, text, level=said.level)
    elif said.by is Kind.CONTROLLER:
        launchers.controller(tape, time_s, text)
    elif said.by is Kind.SLURMD:
        launchers.slurmd(tape, time_s, host, text)
    elif said.by is Kind.APP:
        assert job is not None
        rank = job.on(host)[words["local"]]
        tape.app(time_s, job, rank, text)
    elif said.by is Kind.LAUNCHER:
        assert job is not None
        tape.launcher(time_s, job, host, text)
    elif said.by is Kind.EVENTS and job is not None:
        kind, reason = said.event or ("Normal", "Pulled")
        kubernetes.event(tape, time_s, job, host, kind, reason, text, about=said.about)
    else:
        tape.of(said.by, time_s, text, host if said.by is Kind.FABRIC else None)


def rates() -> Sequence[tuple[str, float]]:
    """Return where noise is said, and how many lines a day it makes there."""
    return [(where, sum(noise.per_day * (1 + len(noise.group)) for noise in each)) for where, each in noises().items()]
