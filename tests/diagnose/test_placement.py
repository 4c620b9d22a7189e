"""Placement: which host is meant, where lines name pods, addresses, labels and ranks, or nobody at all."""

import json
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagnose.correlation.conclusion import conclude
from diagnose.correlation.jobs import Job
from diagnose.correlation.placement import placed
from diagnose.correlation.whereabouts import Whereabouts, expanded, whereabouts
from diagnose.matching.scanner import Scanner
from ingest.names import origin_of
from schemas.incident import Incident
from schemas.record import Source
from schemas.signal import Signal, SourceRead
from tests.diagnose.made import failure, read, resolve, said
from tests.diagnose.reading import signals, text

OUT = "slurm-4711.out"
STEP = "iteration 100/ 5000 | elapsed time per iteration (ms): 400.0 | lm loss: 2.1"
GONE = (
    "NET/IB: Got completion from peer 10.0.0.{}<37540> with status=12 opcode=0 len=0 vendor err 129 (Send) hca mlx5_1"
)
TOO_MANY = "OSError: [Errno 24] Too many open files"


def nccl(host: str, rank: int, world: int, gpu: int | None = None) -> str:
    device = rank % 8 if gpu is None else gpu
    return (
        f"{host}:{4000 + rank}:{4900 + rank} [{device}] NCCL INFO ncclCommInitRank comm 0x55d5c6f1a2b0 rank {rank} "
        f"nranks {world} cudaDev {device} nvmlDev {device} busId 1b000 commId 0x7d2a9a0b1c2d3e4f - Init COMPLETE"
    )


def address(host: str, ip: str) -> str:
    return f"{host}:4000:4000 [0] NCCL INFO Bootstrap : Using eth0:{ip}<0>"


def event(pod: str, reason: str, message: str, node: str | None = None, at: str = "2025-11-24T16:00:00Z") -> str:
    said_by = {"component": "kubelet", "host": node} if node else {"component": "default-scheduler"}
    about = {"kind": "Pod", "name": pod, "namespace": "train"}
    told = {"kind": "Event", "involvedObject": about, "reason": reason, "message": message, "source": said_by}
    return json.dumps(told | {"lastTimestamp": at})


def known(scanner: Scanner, files: Mapping[str, list[str]]) -> tuple[list[SourceRead], list[Signal]]:
    """Return what is read of files, by their names."""
    found: list[Signal] = []
    reads: list[SourceRead] = []
    for name, lines in files.items():
        path = tuple(name.split("/"))
        origin = origin_of(path)
        own = signals(scanner, text(*lines), source=Source(name, path, origin))
        found += own
        placed = origin.host is not None or origin.rank is not None
        reads.append(read(name, own, host=origin.host, rank=origin.rank, job=origin.job, placed=placed))
    return reads, found


def failed(scanner: Scanner, files: Mapping[str, list[str]], run: str = "") -> Incident:
    """Return the one incident by which a run failed, of all or of one."""
    reads, found = known(scanner, files)
    incidents = conclude(reads, found, resolve).incidents
    (one,) = [i for i in incidents if i.impact == "failed" and run in i.run]
    return one


# --- Kubernetes ----------------------------------------------------------------------------------------------------


def test_what_a_pod_says_is_about_its_node(scanner: Scanner) -> None:
    assigned = event("llm-worker-3", "Scheduled", "Successfully assigned train/llm-worker-3 to gpu-17")
    pod = "2025-11-24T16:10:00.000000000Z stderr F "
    files = {"events.jsonl": [assigned], "train_llm-worker-3_0f1e/pytorch/0.log": [pod + "[rank3]: " + TOO_MANY]}
    found = failed(scanner, files)
    assert (found.fault, found.culprit.host) == ("host.too_many_files", "gpu-17")
    assert found.scope.hosts == ("gpu-17",)


