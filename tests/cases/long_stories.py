"""Stories in which more than one thing happens, and most of it does no harm."""

import wording
from cluster import BEGIN_S, Tale, finish, launch, train
from machine_stories import a_gpu_falls_off_the_bus
from story import BROKE_S, TRAINED_S, Truth, fails, raises, restarts, trains, unharmed


@fails
def a_helper_step_failed_before_and_then_a_gpu_falls_off_the_bus(tale: Tale) -> Truth:
    tale.scheduler(BEGIN_S - 60, "cat: /proc/driver/nvidia/params: No such file or directory")
    tale.scheduler(BEGIN_S - 59, f"srun: error: {tale.cluster.names[0]}: task 0: Exited with exit code 1")
    return a_gpu_falls_off_the_bus(tale)


@fails
def one_attempt_lost_its_store_and_the_next_runs_out_of_gpu_memory(tale: Tale) -> Truth:
    launch(tale, BEGIN_S)
    train(tale, TRAINED_S, TRAINED_S + 200)
    rank = tale.cluster.victim
    error = "torch.distributed.DistNetworkError: Connection reset by peer"
    tale.rank(TRAINED_S + 204, rank, *wording.python_exception(rank, error))
    restarts(tale, TRAINED_S + 206)
    launch(tale, TRAINED_S + 240, 21)
    train(tale, TRAINED_S + 290, TRAINED_S + 490, 21)
    raises(tale, TRAINED_S + 495, rank, "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.50 GiB.")
    host = tale.cluster.host_of(rank)
    return Truth("failed", "cuda.out_of_memory", "CUDA out of memory", host, rank, attempts=("failed", "failed"))


@unharmed
def a_quiet_run_succeeds(tale: Tale) -> Truth:
    launch(tale, BEGIN_S)
    train(tale, TRAINED_S, BROKE_S)
    finish(tale, BROKE_S + 10)
    return Truth("succeeded")


@unharmed
def a_run_is_still_going_on(tale: Tale) -> Truth:
    trains(tale)
    return Truth("incomplete")


@unharmed
def a_helper_step_fails_before_a_run_that_succeeds(tale: Tale) -> Truth:
    tale.scheduler(BEGIN_S - 60, "./prepare.sh: line 41: numactl: command not found")
    tale.scheduler(BEGIN_S - 59, f"srun: error: {tale.cluster.names[0]}: task 0: Exited with exit code 127")
    return a_quiet_run_succeeds(tale)


@unharmed
def a_link_flaps_and_the_run_goes_on(tale: Tale) -> Truth:
    rank, host, _ = trains(tale)
    tale.kernel(BROKE_S - 300, host, "mlx5_core 0000:5e:00.0 ib3: Link down")
    tale.kernel(BROKE_S - 296, host, "mlx5_core 0000:5e:00.0 ib3: Link up")
    where = f"{host}:{tale.cluster.pid_of(rank)}:{tale.cluster.pid_of(rank) + 700} [{rank % 8}]"
    tale.rank(
        BROKE_S - 300, rank, f"{where} transport/net_ib.cc:96 NCCL WARN NET/IB : mlx5_3:1 Got async event : port error"
    )
    finish(tale, BROKE_S + 10)
    return Truth("succeeded")


@unharmed
def an_exception_is_caught_and_the_run_goes_on(tale: Tale) -> Truth:
    rank, _, _ = trains(tale)
    error = "OSError: [Errno 5] Input/output error: '/lustre/corpus/shard_3.bin'"
    tale.rank(BROKE_S - 300, rank, *wording.python_exception(rank, error, "next_batch"))
    tale.rank(BROKE_S - 299, rank, lambda t: wording.titan(t, "shard_3 could not be read, trying again", "WARNING"))
    return Truth("incomplete")


@unharmed
def memory_rows_are_remapped_and_the_run_succeeds(tale: Tale) -> Truth:
    _, host, pci = trains(tale)
    tale.kernel(
        BROKE_S - 300, host, *wording.xid(pci, 63, "Row Remapper: New row (0x00000000012c3a) marked for remapping")
    )
    finish(tale, BROKE_S + 10)
    return Truth("succeeded")


@unharmed
def tracebacks_follow_the_word_of_success(tale: Tale) -> Truth:
    truth = a_quiet_run_succeeds(tale)
    for rank in range(0, tale.cluster.world, 8):
        error = "ConnectionResetError: [Errno 104] Connection reset by peer"
        tale.rank(BROKE_S + 12, rank, *wording.python_exception(rank, error, "shut_down"))
    return truth


@unharmed
def advice_reads_like_an_error(tale: Tale) -> Truth:
    rank, _, _ = trains(tale)
    advice = "If your GPU has not sufficient memory you may encounter an out-of-memory (OOM) error."
    tale.rank(BROKE_S - 30, rank, lambda t: wording.titan(t, advice, "WARNING"))
    tale.rank(BROKE_S - 29, rank, "export NCCL_ASYNC_ERROR_HANDLING=1", "NCCL_TIMEOUT=1800", "ERROR: 0 errors")
    finish(tale, BROKE_S + 10)
    return Truth("succeeded")


@unharmed
def a_job_fails_twice_and_then_succeeds(tale: Tale) -> Truth:
    rank = tale.cluster.victim
    for at in range(2):
        begin_s = BEGIN_S + 400 * at
        launch(tale, begin_s, 1 + 20 * at)
        train(tale, begin_s + 50, begin_s + 250, 1 + 20 * at)
        error = "torch.distributed.DistNetworkError: Connection reset by peer"
        tale.rank(begin_s + 254, rank, *wording.python_exception(rank, error))
        restarts(tale, begin_s + 258)
    launch(tale, BEGIN_S + 800, 41)
    train(tale, BEGIN_S + 850, BEGIN_S + 1250, 41)
    finish(tale, BEGIN_S + 1260)
    return Truth("succeeded", attempts=("failed", "failed", "succeeded"))
