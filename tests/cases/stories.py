"""Stories of jobs on a synthetic cluster: what breaks, what follows from it, and what a person would conclude.

Each story is a function that tells a tale and returns the conclusion; `told` puts boot and launch before it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import wording
from cluster import (
    BEGIN_S,
    JOB,
    STEP_S,
    Cluster,
    Line,
    Tale,
    boot,
    crash,
    crash_all,
    finish,
    launch,
    step_ends,
    time_out,
    train,
)
from cluster import launcher_reports as report

TRAINED_S: Final = BEGIN_S + 50
"""The first step."""

BROKE_S: Final = TRAINED_S + 60 * STEP_S + 4
"""When it breaks: after 60 steps."""


@dataclass(frozen=True)
class Truth:
    """What a person who knows the story concludes. `cause` is in the line that said it first; `None`: not told."""

    outcome: str
    fault: str | None = None
    cause: str | None = None
    host: str | None = None
    rank: int | None = None
    gpu: str | None = None
    attempts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Told:
    """A story that was told: its lines, and the truth."""

    cluster: Cluster
    truth: Truth
    lines: list[Line] = field(repr=False)


Story = Callable[[Tale], Truth]
FAILED: dict[str, Story] = {}
UNHARMED: dict[str, Story] = {}


def told(story: Story, cluster: Cluster) -> Told:
    """Tell a story on a cluster, from boot to the end of the job."""
    tale = Tale(cluster)
    boot(tale)
    truth = story(tale)
    return Told(cluster, truth, tale.lines)


def _in(stories: dict[str, Story]) -> Callable[[Story], Story]:
    def keep(story: Story) -> Story:
        stories[story.__name__.replace("_", " ")] = story
        return story

    return keep


_fails, _unharmed = _in(FAILED), _in(UNHARMED)


def _trains(tale: Tale) -> tuple[int, str, str]:
    """Launch the job and train until it breaks; return the rank it is about, its host, and its GPU's address."""
    launch(tale, BEGIN_S)
    train(tale, TRAINED_S, BROKE_S)
    rank = tale.cluster.victim
    return rank, tale.cluster.host_of(rank), wording.GPU_PCI[rank % 8]


def _raises(tale: Tale, at_s: float, rank: int, error: str, function: str = "train_step") -> None:
    tale.rank(at_s, rank, *wording.python_exception(rank, error, function))
    crash(tale, at_s, rank)


# The machines


@_fails
def a_gpu_falls_off_the_bus(tale: Tale) -> Truth:
    rank, host, pci = _trains(tale)
    tale.kernel(BROKE_S, host, *wording.xid(pci, 79, "GPU has fallen off the bus."))
    tale.kernel(BROKE_S, host, f"NVRM: GPU {pci}: GPU has fallen off the bus.")
    tale.kernel(BROKE_S + 0.2, host, "NVRM: A GPU crash dump has been created. If possible, please run")
    time_out(tale, BROKE_S, [rank])
    return Truth("failed", "gpu.fallen_off_bus", "fallen off the bus", host, gpu=pci[:-2])


@_fails
def a_gpu_has_an_uncorrectable_memory_error(tale: Tale) -> Truth:
    rank, host, pci = _trains(tale)
    words = "An uncorrectable double bit error (DBE) has been detected on GPU in the framebuffer at partition 2."
    tale.kernel(BROKE_S, host, *wording.xid(pci, 48, words, f"pid={tale.cluster.pid_of(rank)}, name=python"))
    _raises(tale, BROKE_S + 0.8, rank, "RuntimeError: CUDA error: uncorrectable ECC error encountered")
    return Truth("failed", "gpu.ecc_uncorrectable", ": 48, pid=", host, gpu=pci[:-2])


