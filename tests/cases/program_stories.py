"""Stories of jobs that end because of the training program, or because the scheduler ends them."""

from functools import partial

import wording
from cluster import BEGIN_S, JOB, Tale, crash, crash_all, launch, time_out, train
from story import BROKE_S, TRAINED_S, Truth, fails, raises, trains


@fails
def one_rank_raises_an_exception(tale: Tale) -> Truth:
    rank, host, _ = trains(tale)
    raises(tale, BROKE_S, rank, "KeyError: 'attention_mask'")
    return Truth("failed", "software.user_code", "KeyError: 'attention_mask'", host, rank)


@fails
def one_rank_raises_an_exception_and_only_the_last_rank_prints_progress(tale: Tale) -> Truth:
    launch(tale, BEGIN_S)
    train(tale, TRAINED_S, BROKE_S, printers=[tale.cluster.world - 1])
    rank = tale.cluster.victim
    raises(tale, BROKE_S, rank, "KeyError: 'attention_mask'")
    return Truth("failed", "software.user_code", "KeyError: 'attention_mask'", tale.cluster.host_of(rank), rank)


@fails
def one_rank_runs_out_of_gpu_memory(tale: Tale) -> Truth:
    rank, host, _ = trains(tale)
    sizes = f"GPU {rank % 8} has a total capacity of 79.11 GiB of which 1.07 GiB is free."
    error = f"torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.50 GiB. {sizes}"
    raises(tale, BROKE_S, rank, error)
    return Truth("failed", "cuda.out_of_memory", "CUDA out of memory", host, rank)


@fails
def one_rank_dies_of_a_segmentation_fault(tale: Tale) -> Truth:
    rank, host, _ = trains(tale)
    tale.rank(BROKE_S, rank, "Fatal Python error: Segmentation fault")
    crash(tale, BROKE_S, rank, -11)
    return Truth("failed", "host.segfault", "Segmentation fault", host, rank)


@fails
def a_token_is_out_of_the_vocabulary(tale: Tale) -> Truth:
    rank, host, _ = trains(tale)
    where = "../aten/src/ATen/native/cuda/Indexing.cu:1236: indexSelectSmallIndex: block: [4,0,0], thread: [31,0,0]"
    tale.rank(BROKE_S - 0.2, rank, f"{where} Assertion `srcIndex < srcSelectDimSize` failed.")
    raises(tale, BROKE_S, rank, "RuntimeError: CUDA error: device-side assert triggered")
    return Truth("failed", "cuda.device_assert", "Assertion `srcIndex", host, rank)


@fails
def the_loss_becomes_nan(tale: Tale) -> Truth:
    rank, host, _ = trains(tale)
    found = (
        f"AssertionError: Rank {rank}: found NaN in local forward loss calculation. Device: {rank % 8}, node: {host}"
    )
    raises(tale, BROKE_S, rank, found, "forward_step")
    return Truth("failed", "training.loss_nan", "found NaN in local forward loss")


@fails
def the_data_set_is_not_there(tale: Tale) -> Truth:
    launch(tale, BEGIN_S)
    error = "FileNotFoundError: [Errno 2] No such file or directory: '/data/corpus/shard_00000.bin'"
    crash_all(tale, BEGIN_S + 70, error, "open_corpus")
    return Truth("failed", "software.missing_file", "No such file or directory: '/data/corpus/")


@fails
def a_module_is_missing_on_one_host(tale: Tale) -> Truth:
    launch(tale, BEGIN_S)
    host = tale.cluster.host_of(tale.cluster.victim)
    own = [rank for rank in range(tale.cluster.world) if tale.cluster.host_of(rank) == host]
    crash_all(tale, BEGIN_S + 70, "ModuleNotFoundError: No module named 'einops'", "build_model", own)
    return Truth("failed", "software.dependency", "No module named 'einops'")


@fails
def a_collective_hangs_and_nothing_says_why(tale: Tale) -> Truth:
    rank, host, _ = trains(tale)
    time_out(tale, BROKE_S, [rank])
    return Truth("failed", "comm.collective_timeout", "Watchdog caught collective operation timeout", host, rank)


def _stopped(tale: Tale, at_s: float, words: str) -> None:
    """Tell how the scheduler stops a job, and what launchers and workers say of it."""
    first = tale.cluster.names[0]
    for what in (f"JOB {JOB}", f"STEP {JOB}.0"):
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


@fails
def the_job_is_preempted(tale: Tale) -> Truth:
    trains(tale)
    _stopped(tale, BROKE_S, " DUE TO PREEMPTION")
    return Truth("failed", "scheduler.preempted", "DUE TO PREEMPTION")


@fails
def a_person_cancels_the_job(tale: Tale) -> Truth:
    trains(tale)
    _stopped(tale, BROKE_S, "")
    return Truth("failed", "scheduler.cancelled", f"CANCELLED AT {wording.stamp(BROKE_S, '%Y-%m-%d')}")


@fails
def the_job_runs_into_its_time_limit(tale: Tale) -> Truth:
    trains(tale)
    _stopped(tale, BROKE_S, " DUE TO TIME LIMIT")
    return Truth("failed", "scheduler.time_limit", "DUE TO TIME LIMIT")


@fails
def a_container_does_not_start(tale: Tale) -> Truth:
    tale.scheduler(BEGIN_S, "+ srun --container-image=registry.example.com/ml/train:v7 torchrun train.py")
    tale.scheduler(
        BEGIN_S + 31, "slurmstepd: error: pyxis: failed to import docker image: registry.example.com/ml/train:v7"
    )
    tale.scheduler(BEGIN_S + 32, *wording.slurm_tasks(tale.cluster.names, "Exited with exit code 1"))
    return Truth("failed", "scheduler.container_start", "failed to import docker image")
