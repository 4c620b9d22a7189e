"""The words that fill the placeholders of templates: times in each program's format, names, and numbers from the dice.

A template is a text for `str.format`: `NVRM: Xid (PCI:{pci}): 79, pid={pid}` or `[{now:slurm}] {host}`.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from random import Random
from typing import Any, Final

from relight.sim.cluster import Cluster, Host
from relight.sim.jobs import Job, Rank

Values = Mapping[str, str | int | float | Sequence[str | int | float]]
"""What a template draws itself: `hex12`, a number's range `[1000, 9999]`, or a list of texts to choose from."""

_FORMATS: Final[Mapping[str, str]] = {
    "slurm": "%Y-%m-%dT%H:%M:%S",
    "iso": "%Y-%m-%d %H:%M:%S",
    "dmesg": "%a %b %d %H:%M:%S %Y",
    "day": "%Y-%m-%d",
    "clock": "%H:%M:%S",
    "fabric": "%b %d %Y %H:%M:%S",
    "elastic": "%Y-%m-%d_%H:%M:%S",
}


class Moment:
    """A time that knows how programs write it, such as `f"{moment:slurm}"`."""

    __slots__ = ("at", "unix_s")

    def __init__(self, unix_s: float) -> None:
        """Keep a time, as a clock shows it (Unix, s)."""
        self.unix_s = unix_s
        self.at = datetime.fromtimestamp(unix_s, UTC)

    def __format__(self, form: str) -> str:
        """Return the time in a program's format; `us` and `ms` are parts of a second."""
        special = _SPECIAL.get(form)
        return special(self.at) if special else self.at.strftime(_FORMATS[form])


def _syslog(at: datetime) -> str:
    return f"{at:%b} {at.day:2d} {at:%H:%M:%S}"


def _c10d(at: datetime) -> str:
    """Return the head of c10d's lines: month, day, time with nanoseconds."""
    return f"{at.month}{at.day:02d} {at:%H:%M:%S.%f}{at.microsecond * 7 % 1000:03d}"


_SPECIAL: Final[Mapping[str, Callable[[datetime], str]]] = {
    "syslog": _syslog,
    "c10d": _c10d,
    "ms": lambda at: f"{at.microsecond // 1000:03d}",
    "us": lambda at: f"{at.microsecond:06d}",
    "unix": lambda at: str(int(at.timestamp())),
    "python": lambda at: f"{at:%Y-%m-%d %H:%M:%S},{at.microsecond // 1000:03d}",
    "micro": lambda at: f"{at:%Y-%m-%d %H:%M:%S.%f}",
    "glog": lambda at: f"{at:%m%d %H:%M:%S.%f}",
    "zulu": lambda at: f"{at:%Y-%m-%dT%H:%M:%S}Z",
    "cri": lambda at: f"{at:%Y-%m-%dT%H:%M:%S.%f}{at.microsecond * 3 % 1000:03d}Z",
}


def drawn(rng: Random, values: Values) -> dict[str, str | int | float]:
    """Return one draw of each value."""
    return {name: _drawn(rng, value) for name, value in values.items()}


def _drawn(rng: Random, value: Any) -> str | int | float:
    if isinstance(value, str) and value.startswith("hex") and value[3:].isdigit():
        digits = int(value[3:])
        return f"{rng.getrandbits(4 * digits) | 1 << 4 * digits - 1:0{digits}x}"
    if isinstance(value, list):
        if len(value) == 2 and all(isinstance(v, int) for v in value):
            return rng.randint(value[0], value[1])
        if len(value) == 2 and all(isinstance(v, float) for v in value):
            return rng.uniform(value[0], value[1])
        return rng.choice(value)  # type: ignore[no-any-return]  # a list of what may stand here
    return value  # type: ignore[no-any-return]


def about_cluster(cluster: Cluster) -> dict[str, Any]:
    """Return the words about a site."""
    mount = "lustre" if cluster.filesystem == "lustre" else "nfs"
    return {
        "cluster": cluster.name,
        "driver": cluster.driver,
        "gpu_model": f"NVIDIA {cluster.gpu} 80GB HBM3",
        "fs": mount,
    }


def about_host(host: Host) -> dict[str, Any]:
    """Return the words about a machine."""
    return {"host": host.name, "ip": host.ip, "nic_pci": host.nic_pci(0), "switch_pci": host.switch_pci(0)}


def about_gpu(host: Host, gpu: int) -> dict[str, Any]:
    """Return the words about a GPU and the NIC and switch next to it."""
    return {
        "gpu": gpu,
        "pci": host.pci(gpu),
        "bus": host.gpu_buses[gpu],
        "uuid": host.uuids[gpu],
        "serial": host.serials[gpu],
        "nic": gpu,
        "nic_pci": host.nic_pci(gpu),
        "switch": gpu % 4,
        "switch_pci": host.switch_pci(gpu),
    }


def about_rank(job: Job, rank: Rank) -> dict[str, Any]:
    """Return the words about a process of a job."""
    return {
        "rank": rank.number,
        "local": rank.local,
        "pid": rank.pid,
        "tid": rank.pid + 611,
        "node": rank.host.index - job.hosts[0].index,
        **about_gpu(rank.host, rank.local),
        **about_host(rank.host),
    }


def about_job(job: Job) -> dict[str, Any]:
    """Return the words about a job."""
    return {
        "job": job.id,
        "name": job.name,
        "user": job.user,
        "uid": job.uid,
        "world": job.world,
        "nodes": len(job.hosts),
        "node_list": f"{job.hosts[0].name},{job.hosts[-1].name}",
        "master": job.hosts[0].name,
        "master_ip": job.hosts[0].ip,
        "folder": job.folder,
        "timeout_s": job.timeout_s,
        "timeout_ms": job.timeout_s * 1000,
        "nccl": job.nccl,
        "tp": job.tensor_parallel,
        "pp": job.pipeline_parallel,
        "dp": job.data_parallel,
    }