@_fails
def a_gpu_system_processor_stops_answering(tale: Tale) -> Truth:
    rank, host, pci = _trains(tale)
    words = "Timeout after 45s of waiting for RPC response from GPU3 GSP! Expected function 76 (GSP_RM_CONTROL)."
    tale.kernel(BROKE_S + 45, host, *wording.xid(pci, 119, words, f"pid={tale.cluster.pid_of(rank)}, name=python"))
    time_out(tale, BROKE_S, [rank])
    return Truth("failed", "gpu.gsp_error", ": 119, pid=", host, gpu=pci[:-2])


@_fails
def an_nvlink_breaks(tale: Tale) -> Truth:
    rank, host, pci = _trains(tale)
    words = "NVLink: fatal error detected on link 7(0x10000, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0)"
    tale.kernel(BROKE_S, host, *wording.xid(pci, 74, words))
    _raises(
        tale, BROKE_S + 2.5, rank, "RuntimeError: CUDA error: uncorrectable NVLink error detected during the execution"
    )
    return Truth("failed", "gpu.nvlink_error", ": 74, pid=", host, gpu=pci[:-2])


@_fails
def the_kernel_kills_a_rank_for_memory(tale: Tale) -> Truth:
    rank, host, _ = _trains(tale)
    pid = tale.cluster.pid_of(rank)
    sizes = "total-vm:412008844kB, anon-rss:201004112kB, file-rss:81204kB, shmem-rss:0kB, UID:1001 pgtables:402112kB"
    tale.kernel(BROKE_S, host, "python invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0")
    tale.kernel(BROKE_S, host, f"Memory cgroup out of memory: Killed process {pid} (python) {sizes} oom_score_adj:0")
    crash(tale, BROKE_S, rank, -9)
    return Truth("failed", "host.oom_kill", "oom", host)


@_fails
def the_kernel_kills_a_data_loader_for_memory(tale: Tale) -> Truth:
    rank, host, _ = _trains(tale)
    sizes = "total-vm:91208844kB, anon-rss:60104112kB, file-rss:812kB, shmem-rss:0kB, UID:1001 pgtables:40112kB"
    tale.kernel(
        BROKE_S, host, f"Memory cgroup out of memory: Killed process 43117 (pt_data_worker) {sizes} oom_score_adj:0"
    )
    _raises(tale, BROKE_S + 2.5, rank, "RuntimeError: DataLoader worker (pid 43117) is killed by signal: Killed. ")
    return Truth("failed", "host.oom_kill", "Memory cgroup out of memory", host)


@_fails
def a_data_loader_is_killed_and_nothing_says_by_whom(tale: Tale) -> Truth:
    rank, host, _ = _trains(tale)
    _raises(tale, BROKE_S, rank, "RuntimeError: DataLoader worker (pid 43117) is killed by signal: Killed. ")
    return Truth("failed", "host.dataloader_killed", "DataLoader worker (pid 43117)", host, rank)


@_fails
def a_host_locks_up(tale: Tale) -> Truth:
    rank, host, _ = _trains(tale)
    tale.kernel(BROKE_S + 22, host, "watchdog: BUG: soft lockup - CPU#17 stuck for 22s! [python:41003]")
    tale.kernel(BROKE_S + 52, host, "watchdog: BUG: soft lockup - CPU#17 stuck for 52s! [python:41003]")
    time_out(tale, BROKE_S, [rank])
    return Truth("failed", "host.kernel_fault", "soft lockup", host)


@_fails
def a_node_is_lost(tale: Tale) -> Truth:
    _, host, _ = _trains(tale)
    at = tale.cluster.names.index(host)
    tale.lines[:] = [line for line in tale.lines if line.host != host or line.at_s < BROKE_S - 30]
    tale.scheduler(BROKE_S + 20, f"srun: error: Node failure on {host}")
    for other in range(0, tale.cluster.world, 8):
        if other // 8 != at:
            own_s = tale.local_s(BROKE_S + 25, tale.cluster.host_of(other))
            tale.rank(BROKE_S + 25, other, *wording.peer_lost(own_s, other, 99))
            report(tale, BROKE_S + 28, tale.cluster.host_of(other), other, -6)
    step_ends(tale, BROKE_S + 60)
    return Truth("failed", "scheduler.node_fail", f"Node failure on {host}", host)


