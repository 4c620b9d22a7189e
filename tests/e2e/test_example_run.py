"""The bundled example: it is what its generator writes, and relight tells its story."""

import os
from datetime import UTC, datetime
from pathlib import Path

import example_run
import pytest
from command import relight, scan

FOLDER = Path(__file__).parents[2] / "docs/example-run"
LOGS = FOLDER / "logs"


def test_the_committed_files_are_what_the_generator_writes() -> None:
    kept = {str(path.relative_to(LOGS)): path.read_text(encoding="utf-8") for path in LOGS.rglob("*") if path.is_file()}
    assert kept == example_run.files()


def test_it_says_that_it_is_synthetic_outside_of_what_is_scanned() -> None:
    assert "synthetic" in (FOLDER / "README.md").read_text(encoding="utf-8")
    assert not list(LOGS.rglob("*.md"))


def test_it_is_small_enough_to_be_bundled_and_large_enough_to_hide_a_line() -> None:
    assert 100_000 < sum(len(text) for text in example_run.files().values()) < 300_000


def test_its_cause_is_the_gpu_that_node03_lost_at_03_12_04() -> None:
    answer = scan(LOGS)
    (failure,) = answer.failures
    assert answer.outcomes == ["failed"]
    assert failure["fault"] == "gpu.fallen_off_bus"
    assert failure["culprit"]["host"] == "node03"
    assert failure["culprit"]["gpu"].startswith("0000:3b:00")
    assert failure["first_cause"]["source"].endswith("node03/kern.log")
    assert failure["first_cause"]["time"].startswith("2026-05-12T03:12:04")
    assert failure["provenance_verified"]


def test_the_31_ranks_that_timed_out_are_one_symptom() -> None:
    (failure,) = scan(LOGS).failures
    (waited,) = [e for e in failure["evidence"] if e["signature"] == "c10d.watchdog-timeout"]
    assert waited["ranks"] == [rank for rank in range(32) if rank != example_run.LOST_RANK]
    assert waited["role"] == "symptom"
    assert waited["first"]["time"].startswith("2026-05-12T03:22:0")


def test_its_report_begins_with_the_answer() -> None:
    first = relight("scan", LOGS).out.splitlines()[0]
    assert "0000:3b:00" in first
    assert "node03" in first


@pytest.mark.parametrize("year", [2026, 2029])
def test_its_story_is_the_same_whenever_the_files_were_copied(year: int, tmp_path: Path) -> None:
    example_run.write(tmp_path)
    for path in tmp_path.rglob("*"):
        copied = datetime(year, 11, 3, tzinfo=UTC).timestamp()
        os.utime(path, (copied, copied))
    (failure,) = scan(tmp_path).failures
    assert failure["fault"] == "gpu.fallen_off_bus"
    (run,) = scan(tmp_path).runs
    assert run["attempts"][0]["ended"].startswith("2026-05-12T03:22")
