"""Chunks of whole segments: what they hold, where they end, and that nothing but the bytes decides it."""

import io
import re
import tracemalloc
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.chunks import chunks, ranges
from ingest.errors import Unreadable
from schemas.record import SEGMENT_BYTES, WINDOW_BYTES, Chunk

MANY = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

_EDGES = [n + d for n in (WINDOW_BYTES, SEGMENT_BYTES, 2 * SEGMENT_BYTES) for d in (-2, -1, 0, 1, 2)]
_TEXT = st.one_of(
    st.text(alphabet="ab\0\r\n", max_size=12).map(str.encode),
    st.sampled_from([0, 1, 5, 99, 5000, *_EDGES, 150_000]).map(lambda n: b"x" * n),
)
BYTES = st.lists(st.tuples(_TEXT, st.sampled_from([b"\n", b"\n", b"\r", b"\r\n", b""])), max_size=12).map(
    lambda parts: b"".join(text + end for text, end in parts)
)
SIZES = st.sampled_from([1, 2, 7, 100, 5000, SEGMENT_BYTES, SEGMENT_BYTES + 1, 100_000, 1024 * 1024])


@dataclass(frozen=True)
class Segment:
    offset: int
    line: int
    kept: bytes


def reference(data: bytes) -> list[Segment]:
    """Cut bytes one by one, as the rules say it."""
    found, at, line = [], 0, 1
    while at < len(data):
        end = at
        while end < len(data) and data[end] not in b"\r\n":
            end += 1
        ending = data[end : end + 2] if data[end : end + 2] == b"\r\n" else data[end : end + 1]
        found.append(Segment(at, line, data[at:end][:SEGMENT_BYTES] + ending))
        at = end + len(ending)
        line += ending.count(b"\n")
    return found


def segments(cut: Sequence[Chunk], lines_before: int = 0) -> list[Segment]:
    """Take chunks apart again."""
    found = []
    for chunk in cut:
        own = chunk.data[chunk.start : chunk.end]
        for match in re.finditer(rb"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+", own):
            line = chunk.line + lines_before + own.count(b"\n", 0, match.start())
            found.append(Segment(chunk.offset + match.start(), line, match[0]))
    return found


class Dribble(io.RawIOBase):
    """Gives bytes in pieces of the given sizes, in turn."""

    def __init__(self, data: bytes, sizes: Sequence[int]) -> None:
        self._data, self._at, self._sizes, self._turn = data, 0, sizes, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        size = min(self._sizes[self._turn % len(self._sizes)], len(buffer))
        self._turn += 1
        block = self._data[self._at : self._at + size]
        buffer[: len(block)] = block
        self._at += len(block)
        return len(block)


@MANY
@given(BYTES, SIZES, st.lists(st.sampled_from([1, 100, 4095, 30_000, 200_000]), min_size=1, max_size=5))
def test_the_chunks_are_the_same_however_read_cuts_the_bytes(data: bytes, size: int, pieces: list[int]) -> None:
    if min(pieces) == 1:
        data = data[-70_000:]
    assert list(chunks(Dribble(data, pieces), size)) == list(chunks(io.BytesIO(data), size))


@MANY
@given(BYTES, SIZES)
def test_the_chunks_together_are_the_source_with_long_segments_cut(data: bytes, size: int) -> None:
    own = b"".join(chunk.data[chunk.start : chunk.end] for chunk in chunks(io.BytesIO(data), size))
    assert own == b"".join(segment.kept for segment in reference(data))


@MANY
@given(BYTES, SIZES)
def test_offset_and_line_of_each_segment_are_those_of_a_slow_reader(data: bytes, size: int) -> None:
    assert segments(list(chunks(io.BytesIO(data), size))) == reference(data)


@MANY
@given(BYTES, SIZES)
def test_the_windows_hold_what_lies_around_a_chunk(data: bytes, size: int) -> None:
    whole, at = b"".join(segment.kept for segment in reference(data)), 0
    for chunk in chunks(io.BytesIO(data), size):
        end = at + chunk.end - chunk.start
        assert chunk.data[: chunk.start] == whole[max(0, at - WINDOW_BYTES) : at]
        assert chunk.data[chunk.end :] == whole[end : end + WINDOW_BYTES]
        at = end


def reference_begins(data: bytes, size: int) -> list[int]:
    """Say where chunks begin, segment by segment."""
    begins, held = [], 0
    offsets = [segment.offset for segment in reference(data)]
    for offset, following in pairwise([*offsets, len(data)]):
        text = len(data[offset:following].rstrip(b"\r\n"))
        length = SEGMENT_BYTES if text > SEGMENT_BYTES else following - offset
        if not held or held + length > size:
            begins.append(offset)
            held = 0
        held = 0 if text > SEGMENT_BYTES else held + length
    return begins


@MANY
@given(BYTES, SIZES)
def test_a_chunk_takes_as_many_segments_as_fit_and_ends_after_a_long_one(data: bytes, size: int) -> None:
    assert [chunk.offset for chunk in chunks(io.BytesIO(data), size)] == reference_begins(data, size)


@pytest.mark.parametrize("length", range(SEGMENT_BYTES - 1, SEGMENT_BYTES + 2))
@pytest.mark.parametrize("ending", [b"\n", b"\r", b"\r\n", b""])
def test_at_the_limit_a_byte_more_makes_a_segment_long(length: int, ending: bytes) -> None:
    data = b"one\n" + b"x" * length + ending + b"two\nthree\n"
    for size in (*range(SEGMENT_BYTES - 2, SEGMENT_BYTES + 12), 2 * SEGMENT_BYTES, 100_000):
        cut = list(chunks(io.BytesIO(data), size))
        assert [chunk.offset for chunk in cut] == reference_begins(data, size)
        assert segments(cut) == reference(data)


