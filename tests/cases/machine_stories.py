"""Stories of jobs that end because a machine or its storage fails."""

import wording
from cluster import BEGIN_S, Tale, crash, crash_all, launch, step_ends, time_out
from cluster import launcher_reports as report
from story import BROKE_S, Truth, fails, raises, trains


@fails
def a_gpu_falls_off_the_bus(tale: Tale) -> Truth:
    rank, host, pci = trains(tale)
    tale.kernel(BROKE_S, host, *wording.xid(pci, 79, "GPU has fallen off the bus."))
    tale.kernel(BROKE_S, host, f"NVRM: GPU {pci}: GPU has fallen off the bus.")
    tale.kernel(BROKE_S + 0.2, host, "NVRM: A GPU crash dump has been created. If possible, please run")
    time_out(tale, BROKE_S, [rank])
    return Truth("failed", "gpu.fallen_off_bus", "fallen off the bus", host, gpu=pci[:-2])


@fails
def a_gpu_has_an_uncorrectable_memory_error(tale: Tale) -> Truth:
    rank, host, pci = trains(tale)
    words = "An uncorrectable double bit error (DBE) has been detected on GPU in the framebuffer at partition 2."
    tale.kernel(BROKE_S, host, *wording.xid(pci, 48, words, f"pid={tale.cluster.pid_of(rank)}, name=python"))
    raises(tale, BROKE_S + 0.8, rank, "RuntimeError: CUDA error: uncorrectable ECC error encountered")
    return Truth("failed", "gpu.ecc_uncorrectable", ": 48, pid=", host, gpu=pci[:-2])


@fails
def a_gpu_system_processor_stops_answering(tale: Tale) -> Truth:
    rank, host, pci = trains(tale)
    words = "Timeout after 45s of waiting for RPC response from GPU3 GSP! Expected function 76 (GSP_RM_CONTROL)."
    tale.kernel(BROKE_S + 45, host, *wording.xid(pci, 119, words, f"pid={tale.cluster.pid_of(rank)}, name=python"))
    time_out(tale, BROKE_S, [rank])
    return Truth("failed", "gpu.gsp_error", ": 119, pid=", host, gpu=pci[:-2])


@fails
def an_nvlink_breaks(tale: Tale) -> Truth:
    rank, host, pci = trains(tale)
    words = "NVLink: fatal error detected on link 7(0x10000, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0)"
    tale.kernel(BROKE_S, host, *wording.xid(pci, 74, words))
    raises(
        tale, BROKE_S + 2.5, rank, "RuntimeError: CUDA error: uncorrectable NVLink error detected during the execution"
    )
    return Truth("failed", "gpu.nvlink_error", ": 74, pid=", host, gpu=pci[:-2])


@fails
def the_kernel_kills_a_rank_for_memory(tale: Tale) -> Truth:
    rank, host, _ = trains(tale)
    pid = tale.cluster.pid_of(rank)
    sizes = "total-vm:412008844kB, anon-rss:201004112kB, file-rss:81204kB, shmem-rss:0kB, UID:1001 pgtables:402112kB"
    tale.kernel(BROKE_S, host, "python invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0")
    tale.kernel(BROKE_S, host, f"Memory cgroup out of memory: Killed process {pid} (python) {sizes} oom_score_adj:0")
    crash(tale, BROKE_S, rank, -9)
    return Truth("failed", "host.oom_kill", "oom", host)


@fails
def the_kernel_kills_a_data_loader_for_memory(tale: Tale) -> Truth:
    rank, host, _ = trains(tale)
    sizes = "total-vm:91208844kB, anon-rss:60104112kB, file-rss:812kB, shmem-rss:0kB, UID:1001 pgtables:40112kB"
    tale.kernel(
        BROKE_S, host, f"Memory cgroup out of memory: Killed process 43117 (pt_data_worker) {sizes} oom_score_adj:0"
    )
    raises(tale, BROKE_S + 2.5, rank, "RuntimeError: DataLoader worker (pid 43117) is killed by signal: Killed. ")
    return Truth("failed", "host.oom_kill", "Memory cgroup out of memory", host)


