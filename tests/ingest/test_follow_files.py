"""Files that are followed: every byte comes once and in order, whatever writers, rotation and restarts do."""

import os
import shutil
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from shipper import MANY_BYTES, START_MS, Shipper, write

from ingest.follow.cutting import CHUNK_BYTES
from ingest.follow.files import Follower
from ingest.follow.pieces import Followed
from ingest.follow.positions import Positions
from ingest.sources import Problem, Skipped
from schemas.vocabulary import Provenance

Follow = Callable[..., Shipper]


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    folder = tmp_path / "logs"
    folder.mkdir()
    return folder


@pytest.fixture
def follow(tmp_path: Path, logs: Path) -> Iterator[Follow]:
    started = []

    def begin(*paths: Path | str, **told: object) -> Shipper:
        known = {"cluster": "c1", "host": "node1", **told}
        shipper = Shipper(tmp_path, Followed(tuple(map(str, paths or (logs,))), **known))  # type: ignore[arg-type]
        started.append(shipper)
        return shipper

    yield begin
    for shipper in started:
        shipper.follower.close()


# What comes


def test_whole_lines_are_read_at_once_and_the_last_one_when_it_is_complete(logs: Path, follow: Follow) -> None:
    write(logs / "a.log", b"one\ntwo\nthr")
    shipper = follow()
    (first,) = shipper.turn()
    assert (first.value, first.header.offset_bytes, first.header.line, first.header.at_end) == (
        b"one\ntwo\n",
        0,
        1,
        False,
    )
    assert shipper.turn() == []
    write(logs / "a.log", b"ee\n")
    (second,) = shipper.turn()
    assert (second.value, second.header.offset_bytes, second.header.line, second.header.at_end) == (
        b"three\n",
        8,
        3,
        True,
    )


def test_a_header_says_where_a_chunk_is_from(logs: Path, follow: Follow) -> None:
    (logs / "job_77" / "gpu-04").mkdir(parents=True)
    write(logs / "job_77" / "gpu-04" / "rank_12.log", b"x\n")
    (piece,) = follow(attempt="2", provenance=Provenance.APP).turn()
    header = piece.header
    assert (header.cluster, header.host, header.stream) == ("c1", "gpu-04", f"{logs}/job_77/gpu-04/rank_12.log")
    assert (header.job, header.attempt, header.rank, header.provenance) == ("77", "2", 12, Provenance.APP)
    assert header.observed_ms == START_MS + 100
    assert len(header.generation) == 12


def test_what_is_told_outranks_what_a_path_tells(logs: Path, follow: Follow) -> None:
    write(logs / "job_77_rank_12.log", b"x\n")
    (piece,) = follow(job="5", rank=3).turn()
    assert (piece.header.job, piece.header.rank, piece.header.host) == ("5", 3, "node1")


def test_a_last_line_without_its_end_comes_when_the_file_is_quiet_and_its_rest_later(
    logs: Path, follow: Follow
) -> None:
    write(logs / "a.log", b"one\ntwo")
    shipper = follow()
    shipper.turn()
    assert shipper.turn(2900) == []
    (piece,) = shipper.turn(100)
    assert (piece.value, piece.header.at_end) == (b"two", True)
    write(logs / "a.log", b" and a half\n")
    (rest,) = shipper.turn()
    assert (rest.value, rest.header.offset_bytes, rest.header.line) == (b" and a half\n", 7, 2)


def test_nothing_comes_before_the_first_line_is_complete_or_quiet(logs: Path, follow: Follow) -> None:
    write(logs / "a.log", b"Load")
    shipper = follow()
    assert shipper.turn() == []
    write(logs / "a.log", b"ing\nx")
    assert [piece.value for piece in shipper.turn()] == [b"Loading\n"]
    write(logs / "b.log", b"no end")
    assert next(piece.value for piece in shipper.settle() if piece.header.stream.endswith("b.log")) == b"no end"


