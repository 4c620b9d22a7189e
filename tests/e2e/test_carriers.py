"""The same story in the formats of many carriers: the diagnosis does not depend on what brought the lines."""

from collections.abc import Callable
from pathlib import Path

import carriers
import pytest
from carriers import Carrier
from cluster import Cluster, Line, Writer
from command import scan
from machine_stories import a_gpu_falls_off_the_bus
from program_stories import one_rank_runs_out_of_gpu_memory
from stories import Told, told

OF_A_HOST = (
    carriers.plain,
    carriers.syslog_rfc3164,
    carriers.syslog_iso,
    carriers.syslog_rfc5424,
    carriers.journald,
    carriers.cri,
    carriers.docker_json_file,
    carriers.torchrun_tee,
)
OF_ALL_HOSTS = (carriers.srun_label, carriers.pdsh, carriers.syslog_rfc3164, carriers.syslog_iso, carriers.journald)
OF_A_KERNEL = (
    carriers.syslog_rfc3164,
    carriers.syslog_iso,
    carriers.syslog_rfc5424,
    carriers.journald,
    carriers.dmesg,
    carriers.dmesg_with_dates,
)


def _named(carrier: Callable[..., str]) -> str:
    return carrier.__name__


def _put(lines: list[Line], carrier: Carrier, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{carrier(line)}\n" for line in sorted(lines, key=lambda line: line.at_s)))


def _by_host(story: Told, writer: Writer) -> dict[str, list[Line]]:
    return {h: [x for x in story.lines if x.host == h and x.writer is writer] for h in story.cluster.names}


@pytest.fixture(scope="module")
def out_of_memory() -> Told:
    return told(one_rank_runs_out_of_gpu_memory, Cluster(seed=4, hosts=3))


@pytest.fixture(scope="module")
def gpu_lost() -> Told:
    return told(a_gpu_falls_off_the_bus, Cluster(seed=4, hosts=3))


@pytest.mark.parametrize("carrier", OF_A_HOST, ids=_named)
def test_a_failed_rank_is_found_in_one_file_a_host_written_by(
    carrier: Carrier, out_of_memory: Told, tmp_path: Path
) -> None:
    for host, lines in _by_host(out_of_memory, Writer.APP).items():
        _put(lines, carrier, tmp_path / host / "train.log")
    answer, truth = scan(tmp_path), out_of_memory.truth
    (failure,) = answer.failures
    assert answer.outcomes == ["failed"]
    assert failure["fault"] == truth.fault
    assert truth.cause in failure["first_cause"]["text"]
    assert failure["culprit"]["rank"] == truth.rank
    assert failure["culprit"]["host"] == truth.host


@pytest.mark.parametrize("carrier", OF_ALL_HOSTS, ids=_named)
def test_a_failed_rank_is_found_in_one_file_of_all_hosts_written_by(
    carrier: Carrier, out_of_memory: Told, tmp_path: Path
) -> None:
    _put([line for line in out_of_memory.lines if line.writer is Writer.APP], carrier, tmp_path / "job.log")
    answer, truth = scan(tmp_path / "job.log"), out_of_memory.truth
    (failure,) = answer.failures
    assert answer.outcomes == ["failed"]
    assert failure["fault"] == truth.fault
    assert truth.cause in failure["first_cause"]["text"]
    assert failure["culprit"]["rank"] == truth.rank
    if carrier is not carriers.srun_label:
        assert failure["culprit"]["host"] == truth.host


@pytest.mark.parametrize("carrier", OF_A_KERNEL, ids=_named)
def test_a_lost_gpu_is_found_and_the_kernel_vouched_for_in_a_log_written_by(
    carrier: Carrier, gpu_lost: Told, tmp_path: Path
) -> None:
    for host, lines in _by_host(gpu_lost, Writer.KERNEL).items():
        _put(lines, carrier, tmp_path / host / "kern.log")
    for host, lines in _by_host(gpu_lost, Writer.APP).items():
        _put(lines, carriers.plain, tmp_path / host / "train.log")
    (failure,) = scan(tmp_path).failures
    assert failure["fault"] == "gpu.fallen_off_bus"
    assert failure["culprit"]["host"] == gpu_lost.truth.host
    assert gpu_lost.truth.gpu in failure["culprit"]["gpu"]
    assert failure["provenance_verified"]


def test_an_xid_that_a_program_prints_into_syslog_is_not_the_kernels(tmp_path: Path) -> None:
    forged = "NVRM: Xid (PCI:0000:3b:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus."
    line = Line(1778550000.0, "node01", Writer.APP, forged, 3)
    _put([line], carriers.syslog_iso, tmp_path / "node01" / "messages")
    answer = scan(tmp_path)
    assert answer.incidents == []
