"""Writes the bundled example `docs/example-run/logs`: a synthetic run of four hosts that loses a GPU at 03:12:04 UTC.

usage: python tests/cases/example_run.py [FOLDER]

The same bytes every time; a test compares them with the committed files.
"""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from random import Random
from typing import Final

import wording

HOSTS: Final = ("node01", "node02", "node03", "node04")
LOST_RANK: Final = 17
LOST_GPU: Final = wording.GPU_PCI[LOST_RANK % 8]
JOB: Final = 48211
ITERATIONS: Final = 500_000
EVERY: Final = 5
"""Megatron-LM's `--log-interval`."""

MIDNIGHT_S: Final = 1778544000.0
BOOT_S: Final = MIDNIGHT_S - 5 * 3600 - 57 * 60
BEGIN_S: Final = MIDNIGHT_S + 3600 + 5 * 60 + 12
"""01:05:12: `srun` starts the step."""

TRAINED_S: Final = BEGIN_S + 118
LOST_S: Final = MIDNIGHT_S + 3 * 3600 + 12 * 60 + 4.218
"""03:12:04: the GPU is gone; the collective that was under way never ends."""

SKEW_S: Final = {"node01": 0.0, "node02": 0.31, "node03": 0.0, "node04": -0.46}
WORLD: Final = 8 * len(HOSTS)
Told = tuple[float, str]
"""A line and its time on the clock of its host."""


def files() -> dict[str, str]:
    """Return the example's files by their paths below its folder."""
    told: dict[str, str] = {}
    for host in HOSTS:
        told[f"{host}/kern.log"] = _text(
            f"{wording.iso(t)} {host} kernel: [{t - BOOT_S:12.6f}] {x}" for t, x in _kernel(host)
        )
        told[f"{host}/train.log"] = _text(text for _, text in sorted(_train(host), key=lambda line: line[0]))
    told[f"slurm-{JOB}.out"] = _text(_slurm())
    return told


