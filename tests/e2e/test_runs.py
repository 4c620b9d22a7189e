"""Runs and attempts: which files tell of one run, and what is said of each."""

from pathlib import Path

import pytest
import wording
from cluster import BEGIN_S, Cluster, write
from command import scan
from long_stories import a_quiet_run_succeeds
from machine_stories import a_gpu_falls_off_the_bus
from stories import told

ENDS = {
    "succeeded": (),
    "software.user_code": wording.python_exception(0, "KeyError: 'attention_mask'"),
    "cuda.out_of_memory": wording.python_exception(
        0, "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.50 GiB."
    ),
    "storage.disk_full": wording.python_exception(0, "OSError: [Errno 28] No space left on device: '/ckpt/step-9.pt'"),
}
CHOSEN = [list(ENDS)[at % 4] for at in range(10)]


def _result(begin_s: float, end: str) -> str:
    lines = [wording.titan(begin_s, "Training starts at step 1")]
    lines += [wording.step(begin_s + 10 * at, at, 9.0 - at / 20) for at in range(1, 61)]
    lines += ENDS[end] or [wording.titan(begin_s + 620, "Training completed")]
    return "".join(f"{line}\n" for line in lines)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Ten runs, one after the other, as benchmarks write them."""
    for at, end in enumerate(CHOSEN):
        (tmp_path / f"result_{at}.txt").write_text(_result(BEGIN_S + 1200 * at, end))
    return tmp_path


def test_ten_result_files_with_their_own_starts_and_ends_are_ten_runs(results: Path) -> None:
    answer = scan(results)
    assert [Path(run["name"]).name for run in answer.runs] == [f"result_{at}.txt" for at in range(10)]
    assert answer.outcomes == ["succeeded" if end == "succeeded" else "failed" for end in CHOSEN]


def test_each_of_ten_results_has_its_own_fault(results: Path) -> None:
    faults = {Path(i["run"]).name: i["fault"] for i in scan(results).failures}
    assert faults == {f"result_{at}.txt": end for at, end in enumerate(CHOSEN) if end != "succeeded"}


def test_grouped_by_file_every_file_is_a_run(results: Path) -> None:
    assert len(scan(results, "--group", "file").runs) == 10


def test_grouped_as_one_all_files_are_one_run(results: Path) -> None:
    assert len(scan(results, "--group", "all").runs) == 1


def test_grouped_by_directory_each_directory_is_a_run(tmp_path: Path) -> None:
    for day, story in (("monday", a_quiet_run_succeeds), ("tuesday", a_gpu_falls_off_the_bus)):
        for line in told(story, Cluster(2, 1)).lines:
            path = tmp_path / day / f"{line.writer.value}.log"
            path.parent.mkdir(exist_ok=True)
            with path.open("a") as file:
                file.write(f"{line.text}\n")
    answer = scan(tmp_path, "--group", "dir")
    assert {Path(run["name"]).name: run["outcome"] for run in answer.runs} == {
        "monday": "succeeded",
        "tuesday": "failed",
    }


def test_the_logs_of_all_hosts_of_a_job_are_one_run(tmp_path: Path) -> None:
    (run,) = scan(write(told(a_quiet_run_succeeds, Cluster(2, 5)).lines, tmp_path / "job")).runs
    assert run["hosts"] == list(Cluster(2, 5).names)


def test_the_result_does_not_depend_on_the_number_of_processes(results: Path) -> None:
    assert scan(results, "--jobs", "1").out == scan(results, "--jobs", "2").out


def test_a_scan_repeated_gives_the_same_bytes(results: Path) -> None:
    assert scan(results).out == scan(results).out
