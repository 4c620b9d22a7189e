"""Synthetic clusters: hosts, ranks and clocks that differ, and what they print from boot to the end of a job.

Everything derives from the seed. What breaks, and what follows from it: `stories`.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from random import Random

import wording

BOOT_S = 1778544000.0
"""2026-05-12 00:00:00 UTC: when the hosts were started."""

BEGIN_S = BOOT_S + 3600
"""When a job is launched."""

STEP_S = 10.0
JOB = 48211

Text = str | Callable[[float], str]
"""A line, or what makes it from the time on the writer's clock."""


class Writer(StrEnum):
    """Who prints a line."""

    KERNEL = "kernel"
    APP = "app"
    SCHEDULER = "scheduler"


@dataclass(frozen=True, slots=True)
class Line:
    """A line without a prefix of whatever carries it; `at_s` is the time on the clock of its host."""

    at_s: float
    host: str
    writer: Writer
    text: str
    rank: int | None = None


@dataclass(frozen=True)
class Cluster:
    """Hosts with eight GPUs each, whose clocks are off by up to two seconds."""

    seed: int = 1
    hosts: int = 4

    @property
    def world(self) -> int:
        return 8 * self.hosts

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(f"node{at:02}" for at in range(1, self.hosts + 1))

    @cached_property
    def skew_s(self) -> dict[str, float]:
        return {name: self.dice(name).uniform(-2.0, 2.0) for name in self.names}

    def dice(self, *what: object) -> Random:
        """Return dice of their own for each thing, so that no story changes another."""
        return Random("/".join(map(str, (self.seed, *what))))

    def host_of(self, rank: int) -> str:
        return self.names[rank // 8]

    def pid_of(self, rank: int) -> int:
        return 41000 + rank % 8

    @cached_property
    def victim(self) -> int:
        """The rank that a story is about: neither the first nor the last host's where there are others."""
        inner = self.names[1:-1] or self.names
        return 8 * self.names.index(self.dice("victim").choice(inner)) + self.dice("gpu").randrange(1, 7)


@dataclass
class Tale:
    """What a cluster prints, while it is being told."""

    cluster: Cluster
    lines: list[Line] = field(default_factory=list)

    def kernel(self, at_s: float, host: str, *texts: str) -> None:
        for text in texts:
            self._says(at_s, host, Writer.KERNEL, text)

    def rank(self, at_s: float, rank: int, *texts: Text) -> None:
        for text in texts:
            self._says(at_s, self.cluster.host_of(rank), Writer.APP, text, rank)

    def launcher(self, at_s: float, host: str, *texts: Text) -> None:
        for text in texts:
            self._says(at_s, host, Writer.APP, text)

    def scheduler(self, at_s: float, *texts: Text) -> None:
        for text in texts:
            self._says(at_s, self.cluster.names[0], Writer.SCHEDULER, text)

    def local_s(self, at_s: float, host: str) -> float:
        """Return what a host's clock shows at a time."""
        return at_s + self.cluster.skew_s[host]

    def _says(self, at_s: float, host: str, writer: Writer, text: Text, rank: int | None = None) -> None:
        local_s = self.local_s(at_s, host)
        told = text if isinstance(text, str) else text(local_s)
        self.lines.append(Line(local_s, host, writer, told, rank))


def boot(tale: Tale) -> None:
    """Tell what the hosts' kernels print at boot and now and then."""
    for host in tale.cluster.names:
        dice = tale.cluster.dice("boot", host)
        for at, text in enumerate(_BOOT):
            tale.kernel(BOOT_S + 0.4 * at, host, text)
        for at in range(12):
            tale.kernel(BEGIN_S + 211 * at + dice.uniform(0, 60), host, dice.choice(_CHATTER))


def launch(tale: Tale, at_s: float, first_step: int = 1) -> None:
    """Tell how a job is launched and reaches its training loop about 40 s later."""
    cluster = tale.cluster
    tale.scheduler(at_s, f"+ srun --label=0 torchrun --nnodes={cluster.hosts} --nproc-per-node=8 train.py --bf16")
    for host in cluster.names:
        start = "agent/server/api.py:859", "[default] starting workers for entrypoint: python"
        tale.launcher(at_s + 2, host, lambda t, start=start: wording.elastic(t, "I", 4100, *start))
    for rank in range(cluster.world):
        tale.rank(at_s + 9 + rank % 8 / 10, rank, *_setup(cluster, rank))
    for rank in range(0, cluster.world, 8):
        begins = f"Training starts at step {first_step}"
        tale.rank(at_s + 40, rank, lambda t, begins=begins: wording.titan(t, begins))


def train(tale: Tale, from_s: float, to_s: float, first_step: int = 1, printers: Sequence[int] = ()) -> None:
    """Tell the steps between two times, as some ranks print them: the first of each host where nothing else is said."""
    for number in range(first_step, first_step + int((to_s - from_s) // STEP_S)):
        loss = 2.0 + 9.0 / (1 + number / 40)
        for rank in printers or range(0, tale.cluster.world, 8):
            at_s = from_s + STEP_S * (number - first_step) + rank / 8 / 1000
            tale.rank(at_s, rank, lambda t, n=number, loss=loss: wording.step(t, n, loss))


def finish(tale: Tale, at_s: float) -> None:
    """Tell how a job ends well."""
    for rank in range(0, tale.cluster.world, 8):
        tale.rank(at_s, rank, lambda t: wording.titan(t, "Training completed"))


def time_out(tale: Tale, broke_s: float, missing: Iterable[int], seq: int = 4711) -> None:
    """Tell how all ranks but some wait ten minutes for a collective and give up, and launchers report."""
    silent, cluster = set(missing), tale.cluster
    for rank in (r for r in range(cluster.world) if r not in silent):
        late_s = 600 + cluster.dice("late", rank).uniform(0.01, 0.9)
        local_s = tale.local_s(broke_s + late_s, cluster.host_of(rank))
        tale.rank(broke_s + late_s, rank, *wording.timed_out(local_s, rank, seq, int(late_s * 1000)))
        tale.rank(broke_s + late_s + 2, rank, "terminate called after throwing an instance of 'c10::DistBackendError'")
    for at, host in enumerate(cluster.names):
        first = next(r for r in range(8 * at, 8 * at + 8) if r not in silent)
        launcher_reports(tale, broke_s + 604, host, first, -6)
    step_ends(tale, broke_s + 640)


def crash(tale: Tale, at_s: float, rank: int, exitcode: int = 1) -> None:
    """Tell what follows when one rank's process ends: its launcher reports, all other hosts lose their peer."""
    cluster = tale.cluster
    own = cluster.host_of(rank)
    launcher_reports(tale, at_s + 3, own, rank, exitcode)
    for other in range(0, cluster.world, 8):
        host = cluster.host_of(other)
        if host != own:
            tale.rank(at_s + 4, other, *wording.peer_lost(tale.local_s(at_s + 4, host), other, 4711))
            launcher_reports(tale, at_s + 7, host, other, -6)
    step_ends(tale, at_s + 40)


def crash_all(tale: Tale, at_s: float, error: str, function: str = "train_step", ranks: Sequence[int] = ()) -> None:
    """Tell how many ranks raise the same error within a second."""
    cluster = tale.cluster
    chosen = ranks or range(cluster.world)
    for rank in chosen:
        tale.rank(
            at_s + cluster.dice("all", rank).uniform(0, 1), rank, *wording.python_exception(rank, error, function)
        )
    for host in dict.fromkeys(map(cluster.host_of, chosen)):
        launcher_reports(tale, at_s + 4, host, next(r for r in chosen if cluster.host_of(r) == host), 1)
    step_ends(tale, at_s + 30)


def launcher_reports(tale: Tale, at_s: float, host: str, rank: int, exitcode: int) -> None:
    """Tell how torchrun on one host reports a worker that ended."""
    pid, local_s = tale.cluster.pid_of(rank), tale.local_s(at_s, host)
    tale.launcher(at_s, host, *wording.worker_failed(local_s, pid, rank % 8, exitcode, 4100))
    tale.launcher(at_s + 1, host, *wording.child_failed(local_s + 1, host, rank, rank % 8, pid, exitcode))


def step_ends(tale: Tale, at_s: float) -> None:
    """Tell how Slurm ends a step whose tasks have failed."""
    names = tale.cluster.names
    tale.scheduler(at_s, *wording.slurm_tasks(names[:1], "Exited with exit code 1"))
    tale.scheduler(at_s + 1, f"srun: Terminating StepId={JOB}.0")
    cancelled = f"slurmstepd: error: *** STEP {JOB}.0 ON {names[0]} CANCELLED AT %Y-%m-%dT%H:%M:%S ***"
    tale.scheduler(at_s + 1, lambda t: wording.stamp(t, cancelled))
    tale.scheduler(at_s + 5, *wording.slurm_tasks(names[1:], "Terminated"))


def write(lines: Iterable[Line], folder: Path, kernel: bool = True) -> Path:
    """Write lines as a cluster keeps them: `nodeNN/kern.log` (syslog), `nodeNN/train.log`, `slurm-JOB.out`."""
    files: dict[Path, list[tuple[float, str]]] = defaultdict(list)
    for line in lines:
        if line.writer is Writer.SCHEDULER:
            files[folder / f"slurm-{JOB}.out"].append((line.at_s, line.text))
        elif line.writer is Writer.APP:
            own = line.rank is None or line.text.startswith(("[rank", f"{line.host}:"))
            prefix = "" if own else f"[rank{line.rank}]:"
            files[folder / line.host / "train.log"].append((line.at_s, prefix + line.text))
        elif kernel:
            files[folder / line.host / "kern.log"].append((line.at_s, as_syslog(line)))
    for path, told in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{text}\n" for _, text in sorted(told, key=lambda t: t[0])))
    return folder


def as_syslog(line: Line) -> str:
    """Return a kernel's line as rsyslog writes it."""
    return f"{wording.iso(line.at_s)} {line.host} kernel: [{line.at_s - BOOT_S:12.6f}] {line.text}"


def _setup(cluster: Cluster, rank: int) -> list[Text]:
    nccl = wording.nccl_setup(cluster.host_of(rank), cluster.pid_of(rank), rank % 8, rank, cluster.world)
    advice = (
        f"[PG ID 0 PG GUID 0 Rank {rank}] using GPU {rank % 8} to perform barrier as devices used by this process are "
        "currently unknown. This can potentially cause a hang if this rank to GPU mapping is incorrect."
    )
    return [*nccl, lambda t: wording.c10d(t, "W", rank, "ProcessGroupNCCL.cpp:4561", advice)]


_BOOT = (
    "Linux version 6.8.0-1021-nvidia (buildd@lcy02) (x86_64-linux-gnu-gcc-13) #23-Ubuntu SMP",
    "Command line: BOOT_IMAGE=/vmlinuz root=/dev/md0 ro iommu=pt pci=realloc=off panic=0",
    "smp: Brought up 2 nodes, 224 CPUs",
    "nvme nvme0: 32/0/0 default/read/poll queues",
    "EXT4-fs (md0): mounted filesystem with ordered data mode. Quota mode: none.",
    "mlx5_core 0000:5e:00.0: firmware version: 28.39.3004",
    "mlx5_core 0000:5e:00.0: Port module event: module 0, Cable plugged",
    "nvidia-nvlink: Nvlink Core is being initialized, major device number 234",
    "NVRM: loading NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build",
    "nvidia-uvm: Loaded the UVM driver, major device number 509.",
    "Lustre: Mounted scratch-client",
)

_CHATTER = (
    "perf: interrupt took too long (3142 > 3141), lowering kernel.perf_event_max_sample_rate to 63500",
    "TCP: request_sock_TCP: Possible SYN flooding on port 29500. Sending cookies.  Check SNMP counters.",
    "pcieport 0000:18:01.0: AER: Corrected error received: 0000:19:00.0",
    "docker0: port 1(veth3a1b2c) entered forwarding state",
    "workqueue: nv_drm_handle_hotplug hogged CPU for >10000us 4 times, consider switching to WQ_UNBOUND",
    "hrtimer: interrupt took 41210 ns",
)
