"""What launchers and schedulers say of a job: torchrun, srun and slurmstepd, slurmctld and slurmd.

Sources: pytorch torch/distributed/elastic (multiprocessing/api.py, multiprocessing/errors, agent/server/api.py);
SchedMD/slurm src/srun/launch.c, src/slurmd/slurmstepd/req.c, src/slurmctld/{job_mgr,node_mgr,ping_nodes}.c.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from relight.sim import kubernetes
from relight.sim.cluster import Host
from relight.sim.jobs import Job, Rank
from relight.sim.tape import Kind, Mark, Tape
from relight.sim.templates import message, script
from relight.sim.words import Moment

SIGNALS: Final = {6: "SIGABRT", 7: "SIGBUS", 9: "SIGKILL", 11: "SIGSEGV", 15: "SIGTERM"}
_WORDS: Final = {6: "Aborted", 7: "Bus error", 9: "Killed", 11: "Segmentation fault", 15: "Terminated"}


@dataclass(frozen=True, slots=True)
class Death:
    """The end of a rank's process: when, and with which exit status (negative: a signal's number)."""

    rank: Rank
    time_s: float
    code: int


def started(tape: Tape, rng: Random, job: Job) -> None:
    """Add the start of a job."""
    if job.scheduler == "kubernetes":
        for host in job.hosts:
            kubernetes.pod_started(tape, rng, job, host)
    else:
        nodes = ranged([host.name for host in job.hosts])
        controller(
            tape,
            job.start_s - 2,
            f"sched: Allocate JobId={job.id} NodeList={nodes} #CPUs={len(job.hosts) * 96} Partition=train",
        )
        for host in job.hosts:
            time_s = job.start_s - rng.uniform(0.2, 1.5)
            uid, port = job.uid, rng.randrange(33_000, 60_000)
            slurmd(
                tape,
                time_s,
                host,
                f"launch task StepId={job.id}.0 request from UID:{uid} GID:{uid} HOST:{job.hosts[0].ip} PORT:{port}",
            )
    if job.launcher == "torchrun":
        for host in job.hosts:
            time_s = job.start_s + rng.uniform(1, 6)
            say = f"{agent(job, host, time_s, 'W')} " if job.torch == "new" else "WARNING:torch.distributed.run:"
            tape.launcher(time_s, job, host, message("threads", say=say))


def finished(tape: Tape, rng: Random, job: Job, time_s: float) -> None:
    """Add the good end of a job."""
    if job.scheduler == "kubernetes":
        kubernetes.event(
            tape,
            time_s + 5,
            job,
            None,
            "Normal",
            "PyTorchJobSucceeded",
            f"PyTorchJob {job.id} is successfully completed.",
        )
        return
    controller(tape, time_s + 3, f"_job_complete: JobId={job.id} WEXITSTATUS 0")
    controller(tape, time_s + 3.1, f"_job_complete: JobId={job.id} done")
    for host in job.hosts:
        slurmd(
            tape,
            time_s + rng.uniform(0, 1),
            host,
            f"done with step StepId={job.id}.0" if rng.random() < 0.3 else f"[{job.id}.0] done with job",
        )


def agent(job: Job, host: Host, time_s: float, level: str, where: str = "run.py:793") -> str:
    """Return the head of a line of torchrun's agent."""
    moment = Moment(time_s + host.skew_s)
    return f"{level}{moment:glog} {job.agents[host.name]} torch/distributed/{where}]"


def closing(job: Job, host: Host, time_s: float, pid: int) -> str:
    """Return the line with which the agent ends another worker."""
    said = f"Sending process {pid} closing signal SIGTERM"
    if job.torch == "old":
        moment = Moment(time_s + host.skew_s)
        return f"[{moment:python}] torch.distributed.elastic.multiprocessing.api: [WARNING] {said}"
    return f"{agent(job, host, time_s, 'W', 'elastic/multiprocessing/api.py:897')} {said}"


def reported(tape: Tape, rng: Random, job: Job, host: Host, deaths: Sequence[Death]) -> float:
    """Add what torchrun's agent says of the workers of its host that died by themselves. Returns when it exits."""
    first = min(deaths, key=lambda death: death.time_s)
    seen_s = first.time_s + rng.uniform(0.1, 5)
    known = sorted((d for d in deaths if d.time_s <= seen_s), key=lambda death: death.rank.local)
    for rank in job.on(host):
        if all(death.rank is not rank for death in known):
            tape.launcher(seen_s, job, host, closing(job, host, seen_s, rank.pid))
    done_s = seen_s + rng.uniform(0.5, 8)
    said = message("failed", code=first.code, local=first.rank.local, pid=first.rank.pid)
    if job.torch == "old":
        moment = Moment(done_s + host.skew_s)
        tape.launcher(
            done_s, job, host, f"[{moment:python}] torch.distributed.elastic.multiprocessing.api: [ERROR] {said}"
        )
    else:
        tape.launcher(
            done_s, job, host, f"{agent(job, host, done_s, 'E', 'elastic/multiprocessing/api.py:869')} {said}"
        )
    tape.launcher(done_s + 0.2, job, host, _failed(job, host, known, first))
    return done_s + 0.3