def test_a_pod_that_ran_on_two_nodes_is_meant_on_the_last(scanner: Scanner) -> None:
    lines = [
        event("llm-worker-3", "Scheduled", "Successfully assigned train/llm-worker-3 to gpu-17"),
        event(
            "llm-worker-3", "Scheduled", "Successfully assigned train/llm-worker-3 to gpu-9", at="2025-11-24T17:00:00Z"
        ),
    ]
    assert whereabouts(*known(scanner, {"events.jsonl": lines})).host("llm-worker-3") == "gpu-9"


def test_an_event_of_the_kubelet_is_about_its_node(scanner: Scanner) -> None:
    low = "The node was low on resource: memory. Threshold quantity: 100Mi, available: 76Mi. "
    found = failed(scanner, {"events.jsonl": [event("llm-worker-3", "Evicted", low, node="gpu-17")]})
    assert (found.fault, found.culprit.host) == ("scheduler.evicted", "gpu-17")


def test_the_pods_of_two_jobs_are_two_runs(scanner: Scanner) -> None:
    files = {
        "train_llm-a-worker-0_0f1e/pytorch/0.log": ["[rank0]: " + TOO_MANY],
        "train_llm-b-worker-0_0f1f/pytorch/0.log": [STEP],
    }
    reads, found = known(scanner, files)
    assert sorted(run.name for run in conclude(reads, found, resolve).runs) == ["job llm-a", "job llm-b"]


# --- srun's labels -------------------------------------------------------------------------------------------------


def test_a_label_is_a_rank_where_each_rank_is_a_task(scanner: Scanner) -> None:
    lines = [f"{rank:2}: " + nccl(f"node0{rank // 8 + 1}", rank, 16) for rank in range(16)]
    found = failed(scanner, {OUT: [*lines, f"12: {TOO_MANY}"]})
    assert (found.culprit.host, found.scope.ranks) == ("node02", (12,))


def test_a_label_is_the_number_of_a_host_where_each_host_has_an_agent(scanner: Scanner) -> None:
    lines = [f"{rank // 8}: " + nccl(f"node0{rank // 8 + 1}", rank, 16) for rank in range(16)]
    found = failed(scanner, {OUT: [*lines, f"1: {TOO_MANY}"]})
    assert (found.culprit.host, found.scope.ranks) == ("node02", ())


def test_a_rank_that_a_line_names_is_one_whatever_the_label_is(scanner: Scanner) -> None:
    lines = [f"{rank // 8}: " + nccl(f"node0{rank // 8 + 1}", rank, 16) for rank in range(16)]
    found = failed(scanner, {OUT: [*lines, f"1: [rank12]: {TOO_MANY}"]})
    assert (found.culprit.host, found.scope.ranks) == ("node02", (12,))


def test_the_list_of_the_scheduler_tells_where_tasks_run_that_say_nothing_of_it(scanner: Scanner) -> None:
    allocated = "[2025-11-24T16:00:00.000] sched: Allocate JobId=4711 NodeList=node[07-09] #CPUs=288 Partition=train"
    others = allocated.replace("4711", "4712").replace("node[07-09]", "cpu01")
    lines = [f" {label}: {STEP}" for label in range(3)]
    found = failed(scanner, {OUT: [*lines, f"17: {TOO_MANY}"], "slurmctld.log": [others, allocated]})
    assert found.culprit.host == "node09"


def test_as_many_labels_as_there_are_hosts_are_hosts(scanner: Scanner) -> None:
    allocated = "[2025-11-24T16:00:00.000] sched: Allocate JobId=4711 NodeList=node[07-09] #CPUs=288 Partition=train"
    lines = [f"{label}: {STEP}" for label in range(3)]
    found = failed(scanner, {OUT: [*lines, f"2: {TOO_MANY}"], "slurmctld.log": [allocated]})
    assert (found.culprit.host, found.scope.ranks) == ("node09", ())


def test_a_rank_of_which_only_its_neighbours_are_known_is_on_their_host(scanner: Scanner) -> None:
    lines = [f"{rank:2}: " + nccl(f"node0{rank // 8 + 1}", rank, 16) for rank in (0, 9)]
    assert failed(scanner, {OUT: [*lines, f"12: {TOO_MANY}"]}).culprit.host == "node02"


