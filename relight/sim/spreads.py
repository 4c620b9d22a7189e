"""How a failure reaches the rest of a job: who notices, when, with which words, and who is ended by whom.

A rank that dies leaves the others waiting in a collective. What ends them is the launcher (if it ends all tasks when
one fails), an error of the network towards the dead peer, the collective's timeout minutes later, or the scheduler.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from relight.sim import kubernetes, launchers, nccl
from relight.sim.cluster import Host
from relight.sim.jobs import Rank
from relight.sim.launchers import Death
from relight.sim.meeting import never_met
from relight.sim.stage import Stage
from relight.sim.tape import Mark
from relight.sim.templates import message


def spread(stage: Stage) -> float:
    """Add the consequences of a failure to the tape. Returns the true time at which the job has ended."""
    return _KINDS[stage.scenario.spread.kind](stage)


def _none(stage: Stage) -> float:
    """Let training go on as its course says; nobody dies."""
    return stage.course.stops_s


def _crash(stage: Stage) -> float:
    """Let ranks die; then their host's other workers are ended by its agent, and everybody else by what comes first."""
    told, rng = stage.scenario.spread, stage.rng
    dying = _dying(stage)
    deaths = [Death(rank, stage.dies_s + (rng.uniform(0, 2.5) if len(dying) > 1 else 0.0), told.exit) for rank in dying]
    if told.network:
        for death in deaths:
            nccl.peer_gone(stage.tape, rng, stage.cluster, stage.job, death.rank, stage.peer(), death.time_s - 2)
    ended = _hosts_end(stage, deaths)
    return _closed(stage, _others_end(stage, {death.rank.host.name for death in deaths}, ended), told.exit)


def _dying(stage: Stage) -> Sequence[Rank]:
    """Return the ranks that die by themselves."""
    ranks = stage.scenario.spread.ranks
    if ranks in ("host", "all"):
        return stage.job.ranks if ranks == "all" else stage.job.on(stage.culprit.host)
    return (stage.peer() if ranks == "peer" else stage.culprit,)


def _others_end(stage: Stage, dead: set[str], ended_s: float) -> float:
    """End the ranks of all hosts but those named. Returns when they are gone."""
    left = [host for host in stage.job.hosts if host.name not in dead]
    if not left:
        return ended_s
    if stage.job.kills:
        return _killed(stage, left, ended_s)
    if stage.scenario.when == "start":
        return _hosts_end(stage, never_met(stage, left, 8 * len(left)))
    return _abandoned(stage, left, ended_s)


def _hang(stage: Stage) -> float:
    """Let one rank, or all of its host, not arrive: all others run into a timeout, and abort."""
    job, ranks = stage.job, stage.scenario.spread.ranks
    if stage.scenario.when == "start":
        present = [host for host in job.hosts if host is not stage.culprit.host]
        ended = _hosts_end(stage, never_met(stage, present, 8 * len(present)))
        return _closed(stage, ended, 1)
    absent = {stage.culprit.number} if ranks == "culprit" else set()
    if ranks == "host":
        absent = {rank.number for rank in job.on(stage.culprit.host)}
    return _closed(stage, _all_time_out(stage, job.hosts, absent), -6)


def _evicted(stage: Stage) -> float:
    """Let one host's processes be ended from outside; the others find out as after a crash."""
    job, host = stage.job, stage.culprit.host
    launchers.terminated(stage.tape, job, host, stage.dies_s)
    return _closed(stage, _others_end(stage, {host.name}, stage.dies_s + 6), 1)


def _host_lost(stage: Stage) -> float:
    """Switch a host off: peers notice over the network or by their timeout, the scheduler by its silence."""
    job, host, told = stage.job, stage.culprit.host, stage.scenario.spread
    back_s = stage.at_s + stage.draw(told.reboots_after_s) if told.reboots_after_s else stage.at_s + 10 * 86400
    stage.tape.silence(host, stage.at_s, back_s)
    if told.reboots_after_s:
        stage.tape.kernel(back_s + 2, host, message("boot", driver=stage.cluster.driver), level=5)
    left = [other for other in job.hosts if other is not host]
    if job.hosts[0] is host:
        for rank in (rank for other in left for rank in job.on(other)):
            nccl.store_gone(stage.tape, stage.rng, job, rank, stage.at_s + stage.rng.uniform(1, 60))
    fenced_s = stage.at_s + stage.rng.uniform(300, 420)
    if job.scheduler == "slurm":
        _not_responding(stage, host, fenced_s, back_s)
    else:
        _not_ready(stage, host)
    if not left:
        return fenced_s
    if stage.rng.random() < 0.6 and len(left) > 1:
        _neighbours_fail(stage, left, stage.at_s + stage.rng.uniform(25, 90))
    why = " DUE TO NODE FAILURE, SEE SLURMCTLD LOG FOR DETAILS"
    return _terminated(stage, left, fenced_s + 1, why)


