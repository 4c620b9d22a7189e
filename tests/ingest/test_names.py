"""What the names of directories and files tell."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.names import origin_of
from schemas.record import Origin
from schemas.vocabulary import Provenance

TOLD = {
    "node17.log": Origin(host="node17"),
    "rank_3/stderr.log": Origin(rank=3),
    "rank-00012.txt": Origin(rank=12),
    "logs/global_rank_12.log": Origin(rank=12),
    "host-gpu-04/dmesg": Origin(host="host-gpu-04"),
    "host=gpu-04/rank=3/out": Origin(host="gpu-04", rank=3),
    "job_123/attempt_2/rank3.log": Origin(job="123", attempt="2", rank=3),
    "run_abc/attempt_0/3/stderr.log": Origin(attempt="0"),
    "slurm-4711.out": Origin(job="4711"),
    "slurm-4711_3.out": Origin(job="4711_3"),
    "slurm-4711-node12.out": Origin(job="4711", host="node12"),
    "worker-0.log": Origin(host="worker-0"),
    "default_train-worker-3_0f1e/pytorch/0.log": Origin(host="train-worker-3", job="train"),
    "10.0.0.3.log": Origin(host="10.0.0.3"),
    "10.0.0.3.log.1.gz": Origin(host="10.0.0.3"),
    "ip-10-0-0-3.log": Origin(host="ip-10-0-0-3"),
    "log_node12_rank96.txt": Origin(host="node12", rank=96),
    "train.log.dgx-017": Origin(host="dgx-017"),
    "dmesg-gpu-04.txt": Origin(host="gpu-04"),
    "node17-20240501.log": Origin(host="node17"),
    "node049.cm.cluster.log": Origin(host="node049.cm.cluster"),
    "gpu-01.rack2.example.com/messages": Origin(host="gpu-01.rack2.example.com"),
    "gpu_3.log": Origin(gpu=3),
    "gpu3": Origin(gpu=3),
    "node_12.log": Origin(host="node_12"),
    "node1/node2.log": Origin(host="node2"),
}

NOT_TOLD = [
    "result_0.txt",
    "run_3.log",
    "checkpoint-100",
    "epoch-3",
    "trial_1",
    "local_rank_3.log",
    "node_rank_3",
    "dgx-h100",
    "v100.log",
    "torch-2.1.0.1.log",
    "999.1.1.1.log",
    "rank.log",
    "dmesg",
    "",
]


@pytest.mark.parametrize("path", TOLD)
def test_names_tell_host_rank_gpu_job_and_attempt(path: str) -> None:
    assert origin_of(tuple(path.split("/"))) == TOLD[path]


@pytest.mark.parametrize("path", NOT_TOLD)
def test_what_only_looks_like_a_host_or_a_rank_tells_nothing(path: str) -> None:
    assert origin_of((path,)) == Origin()


@pytest.mark.parametrize("path", ["dmesg", "kern.log", "kernel.log.1", "node1/dmesg.txt"])
def test_a_name_does_not_vouch_for_the_kernel(path: str) -> None:
    assert origin_of(tuple(path.split("/"))).provenance is Provenance.UNKNOWN


@given(st.lists(st.text(), max_size=4))
def test_any_name_is_read_without_an_exception(path: list[str]) -> None:
    assert origin_of(tuple(path)) == origin_of(tuple(path))