def _failed(job: Job, host: Host, known: Sequence[Death], first: Death) -> str:
    """Return the table of failures."""
    tables = {death.rank.number: _table(host, index, death) for index, death in enumerate(known)}
    others = [table for number, table in tables.items() if number != first.rank.number] or ["  <NO_OTHER_FAILURES>"]
    words = {"others": "\n".join(others), "first": tables[first.rank.number]}
    return message("child_failed", script=script(job.framework), **words)


def _table(host: Host, index: int, death: Death) -> str:
    told = message("untold")
    if death.code < 0:
        told = message("signalled", number=-death.code, signal=SIGNALS[-death.code], pid=death.rank.pid)
    return message(
        "failure",
        index=index,
        time=Moment(death.time_s + host.skew_s),
        host=host.name,
        rank=death.rank.number,
        local=death.rank.local,
        code=death.code,
        pid=death.rank.pid,
        told=told,
    )


def terminated(tape: Tape, job: Job, host: Host, time_s: float) -> None:
    """Add what torchrun's agent says when the scheduler ends it with SIGTERM."""
    if job.launcher != "torchrun":
        return
    said = message("death_signal_old" if job.torch == "old" else "death_signal")
    say = f"{agent(job, host, time_s, 'W', 'elastic/agent/server/api.py:719')} {said}"
    if job.torch == "old":
        say = f"[{Moment(time_s + host.skew_s):python}] torch.distributed.elastic.agent.server.api: [WARNING] {said}"
    tape.launcher(time_s, job, host, say)
    for rank in job.on(host):
        tape.launcher(time_s + 0.01, job, host, closing(job, host, time_s + 0.01, rank.pid))
    tape.launcher(time_s + 4, job, host, message("signal_exception", pid=job.agents[host.name]))


def task_ended(tape: Tape, job: Job, time_s: float, ranks: Sequence[Rank], code: int, mark: Mark | None = None) -> None:
    """Add srun's line about tasks that ended badly: one for each GPU, or, below torchrun, one for each host."""
    if job.scheduler != "slurm":
        return
    tasks = sorted({rank.number if job.launcher == "srun" else rank.number // 8 for rank in ranks})
    hosts = ranged(sorted({rank.host.name for rank in ranks}))
    how = (
        f"Exited with exit code {code}"
        if code >= 0
        else _WORDS[-code] + (" (core dumped)" if code in (-6, -11, -7) else "")
    )
    tape.batch(time_s, job, f"srun: error: {hosts}: task{'s' if len(tasks) > 1 else ''} {_numbers(tasks)}: {how}", mark)


def step_cancelled(
    tape: Tape, job: Job, time_s: float, why: str, mark: Mark | None = None, whole: bool = False
) -> None:
    """Add slurmstepd's line about a step, or a whole job, that is taken down."""
    moment = Moment(time_s + job.hosts[0].skew_s)
    entity = f"JOB {job.id}" if whole else f"STEP {job.id}.0"
    tape.batch(
        time_s,
        job,
        f"slurmstepd: error: *** {entity} ON {job.hosts[0].name} CANCELLED AT {moment:slurm}{why} ***",
        mark,
    )


def controller(tape: Tape, time_s: float, text: str, mark: Mark | None = None) -> None:
    """Add a line of slurmctld; its clock is right."""
    moment = Moment(time_s)
    tape.of(Kind.CONTROLLER, time_s, f"[{moment:slurm}.{moment:ms}] {text}", mark=mark)


def slurmd(tape: Tape, time_s: float, host: Host, text: str, mark: Mark | None = None) -> None:
    """Add a line of a host's slurmd."""
    moment = Moment(time_s + host.skew_s)
    tape.of(Kind.SLURMD, time_s, f"[{moment:slurm}.{moment:ms}] {text}", host, mark)


def ranged(names: Sequence[str]) -> str:
    """Return hosts as Slurm lists them: `node[003-005,009]`."""
    stems: dict[str, list[str]] = {}
    for name in names:
        stem = name.rstrip("0123456789")
        stems.setdefault(stem, []).append(name[len(stem) :])
    return ",".join(stem + (ends[0] if len(ends) == 1 else f"[{_spans(ends)}]") for stem, ends in stems.items())


def _numbers(numbers: Sequence[int]) -> str:
    return _spans([str(number) for number in numbers])


def _spans(ends: Sequence[str]) -> str:
    spans: list[list[str]] = []
    for end in ends:
        if spans and int(end) == int(spans[-1][-1]) + 1:
            spans[-1] = [spans[-1][0], end]
        else:
            spans.append([end])
    return ",".join(dict.fromkeys("-".join(span) for span in spans))