@_fails
def an_infiniband_link_goes_down(tale: Tale) -> Truth:
    rank, host, _ = _trains(tale)
    peer = "Got completion from peer 10.60.0.21<51766> with status=12 opcode=0 len=0 vendor err 129 (Send)"
    where = f"{host}:{tale.cluster.pid_of(rank)}:{tale.cluster.pid_of(rank) + 700} [{rank % 8}]"
    tale.kernel(BROKE_S, host, "mlx5_core 0000:5e:00.0 ib3: Link down")
    tale.rank(
        BROKE_S + 8,
        rank,
        f"{where} transport/net_ib.cc:1298 NCCL WARN NET/IB : {peer} localGid fe80::1 remoteGids fe80::2 hca mlx5_3",
    )
    error = "torch.distributed.DistBackendError: NCCL error in: ../ProcessGroupNCCL.cpp:2006, unhandled system error, "
    _raises(tale, BROKE_S + 8.5, rank, f"{error}NCCL version 2.21.5")
    return Truth("failed", "comm.ib_link", None, host)


# Storage


@_fails
def a_disk_is_full(tale: Tale) -> Truth:
    rank, host, _ = _trains(tale)
    error = f"OSError: [Errno 28] No space left on device: '/ckpt/run7/step-60/__{rank}_0.distcp'"
    _raises(tale, BROKE_S, rank, error, "save_checkpoint")
    return Truth("failed", "storage.disk_full", "No space left on device", host)


@_fails
def a_file_handle_is_stale_on_one_host(tale: Tale) -> Truth:
    rank, host, _ = _trains(tale)
    error = "OSError: [Errno 116] Stale file handle: '/nfs/corpus/shard_00017.bin'"
    _raises(tale, BROKE_S, rank, error, "next_batch")
    return Truth("failed", "storage.io_error", "Stale file handle", host)


@_fails
def lustre_evicts_a_client(tale: Tale) -> Truth:
    rank, host, _ = _trains(tale)
    evicted = "This client was evicted by scratch-OST0007; in progress operations using this service will fail."
    tale.kernel(BROKE_S, host, f"LustreError: 167-0: scratch-OST0007-osc-ffff8f1c0a2b3000: {evicted}")
    _raises(
        tale, BROKE_S + 3, rank, "OSError: [Errno 5] Input/output error: '/lustre/corpus/shard_3.bin'", "next_batch"
    )
    return Truth("failed", "storage.io_error", "was evicted by scratch-OST0007", host)


@_fails
def a_checkpoint_is_corrupt(tale: Tale) -> Truth:
    launch(tale, BEGIN_S)
    error = "RuntimeError: PytorchStreamReader failed reading zip archive: failed finding central directory"
    crash_all(tale, BEGIN_S + 70, error, "load_checkpoint")
    return Truth("failed", "storage.checkpoint_corrupt", "failed finding central directory")


# The program


@_fails
def one_rank_raises_an_exception(tale: Tale) -> Truth:
    rank, host, _ = _trains(tale)
    _raises(tale, BROKE_S, rank, "KeyError: 'attention_mask'")
    return Truth("failed", "software.user_code", "KeyError: 'attention_mask'", host, rank)


@_fails
def one_rank_raises_an_exception_and_only_the_last_rank_prints_progress(tale: Tale) -> Truth:
    launch(tale, BEGIN_S)
    train(tale, TRAINED_S, BROKE_S, printers=[tale.cluster.world - 1])
    rank = tale.cluster.victim
    _raises(tale, BROKE_S, rank, "KeyError: 'attention_mask'")
    return Truth("failed", "software.user_code", "KeyError: 'attention_mask'", tale.cluster.host_of(rank), rank)