def test_an_old_file_without_a_last_line_end_is_quiet_from_the_start(logs: Path, follow: Follow) -> None:
    write(logs / "a.log", b"one\nkilled")
    os.utime(logs / "a.log", (1, 1))
    assert [piece.value for piece in follow().turn()] == [b"one\n", b"killed"]


def test_a_chunk_holds_as_many_whole_lines_as_fit(logs: Path, follow: Follow) -> None:
    lines = b"".join(b"%06d %s\n" % (n, b"x" * (n % 200)) for n in range(3000))
    write(logs / "a.log", lines)
    shipper = follow()
    read = shipper.turn()
    assert b"".join(piece.value for piece in read) == lines
    assert all(CHUNK_BYTES - 210 < len(piece.value) <= CHUNK_BYTES for piece in read[:-1])
    assert all(piece.value.endswith(b"\n") for piece in read)
    assert [piece.header.at_end for piece in read] == [False] * (len(read) - 1) + [True]


def test_a_long_line_comes_in_pieces_and_takes_little_memory(logs: Path, follow: Follow) -> None:
    with (logs / "a.log").open("wb") as file:
        file.write(b"short\n")
        for _ in range(200):
            file.write(b"x" * 100_000)
        file.write(b"\nend\n")
    shipper = follow()
    total, count = 0, 0
    shipper.follower.read(START_MS, 1)
    tracemalloc.start()
    while read := shipper.follower.read(START_MS, 1 << 20):
        count += len(read)
        total += sum(len(piece.value) for piece in read)
        assert max(len(piece.value) for piece in read) <= CHUNK_BYTES
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == 20_000_000 + len(b"\nend\n")
    assert peak < 4 << 20


def test_a_progress_bar_is_cut_at_its_returns(logs: Path, follow: Follow) -> None:
    bar = b"".join(b"\r%d%% |####" % n for n in range(20_000))
    write(logs / "a.log", b"start\n" + bar)
    shipper = follow()
    shipper.turn()
    shipper.settle()
    assert b"".join(shipper.values()) == b"start\n" + bar
    assert all(value.endswith((b"\n", b"\r")) for value in list(filter(None, shipper.values()))[:-1])


def test_a_progress_bar_that_is_never_quiet_comes_up_to_its_last_return(logs: Path, follow: Follow) -> None:
    write(logs / "a.log", b"start\n")
    shipper = follow()
    for n in range(40):
        write(logs / "a.log", b"\rstep %d" % n)
        shipper.turn(1000)
    assert len(b"".join(shipper.values())) > 200
    assert all(value.endswith((b"\n", b"\r")) for value in shipper.values() if value)


def test_windows_line_ends_are_never_divided(logs: Path, follow: Follow) -> None:
    data = b"a" * 20 + b"\r\n" + b"".join(b"x" * (CHUNK_BYTES - 1 + n) + b"\r\n" for n in range(-2, 3))
    write(logs / "a.log", data)
    shipper = follow()
    shipper.settle()
    assert b"".join(shipper.values()) == data
    assert not any(value.startswith(b"\n") for value in shipper.values())


# Which files


def test_new_files_are_found_below_a_directory_and_by_a_pattern(logs: Path, follow: Follow) -> None:
    shipper = follow(logs / "deep", logs / "*.out")
    shipper.turn()
    assert [one.path for one in shipper.news] == [f"{logs}/deep", f"{logs}/*.out"]
    (logs / "deep" / "er").mkdir(parents=True)
    for name in ("deep/er/a.log", "b.out", "c.log"):
        write(logs / name, name.encode() + b"\n")
    shipper.turn(1000)
    assert shipper.streams() == {f"{logs}/deep/er/a.log": [b"deep/er/a.log\n"], f"{logs}/b.out": [b"b.out\n"]}


