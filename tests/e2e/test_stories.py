"""Whole jobs on synthetic clusters, through the command line: fault, culprit and first line are those of the story."""

from pathlib import Path

import pytest
from cluster import Cluster, write
from command import Answer, scan
from machine_stories import a_gpu_falls_off_the_bus
from stories import FAILED, UNHARMED, Told, told

from relight.reports import render
from schemas.incident import ScanReport

CLUSTERS = (Cluster(seed=1, hosts=3), Cluster(seed=2, hosts=2))


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[Told, Path]:
    """A GPU falls off the bus in a job of 64 hosts."""
    story = told(a_gpu_falls_off_the_bus, Cluster(seed=7, hosts=64))
    return story, write(story.lines, tmp_path_factory.mktemp("large"))


@pytest.fixture(scope="module")
def of_large(large: tuple[Told, Path]) -> Answer:
    return scan(large[1])


def test_the_first_line_of_a_report_on_64_hosts_names_the_gpu_and_the_host(
    large: tuple[Told, Path], of_large: Answer
) -> None:
    truth = large[0].truth
    first = render(ScanReport.model_validate_json(of_large.out), "text").splitlines()[0]
    assert truth.gpu in first
    assert truth.host in first


def test_on_64_hosts_with_skewed_clocks_the_culprit_is_the_gpu_that_was_lost(
    large: tuple[Told, Path], of_large: Answer
) -> None:
    truth = large[0].truth
    (failure,) = of_large.failures
    assert failure["fault"] == "gpu.fallen_off_bus"
    assert failure["culprit"]["kind"] == "gpu"
    assert failure["culprit"]["host"] == truth.host
    assert truth.gpu in failure["culprit"]["gpu"]


def test_511_ranks_that_time_out_are_one_symptom_with_all_their_ranks(
    large: tuple[Told, Path], of_large: Answer
) -> None:
    cluster = large[0].cluster
    (failure,) = of_large.failures
    (waited,) = [e for e in failure["evidence"] if e["signature"] == "c10d.watchdog-timeout"]
    assert waited["role"] == "symptom"
    assert waited["ranks"] == [rank for rank in range(cluster.world) if rank != cluster.victim]
    assert waited["count"] >= cluster.world - 1
    assert len(waited["hosts"]) == 64
    symptoms = {symptom["signature"]: symptom["count"] for symptom in failure["symptoms"]}
    assert symptoms["c10d.watchdog-timeout"] == waited["count"]


def test_a_job_on_64_hosts_is_one_run_with_one_attempt(of_large: Answer) -> None:
    (run,) = of_large.runs
    assert run["outcome"] == "failed"
    assert len(run["attempts"]) == 1
    assert len(run["hosts"]) == 64
    assert run["ranks"] == 512


@pytest.mark.parametrize("cluster", CLUSTERS, ids=lambda cluster: f"{cluster.hosts} hosts")
@pytest.mark.parametrize("name", FAILED)
def test_a_story_is_understood_when(name: str, cluster: Cluster, tmp_path: Path) -> None:
    story = told(FAILED[name], cluster)
    answer, truth = scan(write(story.lines, tmp_path / "job")), story.truth
    assert answer.outcomes == [truth.outcome]
    (failure,) = answer.failures
    assert failure["fault"] == truth.fault
    if truth.cause is not None:
        assert truth.cause in failure["first_cause"]["text"]
    blamed = failure["culprit"]
    if truth.host is not None:
        assert blamed["host"] == truth.host
    if truth.rank is not None:
        assert blamed["rank"] == truth.rank
    if truth.gpu is not None:
        assert truth.gpu in blamed["gpu"]
    if truth.attempts:
        assert [a["outcome"] for a in answer.runs[0]["attempts"]] == list(truth.attempts)


@pytest.mark.parametrize("name", UNHARMED)
def test_nothing_failed_when(name: str, tmp_path: Path) -> None:
    story = told(UNHARMED[name], CLUSTERS[0])
    answer, truth = scan(write(story.lines, tmp_path / "job")), story.truth
    assert answer.outcomes == [truth.outcome]
    assert answer.failures == []
    if truth.attempts:
        assert [a["outcome"] for a in answer.runs[0]["attempts"]] == list(truth.attempts)


@pytest.mark.parametrize("hosts", [1, 2, 9])
def test_the_lost_gpu_is_named_whatever_the_number_of_hosts(hosts: int, tmp_path: Path) -> None:
    story = told(a_gpu_falls_off_the_bus, Cluster(3, hosts))
    (failure,) = scan(write(story.lines, tmp_path / "job")).failures
    assert failure["fault"] == "gpu.fallen_off_bus"
    assert failure["culprit"]["host"] == story.truth.host


def test_without_the_kernel_logs_the_rank_that_did_not_arrive_is_named(tmp_path: Path) -> None:
    story = told(a_gpu_falls_off_the_bus, Cluster(3))
    (failure,) = scan(write(story.lines, tmp_path / "job", kernel=False)).failures
    assert failure["fault"] == "comm.collective_timeout"
    assert failure["culprit"]["rank"] == story.cluster.victim


def test_the_same_cluster_tells_the_same_story_twice() -> None:
    once, again = (told(a_gpu_falls_off_the_bus, Cluster(5)).lines for _ in range(2))
    assert once == again


def test_clocks_differ_by_no_more_than_two_seconds_and_not_by_nothing() -> None:
    skew = Cluster(5, 64).skew_s.values()
    assert max(map(abs, skew)) <= 2
    assert max(skew) - min(skew) > 2