def test_a_rank_of_a_small_communicator_is_no_rank_of_the_job(scanner: Scanner) -> None:
    small = [f"{rank:2}: " + nccl(f"node0{rank // 8 + 1}", rank % 8, 8) for rank in range(16)]
    whole = [f"{rank:2}: " + nccl(f"node0{rank // 8 + 1}", rank, 16) for rank in range(16)]
    assert failed(scanner, {OUT: [*whole, *small], "rank_3.log": [TOO_MANY]}).culprit.host == "node01"


def test_a_line_that_speaks_of_another_rank_does_not_move_it(scanner: Scanner) -> None:
    lines = [nccl(f"node0{rank // 8 + 1}", rank, 16) for rank in range(16)]
    odd = "node02:4009:4909 [1] NCCL WARN Mismatched NCCL version detected : rank 0 version 22105 rank 9 version 21805"
    files = {"train.log": [*lines, odd], "rank_0.log": ["[rank0]: " + TOO_MANY]}
    reads, found = known(scanner, files)
    (job,) = [placed(Job("job", reads, found)).job]
    assert {s.host for s in job.signals if s.source == "rank_0.log"} == {"node01"}


# --- who is meant, and who only speaks -----------------------------------------------------------------------------


def test_a_list_of_hosts_is_no_host(scanner: Scanner) -> None:
    found = failed(scanner, {OUT: ["srun: error: hgx[0001,0005]: tasks 3,35: Aborted (core dumped)"]})
    assert found.culprit.host is None


def test_who_never_came_is_the_host_of_which_nothing_is_heard(scanner: Scanner) -> None:
    allocated = "[2025-11-24T16:00:00.000] sched: Allocate JobId=4711 NodeList=r1n[1-3] #CPUs=288 Partition=train"
    few = "torch.distributed.DistStoreError: Timed out after 601 seconds waiting for clients. 16/24 clients joined."
    lost = "torch.distributed.DistNetworkError: failed to recv, got 0 bytes"
    ended = "srun: error: r1n[1,3]: tasks 0,2: Exited with exit code 1"
    files = {OUT: [ended], "slurmctld.log": [allocated], "r1n1/train.log": [few], "r1n3/train.log": [lost]}
    found = failed(scanner, files)
    assert (found.fault, found.culprit.host) == ("comm.rendezvous", "r1n2")


@pytest.mark.parametrize("nowhere", ["[::]", "localhost", "[::1]"])
def test_an_address_of_no_host_in_particular_is_no_host(scanner: Scanner, nowhere: str) -> None:
    line = f"The server socket has failed to bind to {nowhere}:29500 (errno: 98 - Address already in use)."
    assert (
        failed(scanner, {"node07/train.log": [f"[W1124 16:10:00.000000000 socket.cpp:464] [c10d] {line}"]}).culprit.host
        == "node07"
    )


def test_a_folder_is_a_host_that_speaks_elsewhere_whatever_its_name_looks_like(scanner: Scanner) -> None:
    files = {
        "gpu-1/kern.log": ["Nov 24 16:00:00 gpu-1 kernel: NVRM: Xid (PCI:0000:1b:00): 31, pid=7, name=python3, Ch 8"],
        "gpu-1/train.log": [TOO_MANY],
    }
    reads, found = known(scanner, files)
    at = whereabouts(reads, found)
    assert {at.of(signal).host for signal in found} == {"gpu-1"}


def test_the_far_end_of_a_connection_is_to_blame_that_says_nothing_itself(scanner: Scanner) -> None:
    gone = GONE.format(2)
    hosts = [address(f"node0{n}", f"10.0.0.{n}") for n in (1, 2, 3)]
    warnings = [f"node0{n}:4000:4900 [1] NCCL WARN {gone}" for n in (1, 3)]
    inits = [nccl(f"node0{n}", 8 * (n - 1), 24) for n in (1, 2, 3)]
    found = failed(scanner, {"job.log": [*hosts, *inits, *warnings]})
    assert (found.fault, found.culprit.name) == ("comm.ib_link", "host node02")