def test_hidden_files_are_passed_over_and_binary_and_compressed_ones_with_a_reason(logs: Path, follow: Follow) -> None:
    for name, content in [(".a", b"x\n"), ("b.pt", b"PK\x03\x04" + bytes(99)), ("c.gz", b"\x1f\x8b\x08" + bytes(99))]:
        write(logs / name, content)
    shipper = follow()
    shipper.settle()
    assert shipper.pieces == []
    assert [(one.path, one.reason.partition(",")[0]) for one in shipper.news if isinstance(one, Skipped)] == [
        (f"{logs}/b.pt", "a zip archive"),
        (f"{logs}/c.gz", "compressed or an archive: relight scan reads it"),
    ]


def test_a_log_that_takes_the_place_of_a_file_that_was_passed_over_is_read(logs: Path, follow: Follow) -> None:
    write(logs / "a.log", b"\x7fELF" + bytes(999))
    shipper = follow()
    shipper.settle()
    (logs / "a.log").unlink()
    write(logs / "a.log", b"text\n")
    shipper.settle()
    assert shipper.streams() == {f"{logs}/a.log": [b"text\n"]}


def test_a_file_with_several_names_is_read_once(logs: Path, follow: Follow) -> None:
    write(logs / "run_1.log", b"x\n")
    (logs / "a_latest.log").symlink_to("run_1.log")
    shipper = follow(logs, logs / "run_1.log", logs / "a_latest.log")
    shipper.settle()
    assert shipper.streams() == {f"{logs}/run_1.log": [b"x\n"]}


def test_a_link_that_is_named_is_one_stream_when_it_points_elsewhere(logs: Path, follow: Follow) -> None:
    for n in (1, 2):
        write(logs / f"run_{n}.log", b"run %d\n" % n)
    link = logs / "latest.log"
    link.symlink_to("run_1.log")
    shipper = follow(link)
    shipper.turn()
    link.unlink()
    link.symlink_to("run_2.log")
    shipper.settle()
    assert shipper.streams() == {str(link): [b"run 1\n", b"run 2\n"]}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_said_once_and_read_when_it_may(logs: Path, follow: Follow) -> None:
    write(logs / "a.log", b"secret\n")
    write(logs / "b.log", b"open\n")
    (logs / "a.log").chmod(0)
    shipper = follow()
    shipper.settle()
    assert [(one.path, one.what) for one in shipper.news if isinstance(one, Problem)] == [
        (f"{logs}/a.log", "Permission denied")
    ]
    assert shipper.streams() == {f"{logs}/b.log": [b"open\n"]}
    (logs / "a.log").chmod(0o600)
    shipper.settle()
    assert shipper.streams()[f"{logs}/a.log"] == [b"secret\n"]


def test_what_is_no_file_is_a_problem_and_others_go_on(logs: Path, follow: Follow) -> None:
    os.mkfifo(logs / "pipe")
    write(logs / "a.log", b"x\n")
    shipper = follow(logs / "pipe", logs / "a.log")
    shipper.settle()
    (problem,) = shipper.news
    assert isinstance(problem, Problem)
    assert (problem.path, problem.what) == (f"{logs}/pipe", "A socket, a pipe or a device")
    assert shipper.streams() == {f"{logs}/a.log": [b"x\n"]}


# Rotation


def test_a_renamed_log_is_read_to_its_end_before_the_next_part(logs: Path, follow: Follow) -> None:
    log = logs / "train.log"
    write(log, b"one\n")
    shipper = follow(log)
    shipper.turn()
    with log.open("ab") as writer:
        writer.write(b"two\nthr")
        writer.flush()
        log.rename(logs / "train.log.1")
        write(log, b"four\n")
        shipper.turn(1000)
        assert shipper.streams() == {str(log): [b"one\ntwo\n"]}
        writer.write(b"ee\n")
    shipper.settle()
    assert shipper.streams() == {str(log): [b"one\ntwo\nthree\n", b"four\n"]}
    assert [piece.header.part for piece in shipper.pieces if piece.value] == [0, 0, 0, 1]


