"""The jobs: which hosts they have, how their ranks are grouped, and how fast they train."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final

from relight.sim.cluster import GPUS_PER_HOST, Cluster, Host

FRAMEWORKS: Final = ("megatron", "hf", "torchtitan", "deepspeed", "lightning", "nanogpt")
_USERS: Final = (("mira", 11021), ("jonas", 11044), ("svc-train", 9004), ("okafor", 11102), ("lin", 11230))
_NAMES: Final = ("llm-7b-pretrain", "moe-8x22b", "vit-g", "code-34b-sft", "speech-enc", "dense-70b")
_TIMEOUTS_S: Final = (600, 600, 1800)


@dataclass(frozen=True, slots=True)
class Rank:
    """A process of a job: its global number, its host, and the GPU that it drives."""

    number: int
    host: Host
    local: int
    pid: int


@dataclass(frozen=True)
class Job:
    """A training job and what about it does not change. Times are true (Unix, s).

    `timeout_s` is that of collectives. `torch` is `old` (before 2.2: no ranks and times before c10d's lines) or `new`.
    `kills` tells whether the launcher ends all other tasks when one fails (`srun --kill-on-bad-exit`).
    """

    id: str
    name: str
    user: str
    uid: int
    hosts: tuple[Host, ...]
    ranks: tuple[Rank, ...]
    framework: str
    launcher: str
    scheduler: str
    torch: str
    tensor_parallel: int
    pipeline_parallel: int
    timeout_s: int
    start_s: float
    init_s: float
    step_s: float
    first_step: int
    checkpoint_every: int
    validate_every: int
    kills: bool
    loss: float
    nccl: str
    agents: dict[str, int] = field(default_factory=dict)

    @property
    def world(self) -> int:
        """Return the number of ranks."""
        return len(self.ranks)

    @property
    def data_parallel(self) -> int:
        """Return how many copies of the model are trained."""
        return self.world // (self.tensor_parallel * self.pipeline_parallel)

    @property
    def speaker(self) -> Rank:
        """Return the rank that says how training goes: Megatron's last, everybody else's first."""
        return self.ranks[-1 if self.framework == "megatron" else 0]

    @property
    def folder(self) -> str:
        """Return where the job writes its checkpoints."""
        return f"/{'lustre' if self.scheduler == 'slurm' else 'mnt'}/runs/{self.user}/{self.name}"

    def on(self, host: Host) -> tuple[Rank, ...]:
        """Return the ranks of a host."""
        at = (host.index - self.hosts[0].index) * GPUS_PER_HOST
        return self.ranks[at : at + GPUS_PER_HOST]


def placed(rng: Random, cluster: Cluster, count: int, start_s: float, scheduler: str) -> tuple[Job, ...]:
    """Return `count` jobs that share the hosts of a cluster, each on neighbours."""
    hosts, base = cluster.hosts, rng.randrange(40_000, 900_000)
    count = min(count, len(hosts))
    share = len(hosts) // count
    cuts = [n * share for n in range(count)] + [len(hosts)]
    return tuple(_job(rng, hosts[cuts[n] : cuts[n + 1]], base + 7 * n, start_s, scheduler) for n in range(count))


def _job(rng: Random, hosts: Sequence[Host], number: int, start_s: float, scheduler: str) -> Job:
    framework, (user, uid) = rng.choice(FRAMEWORKS), rng.choice(_USERS)
    parallel = framework in ("megatron", "torchtitan", "deepspeed")
    launcher = "torchrun" if scheduler == "kubernetes" else rng.choice(("torchrun", "torchrun", "srun"))
    name = rng.choice(_NAMES)
    pods = scheduler == "kubernetes"
    step_s = rng.uniform(6, 28)
    return Job(
        id=f"{name}-{number % 1000:03d}" if pods else str(number),
        name=name,
        user=user,
        uid=uid,
        hosts=tuple(hosts),
        ranks=tuple(_ranks(rng, hosts)),
        framework=framework,
        launcher=launcher,
        scheduler=scheduler,
        torch=rng.choice(("old", "new", "new")),
        tensor_parallel=rng.choice((1, 2, 4, 8)) if parallel else 1,
        pipeline_parallel=_pipeline(rng, len(hosts)) if parallel else 1,
        timeout_s=rng.choice(_TIMEOUTS_S),
        start_s=start_s + rng.uniform(120, 900),
        init_s=rng.uniform(60, 240),
        step_s=step_s,
        first_step=rng.choice((0, 0, 4000, 61_500)),
        checkpoint_every=rng.choice((50, 100, 200)),
        validate_every=rng.choice((100, 250)),
        kills=rng.random() < 0.5,
        loss=rng.uniform(1.7, 3.2),
        nccl=rng.choice(("2.18.1", "2.20.5", "2.21.5", "2.26.2")),
        agents={host.name: rng.randrange(4_000, 90_000) for host in hosts},
    )


def _pipeline(rng: Random, hosts: int) -> int:
    return rng.choice([stages for stages in (1, 2, 4) if hosts % stages == 0])


def _ranks(rng: Random, hosts: Sequence[Host]) -> list[Rank]:
    ranks = []
    for index, host in enumerate(hosts):
        pid = rng.randrange(90_000, 2_000_000)
        ranks += [Rank(index * GPUS_PER_HOST + local, host, local, pid + local) for local in range(GPUS_PER_HOST)]
    return ranks
