"""Scanning in several processes: small files together, large ones in ranges, and nobody can tell from the result."""

import shutil
from pathlib import Path

import pytest

from ingest.names import origin_of
from ingest.sources import discover
from relight import scanning
from relight.scanning import BATCH_PIECES, Piece, scanned

LINE = "2026-11-24 11:{:02}:{:02},250 ERROR RuntimeError: CUDA error: an illegal memory access was encountered\n"


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """A folder with more small files than are handed to a process together, and an archive of them."""
    folder = tmp_path / "logs"
    folder.mkdir()
    for rank in range(2 * BATCH_PIECES + 3):
        lines = [LINE.format(rank % 60, second) for second in range(rank % 7)]
        (folder / f"rank_{rank}.log").write_text("".join(lines), encoding="utf-8")
    shutil.make_archive(str(tmp_path / "packed"), "tar", folder)
    (tmp_path / "packed.tar").rename(folder / "packed.tar")
    return folder


def test_what_is_read_and_told_does_not_depend_on_the_number_of_processes(logs: Path) -> None:
    inputs, read = discover([str(logs)], origin_of).inputs, list[int]()
    alone = [*scanned(inputs, (), 1, lambda count: None)]
    assert [*scanned(inputs, (), 2, read.append)] == alone
    assert len(alone) == len(inputs)
    assert len(read) > 2
    assert sum(read) == sum(source.bytes_read for source, _ in alone)
    assert {signals[0].count for _, signals in alone if signals} == {1, 2, 3, 4, 5, 6}


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_file_that_is_gone_is_a_problem_of_its_own(logs: Path, jobs: int) -> None:
    inputs = discover([str(logs)], origin_of).inputs
    (logs / "rank_5.log").unlink()
    told = {source.source: source.problem for source, _ in scanned(inputs, (), jobs, lambda count: None)}
    assert [name for name, problem in told.items() if problem is not None and "No such file" in problem] == [
        name for name in told if name.endswith("rank_5.log") and "!" not in name
    ]


def test_large_pieces_are_handed_over_one_at_a_time_and_small_ones_together(logs: Path) -> None:
    inputs = discover([str(logs)], origin_of).inputs
    large = [Piece((inputs[0],), begin, begin + scanning.RANGE_BYTES) for begin in (0, scanning.RANGE_BYTES)]
    small = [Piece((one,)) for one in inputs[:5]]
    batches = scanning._batches([*small, *large, *small])
    assert [len(batch) for batch in batches] == [5, 1, 1, 5]