@MANY
@given(BYTES, SIZES)
def test_each_chunk_says_how_many_line_ends_it_holds(data: bytes, size: int) -> None:
    for chunk in chunks(io.BytesIO(data), size):
        assert chunk.lines == chunk.data.count(b"\n", chunk.start, chunk.end)


@MANY
@given(BYTES, SIZES, st.integers(1, 9))
def test_ranges_see_the_segments_of_one_pass(tmp_path: Path, data: bytes, size: int, parts: int) -> None:
    path = tmp_path / "train.log"
    path.write_bytes(data)
    found: list[Segment] = []
    lines = 0
    for begin, end in ranges(path, parts):
        with path.open("rb") as stream:
            cut = list(chunks(stream, size, begin=begin, end=end))
        found += segments(cut, lines)
        lines += sum(chunk.lines for chunk in cut)
    assert found == reference(data)


def test_the_windows_of_a_range_reach_beyond_it(tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    path.write_bytes(b"".join(b"step %06d\n" % step for step in range(20_000)))
    (_, end), _ = ranges(path, 2)
    data = path.read_bytes()
    with path.open("rb") as stream:
        first = next(chunks(stream, end=end))
    with path.open("rb") as stream:
        second = next(chunks(stream, begin=end))
    assert first.data[first.end :] == data[end : end + WINDOW_BYTES]
    assert second.data[: second.start] == data[end - WINDOW_BYTES : end]
    assert (second.offset, second.line) == (end, 1)


def test_ranges_begin_after_line_ends_and_cover_the_file(tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    data = b"".join(b"step %d\n" % step for step in range(50_000))
    path.write_bytes(data)
    cut = ranges(path, 4)
    assert len(cut) == 4
    assert (cut[0][0], cut[-1][1]) == (0, len(data))
    assert all(begin == before for (_, before), (begin, _) in pairwise(cut))
    assert all(data[begin - 1 : begin] == b"\n" for begin, _ in cut[1:])


@pytest.mark.parametrize(("data", "count"), [(b"", 0), (b"no line end", 1), (b"\rstep 1\rstep 2", 1), (b"x\n", 1)])
def test_a_file_with_less_than_two_lines_is_one_range_and_an_empty_one_none(
    tmp_path: Path, data: bytes, count: int
) -> None:
    path = tmp_path / "train.log"
    path.write_bytes(data)
    assert len(ranges(path, 8)) == count


def test_an_empty_source_has_no_chunks() -> None:
    assert list(chunks(io.BytesIO(b""))) == []


def test_a_last_line_without_line_end_is_a_segment() -> None:
    assert segments(list(chunks(io.BytesIO(b"one\ntwo"))))[-1] == Segment(4, 2, b"two")


def test_a_progress_bar_has_many_segments_in_one_line() -> None:
    found = segments(list(chunks(io.BytesIO(b"\r1%\r2%\r3%\ndone\n"), 4)))
    assert [(segment.line, segment.kept) for segment in found] == [
        (1, b"\r"), (1, b"1%\r"), (1, b"2%\r"), (1, b"3%\n"), (2, b"done\n"),
    ]  # fmt: skip


def test_a_windows_line_end_is_never_cut_in_two() -> None:
    for size in range(1, 12):
        cut = list(chunks(io.BytesIO(b"ab\r\ncd\r\nef\r\n"), size))
        assert all(chunk.data[chunk.start : chunk.end].endswith(b"\r\n") for chunk in cut)
        assert [segment.line for segment in segments(cut)] == [1, 2, 3]


def test_nuls_are_bytes_like_others() -> None:
    data = b"\0" * 100 + b"a\0b\n" + b"\0\n"
    assert [segment.kept for segment in segments(list(chunks(io.BytesIO(data))))] == [b"\0" * 100 + b"a\0b\n", b"\0\n"]


class Endless(io.RawIOBase):
    """A first line, one line of many bytes, and a last line."""

    def __init__(self, size: int) -> None:
        self._blocks = self._made(size)

    def _made(self, size: int) -> Iterator[bytes]:
        yield b"first\n"
        for _ in range(size // 65_536):
            yield b"x" * 65_536
        yield b"\nlast\n"

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        block = next(self._blocks, b"")
        buffer[: len(block)] = block
        return len(block)


def test_a_line_of_100_mb_takes_little_memory() -> None:
    list(chunks(Endless(0)))  # what is done once a process is not counted
    tracemalloc.start()
    try:
        found = segments(list(chunks(Endless(100 * 1024 * 1024))))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [segment.kept[:5] for segment in found] == [b"first", b"xxxxx", b"last\n"]
    assert len(found[1].kept) == SEGMENT_BYTES + 1
    assert found[2].line == 3
    assert found[2].offset == 6 + 100 * 1024 * 1024 + 1
    assert peak < 6 * 1024 * 1024


class Breaking(io.RawIOBase):
    """Gives two lines, then nothing more but an error."""

    _given = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if self._given:
            raise Unreadable("train.log.gz", "damaged data")
        self._given = True
        buffer[:8] = b"one\ntwo\n"
        return 8


def test_what_was_read_before_damage_comes_before_the_error() -> None:
    cut = chunks(Breaking())
    assert next(cut).data == b"one\ntwo\n"
    with pytest.raises(Unreadable, match=r"train\.log\.gz: damaged data"):
        next(cut)