@_fails
def one_rank_runs_out_of_gpu_memory(tale: Tale) -> Truth:
    rank, host, _ = _trains(tale)
    sizes = f"GPU {rank % 8} has a total capacity of 79.11 GiB of which 1.07 GiB is free."
    error = f"torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.50 GiB. {sizes}"
    _raises(tale, BROKE_S, rank, error)
    return Truth("failed", "cuda.out_of_memory", "CUDA out of memory", host, rank)


@_fails
def one_rank_dies_of_a_segmentation_fault(tale: Tale) -> Truth:
    rank, host, _ = _trains(tale)
    tale.rank(BROKE_S, rank, "Fatal Python error: Segmentation fault")
    crash(tale, BROKE_S, rank, -11)
    return Truth("failed", "host.segfault", "Segmentation fault", host, rank)


@_fails
def a_token_is_out_of_the_vocabulary(tale: Tale) -> Truth:
    rank, host, _ = _trains(tale)
    where = "../aten/src/ATen/native/cuda/Indexing.cu:1236: indexSelectSmallIndex: block: [4,0,0], thread: [31,0,0]"
    tale.rank(BROKE_S - 0.2, rank, f"{where} Assertion `srcIndex < srcSelectDimSize` failed.")
    _raises(tale, BROKE_S, rank, "RuntimeError: CUDA error: device-side assert triggered")
    return Truth("failed", "cuda.device_assert", "Assertion `srcIndex", host, rank)


@_fails
def the_loss_becomes_nan(tale: Tale) -> Truth:
    rank, host, _ = _trains(tale)
    found = (
        f"AssertionError: Rank {rank}: found NaN in local forward loss calculation. Device: {rank % 8}, node: {host}"
    )
    _raises(tale, BROKE_S, rank, found, "forward_step")
    return Truth("failed", "training.loss_nan", "found NaN in local forward loss")


@_fails
def the_data_set_is_not_there(tale: Tale) -> Truth:
    launch(tale, BEGIN_S)
    error = "FileNotFoundError: [Errno 2] No such file or directory: '/data/corpus/shard_00000.bin'"
    crash_all(tale, BEGIN_S + 70, error, "open_corpus")
    return Truth("failed", "software.missing_file", "No such file or directory: '/data/corpus/")


@_fails
def a_module_is_missing_on_one_host(tale: Tale) -> Truth:
    launch(tale, BEGIN_S)
    host = tale.cluster.host_of(tale.cluster.victim)
    own = [rank for rank in range(tale.cluster.world) if tale.cluster.host_of(rank) == host]
    crash_all(tale, BEGIN_S + 70, "ModuleNotFoundError: No module named 'einops'", "build_model", own)
    return Truth("failed", "software.dependency", "No module named 'einops'")


@_fails
def a_collective_hangs_and_nothing_says_why(tale: Tale) -> Truth:
    rank, host, _ = _trains(tale)
    time_out(tale, BROKE_S, [rank])
    return Truth("failed", "comm.collective_timeout", "Watchdog caught collective operation timeout", host, rank)


# The scheduler


def _stopped(tale: Tale, at_s: float, words: str, of_job: bool = True) -> None:
    """Tell how the scheduler stops a job, and what launchers and workers say of it."""
    first = tale.cluster.names[0]
    for what in (f"JOB {JOB}", f"STEP {JOB}.0") if of_job else (f"STEP {JOB}.0",):
        end = f"slurmstepd: error: *** {what} ON {first} CANCELLED AT %Y-%m-%dT%H:%M:%S{words} ***"
        tale.scheduler(at_s, partial(_stamped, end))
    for host in tale.cluster.names:
        place = "agent/server/api.py:704", "Received Signals.SIGTERM death signal, shutting down workers"
        tale.launcher(at_s + 0.3, host, lambda t, place=place: wording.elastic(t, "W", 4100, *place))
        local_s, pid = tale.local_s(at_s + 0.4, host), 41000
        tale.launcher(at_s + 0.4, host, *wording.worker_failed(local_s, pid, 0, -15, 4100)[:-1])
        stop = "torch.distributed.elastic.multiprocessing.api.SignalException: Process 4100 got signal: 15"
        tale.launcher(at_s + 1.5, host, "Traceback (most recent call last):", stop)
    tale.scheduler(at_s + 6, *wording.slurm_tasks(tale.cluster.names, "Terminated"))