def _not_responding(stage: Stage, host: Host, fenced_s: float, back_s: float) -> None:
    tape, job = stage.tape, stage.job
    silent_s = stage.at_s + stage.rng.uniform(60, 170)
    launchers.controller(tape, silent_s, f"error: Nodes {host.name} not responding", _mark(stage))
    if back_s < fenced_s:
        times = f"boot_time={int(back_s)} last response={int(stage.at_s)}"
        unexpected = f"validate_node_specs: Node {host.name} unexpectedly rebooted {times}"
        launchers.controller(tape, back_s + 45, unexpected, _mark(stage))
        launchers.controller(tape, back_s + 46, f"Killing JobId={job.id} on failed node {host.name}")
    else:
        launchers.controller(tape, fenced_s, f"error: Nodes {host.name} not responding, setting DOWN", _mark(stage))
        launchers.controller(tape, fenced_s + 0.1, f"Killing JobId={job.id} on failed node {host.name}", _mark(stage))
    launchers.controller(tape, fenced_s + 2, f"_job_complete: JobId={job.id} cancelled by node failure")


def _not_ready(stage: Stage, host: Host) -> None:
    tape, job, at_s = stage.tape, stage.job, stage.at_s
    kubernetes.event(
        tape,
        at_s + stage.rng.uniform(40, 55),
        job,
        host,
        "Normal",
        "NodeNotReady",
        f"Node {host.name} status is now: NodeNotReady",
        _mark(stage),
        "Node",
    )
    kubernetes.event(tape, at_s + stage.rng.uniform(56, 60), job, host, "Warning", "NodeNotReady", "Node is not ready")
    name = kubernetes.pod(job, host)
    kubernetes.event(
        tape, at_s + 350, job, host, "Normal", "TaintManagerEviction", f"Marking for deletion Pod training/{name}"
    )


def _mark(stage: Stage) -> Mark | None:
    """Return the mark of what the scheduler says of a lost host: the first thing, if the host itself said nothing."""
    return None if any(said.says for said in stage.scenario.lines) else Mark(stage.number)


def _ended(stage: Stage) -> float:
    """Let the scheduler end the whole job, for a reason of its own."""
    job, told = stage.job, stage.scenario.spread
    if job.scheduler == "slurm" and told.why:
        launchers.step_cancelled(stage.tape, job, stage.dies_s - 0.01, told.why, Mark(stage.number), whole=True)
    return _terminated(stage, job.hosts, stage.dies_s, told.why, Mark(stage.number))


_KINDS: Final[Mapping[str, Callable[[Stage], float]]] = {
    "none": _none,
    "crash": _crash,
    "hang": _hang,
    "host_lost": _host_lost,
    "ended": _ended,
    "evicted": _evicted,
}


def _hosts_end(stage: Stage, deaths: Sequence[Death]) -> float:
    """Let the agents of the hosts on which ranks died report, or srun. Returns when the last one has."""
    job, last = stage.job, 0.0
    for host in {death.rank.host.name: death.rank.host for death in deaths}.values():
        own = [death for death in deaths if death.rank.host is host]
        if job.launcher == "torchrun" and not stage.scenario.spread.agentless:
            last = max(last, launchers.reported(stage.tape, stage.rng, job, host, own))
        else:
            last = max(last, *(death.time_s + 0.2 for death in own))
    by_code: dict[int, list[Rank]] = {}
    for death in deaths:
        by_code.setdefault(1 if job.launcher == "torchrun" else death.code, []).append(death.rank)
    for code, ranks in by_code.items():
        launchers.task_ended(stage.tape, job, last + 0.3, ranks, code)
    return last + 0.3


def _killed(stage: Stage, hosts: Sequence[Host], at_s: float) -> float:
    """Let the launcher end all that is left because one task failed."""
    stage.tape.batch(
        at_s + 0.05, stage.job, "srun: Job step aborted: Waiting up to 32 seconds for job step to finish."
    ) if (stage.job.scheduler == "slurm") else None
    return _terminated(stage, hosts, at_s + 0.1, stage.rng.choice(("", " DUE TO TASK FAILURE")))