def test_a_log_whose_old_part_is_written_for_ever_goes_on_nevertheless(logs: Path, follow: Follow) -> None:
    log = logs / "train.log"
    write(log, b"one\n")
    shipper = follow()
    shipper.turn()
    log.rename(logs / "train.log.1")
    for n in range(60):
        write(logs / "train.log.1", b"old %d\n" % n)
        write(log, b"new %d\n" % n)
        shipper.turn(1000)
    old, new = shipper.streams()[str(log)]
    assert old == b"one\n" + b"".join(b"old %d\n" % n for n in range(60))
    assert new == b"".join(b"new %d\n" % n for n in range(60))


def test_older_parts_come_first_at_the_first_start_the_oldest_before_all(logs: Path, follow: Follow) -> None:
    for name in ("train.log", "train.log.1", "train.log.2"):
        write(logs / name, name.encode() + b"\n")
    shipper = follow(logs / "train.log")
    shipper.settle()
    assert [piece.value for piece in shipper.pieces if piece.value] == [
        b"train.log.2\n",
        b"train.log.1\n",
        b"train.log\n",
    ]
    assert [piece.header.part for piece in shipper.pieces if piece.value] == [0, 1, 2]
    assert [piece.header.at_end for piece in shipper.pieces if piece.value] == [False, False, True]


def test_two_rotations_between_two_looks_lose_nothing(logs: Path, follow: Follow) -> None:
    log = logs / "train.log"
    write(log, b"head\n1\n")
    shipper = follow()
    shipper.turn()
    for n in (2, 3):
        if (logs / "train.log.1").exists():
            (logs / "train.log.1").rename(logs / "train.log.2")
        log.rename(logs / "train.log.1")
        write(log, b"head\n%d\n" % n)
    shipper.settle()
    assert shipper.streams() == {str(log): [b"head\n1\n", b"head\n2\n", b"head\n3\n"]}


def test_what_was_not_read_of_a_log_that_was_copied_and_truncated_is_read_from_its_copy(
    logs: Path, follow: Follow
) -> None:
    log = logs / "train.log"
    write(log, b"head\none\n")
    shipper = follow()
    shipper.turn()
    write(log, b"two\n")
    shutil.copy(log, logs / "train.log.1")
    os.truncate(log, 0)
    write(log, b"head\n3\n")
    shipper.turn()
    shipper.turn()
    shipper.settle()
    write(log, b"four\n")
    shipper.settle()
    shipper.restart()
    shipper.settle()
    assert shipper.streams() == {str(log): [b"head\none\ntwo\n", b"head\n3\nfour\n"]}


def test_a_copy_of_a_log_that_goes_on_is_not_read(logs: Path, follow: Follow) -> None:
    log = logs / "train.log"
    write(log, b"one\ntwo\n")
    shipper = follow()
    shipper.turn()
    shutil.copy(log, logs / "train.log.1")
    write(log, b"three\n")
    shipper.settle()
    assert shipper.streams() == {str(log): [b"one\ntwo\nthree\n"]}


def test_a_new_log_that_is_only_named_like_an_old_part_is_its_own_stream(logs: Path, follow: Follow) -> None:
    log = logs / "train.log"
    write(log, b"attempt\nzero and more\n")
    shipper = follow()
    shipper.turn()
    write(logs / "train.log.1", b"attempt\none\n")
    shipper.settle()
    assert shipper.streams() == {str(log): [b"attempt\nzero and more\n"], f"{log}.1": [b"attempt\none\n"]}


def test_a_truncated_log_with_the_same_first_line_is_another_generation(logs: Path, follow: Follow) -> None:
    log = logs / "train.log"
    write(log, b"head\nold\n")
    shipper = follow()
    shipper.turn()
    os.truncate(log, 0)
    write(log, b"head\nnew and longer than before\n")
    shipper.settle()
    assert shipper.streams() == {str(log): [b"head\nold\n", b"head\nnew and longer than before\n"]}
    assert len({piece.header.generation for piece in shipper.pieces}) == 2


