"""Lines around an offset, as a person sees them, whatever the source is kept in."""

import bz2
import gzip
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from ingest import archives
from ingest.excerpts import LINE_BYTES, MAX_LINES, REACH_BYTES, around, excerpts, head, tail
from ingest.sources import Input, discover

LINES = [b"step %05d loss 2.5" % step for step in range(30_000)]
TEXT = b"\n".join(LINES) + b"\n"
WIDTH = len(LINES[0]) + 1
PACK: dict[str, Callable[[bytes], bytes]] = {"plain": bytes, "gz": gzip.compress, "bz2": bz2.compress}


def stored(folder: Path, data: bytes, kind: str) -> Input:
    """Return an input with the given bytes, kept in one of several ways."""
    path = folder / "train.log"
    if kind == "tar":
        with tarfile.open(path, "w:gz") as archive:
            info = tarfile.TarInfo("rank0.log")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    else:
        path.write_bytes(PACK[kind](data))
    (one,) = discover([str(path)]).inputs
    return one


KINDS = pytest.mark.parametrize("kind", ["plain", "gz", "bz2", "tar"])


@KINDS
def test_lines_before_and_after_an_offset_are_shown_with_their_distance(tmp_path: Path, kind: str) -> None:
    found = excerpts(stored(tmp_path, TEXT, kind), [(WIDTH * 9000, 2, 1), (0, 3, 1), (WIDTH * 29_999, 1, 5)])
    assert found == [
        [(-2, LINES[8998]), (-1, LINES[8999]), (0, LINES[9000]), (1, LINES[9001])],
        [(0, LINES[0]), (1, LINES[1])],
        [(-1, LINES[29_998]), (0, LINES[29_999])],
    ]


@KINDS
def test_many_offsets_close_to_each_other_are_all_shown(tmp_path: Path, kind: str) -> None:
    wanted = [(WIDTH * step, 1, 0) for step in range(20_000, 100, -97)]
    found = excerpts(stored(tmp_path, TEXT, kind), wanted)
    expected = [[(-1, LINES[step - 1]), (0, LINES[step])] for step in range(20_000, 100, -97)]
    assert found == expected


@KINDS
def test_an_offset_beyond_the_end_gives_no_lines(tmp_path: Path, kind: str) -> None:
    one = stored(tmp_path, b"one\ntwo\n", kind)
    assert excerpts(one, [(8, 1, 1), (10**9, 1, 1), (4, 1, 1)]) == [[], [], [(-1, b"one"), (0, b"two")]]


@KINDS
def test_an_empty_source_gives_no_lines(tmp_path: Path, kind: str) -> None:
    assert excerpts(stored(tmp_path, b"", kind), [(0, 5, 5)]) == [[]]


@KINDS
def test_the_head_and_the_tail_are_the_first_and_last_bytes(tmp_path: Path, kind: str) -> None:
    one = stored(tmp_path, TEXT, kind)
    for size in (0, 1, 1000, 300_000, len(TEXT), len(TEXT) + 1):
        assert head(one, size) == TEXT[:size]
        assert tail(one, size) == TEXT[len(TEXT) - min(size, len(TEXT)) :]


def test_members_of_an_archive_are_shown_in_one_pass(tmp_path: Path) -> None:
    one = stored(tmp_path, TEXT, "tar")
    found = {name: around(stream, [(WIDTH, 1, 0)]) for name, stream in archives.members(str(one.archive))}
    assert found == {"rank0.log": [[(-1, LINES[0]), (0, LINES[1])]]}


def test_an_empty_line_is_a_line(tmp_path: Path) -> None:
    one = stored(tmp_path, b"one\n\nthree\n\n\nsix", "plain")
    assert excerpts(one, [(5, 9, 9)]) == [
        [(-2, b"one"), (-1, b""), (0, b"three"), (1, b""), (2, b""), (3, b"six")],
    ]
    assert excerpts(one, [(4, 9, 1)]) == [[(-1, b"one"), (0, b""), (1, b"three")]]


def test_the_line_of_an_offset_in_its_middle_is_shown_whole(tmp_path: Path) -> None:
    assert excerpts(stored(tmp_path, b"one\ntwo\n", "plain"), [(6, 0, 0)]) == [[(0, b"two")]]


def test_a_windows_line_end_is_not_shown(tmp_path: Path) -> None:
    one = stored(tmp_path, b"one\r\ntwo\r\nthree\r\n", "plain")
    assert excerpts(one, [(5, 1, 1)]) == [[(-1, b"one"), (0, b"two"), (1, b"three")]]


def test_of_a_progress_bar_the_last_state_is_shown_and_at_the_offset_the_segment_there(tmp_path: Path) -> None:
    one = stored(tmp_path, b"1%\r2%\r3%\n1%\rError: x\r9%\n1%\r2%\r3%\r\n", "plain")
    assert excerpts(one, [(12, 1, 1)]) == [[(-1, b"3%"), (0, b"Error: x"), (1, b"3%")]]


def test_long_lines_are_cut(tmp_path: Path) -> None:
    one = stored(tmp_path, b"a" * 9000 + b"\n" + b"b" * 9000 + b"\n" + b"c" * 9000 + b"\n", "plain")
    (found,) = excerpts(one, [(9001, 1, 1)])
    assert found == [(-1, b"a" * LINE_BYTES), (0, b"b" * LINE_BYTES), (1, b"c" * LINE_BYTES)]


def test_what_lies_deep_in_a_long_line_is_shown_from_the_offset_on(tmp_path: Path) -> None:
    one = stored(tmp_path, b"x" * 30_000 + b"here" + b"x" * 200_000 + b"\n", "plain")
    (((delta, line),),) = excerpts(one, [(30_000, 1, 1)])
    assert (delta, line[:5], len(line)) == (0, b"herex", LINE_BYTES)


@KINDS
def test_lines_out_of_reach_are_left_out_and_none_is_shown_in_part(tmp_path: Path, kind: str) -> None:
    data = b"far\n" + b"y" * REACH_BYTES + b"\nnear\nhere\n" + b"z" * 2 * REACH_BYTES + b"\nbeyond\n"
    (found,) = excerpts(stored(tmp_path, data, kind), [(data.index(b"here"), 9, 9)])
    assert [(delta, line[:4]) for delta, line in found] == [(-1, b"near"), (0, b"here"), (1, b"zzzz")]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [(500, 500, (-100, 99)), (500, 10, (-189, 10)), (10, 500, (-10, 189)), (0, 500, (0, 199))],
)
def test_an_excerpt_is_bounded(tmp_path: Path, before: int, after: int, expected: tuple[int, int]) -> None:
    (found,) = excerpts(stored(tmp_path, TEXT, "plain"), [(WIDTH * 5000, before, after)])
    assert (found[0][0], found[-1][0]) == expected
    assert len(found) == min(MAX_LINES, before + after + 1)


def test_a_damaged_source_shows_what_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    path.write_bytes(gzip.compress(TEXT)[:-2000])
    (one,) = discover([str(path)]).inputs
    assert excerpts(one, [(WIDTH * 100, 0, 1)]) == [[(0, LINES[100]), (1, LINES[101])]]
    assert TEXT.startswith(head(one, 10**9))
    assert tail(one, 5) in TEXT