def _stamped(form: str, at_s: float) -> str:
    return wording.stamp(at_s, form)


@_fails
def the_job_is_preempted(tale: Tale) -> Truth:
    _trains(tale)
    _stopped(tale, BROKE_S, " DUE TO PREEMPTION")
    return Truth("failed", "scheduler.preempted", "DUE TO PREEMPTION")


@_fails
def a_person_cancels_the_job(tale: Tale) -> Truth:
    _trains(tale)
    _stopped(tale, BROKE_S, "")
    return Truth("failed", "scheduler.cancelled", f"CANCELLED AT {wording.stamp(BROKE_S, '%Y-%m-%d')}")


@_fails
def the_job_runs_into_its_time_limit(tale: Tale) -> Truth:
    _trains(tale)
    _stopped(tale, BROKE_S, " DUE TO TIME LIMIT")
    return Truth("failed", "scheduler.time_limit", "DUE TO TIME LIMIT")


@_fails
def a_container_does_not_start(tale: Tale) -> Truth:
    tale.scheduler(BEGIN_S, "+ srun --container-image=registry.example.com/ml/train:v7 torchrun train.py")
    tale.scheduler(
        BEGIN_S + 31, "slurmstepd: error: pyxis: failed to import docker image: registry.example.com/ml/train:v7"
    )
    tale.scheduler(BEGIN_S + 32, *wording.slurm_tasks(tale.cluster.names, "Exited with exit code 1"))
    return Truth("failed", "scheduler.container_start", "failed to import docker image")


@_fails
def a_helper_step_failed_before_and_then_a_gpu_falls_off_the_bus(tale: Tale) -> Truth:
    tale.scheduler(BEGIN_S - 60, "cat: /proc/driver/nvidia/params: No such file or directory")
    tale.scheduler(BEGIN_S - 59, f"srun: error: {tale.cluster.names[0]}: task 0: Exited with exit code 1")
    return a_gpu_falls_off_the_bus(tale)


@_fails
def one_attempt_lost_its_store_and_the_next_runs_out_of_gpu_memory(tale: Tale) -> Truth:
    launch(tale, BEGIN_S)
    train(tale, TRAINED_S, TRAINED_S + 200)
    rank = tale.cluster.victim
    error = "torch.distributed.DistNetworkError: Connection reset by peer"
    tale.rank(TRAINED_S + 204, rank, *wording.python_exception(rank, error))
    _restarts(tale, TRAINED_S + 206)
    launch(tale, TRAINED_S + 240, 21)
    train(tale, TRAINED_S + 290, TRAINED_S + 490, 21)
    _raises(tale, TRAINED_S + 495, rank, "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.50 GiB.")
    host = tale.cluster.host_of(rank)
    return Truth("failed", "cuda.out_of_memory", "CUDA out of memory", host, rank, attempts=("failed", "failed"))


# What does no harm


@_unharmed
def a_quiet_run_succeeds(tale: Tale) -> Truth:
    launch(tale, BEGIN_S)
    train(tale, TRAINED_S, BROKE_S)
    finish(tale, BROKE_S + 10)
    return Truth("succeeded")


@_unharmed
def a_run_is_still_going_on(tale: Tale) -> Truth:
    _trains(tale)
    return Truth("incomplete")


@_unharmed
def a_helper_step_fails_before_a_run_that_succeeds(tale: Tale) -> Truth:
    tale.scheduler(BEGIN_S - 60, "./prepare.sh: line 41: numactl: command not found")
    tale.scheduler(BEGIN_S - 59, f"srun: error: {tale.cluster.names[0]}: task 0: Exited with exit code 127")
    return a_quiet_run_succeeds(tale)


