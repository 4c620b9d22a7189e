"""A source that is followed says in the end what one reading of it says, however its bytes came."""

from dataclasses import replace

import pytest
from following import EVERY_MS, SOURCE, Follower, matcher
from hypothesis import given
from hypothesis import strategies as st
from reading import signals, text

from diagnose.matching.scanner import Scanner
from schemas.record import SEGMENT_BYTES
from schemas.signal import Heard, Signal, SourceRead, Withdrawn

XID = (
    "2026-05-12T03:12:04.224200+00:00 node03 kernel: [32944.224200] NVRM: Xid (PCI:0000:3b:00): 79, pid=1, "
    "GPU has fallen off the bus."
)
STEP = "[2026-05-12 03:11:4{0}] step: {0} loss: 2.1 grad_norm: 0.5 memory: 60GiB tps: 900"
TRACEBACK = (
    "Traceback (most recent call last):",
    '  File "/job/train.py", line 10, in <module>',
    "    main()",
    '  File "/job/train.py", line 7, in main',
    "    raise ValueError('no such split')",
    "ValueError: no such split",
)
LINES = (
    XID,
    STEP.format(1),
    STEP.format(2),
    *TRACEBACK,
    "RuntimeError: CUDA error: an illegal memory access was encountered",
    "torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB",
    "",
    "all is well",
    "progress 10%\rprogress 20%\rprogress 30%",
    "x" * (SEGMENT_BYTES + 100),
    "y" * 9000,
)
LONG = "z" * (3 * SEGMENT_BYTES) + " CUDA error: an illegal memory access was encountered"

some_lines = st.lists(st.sampled_from(LINES), min_size=1, max_size=40)
some_cuts = st.lists(st.integers(0, 2**20), max_size=12)


@pytest.fixture
def follower(scanner: Scanner) -> Follower:
    return Follower(matcher(scanner))


@given(lines=some_lines, cuts=some_cuts)
def test_what_holds_in_the_end_does_not_depend_on_the_cuts(scanner: Scanner, lines: list[str], cuts: list[int]) -> None:
    data = text(*lines)
    follower = Follower(matcher(scanner))
    follower.cut(data, cuts)
    assert follower.signals == signals(scanner, data, source=SOURCE)


@given(lines=some_lines, cuts=some_cuts)
def test_nor_on_how_often_another_process_takes_over(scanner: Scanner, lines: list[str], cuts: list[int]) -> None:
    data = text(*lines)
    follower = Follower(matcher(scanner))
    follower.cut(data, cuts, restarts=frozenset(cut % (len(data) + 1) for cut in cuts))
    assert follower.signals == signals(scanner, data, source=SOURCE)


@given(lines=some_lines, cuts=some_cuts, again=st.lists(st.integers(0, 2**20), min_size=1, max_size=4))
def test_a_shipper_that_starts_over_changes_nothing(
    scanner: Scanner, lines: list[str], cuts: list[int], again: list[int]
) -> None:
    data = text(*lines)
    follower = Follower(matcher(scanner))
    follower.cut(data, cuts)
    once = follower.signals
    for place in again:
        at = place % len(data)
        assert [s for s in follower.take(at, 1, data[at:], at_end=True) if not isinstance(s, Heard)] == []
    assert follower.signals == once