def test_a_log_truncated_under_a_writer_that_does_not_append_is_read_behind_the_hole(
    logs: Path, follow: Follow
) -> None:
    log = logs / "train.log"
    with log.open("wb") as writer:
        writer.write(b"x" * 99 + b"\n" + b"y" * (1 << 20) + b"\n")
        writer.flush()
        shipper = follow()
        shipper.turn()
        os.truncate(log, 0)
        writer.write(b"after\n")
    read = [piece for ms in (2000, 4000, 6000) for piece in shipper.follower.read(shipper.now_ms + ms, MANY_BYTES)]
    data = b"".join(piece.value for piece in read)
    assert data.endswith(b"after\n")
    assert len(data) < 1 << 17
    assert read[0].header.offset_bytes + len(data) == log.stat().st_size


def test_a_deleted_log_that_is_still_open_is_read_to_its_end(logs: Path, follow: Follow) -> None:
    log = logs / "train.log"
    write(log, b"one\n")
    shipper = follow()
    shipper.turn()
    with log.open("ab") as writer:
        log.unlink()
        writer.write(b"two\n")
        writer.flush()
        shipper.turn(1000)
        writer.write(b"last words")
    shipper.settle()
    assert shipper.streams() == {str(log): [b"one\ntwo\nlast words"]}
    write(log, b"again\n")
    shipper.settle()
    assert shipper.streams() == {str(log): [b"one\ntwo\nlast words", b"again\n"]}


# Restarts


def test_a_restart_goes_on_behind_what_was_confirmed_without_a_gap(logs: Path, follow: Follow) -> None:
    write(logs / "a.log", b"".join(b"%06d\n" % n for n in range(50_000)))
    shipper = follow()
    shipper.confirms = False
    first, second, third, *_ = shipper.turn()
    shipper.follower.confirm([third, first])
    shipper.restart()
    again, *_ = shipper.turn()
    assert again.header.offset_bytes == second.header.offset_bytes
    shipper.follower.confirm([second])
    shipper.restart()
    again, *_ = shipper.turn()
    assert again.header.offset_bytes == third.header.offset_bytes
    assert again.header.line == third.header.line


def test_a_shipper_without_its_positions_says_the_same_again(logs: Path, follow: Follow) -> None:
    for name in ("train.log", "train.log.1", "other.log"):
        write(logs / name, b"same\n" + name.encode() + b"\n")
    shipper = follow()
    before = [(piece.header.generation, piece.header.part, piece.value) for piece in shipper.settle()]
    shipper.restart(lost=True)
    after = [(piece.header.generation, piece.header.part, piece.value) for piece in shipper.settle()]
    assert [one for one in after if one[2]] == [one for one in before if one[2]]


def test_a_log_that_was_replaced_while_nobody_looked_is_another_part(logs: Path, follow: Follow) -> None:
    log = logs / "train.log"
    write(log, b"head\nold\n")
    shipper = follow()
    shipper.turn()
    shipper.follower.close()
    inode = log.stat().st_ino
    with log.open("r+b") as file:  # the same inode number, as file systems give it to the next file
        file.truncate()
        file.write(b"head\nnew and longer\n")
    assert log.stat().st_ino == inode
    shipper.restart()
    shipper.settle()
    assert shipper.streams() == {str(log): [b"head\nold\n", b"head\nnew and longer\n"]}


LINES = st.lists(st.sampled_from([b"a", b"\n", b"\r", b"\r\n", b"long " * 20_000, b"word "]), max_size=6).map(b"".join)
TICKS = st.integers(1, 2500).map(lambda ms: ("tick", ms))
WRITES = LINES.map(lambda data: ("write", data))
BUDGETS = st.sampled_from([1, 100_000, MANY_BYTES])


