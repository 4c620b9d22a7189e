"""The machines: hosts with their names, clocks, GPUs, NICs and switches. What runs on them is told elsewhere."""

from dataclasses import dataclass
from random import Random
from typing import Final

GPUS_PER_HOST: Final = 8
_GPU_BUSES: Final = {
    "H100": ("1b", "43", "52", "61", "9d", "c3", "d1", "df"),
    "A100": ("07", "0f", "47", "4e", "87", "90", "b7", "bd"),
    "H200": ("18", "2a", "3a", "5d", "9a", "ab", "ba", "db"),
}
"""The buses of the GPUs in common machines with eight of them."""
_NIC_BUSES: Final = ("0c", "12", "1d", "4b", "8c", "94", "cc", "d4")
_SWITCH_BUSES: Final = ("05", "06", "c5", "c6")
_NAMES: Final = ("node", "gpu", "dgx", "cloud", "rack", "nid", "pool", "hgx")
_HOSTS_PER_RACK: Final = 8


@dataclass(frozen=True, slots=True)
class Host:
    """A machine. `skew_s` is how far its clock is ahead of the true time; `booted_s` is true time (Unix)."""

    index: int
    name: str
    ip: str
    gpu_buses: tuple[str, ...]
    uuids: tuple[str, ...]
    serials: tuple[str, ...]
    skew_s: float
    booted_s: float

    def pci(self, gpu: int) -> str:
        """Return the address of a GPU as the kernel writes it: `0000:1b:00`, without the function."""
        return f"0000:{self.gpu_buses[gpu]}:00"

    def nic_pci(self, nic: int) -> str:
        """Return the address of the NIC `mlx5_<nic>`."""
        return f"0000:{_NIC_BUSES[nic]}:00.0"

    def switch_pci(self, switch: int) -> str:
        """Return the address of an NVSwitch."""
        return f"0000:{_SWITCH_BUSES[switch % len(_SWITCH_BUSES)]}:00.0"


@dataclass(frozen=True, slots=True)
class Cluster:
    """All machines of a site. `fabric` is `infiniband` or `roce`, `filesystem` what checkpoints lie on."""

    name: str
    hosts: tuple[Host, ...]
    gpu: str
    fabric: str
    filesystem: str
    driver: str


def built(rng: Random, hosts: int, start_s: float, skew_s: float) -> Cluster:
    """Return a cluster of so many hosts, whose clocks are at most `skew_s` wrong."""
    style, gpu = rng.choice(_NAMES), rng.choice(sorted(_GPU_BUSES))
    first = rng.choice((0, 1, 1, 17, 101))
    return Cluster(
        name=rng.choice(("alpha", "tycho", "meridian", "basalt")),
        hosts=tuple(_host(rng, index, first, style, gpu, start_s, skew_s) for index in range(hosts)),
        gpu=gpu,
        fabric=rng.choice(("infiniband", "infiniband", "roce")),
        filesystem=rng.choice(("lustre", "nfs")),
        driver=rng.choice(("535.183.01", "550.90.07", "570.124.06")),
    )


def _host(rng: Random, index: int, first: int, style: str, gpu: str, start_s: float, skew_s: float) -> Host:
    number = first + index
    ip = f"10.{16 + number // 65025}.{number // 254 % 256}.{number % 254 + 1}"
    return Host(
        index=index,
        name=_name(style, number, ip),
        ip=ip,
        gpu_buses=_GPU_BUSES[gpu],
        uuids=tuple(_uuid(rng) for _ in range(GPUS_PER_HOST)),
        serials=tuple(f"165{rng.randrange(10**10):010d}" for _ in range(GPUS_PER_HOST)),
        skew_s=round(rng.uniform(-skew_s, skew_s), 3),
        booted_s=start_s - rng.uniform(2, 90) * 86400,
    )


def _name(style: str, number: int, ip: str) -> str:
    rack, slot = divmod(number, _HOSTS_PER_RACK)
    return {
        "node": f"node{number:03d}",
        "gpu": f"gpu-{number}",
        "dgx": f"dgx-h100-{number:02d}",
        "cloud": f"ip-{ip.replace('.', '-')}",
        "rack": f"r{rack + 1:02d}n{slot + 1:02d}",
        "nid": f"nid{number:06d}",
        "pool": f"train-pool-b-{number:04d}",
        "hgx": f"hgx{number:04d}",
    }[style]


def _uuid(rng: Random) -> str:
    digits = f"{rng.getrandbits(128):032x}"
    return f"GPU-{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