def test_what_is_new_is_said_at_once_and_growth_when_it_is_due(follower: Follower) -> None:
    data = text(*[STEP.format(n) for n in range(5)], XID)
    first = text(STEP.format(0))
    assert [type(s) for s in follower.take(0, 1, first)] == [Signal, SourceRead]
    at, line = len(first), 2
    for n in range(1, 5):
        more = text(STEP.format(n))
        said = follower.take(at, line, more, later_ms=EVERY_MS // 4)
        assert [type(s) for s in said] == ([] if n < 4 else [Signal, SourceRead])
        at, line = at + len(more), line + 1
    assert [s.signature for s in follower.take(at, line, data[at:]) if isinstance(s, Signal)] == ["nvrm.xid.79"]


def test_at_its_end_a_source_says_all_that_has_grown_and_then_only_that_it_is_heard(follower: Follower) -> None:
    data = text(STEP.format(0))
    follower.take(0, 1, data)
    more = text(STEP.format(1))
    assert follower.take(len(data), 2, more) == []
    assert [type(s) for s in follower.take(len(data + more), 3, b"", at_end=True)] == [Signal, SourceRead]
    (heard,) = follower.take(len(data + more), 3, b"", at_end=True)
    assert heard == Heard(sources={SOURCE.name: follower.now_ms / 1000})


def test_a_traceback_that_goes_on_is_said_again_with_its_new_end(follower: Follower) -> None:
    half, rest = text(*TRACEBACK[:-1], "ValueError: no such"), text("  split and more", "done")
    follower.take(0, 1, half)
    (before,) = [s for s in follower.signals if s.signature == "python.value-error"]
    follower.take(len(half), 7, rest, at_end=True)
    (after,) = [s for s in follower.signals if s.signature == "python.value-error"]
    assert (after.id, after.first.line) == (before.id, before.first.line)


def test_what_half_a_line_signalled_is_withdrawn_if_the_whole_line_does_not(follower: Follower) -> None:
    half = b"RuntimeError: CUDA error: an illegal memory access was encountered"
    rest = b"; destroy_process_group() was not called before program exit\n"
    follower.take(0, 1, half)
    assert [s.fault for s in follower.signals] == ["cuda.illegal_access"]
    said = follower.take(len(half), 1, rest, at_end=True)
    assert [type(s) for s in said] == [Withdrawn, SourceRead]


def test_lines_behind_missing_bytes_are_matched_and_keep_their_places(follower: Follower) -> None:
    begin, lost, end = text("all is well"), text("lost"), text(XID)
    follower.take(0, 1, begin)
    follower.take(len(begin + lost), 3, end, at_end=True)
    (signal,) = follower.signals
    assert (signal.first.offset_bytes, signal.first.line) == (len(begin + lost), 3)


def test_an_over_long_line_is_looked_at_as_far_as_in_a_scan_and_memory_stays_small(
    follower: Follower, scanner: Scanner
) -> None:
    data = text(*["all is well"] * 7000, XID, LONG, STEP.format(1), XID.replace("3b", "5e"))
    most = 0
    for at in range(0, len(data), 4000):
        follower.take(at, 1 + data.count(b"\n", 0, at), data[at : at + 4000], at_end=at + 4000 >= len(data))
        most = max(most, len(follower.stream.data))
    assert follower.signals == signals(scanner, data, source=SOURCE)
    assert most < 4 * SEGMENT_BYTES


def test_a_long_log_needs_no_more_memory_than_a_short_one(follower: Follower) -> None:
    block = text(*[STEP.format(n % 10) for n in range(800)])
    for n in range(40):
        follower.take(n * len(block), 1 + 800 * n, block)
    assert len(follower.stream.data) < 2 * len(block)


@pytest.mark.parametrize("data", [b"", b"\n", b"\r\n", b"\0" * 10, b"\xff\xfe", b"a"])
def test_odd_bytes_are_taken(follower: Follower, data: bytes) -> None:
    follower.take(0, 1, data, at_end=True)
    assert follower.signals == []


@pytest.mark.parametrize(("line", "kinds"), [(XID, [Signal, SourceRead]), ("all is well", [])])
def test_a_complete_source_is_told_of_only_where_it_says_something(
    line: str, kinds: list[type], follower: Follower
) -> None:
    follower.stream.source = replace(SOURCE, complete=True)
    follower.stream.take(0, 1, f"{line}\n".encode())
    said = follower.stream.statements(follower.matcher, 1000, every_ms=EVERY_MS, at_end=False)
    assert [type(one) for one in said] == kinds
    assert all(one.complete for one in said if isinstance(one, SourceRead))