def test_a_host_that_is_named_by_its_address_is_known_by_it(scanner: Scanner) -> None:
    names = [f"ip-10-0-0-{n}" for n in (1, 2, 3)]
    inits = [nccl(name, 8 * at, 24) for at, name in enumerate(names)]
    warnings = [f"{name}:4000:4900 [1] NCCL WARN {GONE.format(2)}" for name in (names[0], names[2])]
    assert failed(scanner, {"job.log": [*inits, *warnings]}).culprit.host == "ip-10-0-0-2"


def test_the_host_that_all_others_waited_for_is_the_far_end(scanner: Scanner) -> None:
    waits = "Watchdog caught collective operation timeout: WorkNCCL(SeqNum=7, OpType=ALLREDUCE, NumelIn=1, NumelOut=1, "
    waits += "Timeout(ms)=600000) ran for 600001 milliseconds before timing out."
    lines = [address(f"node0{n}", f"10.0.0.{n}") for n in (1, 2, 3)]
    lines += [nccl(f"node0{rank // 8 + 1}", rank, 24) for rank in range(24)]
    lines += [f"node02:4000:4900 [1] NCCL WARN {GONE.format(1)}"]
    others = [rank for rank in range(24) if rank // 8 != 1]
    lines += [f"[rank{rank}]:[E ProcessGroupNCCL.cpp:607] [Rank {rank}] {waits}" for rank in others]
    assert failed(scanner, {"job.log": lines}).culprit.host == "node02"


def test_the_only_host_that_was_not_told_to_stop_is_the_one_that_had_ended() -> None:
    told = [said("launcher.torchrun-stopped", 10, host=f"node0{n}", source=f"node0{n}.log") for n in (1, 2)]
    place = [said("place.slurm-task", 1, host=f"node0{n}", source=f"slurmd-{n}.log", job="4711") for n in (1, 2, 3)]
    place = [s.model_copy(update={"captures": {"job": "4711"}}) for s in place]
    assert failure(*place, *told).culprit.host == "node03"


def test_the_rank_that_differs_is_to_blame_and_not_the_one_that_says_so(scanner: Scanner) -> None:
    lines = [nccl(f"node0{rank // 8 + 1}", rank, 16) for rank in range(16)]
    odd = "node01:4001:4901 [1] NCCL WARN Mismatched NCCL version detected : rank 0 version 22105 rank 9 version 21805"
    assert failed(scanner, {"job.log": [*lines, odd]}).culprit.name == "rank 9 on node02"


def test_the_ranks_with_the_version_that_few_have_are_to_blame(scanner: Scanner) -> None:
    lines = [nccl(f"node0{rank // 8 + 1}", rank, 24) for rank in range(24)]
    differs = (
        "node0{}:400{}:4901 [1] NCCL WARN Mismatched NCCL version detected : rank {} version {} rank {} version {}"
    )
    others = [differs.format(1 + r // 8, r, 9, 21805, r, 22105) for r in (2, 3, 17)]
    itself = differs.format(2, 9, 0, 22105, 9, 21805)
    assert failed(scanner, {"job.log": [*lines, *others, itself]}).culprit.name == "rank 9 on node02"


def test_both_ends_of_a_connection_that_name_each_other_stay_themselves(scanner: Scanner) -> None:
    lines = [address(f"node0{n}", f"10.0.0.{n}") for n in (1, 2)] + [nccl(f"node0{n}", 8 * (n - 1), 16) for n in (1, 2)]
    lines += [f"node0{n}:4000:4900 [1] NCCL WARN {GONE.format(3 - n)}" for n in (1, 2)]
    assert failed(scanner, {"job.log": lines}).culprit.host == "node01"


def test_who_does_not_find_a_name_is_to_blame_and_not_the_name(scanner: Scanner) -> None:
    line = "The IPv4 network addresses of (node01, 29500) cannot be retrieved (gai error: -3 - Temporary failure)."
    found = failed(scanner, {"node03/train.log": [f"torch.distributed.DistNetworkError: {line}"]})
    assert (found.fault, found.culprit.host) == ("comm.dns", "node03")


def test_the_host_of_the_step_is_not_the_one_that_failed(scanner: Scanner) -> None:
    at = "2025-11-24T16:10:00"
    step = f"slurmstepd: error: *** STEP 4711.0 ON node01 CANCELLED AT {at} DUE TO NODE FAILURE, SEE SLURMCTLD LOG ***"
    down = f"[{at}.100] error: Nodes node03 not responding, setting DOWN"
    assert failed(scanner, {OUT: [step], "slurmctld.log": [down]}).culprit.host == "node03"
    assert failed(scanner, {OUT: [step]}).culprit.host is None


def test_what_no_line_places_is_where_workers_died_first(scanner: Scanner) -> None:
    lines = [
        "slurmstepd: error: Detected 1 oom_kill event in StepId=4711.0. Some of the step tasks have been OOM Killed.",
        "srun: error: node03: task 2: Out Of Memory",
        "srun: error: node[01-02]: tasks 0-1: Killed",
    ]
    found = failed(scanner, {OUT: lines})
    assert (found.fault, found.culprit.host) == ("host.oom_kill", "node03")


# --- several jobs --------------------------------------------------------------------------------------------------


def test_what_hosts_say_belongs_to_the_job_that_the_scheduler_put_there(scanner: Scanner) -> None:
    allocated = "[2025-11-24T16:00:00.000] sched: Allocate JobId={} NodeList=node0{} #CPUs=96 Partition=train"
    killed = "2025-11-24T16:10:00.000000+00:00 node02 kernel: Memory cgroup out of memory: Killed process 7 (python3)"
    files = {
        "slurm-4711.out": ["srun: error: node01: task 0: Exited with exit code 1"],
        "slurm-4712.out": ["slurmstepd: error: Detected 1 oom_kill event in StepId=4712.0."],
        "slurmctld.log": [allocated.format(4711, 1), allocated.format(4712, 2)],
        "syslog/node02.log": [killed],
    }
    found = failed(scanner, files, "4712")
    assert (found.fault, found.culprit.host) == ("host.oom_kill", "node02")
    assert "host.oom_kill" not in {e.fault for e in failed(scanner, files, "4711").evidence}


def test_a_rank_that_moved_is_meant_where_it_was_then() -> None:
    told = [
        said("nccl.ib-port-error", 10, host="node01", rank=3, nic="mlx5_0"),
        said("nccl.ib-port-error", 1000, host="node09", rank=3, nic="mlx5_0"),
        said("python.value-error", 20, rank=3, source="rank3.log"),
        said("python.value-error", 1020, rank=3, source="rank3.log"),
    ]
    by_time = {s.first.time_s: s.host for s in placed(Job("job", [read("job.log", told)], told)).job.signals}
    assert list(by_time.values()) == ["node01", "node09", "node01", "node09"]


# --- properties ----------------------------------------------------------------------------------------------------


def test_lists_of_hosts_are_read_as_slurm_writes_them() -> None:
    assert expanded("node[003-005,009],login1") == ("node003", "node004", "node005", "node009", "login1")
    assert expanded("node17") == ("node17",)


@given(st.text(alphabet="ab[]-,0123456789", max_size=60))
def test_a_list_of_hosts_is_never_longer_than_it_may_be(listed: str) -> None:
    assert len(expanded(listed)) <= 4096


@given(st.dictionaries(st.sampled_from("abcdef"), st.sampled_from("abcdef")), st.sampled_from("abcdef"))
def test_names_that_stand_for_each_other_in_a_circle_end(names: dict[str, str], name: str) -> None:
    assert Whereabouts(names).host(name) in {*"abcdef"}
