"""Dumps through the command line: who did not arrive is named, and a dump that would run code is refused."""

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
from command import scan

from tests.dumps import call, dump, groups_of, stacks, stalled, write


class _Hostile:
    def __reduce__(self) -> Any:
        return os.mkdir, ("executed",)


@pytest.mark.parametrize("form", ["pickle", "json"])
def test_of_64_ranks_with_three_groups_each_the_absent_ones_are_named(tmp_path: Path, form: str) -> None:
    write(tmp_path, {rank: stalled(rank, {12, 13}) for rank in range(64)}, form)
    (failure,) = scan(tmp_path).failures
    assert failure["fault"] == "comm.collective_timeout"
    assert failure["culprit"]["name"] == "ranks 12 and 13"
    assert failure["reasons"][0] == (
        "ranks 12 and 13 did not arrive at ALLREDUCE #20 of group default_pg, where 62 others waited since 03:02:20 UTC"
    )


def test_hosts_come_from_the_folders_that_dumps_lie_in(tmp_path: Path) -> None:
    for rank in range(64):
        folder = tmp_path / f"node{rank // 8:02}"
        folder.mkdir(exist_ok=True)
        write(folder, {rank: stalled(rank, {12, 13})})
    (failure,) = scan(tmp_path).failures
    assert (failure["culprit"]["kind"], failure["culprit"]["host"]) == ("host", "node01")
    assert failure["culprit"]["name"] == "ranks 12 and 13 on node01"


def test_a_dump_shows_who_called_something_else(tmp_path: Path) -> None:
    def told(rank: int) -> dict[str, Any]:
        odd = {"profiling_name": "nccl:all_gather", "output_sizes": [[4096]]} if rank == 7 else {}
        return dump([*(call(n) for n in range(1, 20)), call(20, "started") | odd], groups_of(rank))

    write(tmp_path, {rank: told(rank) for rank in range(16)})
    (failure,) = scan(tmp_path).failures
    assert (failure["fault"], failure["culprit"]["rank"]) == ("software.user_code", 7)
    assert "rank 7 called ALLGATHER (1,024 elements in, 4,096 out, Float) as #20" in failure["reasons"][0]


def test_a_dump_that_would_run_code_is_told_in_one_line_and_the_others_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, {rank: stalled(rank, {2}, world=8) for rank in range(8) if rank != 3})
    (tmp_path / "nccl_trace_rank_3").write_bytes(pickle.dumps(stalled(3, {2}) | {"version": _Hostile()}))
    answer = scan(tmp_path)
    (problem,) = answer.report["scanned"]["problems"]
    assert "cannot be read, because it would run code (STACK_GLOBAL at byte" in problem["reason"]
    assert not (tmp_path / "executed").exists()
    assert answer.failures[0]["culprit"]["name"] == "ranks 2 and 3"


def test_stacks_of_ranks_name_the_one_that_differs(tmp_path: Path) -> None:
    stacks(tmp_path)
    (failure,) = scan(tmp_path).failures
    assert (failure["fault"], failure["culprit"]["rank"]) == ("training.hang", 5)
