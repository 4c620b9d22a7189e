"""Where chunks of growing bytes end: at line ends, else at the best place there is."""

from hypothesis import given
from hypothesis import strategies as st

from ingest.chunks import newlines
from ingest.follow.cutting import CHUNK_BYTES, Rest, ends

DATA = st.lists(
    st.sampled_from([b"a", b"\n", b"\r", b"\r\n", b"x" * 40_000, b"y" * (CHUNK_BYTES - 1), b"z" * CHUNK_BYTES]),
    max_size=12,
).map(b"".join)


def test_what_is_unfinished_waits_or_goes_to_its_last_return_or_goes() -> None:
    data = b"one\ntwo\r50%\r60%"
    assert ends(data, 0, len(data), Rest.WAIT) == [4]
    assert ends(data, 0, len(data), Rest.RETURN) == [4, 12]
    assert ends(data, 0, len(data), Rest.SHIP) == [4, len(data)]


def test_a_return_at_the_end_waits_for_what_may_follow() -> None:
    assert ends(b"50%\r", 0, 4, Rest.RETURN) == []


def test_only_what_lies_between_start_and_stop_is_cut() -> None:
    assert ends(b"a\nb\nc\nd\n", 2, 5, Rest.WAIT) == [4]


@given(DATA, st.sampled_from(Rest))
def test_chunks_are_small_and_end_at_lines_where_lines_allow_it(data: bytes, rest: Rest) -> None:
    start = 0
    for end in ends(data, 0, len(data), rest):
        value = data[start:end]
        assert 0 < len(value) <= CHUNK_BYTES
        assert value.endswith(b"\n") or b"\n" not in value
        assert rest is Rest.SHIP or not (value.endswith(b"\r") and data[end : end + 1] == b"\n")
        start = end
    left = data[start:]
    assert b"\n" not in left
    assert len(left) < CHUNK_BYTES
    assert rest is not Rest.SHIP or not left


@given(DATA)
def test_lines_are_counted(data: bytes) -> None:
    assert newlines(data) == data.count(b"\n")
