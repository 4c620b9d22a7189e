"""Hangs and stragglers of real processes: no line tells of them, and `relight run` says what it is, and whose."""

import os
import signal
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from command import scan

from demo.watched import Told, killed, pids, started, watched

LATE_S = 25.0
"""So much later than it has to be a diagnosis may come on a machine that has other things to do."""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Told]:
    """What was said of jobs that all ran at once, by what happened to them."""
    return {one.trouble.what: one for one in watched(tmp_path_factory.mktemp("ranks"))}


@pytest.mark.parametrize(
    ("what", "rank"), [("rank 2 is stopped (SIGSTOP)", 2), ("the data loader of rank 3 is stopped", 3)]
)
def test_a_rank_for_which_all_others_wait_is_named_after_a_minute(told: dict[str, Told], what: str, rank: int) -> None:
    one = told[what]
    assert (one.fault, one.culprit and one.culprit.rank, one.others) == ("training.hang", rank, ())
    assert one.after_s is not None
    assert 59 < one.after_s < 60 + LATE_S
    assert one.resolved == "the run makes progress again"


def test_a_rank_that_is_slower_than_its_peers_is_named_and_said_to_be_well_when_it_is(told: dict[str, Told]) -> None:
    one = told["rank 1 is throttled to a third"]
    assert (one.fault, one.culprit and one.culprit.rank, one.others) == ("training.straggler", 1, ())
    assert one.after_s is not None
    assert one.after_s < LATE_S
    assert one.resolved == "its numbers are those of its peers again"


def test_of_a_job_to_which_nothing_happens_nothing_is_said(told: dict[str, Told]) -> None:
    assert told["nothing"].right, told["nothing"]


# After the fact


@pytest.fixture(scope="module")
def hung(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The logs of a job that hung, one rank having been stopped, and was killed then."""
    folder = tmp_path_factory.mktemp("hung") / "job_7"
    job = started(folder, "--pace", "0.02")
    try:
        _until_steps(folder, 60)
        os.kill(pids(folder, 2).rank, signal.SIGSTOP)
        time.sleep(0.5)
    finally:
        killed(job)
    return folder


def _until_steps(folder: Path, steps: int) -> None:
    deadline = time.monotonic() + 60
    while [path.read_bytes().count(b"\n") > steps for path in folder.glob("rank_*.log")] != [True] * 4:
        assert time.monotonic() < deadline, "the job does not begin"
        time.sleep(0.05)


def causes(folder: Path) -> list[tuple[str, str]]:
    return [(one["fault"], one["culprit"]["name"]) for one in scan(folder.parent).incidents]


def test_logs_that_just_end_tell_of_no_hang(hung: Path) -> None:
    assert causes(hung) == [("unknown", "the job")]


def test_with_the_word_of_the_scheduler_who_killed_the_job_they_tell_who_was_waited_for(hung: Path) -> None:
    at = datetime.now(UTC) + timedelta(minutes=10)
    limit = f"slurmstepd: error: *** JOB 7 ON node01 CANCELLED AT {at:%Y-%m-%dT%H:%M:%S} DUE TO TIME LIMIT ***\n"
    (hung / "slurm-7.out").write_text(limit)
    assert causes(hung) == [("training.hang", "rank 2")]