@_unharmed
def a_link_flaps_and_the_run_goes_on(tale: Tale) -> Truth:
    rank, host, _ = _trains(tale)
    tale.kernel(BROKE_S - 300, host, "mlx5_core 0000:5e:00.0 ib3: Link down")
    tale.kernel(BROKE_S - 296, host, "mlx5_core 0000:5e:00.0 ib3: Link up")
    where = f"{host}:{tale.cluster.pid_of(rank)}:{tale.cluster.pid_of(rank) + 700} [{rank % 8}]"
    tale.rank(
        BROKE_S - 300, rank, f"{where} transport/net_ib.cc:96 NCCL WARN NET/IB : mlx5_3:1 Got async event : port error"
    )
    finish(tale, BROKE_S + 10)
    return Truth("succeeded")


@_unharmed
def an_exception_is_caught_and_the_run_goes_on(tale: Tale) -> Truth:
    rank, _, _ = _trains(tale)
    error = "OSError: [Errno 5] Input/output error: '/lustre/corpus/shard_3.bin'"
    tale.rank(BROKE_S - 300, rank, *wording.python_exception(rank, error, "next_batch"))
    tale.rank(BROKE_S - 299, rank, lambda t: wording.titan(t, "shard_3 could not be read, trying again", "WARNING"))
    return Truth("incomplete")


@_unharmed
def memory_rows_are_remapped_and_the_run_succeeds(tale: Tale) -> Truth:
    _, host, pci = _trains(tale)
    tale.kernel(
        BROKE_S - 300, host, *wording.xid(pci, 63, "Row Remapper: New row (0x00000000012c3a) marked for remapping")
    )
    finish(tale, BROKE_S + 10)
    return Truth("succeeded")


@_unharmed
def tracebacks_follow_the_word_of_success(tale: Tale) -> Truth:
    truth = a_quiet_run_succeeds(tale)
    for rank in range(0, tale.cluster.world, 8):
        error = "ConnectionResetError: [Errno 104] Connection reset by peer"
        tale.rank(BROKE_S + 12, rank, *wording.python_exception(rank, error, "shut_down"))
    return truth


@_unharmed
def advice_reads_like_an_error(tale: Tale) -> Truth:
    rank, _, _ = _trains(tale)
    advice = "If your GPU has not sufficient memory you may encounter an out-of-memory (OOM) error."
    tale.rank(BROKE_S - 30, rank, lambda t: wording.titan(t, advice, "WARNING"))
    tale.rank(BROKE_S - 29, rank, "export NCCL_ASYNC_ERROR_HANDLING=1", "NCCL_TIMEOUT=1800", "ERROR: 0 errors")
    finish(tale, BROKE_S + 10)
    return Truth("succeeded")


@_unharmed
def a_job_fails_twice_and_then_succeeds(tale: Tale) -> Truth:
    rank = tale.cluster.victim
    for at in range(2):
        begin_s = BEGIN_S + 400 * at
        launch(tale, begin_s, 1 + 20 * at)
        train(tale, begin_s + 50, begin_s + 250, 1 + 20 * at)
        error = "torch.distributed.DistNetworkError: Connection reset by peer"
        tale.rank(begin_s + 254, rank, *wording.python_exception(rank, error))
        _restarts(tale, begin_s + 258)
    launch(tale, BEGIN_S + 800, 41)
    train(tale, BEGIN_S + 850, BEGIN_S + 1250, 41)
    finish(tale, BEGIN_S + 1260)
    return Truth("succeeded", attempts=("failed", "failed", "succeeded"))


def _restarts(tale: Tale, at_s: float) -> None:
    """Tell how torchrun starts all workers anew after one has failed."""
    for host in tale.cluster.names:
        again = "agent/server/api.py:908", "[default] Worker group FAILED. 2/3 attempts left; will restart worker group"
        tale.launcher(at_s, host, lambda t, again=again: wording.elastic(t, "I", 4100, *again))