def write(folder: Path) -> None:
    """Write the files below a folder."""
    for name, text in files().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def _text(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


# The kernels


def _kernel(host: str) -> list[Told]:
    dice = Random(f"example/{host}")
    lines: list[Told] = []
    now = BOOT_S
    for text in _boot(host):
        lines.append((now, text))
        now += dice.choice((0.000013, 0.000481, 0.004127, 0.061, 0.214)) * dice.uniform(0.5, 1.5)
    lines += [(BOOT_S + dice.uniform(60, 33_500), dice.choice(_NOW_AND_THEN)) for _ in range(46)]
    for at in range(8):
        lines.append((BEGIN_S + 3.1 + at / 9, f"nvidia-peermem: registered memory client of pid {41000 + at}"))
    if host == HOSTS[LOST_RANK // 8]:
        lines += _gpu_is_lost()
    return sorted((t + SKEW_S[host], text) for t, text in lines)


def _gpu_is_lost() -> Iterator[Told]:
    short = LOST_GPU.rpartition(".")[0]
    after = (
        f"NVRM: GPU {LOST_GPU}: GPU has fallen off the bus.",
        f"NVRM: GPU {LOST_GPU}: GPU serial number is 1652921000123.",
        f"NVRM: Xid (PCI:{short}): 154, GPU recovery action changed from 0x0 (None) to 0x2 (Node Reboot Required)",
        "NVRM: A GPU crash dump has been created. If possible, please run",
        "NVRM: nvidia-bug-report.sh as root to collect this data before",
        "NVRM: the NVIDIA kernel module is unloaded.",
    )
    for at, text in enumerate((*wording.xid(LOST_GPU, 79, "GPU has fallen off the bus."), *after)):
        yield LOST_S + at * 0.0031, text


def _boot(host: str) -> Iterator[str]:
    yield "Linux version 6.8.0-1021-nvidia (buildd@lcy02-amd64-017) (x86_64-linux-gnu-gcc-13) #23-Ubuntu SMP"
    yield "Command line: BOOT_IMAGE=/vmlinuz-6.8.0-1021-nvidia root=/dev/md0 ro iommu=pt pci=realloc=off console=ttyS1"
    yield from (
        f"BIOS-e820: [mem 0x{at * 0x1000_0000:016x}-0x{at * 0x1000_0000 + 0xFFF_FFFF:016x}] usable" for at in range(12)
    )
    yield "DMI: Example Systems GX-8/Baseboard, BIOS 2.1.7 02/11/2026"
    yield "tsc: Detected 2000.000 MHz processor"
    yield from (
        f"ACPI: SRAT: Node {node} PXM {node} [mem 0x{node:08x}00000000-0x{node:08x}ffffffff]" for node in (0, 1)
    )
    yield "smp: Brought up 2 nodes, 224 CPUs"
    yield "smpboot: Total of 224 processors activated (896000.00 BogoMIPS)"
    for pci in wording.GPU_PCI:
        yield f"pci {pci}: [10de:2330] type 00 class 0x030200 PCIe Endpoint"
        yield f"pci {pci}: BAR 0 [mem 0x{int(pci[5:7], 16):x}2000000-0x{int(pci[5:7], 16):x}2ffffff 64bit pref]"
        yield f"pci {pci}: 504.112 Gb/s available PCIe bandwidth (32.0 GT/s PCIe x16 link)"
    for nvme in range(8):
        yield f"nvme nvme{nvme}: pci function 0000:{0x21 + nvme:02x}:00.0"
        yield f"nvme nvme{nvme}: 128/0/0 default/read/poll queues"
    yield "md/raid0:md1: md_size is 60003573760 sectors."
    yield "EXT4-fs (md0): mounted filesystem 4f1c2a7e with ordered data mode. Quota mode: none."
    yield "XFS (md1): Mounting V5 Filesystem 9b1f0e55"
    yield "XFS (md1): Ending clean mount"
    for nic in range(8):
        yield f"mlx5_core 0000:{0x5E + 6 * nic:02x}:00.0: firmware version: 28.39.3004"
        yield f"mlx5_core 0000:{0x5E + 6 * nic:02x}:00.0: Port module event: module {nic}, Cable plugged"
        yield f"mlx5_core 0000:{0x5E + 6 * nic:02x}:00.0: mlx5_ib: loaded as mlx5_{nic}"
    yield f"mlx5_core 0000:a1:00.0 eth0: Link up, 100000 Mbps, {host}"
    yield "nvidia-nvlink: Nvlink Core is being initialized, major device number 234"
    yield "nvidia: module license 'Dual MIT/GPL' taints kernel."
    yield from (f"nvidia {pci}: enabling device (0140 -> 0142)" for pci in wording.GPU_PCI)
    yield "NVRM: loading NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build  (buildd@lcy02-amd64-017)"
    yield from (f"nvidia-nvswitch{at}: using MSI" for at in range(4))
    yield "nvidia-modeset: Loading NVIDIA UNIX Open Kernel Mode Setting Driver for x86_64  570.86.15"
    yield "nvidia-uvm: Loaded the UVM driver, major device number 509."
    yield "Lustre: Lustre: Build Version: 2.15.5"
    yield "Lustre: Mounted scratch-client"
    yield "IPv6: ADDRCONF(NETDEV_CHANGE): eth0: link becomes ready"
    yield "Bridge firewalling registered"


_NOW_AND_THEN: Final = (
    "perf: interrupt took too long (2511 > 2500), lowering kernel.perf_event_max_sample_rate to 79500",
    "perf: interrupt took too long (3142 > 3138), lowering kernel.perf_event_max_sample_rate to 63500",
    "TCP: request_sock_TCP: Possible SYN flooding on port 29500. Sending cookies.  Check SNMP counters.",
    "docker0: port 1(veth3a1b2c7) entered blocking state",
    "docker0: port 1(veth3a1b2c7) entered forwarding state",
    "docker0: port 1(veth3a1b2c7) entered disabled state",
    "veth3a1b2c7: renamed from eth0",
    'audit: type=1400 audit(1778541000.127:41): apparmor="STATUS" operation="profile_replace" profile="unconfined"',
    "workqueue: nv_drm_handle_hotplug hogged CPU for >10000us 4 times, consider switching to WQ_UNBOUND",
    "hrtimer: interrupt took 41210 ns",
    "systemd-journald[812]: Data hash table of /run/log/journal/system.journal has a fill level at 75.0",
)


# The training program


def _train(host: str) -> Iterator[Told]:
    at = HOSTS.index(host)
    ranks = range(8 * at, 8 * at + 8)
    yield from ((BEGIN_S + SKEW_S[host] + t, text) for t, text in _begins(host, ranks))
    if WORLD - 1 in ranks:
        yield from _iterations(SKEW_S[host])
    silent = [LOST_RANK]
    for rank in (r for r in ranks if r not in silent):
        yield from _times_out(host, rank)
    yield from _launcher(host, next(r for r in ranks if r not in silent))


def _begins(host: str, ranks: range) -> Iterator[Told]:
    start = "agent/server/api.py:859", "[default] starting workers for entrypoint: python"
    yield 2.0, wording.elastic(BEGIN_S + 2.0, "I", 40990, *start)
    omp = "Setting OMP_NUM_THREADS environment variable for each process to be 1 in default"
    yield 1.5, wording.elastic(BEGIN_S + 1.5, "W", 40990, "../run.py:793", omp)
    if ranks[0] == 0:
        yield from _arguments()
    for local, rank in enumerate(ranks):
        for text in wording.nccl_setup(host, 41000 + local, local, rank, WORLD):
            yield 41.0 + local / 100, f"[default{local}]:{text}"
        for channel in range(1, 16):
            ring = f"Channel {channel:02}/0 : {rank}[{local}] -> {(rank + 1) % WORLD}[{(local + 1) % 8}] via P2P/CUMEM"
            yield (
                41.2 + local / 100,
                f"[default{local}]:{host}:{41000 + local}:{41700 + local} [{local}] NCCL INFO {ring}",
            )
        advice = (
            f"[PG ID 0 PG GUID 0 Rank {rank}] using GPU {local} to perform barrier as devices used by this process are "
            "currently unknown. This can potentially cause a hang if this rank to GPU mapping is incorrect."
        )
        line = wording.c10d(BEGIN_S + SKEW_S[host] + 44, "W", rank, "ProcessGroupNCCL.cpp:4561", advice)
        yield 44.0, f"[default{local}]:{line}"
    if ranks[0] == 0:
        yield 60.0, "[default0]:loading distributed checkpoint from /ckpt/gpt-8b at iteration 40000"
        yield 88.0, "[default0]:  successfully loaded checkpoint from /ckpt/gpt-8b [ t 1/2, p 1/1 ] at iteration 40000"
        yield 115.0, "[default0]:training ..."
        when = wording.stamp(BEGIN_S + 116, "%Y-%m-%d %H:%M:%S")
        yield 116.0, f"[default0]:[before the start of training step] datetime: {when} "


def _arguments() -> Iterator[Told]:
    yield 12.0, "[default0]:using world size: 32, data-parallel size: 16, tensor-model-parallel size: 2"
    yield 12.0, "[default0]:------------------------ arguments ------------------------"
    for name, value in _ARGUMENTS:
        yield 12.1, f"[default0]:  {name} {'.' * (46 - len(name))} {value}"
    yield 12.2, "[default0]:-------------------- end of arguments ---------------------"
    yield 14.0, "[default0]:> initializing torch distributed ..."
    yield 46.0, "[default0]:> initialized tensor model parallel with size 2"
    yield 52.0, "[default0]: > number of parameters on (tensor, pipeline) model parallel rank (0, 0): 4014342144"


_ARGUMENTS: Final = (
    ("accumulate_allreduce_grads_in_fp32", "True"),
    ("adam_beta1", "0.9"),
    ("adam_beta2", "0.95"),
    ("bf16", "True"),
    ("ckpt_format", "torch_dist"),
    ("clip_grad", "1.0"),
    ("data_parallel_size", "16"),
    ("data_path", "['/lustre/corpus/web_text_document']"),
    ("distributed_backend", "nccl"),
    ("distributed_timeout_minutes", "10"),
    ("eval_interval", "1000"),
    ("global_batch_size", "1024"),
    ("hidden_size", "4096"),
    ("load", "/ckpt/gpt-8b"),
    ("log_interval", "5"),
    ("lr", "0.0003"),
    ("micro_batch_size", "2"),
    ("num_attention_heads", "32"),
    ("num_layers", "32"),
    ("num_workers", "4"),
    ("save", "/ckpt/gpt-8b"),
    ("save_interval", "100"),
    ("seq_length", "4096"),
    ("tensor_model_parallel_size", "2"),
    ("train_iters", str(ITERATIONS)),
    ("transformer_impl", "transformer_engine"),
    ("world_size", str(WORLD)),
)


def _iterations(skew_s: float) -> Iterator[Told]:
    """Yield what the last rank prints from its checkpoint on until the collective that never ends."""
    dice = Random("example/iterations")
    now, number = TRAINED_S, 40_000
    while True:
        took_ms = dice.gauss(9120.0, 31.0)
        now, number = now + EVERY * took_ms / 1000, number + EVERY
        if now > LOST_S:
            return
        loss = 2.31 - (number - 40_000) / 90_000 + dice.gauss(0, 0.012)
        line = wording.megatron_iteration(now + skew_s, number, ITERATIONS, loss, took_ms)
        yield now + skew_s, f"[default7]:{line}"
        if number % 100 == 0:
            yield (
                now + skew_s + 0.1,
                f"[default7]:saving checkpoint at iteration {number:7} to /ckpt/gpt-8b in torch_dist format",
            )
            saved = f"  successfully saved checkpoint from iteration {number:7} to /ckpt/gpt-8b [ t 1/2, p 1/1 ]"
            yield now + skew_s + 2.4, f"[default7]:{saved}"


def _times_out(host: str, rank: int) -> Iterator[Told]:
    late_s = 600 + Random(f"example/late/{rank}").uniform(0.02, 0.95)
    at_s = LOST_S - 0.7 + late_s + SKEW_S[host]
    for more, text in enumerate(wording.timed_out(at_s, rank, 91877, int(late_s * 1000))):
        yield at_s + (more > 1) + more / 1000, f"[default{rank % 8}]:{text}"
    thrown = "terminate called after throwing an instance of 'c10::DistBackendError'"
    yield at_s + 1.5, f"[default{rank % 8}]:{thrown}"


def _launcher(host: str, rank: int) -> Iterator[Told]:
    at_s, pid = LOST_S + 604.1 + SKEW_S[host], 41000 + rank % 8
    for line in wording.worker_failed(at_s, pid, rank % 8, -6, 40990):
        yield at_s, line
    for line in wording.child_failed(at_s + 31, host, rank, rank % 8, pid, -6):
        yield at_s + 31, line


# The scheduler


def _slurm() -> Iterator[str]:
    yield f"job {JOB}: pretrain-gpt-8b on node[01-04], {wording.stamp(BEGIN_S - 9, '%Y-%m-%dT%H:%M:%S')} UTC"
    yield "+ export NCCL_DEBUG=INFO"
    yield "+ export TORCH_NCCL_ASYNC_ERROR_HANDLING=1"
    launcher = f"torchrun --nnodes=4 --nproc-per-node=8 --tee=3 --rdzv-endpoint={HOSTS[0]}:29500"
    yield f"+ srun --output=%N/train.log {launcher} pretrain_gpt.py"
    yield from wording.slurm_tasks(HOSTS[:2], "Exited with exit code 1")
    yield f"srun: Terminating StepId={JOB}.0"
    when = wording.stamp(LOST_S + 638, "%Y-%m-%dT%H:%M:%S")
    yield f"slurmstepd: error: *** STEP {JOB}.0 ON {HOSTS[0]} CANCELLED AT {when} ***"
    yield f"srun: error: {HOSTS[3]}: task 3: Terminated"
    yield f"srun: error: {HOSTS[2]}: task 2: Exited with exit code 1"


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[2] / "docs/example-run/logs")