def _terminated(stage: Stage, hosts: Sequence[Host], at_s: float, why: str, mark: Mark | None = None) -> float:
    job = stage.job
    if job.scheduler == "slurm":
        launchers.step_cancelled(stage.tape, job, at_s, why, mark)
    elif stage.scenario.spread.kind == "crash":
        kubernetes.event(stage.tape, at_s, job, hosts[0], "Normal", "Killing", "Stopping container pytorch")
    for host in hosts:
        launchers.terminated(stage.tape, job, host, at_s + stage.rng.uniform(0.1, 1.5))
    ranks = [rank for host in hosts for rank in job.on(host)]
    launchers.task_ended(stage.tape, job, at_s + 6, ranks, 1 if job.launcher == "torchrun" else -15)
    return at_s + 7


def _abandoned(stage: Stage, hosts: Sequence[Host], at_s: float) -> float:
    """Nobody tells the others: those next to the dead one see the network fail, the rest time out."""
    gone: set[int] = set()
    if len(stage.job.hosts) > 1 and stage.rng.random() < 0.6:
        gone = _neighbours_fail(stage, hosts, at_s + stage.rng.uniform(18, 70))
    if any(rank.host is stage.job.hosts[0] for rank in (stage.culprit,)):
        for rank in (rank for host in hosts for rank in stage.job.on(host)):
            nccl.store_gone(stage.tape, stage.rng, stage.job, rank, at_s + stage.rng.uniform(1, 60))
    left = [host for host in hosts if all(rank.number not in gone for rank in stage.job.on(host))]
    return _all_time_out(stage, left, set()) if left else at_s + 80


def _neighbours_fail(stage: Stage, hosts: Sequence[Host], at_s: float) -> set[int]:
    """Let the ring's neighbours of the culprit's host see their peer gone. Returns the numbers of those ranks."""
    job, names = stage.job, {host.name for host in hosts}
    before, after = (job.ranks[(stage.culprit.number + step) % job.world] for step in (-8, 8))
    near = {rank.host.name: rank for rank in (before, after) if rank.host.name in names}
    deaths = []
    for rank in near.values():
        aborts_s = nccl.peer_gone(
            stage.tape, stage.rng, stage.cluster, job, rank, stage.culprit, at_s + stage.rng.uniform(0, 3)
        )
        deaths.append(Death(rank, aborts_s, -6))
    if deaths:
        _hosts_end(stage, deaths)
    return {death.rank.number for death in deaths}


def _all_time_out(stage: Stage, hosts: Sequence[Host], absent: set[int]) -> float:
    """Let all ranks of hosts but the absent run into the timeout, and abort. Returns when all agents are gone."""
    job, deaths = stage.job, []
    begins = stage.at_s + stage.rng.uniform(0.2, 1.0) * job.step_s
    ranks = [rank for host in hosts for rank in job.on(host)]
    for rank in (rank for rank in ranks if rank.number not in absent):
        began_s = begins + stage.rng.uniform(0, 0.9)
        odd = stage.scenario.spread.odd and rank is stage.culprit
        waiting = nccl.Collective(stage.rng, job) if odd else stage.waiting
        deaths.append(Death(rank, nccl.timed_out(stage.tape, stage.rng, job, rank, began_s, waiting), -6))
    if not deaths:
        return begins
    first = min(deaths, key=lambda death: death.time_s)
    for rank in (rank for rank in ranks if rank.number in absent):
        nccl.dump_seen(stage.tape, job, rank, first.time_s + stage.rng.uniform(0.5, 2), stage.waiting, first.rank)
    ended = _hosts_end(stage, deaths)
    alive = [host for host in hosts if all(rank.number in absent for rank in job.on(host))]
    return _killed(stage, alive, ended) if alive else ended


def _closed(stage: Stage, ended_s: float, code: int) -> float:
    """Let the scheduler say that the job has failed."""
    job = stage.job
    if job.scheduler == "slurm":
        status = "WEXITSTATUS 1" if job.launcher == "torchrun" or code >= 0 else f"WTERMSIG {-code}"
        launchers.controller(stage.tape, ended_s + 2, f"_job_complete: JobId={job.id} {status}")
        launchers.controller(stage.tape, ended_s + 2.1, f"_job_complete: JobId={job.id} done")
    else:
        text = f"PyTorchJob {job.id} is failed because 1 Worker replica(s) failed."
        kubernetes.event(stage.tape, ended_s + 4, job, None, "Normal", "PyTorchJobFailed", text)
    return ended_s + 3