@fails
def a_data_loader_is_killed_and_nothing_says_by_whom(tale: Tale) -> Truth:
    rank, host, _ = trains(tale)
    raises(tale, BROKE_S, rank, "RuntimeError: DataLoader worker (pid 43117) is killed by signal: Killed. ")
    return Truth("failed", "host.dataloader_killed", "DataLoader worker (pid 43117)", host, rank)


@fails
def a_host_locks_up(tale: Tale) -> Truth:
    rank, host, _ = trains(tale)
    tale.kernel(BROKE_S + 22, host, "watchdog: BUG: soft lockup - CPU#17 stuck for 22s! [python:41003]")
    tale.kernel(BROKE_S + 52, host, "watchdog: BUG: soft lockup - CPU#17 stuck for 52s! [python:41003]")
    time_out(tale, BROKE_S, [rank])
    return Truth("failed", "host.kernel_fault", "soft lockup", host)


@fails
def a_node_is_lost(tale: Tale) -> Truth:
    _, host, _ = trains(tale)
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


@fails
def an_infiniband_link_goes_down(tale: Tale) -> Truth:
    rank, host, _ = trains(tale)
    peer = "Got completion from peer 10.60.0.21<51766> with status=12 opcode=0 len=0 vendor err 129 (Send)"
    where = f"{host}:{tale.cluster.pid_of(rank)}:{tale.cluster.pid_of(rank) + 700} [{rank % 8}]"
    tale.kernel(BROKE_S, host, "mlx5_core 0000:5e:00.0 ib3: Link down")
    tale.rank(
        BROKE_S + 8,
        rank,
        f"{where} transport/net_ib.cc:1298 NCCL WARN NET/IB : {peer} localGid fe80::1 remoteGids fe80::2 hca mlx5_3",
    )
    error = "torch.distributed.DistBackendError: NCCL error in: ../ProcessGroupNCCL.cpp:2006, unhandled system error, "
    raises(tale, BROKE_S + 8.5, rank, f"{error}NCCL version 2.21.5")
    return Truth("failed", "comm.ib_link", None, host)


@fails
def a_disk_is_full(tale: Tale) -> Truth:
    rank, host, _ = trains(tale)
    error = f"OSError: [Errno 28] No space left on device: '/ckpt/run7/step-60/__{rank}_0.distcp'"
    raises(tale, BROKE_S, rank, error, "save_checkpoint")
    return Truth("failed", "storage.disk_full", "No space left on device", host)


@fails
def a_file_handle_is_stale_on_one_host(tale: Tale) -> Truth:
    rank, host, _ = trains(tale)
    error = "OSError: [Errno 116] Stale file handle: '/nfs/corpus/shard_00017.bin'"
    raises(tale, BROKE_S, rank, error, "next_batch")
    return Truth("failed", "storage.io_error", "Stale file handle", host)


@fails
def lustre_evicts_a_client(tale: Tale) -> Truth:
    rank, host, _ = trains(tale)
    evicted = "This client was evicted by scratch-OST0007; in progress operations using this service will fail."
    tale.kernel(BROKE_S, host, f"LustreError: 167-0: scratch-OST0007-osc-ffff8f1c0a2b3000: {evicted}")
    raises(tale, BROKE_S + 3, rank, "OSError: [Errno 5] Input/output error: '/lustre/corpus/shard_3.bin'", "next_batch")
    return Truth("failed", "storage.io_error", "was evicted by scratch-OST0007", host)


@fails
def a_checkpoint_is_corrupt(tale: Tale) -> Truth:
    launch(tale, BEGIN_S)
    error = "RuntimeError: PytorchStreamReader failed reading zip archive: failed finding central directory"
    crash_all(tale, BEGIN_S + 70, error, "load_checkpoint")
    return Truth("failed", "storage.checkpoint_corrupt", "failed finding central directory")