def play(shipper: Shipper, log: Path, steps: list[tuple[str, object]], budget: int, head: bytes) -> list[bytes]:
    """Do what a writer, logrotate and an operator do, and return what each file of the path has held."""
    held = [b""]
    for count, (step, told) in enumerate(steps):
        if step == "tick":
            assert isinstance(told, int)
            shipper.turn(told, budget)
        elif step == "write":
            assert isinstance(told, bytes)
            data = (head % len(held) if not held[-1] else b"") + b"%d:" % count + told
            write(log, data)
            held[-1] += data
        elif step == "rename" and held[-1]:
            shifted(log)
            log.rename(f"{log}.1")
            log.touch()
            held.append(b"")
        elif step == "copy" and held[-1]:
            shifted(log)
            shutil.copy(log, f"{log}.1")
            if told:
                shipper.turn(1000, budget)
            os.truncate(log, 0)
            held.append(b"")
        elif step in ("restart", "lost"):
            shipper.restart(lost=step == "lost")
    return [data for data in held if data]


def shifted(log: Path) -> None:
    for number in range(30, 0, -1):
        if Path(f"{log}.{number}").exists():
            os.rename(f"{log}.{number}", f"{log}.{number + 1}")


def replay(tmp_path: Path, steps: list[tuple[str, object]], budget: int, head: bytes) -> None:
    shutil.rmtree(tmp_path, ignore_errors=True)
    (tmp_path / "logs").mkdir(parents=True)
    log = tmp_path / "logs" / "train.log"
    shipper = Shipper(tmp_path, Followed((str(log),), "c1", "node1"))
    try:
        held = play(shipper, log, steps, budget, head)
        for _ in range(8):
            shipper.settle()
        assert shipper.streams().get(str(log), []) == held
        assert set(shipper.streams()) <= {str(log)}
        assert len(shipper.kept) == len(held)
    finally:
        shipper.follower.close()


@given(
    st.lists(
        WRITES | WRITES | TICKS | TICKS | st.sampled_from([("rename", 0), ("restart", 0), ("lost", 0)]), max_size=25
    ),
    BUDGETS,
    st.sampled_from([b"head\n", b"file %d\n"]),
)
@example(
    [("write", b""), ("rename", 0), ("write", b""), ("tick", 1), ("rename", 0), ("write", b""), ("rename", 0)],
    1,
    b"head\n",
)
def test_every_byte_comes_once_through_renames_restarts_and_lost_positions(
    tmp_path: Path, steps: list[tuple[str, object]], budget: int, head: bytes
) -> None:
    replay(tmp_path / "run", steps, budget, head if b"%" in head else head + b"%.0d")


@given(
    st.lists(
        WRITES | WRITES | TICKS | TICKS | st.sampled_from([("copy", 0), ("copy", 1), ("rename", 0), ("restart", 0)]),
        max_size=25,
    ),
    BUDGETS,
)
@example([("write", b""), ("tick", 1), ("copy", 0), ("write", b""), ("copy", 0)], 1)
@example([("write", b""), ("tick", 1), ("copy", 0), ("write", b""), ("rename", 0)], 1)
@example([("write", b""), ("copy", 1), ("write", b""), ("rename", 0), ("write", b""), ("copy", 0)], 1)
def test_every_byte_comes_once_through_copies_with_truncation(
    tmp_path: Path, steps: list[tuple[str, object]], budget: int
) -> None:
    replay(tmp_path / "run", steps, budget, b"file %d\n")


# Sharing


def test_a_huge_backlog_does_not_keep_others_waiting(logs: Path, follow: Follow) -> None:
    write(logs / "huge.log", b"x" * 99 + b"\n")
    with (logs / "huge.log").open("ab") as file:
        for _ in range(300):
            file.write((b"x" * 99 + b"\n") * 1000)
    for n in range(10):
        write(logs / f"small_{n}.log", b"y\n")
    shipper = follow()
    for _ in range(12):
        shipper.turn(10, 1 << 20)
    assert len(shipper.streams()) == 11


