"""What the programs of a training cluster print, in their documented formats. Which of it happens when: `cluster`.

Times are Unix seconds on the clock of the host that prints. No line was copied from a log.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

GPU_PCI = (
    "0000:19:00.0",
    "0000:3b:00.0",
    "0000:4c:00.0",
    "0000:5d:00.0",
    "0000:9b:00.0",
    "0000:bb:00.0",
    "0000:cb:00.0",
    "0000:db:00.0",
)
"""The PCI addresses of a host's GPUs, by index."""

_TORCH = "/opt/venv/lib/python3.12/site-packages/torch"
_RULE, _DASHES = "=" * 60, "-" * 60


def stamp(at_s: float, form: str) -> str:
    """Return a time in UTC as `strftime` writes it; the clock is rounded to microseconds."""
    return datetime.fromtimestamp(round(at_s, 6), UTC).strftime(form)


def iso(at_s: float) -> str:
    """Return a time as rsyslog's `RSYSLOG_FileFormat` writes it."""
    return stamp(at_s, "%Y-%m-%dT%H:%M:%S.%f+00:00")


def c10d(at_s: float, level: str, rank: int, place: str, text: str) -> str:
    """Return a line of PyTorch's C++ logging: the month has no leading zero."""
    when = stamp(at_s, "%m%d %H:%M:%S.%f").removeprefix("0")
    return f"[rank{rank}]:[{level}{when}000 {place}] {text}"


def elastic(at_s: float, level: str, pid: int, place: str, text: str) -> str:
    """Return a line of torchrun's own logging."""
    when = stamp(at_s, "%m%d %H:%M:%S.%f")[:-3] + "000"
    return f"{level}{when} {pid} torch/distributed/elastic/{place}] {text}"


def titan(at_s: float, text: str, level: str = "INFO") -> str:
    """Return a line of TorchTitan's logger."""
    return f"[titan] {stamp(at_s, '%Y-%m-%d %H:%M:%S,%f')[:-3]} - root - {level} - {text}"


def step(at_s: float, number: int, loss: float) -> str:
    """Return TorchTitan's line of a training step."""
    told = f"step: {number:2}  loss: {loss:8.5f}  memory: 61.40GiB(77.51%)  tps: {7000 + number % 97:,}  mfu: 41.27%"
    return titan(at_s, told)


def megatron_iteration(at_s: float, number: int, of: int, loss: float, took_ms: float) -> str:
    """Return Megatron-LM's line of training iterations."""
    return (
        f" [{stamp(at_s, '%Y-%m-%d %H:%M:%S')}] iteration {number:8}/{of:8} | consumed samples: {number * 1024:12} | "
        f"elapsed time per iteration (ms): {took_ms:.1f} | throughput per GPU (TFLOP/s/GPU): {2.4e6 / took_ms:.1f} | "
        f"learning rate: {3e-4 * min(1.0, number / 2000):.6E} | global batch size: {1024:5} | "
        f"lm loss: {loss:.6E} | loss scale: 1.0 | grad norm: {0.2 + loss / 20:.3f} | "
        "number of skipped iterations:   0 | number of nan iterations:   0 |"
    )


def timed_out(at_s: float, rank: int, seq: int, ran_ms: int) -> list[str]:
    """Return what a rank prints whose collective did not finish within ten minutes."""
    work = f"WorkNCCL(SeqNum={seq}, OpType=ALLREDUCE, NumelIn=53248000, NumelOut=53248000, Timeout(ms)=600000)"
    caught = f"[Rank {rank}] Watchdog caught collective operation timeout: {work} ran for {ran_ms} milliseconds before"
    group = f"[PG ID 0 PG GUID 0(default_pg) Rank {rank}]"
    status = f"last enqueued work: {seq + 2}, last completed work: {seq - 1}"
    seen = f"{group}  failure detected by watchdog at work sequence id: {seq} PG status: {status}"
    unsafe = (
        "Some NCCL operations have failed or timed out. Due to the asynchronous nature of CUDA kernels, "
        "subsequent GPU operations might run on corrupted/incomplete data."
    )
    down = "To avoid data inconsistency, we are taking the entire process down."
    ended = f"{group} Process group watchdog thread terminated with exception: {caught} timing out."
    return [
        c10d(at_s, "E", rank, "ProcessGroupNCCL.cpp:632", f"{caught} timing out."),
        c10d(at_s + 0.001, "E", rank, "ProcessGroupNCCL.cpp:2268", seen),
        c10d(at_s + 1.2, "E", rank, "ProcessGroupNCCL.cpp:684", f"[Rank {rank}] {unsafe}"),
        c10d(at_s + 1.2, "E", rank, "ProcessGroupNCCL.cpp:698", f"[Rank {rank}] {down}"),
        c10d(at_s + 1.3, "E", rank, "ProcessGroupNCCL.cpp:1896", ended),
    ]


