"""What happens before ranks have met: some do not come, and the others wait in the store until it gives up."""

from collections.abc import Sequence
from typing import Final

from relight.sim.cluster import Host
from relight.sim.launchers import Death
from relight.sim.stage import Stage
from relight.sim.tape import Mark
from relight.sim.templates import message, script

_PATIENCE_S: Final = 601


def never_met(stage: Stage, hosts: Sequence[Host], joined: int) -> list[Death]:
    """Add what ranks say that have waited in vain for others, and return their ends.

    Rank 0 keeps the store and counts who has come. If its host is not among those that wait, nobody can tell.
    """
    job, deaths = stage.job, []
    master = any(host is job.hosts[0] for host in hosts)
    gives_up_s = job.start_s + 0.1 * job.init_s + _PATIENCE_S
    words = {"world": job.world, "joined": joined, "script": script(job.framework), "master": job.hosts[0].name}
    untold = not any(said.says for said in stage.scenario.lines)
    for rank in (rank for host in hosts for rank in job.on(host)):
        time_s = gives_up_s + stage.rng.uniform(0.5, 3)
        if rank.number == 0:
            time_s, mark = gives_up_s, Mark(stage.number, 5) if untold else None
            stage.tape.app(time_s, job, rank, message("store_timeout", seconds=_PATIENCE_S, **words), mark)
        else:
            kind = ("store_barrier" if job.torch == "old" else "store_lost") if master else "store_unreached"
            stage.tape.app(time_s, job, rank, message(kind, rank=rank.number, **words))
        deaths.append(Death(rank, time_s + 0.3, 1))
    return deaths