def test_backlogs_share_the_budget(logs: Path, follow: Follow) -> None:
    for n in range(3):
        write(logs / f"huge_{n}.log", (b"x" * 99 + b"\n") * 50_000)
    shipper = follow()
    for _ in range(30):
        shipper.turn(10, 100_000)
    sizes = [len(part) for (part,) in shipper.streams().values()]
    assert len(sizes) == 3
    assert min(sizes) * 2 > max(sizes)


def test_the_budget_is_kept_and_the_rest_comes_next_time(logs: Path, follow: Follow) -> None:
    write(logs / "a.log", (b"x" * 99 + b"\n") * 50_000)
    shipper = follow()
    for _ in range(3):
        assert 0 < sum(len(piece.value) for piece in shipper.turn(10, 200_000)) <= 200_000
    shipper.settle()
    assert shipper.streams()[f"{logs}/a.log"] == [(b"x" * 99 + b"\n") * 50_000]


def test_more_files_than_may_be_open_are_followed(logs: Path, follow: Follow) -> None:
    for n in range(700):
        write(logs / f"rank_{n}.log", b"x\n")
    shipper = follow()
    shipper.turn()
    assert len(os.listdir("/proc/self/fd")) < 600
    for n in range(700):
        write(logs / f"rank_{n}.log", b"y\n")
    shipper.settle()
    assert set(map(tuple, shipper.streams().values())) == {(b"x\ny\n",)}
    assert len(os.listdir("/proc/self/fd")) < 100


# Heartbeats


def test_a_source_at_its_end_gives_heartbeats_and_one_that_is_not_gives_none(logs: Path, follow: Follow) -> None:
    write(logs / "a.log", b"one\n")
    write(logs / "empty.log", b"")
    shipper = follow()
    shipper.turn()
    write(logs / "b.log", b"one\ntw")
    assert [piece.value for piece in shipper.turn(4000)] == [b"one\n"]
    (beat,) = shipper.turn(1000)
    assert (beat.value, beat.header.stream, beat.header.offset_bytes) == (b"", f"{logs}/a.log", 4)
    assert (beat.header.at_end, beat.header.observed_ms, beat.header.line) == (True, shipper.now_ms, 2)
    assert shipper.turn(100) == []


def test_a_stream_whose_newest_part_is_empty_is_still_heard(logs: Path, follow: Follow) -> None:
    log = logs / "train.log"
    write(log, b"one\n")
    shipper = follow()
    shipper.turn()
    log.rename(logs / "train.log.1")
    log.touch()
    shipper.settle()
    assert [piece.header.part for piece in shipper.turn(5000)] == [0]


def test_a_deleted_log_is_heard_no_more(logs: Path, follow: Follow) -> None:
    write(logs / "a.log", b"one\n")
    shipper = follow()
    shipper.turn()
    (logs / "a.log").unlink()
    shipper.settle()
    assert shipper.turn(5000) == []


def test_a_file_that_has_not_changed_for_a_day_is_no_longer_said_to_be_alive(tmp_path: Path) -> None:
    log = tmp_path / "old.log"
    log.write_bytes(b"the end\n")
    begun_ms, hour_ms = 1_800_000_000_000, 3_600_000
    os.utime(log, (begun_ms / 1000 - 30 * 86400,) * 2)
    follower = Follower(Followed((str(log),), "c", "h"), Positions(tmp_path / "positions.json"))
    beats = {}
    for minutes in (0, 1, 5, 9, 11, 60, 120):
        now_ms = begun_ms + minutes * 60_000
        beats[minutes] = sum(not piece.value for piece in follower.read(now_ms, 1_000_000))
    assert beats == {0: 0, 1: 1, 5: 1, 9: 1, 11: 0, 60: 0, 120: 0}
    with log.open("ab") as file:
        file.write(b"not yet\n")
    os.utime(log, (begun_ms / 1000 + 3 * 3600,) * 2)
    said = [follower.read(begun_ms + hours * hour_ms, 1_000_000) for hours in (3, 4, 26, 28)]
    assert [sum(not piece.value for piece in pieces) for pieces in said[1:]] == [1, 1, 0]
    follower.close()