def python_exception(rank: int, error: str, function: str = "train_step") -> list[str]:
    """Return an uncaught exception as PyTorch prints it on a rank of a process group."""
    frames = [
        "Traceback (most recent call last):",
        '  File "/workspace/train.py", line 214, in <module>',
        "    main(parse())",
        f'  File "/workspace/train.py", line 163, in {function}',
        f"    result = {function}(batch)",
        error,
    ]
    return [f"[rank{rank}]: {line}" for line in frames]


def peer_lost(at_s: float, rank: int, seq: int) -> list[str]:
    """Return what a rank prints that lost another one in a collective."""
    place = "ProcessGroupNCCL.cpp:1896"
    lost = (
        "NCCL error: remote process exited or there was a network error, NCCL version 2.21.5\n"
        "ncclRemoteError: A call failed possibly due to a network error or a remote process exiting prematurely."
    )
    group = f"[PG ID 0 PG GUID 0(default_pg) Rank {rank}]"
    first, second = lost.split("\n")
    return [
        c10d(at_s, "E", rank, place, f"{group} Process group watchdog thread terminated with exception: {first}"),
        second,
        f"Last error: socketProgress: Connection closed by remote peer, sequence {seq}",
    ]


def worker_failed(at_s: float, pid: int, local_rank: int, exitcode: int, agent: int) -> list[str]:
    """Return how torchrun takes its host's workers down after one has ended."""
    others = [pid - local_rank + n for n in range(8) if n != local_rank]
    closing = [
        elastic(at_s, "W", agent, "multiprocessing/api.py:897", f"Sending process {other} closing signal SIGTERM")
        for other in others
    ]
    ended = f"failed (exitcode: {exitcode}) local_rank: {local_rank} (pid: {pid}) of binary: /opt/venv/bin/python"
    return [*closing, elastic(at_s + 1.9, "E", agent, "multiprocessing/api.py:869", ended)]


def child_failed(at_s: float, host: str, rank: int, local_rank: int, pid: int, exitcode: int) -> list[str]:
    """Return the error with which torchrun ends."""
    names = {-6: "SIGABRT", -7: "SIGBUS", -9: "SIGKILL", -11: "SIGSEGV", -15: "SIGTERM"}
    why = "To enable traceback see: https://pytorch.org/docs/stable/elastic/errors.html"
    if exitcode < 0:
        why = f"Signal {-exitcode} ({names[exitcode]}) received by PID {pid}"
    return [
        "Traceback (most recent call last):",
        '  File "/opt/venv/bin/torchrun", line 8, in <module>',
        "    sys.exit(main())",
        f'  File "{_TORCH}/distributed/launcher/api.py", line 264, in launch_agent',
        "    raise ChildFailedError(",
        "torch.distributed.elastic.multiprocessing.errors.ChildFailedError: ",
        _RULE,
        "train.py FAILED",
        _DASHES,
        "Failures:",
        "  <NO_OTHER_FAILURES>",
        _DASHES,
        "Root Cause (first observed failure):",
        "[0]:",
        f"  time      : {stamp(at_s, '%Y-%m-%d_%H:%M:%S')}",
        f"  host      : {host}",
        f"  rank      : {rank} (local_rank: {local_rank})",
        f"  exitcode  : {exitcode} (pid: {pid})",
        "  error_file: <N/A>",
        f"  traceback : {why}",
        _RULE,
    ]


def nccl_setup(host: str, pid: int, local_rank: int, rank: int, world: int) -> list[str]:
    """Return some of what NCCL prints with NCCL_DEBUG=INFO while a communicator is set up."""
    nics = " ".join(f"[{n}]mlx5_{n}:1/IB" for n in range(8))
    bus = GPU_PCI[local_rank].split(":")[1]
    lines = [
        f"NET/IB : Using {nics} [RO]; OOB eth0:10.60.0.{pid % 200 + 1}<0>",
        "NET/Plugin: No plugin found (libnccl-net.so), using internal implementation",
        f"Channel 00/0 : {rank}[{local_rank}] -> {(rank + 1) % world}[{(local_rank + 1) % 8}] via P2P/CUMEM",
        f"comm 0x55d0c8a1{pid:04x} rank {rank} nranks {world} cudaDev {local_rank} nvmlDev {local_rank} "
        f"busId {bus}000 commId 0x2f7c1e - Init COMPLETE",
    ]
    return [f"{host}:{pid}:{pid + 700} [{local_rank}] NCCL INFO {line}" for line in lines]


def xid(pci: str, code: int, words: str, process: str = "pid='<unknown>', name=<unknown>") -> list[str]:
    """Return what the NVIDIA driver prints with the first Xid of a GPU since boot."""
    short = pci.rpartition(".")[0]
    return [
        f"NVRM: GPU at PCI:{short}: GPU-5d2f91aa-0c4e-7d11-b0f3-{int(short.split(':')[1], 16):012x}",
        "NVRM: GPU Board Serial Number: 1652921000123",
        f"NVRM: Xid (PCI:{short}): {code}, {process}, {words}",
    ]


def slurm_tasks(hosts: Sequence[str], what: str) -> list[str]:
    """Return how srun reports tasks that ended, one on each host."""
    return [f"srun: error: {host}: task {at}: {what}" for at, host in enumerate(hosts)]
