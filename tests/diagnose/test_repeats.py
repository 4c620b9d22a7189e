"""Repeats: lines that say the same but for the time are decided on twice, and nobody can tell from the result."""

from itertools import count, product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reading import MIB, findings, hits, signals, signals_by_ranges, text, told

from diagnose.matching.repeats import Wordings, says
from diagnose.matching.scanner import Scanner
from ingest.decode import decoder_for
from schemas.record import Chunk, Decoded, Source

DATED = Source("job.log", ("job.log",), modified_s=1_795_000_000.0)

STORE = (
    "[rank{rank}]:[W1124 {time}.480113113 TCPStore.cpp:125] [c10d] recvValue failed on SocketImpl(fd=68, "
    "addr=[node-7]:40001, remote=[node-1]:29500): failed to recv, got 0 bytes"
)
TIMEOUT = (
    "[rank{rank}]:[E1124 {time}.480113113 ProcessGroupNCCL.cpp:616] [Rank {rank}] Watchdog caught collective operation "
    "timeout: WorkNCCL(SeqNum=812, OpType=ALLREDUCE, NumelIn=1, NumelOut=1, Timeout(ms)=600000) ran for 600041 "
    "milliseconds before timing out."
)
XID = "[{uptime:12.6f}] NVRM: Xid (PCI:0000:3b:0{rank}): 31, pid=4711, name=python, Ch 00000008"
NESTED = (
    "2026-11-24T{time}.123456789Z stderr F 2026-11-24 {time},123 ERROR RuntimeError: CUDA error: misaligned address"
)
NOISE = "2026-11-24 {time} ERROR BrokenPipeError: [Errno 32] Broken pipe"
BARE = "[rank{rank}]: RuntimeError: CUDA error: an illegal memory access was encountered"
TOLD = "2026-11-24 {time} ERROR RuntimeError: CUDA error: an illegal memory access was encountered at {time}"
STEP = "2026-11-24 {time} INFO step {rank}/9 | loss 2.1 | lr 1.0e-04"
LINES = (
    STORE,
    STORE,
    TIMEOUT,
    XID,
    NESTED,
    NOISE,
    BARE,
    TOLD,
    STEP,
    "Traceback (most recent call last):",
    "frame #{rank}: clone",
)


def line(template: str, second: int, rank: int = 0) -> str:
    """Return a line that was written in a second of a day."""
    time = f"{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}"
    return template.format(rank=rank, time=time, uptime=second + 0.25)


LOGS = st.lists(
    st.tuples(
        st.sampled_from(LINES), st.integers(0, 2), st.integers(1, 5), st.sampled_from(["\n", "\n", "\r", "\r\n"])
    ),
    max_size=12,
).map(lambda runs: log([(template, rank, end) for template, rank, times, end in runs for _ in range(times)]))


def log(lines: list[tuple[str, int, str]]) -> bytes:
    clock = count(11 * 3600 + 58 * 60, 17)
    return "".join(line(template, next(clock), rank) + end for template, rank, end in lines).encode()


@given(data=LOGS)
def test_the_result_is_that_of_deciding_on_each_line(scanner: Scanner, data: bytes) -> None:
    assert signals(scanner, data, MIB) == signals(scanner, data, 1)  # of which each chunk holds one line


@given(data=LOGS, parts=st.integers(2, 5))
def test_ranges_leave_no_trace(scanner: Scanner, tmp_path: Path, data: bytes, parts: int) -> None:
    path = tmp_path / "job.log"
    path.write_bytes(data)
    assert signals_by_ranges(scanner, path, parts) == signals(scanner, data)


@pytest.mark.parametrize("template", [STORE, TIMEOUT, XID, NESTED, BARE])
def test_lines_that_say_the_same_have_hits_at_the_first_and_the_last_which_stands_for_the_rest(
    scanner: Scanner, template: str
) -> None:
    lines = [line(template, 36_000 + n) for n in range(100)]
    found = hits(scanner, *lines, source=DATED)
    first, last = found[0], found[-1]
    assert [hit.line for hit in found] == [1] * (len(found) // 2) + [100] * (len(found) // 2)
    assert first.likewise == ()
    assert last.likewise == tuple(n * (len(lines[0]) + 1) for n in range(1, 99))
    assert (first.origin.time_s, first.origin.clock_s) != (last.origin.time_s, last.origin.clock_s) or template is BARE


def decoded(scanner: Scanner, data: bytes) -> int:
    """Return how many lines of one chunk are decoded, but for those of progress."""
    decode, seen = decoder_for(DATED, data), list[bytes]()

    def noted(segment: bytes) -> Decoded:
        seen.extend([] if b" step " in segment else [segment])
        return decode(segment)

    scanner.findings(Chunk(data, 0, len(data), 0, 1, data.count(b"\n")), noted)
    return len(seen)


def test_no_more_than_two_of_them_are_decoded(scanner: Scanner) -> None:
    assert decoded(scanner, text(*(line(STORE, 36_000 + n) for n in range(5_000)))) == 2


def test_of_lines_that_are_no_evidence_one_is_decoded_even_with_progress_in_between(scanner: Scanner) -> None:
    lines = [line(template, 36_000 + n) for n in range(500) for template in (NOISE, STEP)]
    assert findings(scanner, text(lines[0]), DATED) == []
    assert decoded(scanner, text(*lines[::2])) == decoded(scanner, text(*lines)) == 1


def test_lines_whose_message_tells_a_time_are_all_decoded(scanner: Scanner) -> None:
    assert decoded(scanner, text(*(line(TOLD, 36_000 + n) for n in range(50)))) == 50


def test_another_fault_among_them_is_found(scanner: Scanner) -> None:
    lines = [line(STORE, 36_000 + n) for n in range(3_000)]
    lines[1_717] = line(TIMEOUT, 36_000 + 1_717)
    lines[2_002] = line(STORE, 36_000 + 2_002, rank=5)
    found = signals(scanner, text(*lines))
    assert [one for one in told(found) if one[0] == "c10d.watchdog-timeout"] == [
        ("c10d.watchdog-timeout", 1718, 1718, 1)
    ]
    assert {(s.first.line, s.count) for s in found if s.rank == 5} == {(2003, 1)}
    assert {s.count for s in found if s.rank == 0 and s.signature != "c10d.watchdog-timeout"} == {2_998}


def test_progress_keeps_what_was_before_it_apart_from_what_comes_after(scanner: Scanner) -> None:
    lines = [line(template, 36_000 + n) for n, template in enumerate([STORE, STORE, STORE, STEP, STORE, STORE])]
    found = [one for one in told(signals(scanner, text(*lines))) if not one[0].startswith(("progress", "train"))]
    assert [(first, last, many) for name, first, last, many in found if "store" in name] == [(1, 3, 3), (5, 6, 2)]


def test_the_wording_of_a_line_is_all_of_it_but_its_times() -> None:
    wordings = Wordings()
    same = [wordings.of(line(STORE, second).encode()) for second in (0, 4_711, 86_399)]
    other = [wordings.of(line(t, 4_711, rank).encode()) for t, rank in product((STORE, TIMEOUT), (1, 2))]
    assert len({*same}) == 1
    assert len({*same, *other}) == 5


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("NVRM: Xid (PCI:0000:07:00): 79", "NVRM: Xid (PCI:0000:08:00): 79"),
        ("mac 10:11:12:13:14:15 is down", "mac 20:11:12:13:14:15 is down"),
        ("at 12:00:00.1 it broke", "at 12:00:00.12 it broke"),
        ("[    1.25] x", "[    1.26] x"),
    ],
)
def test_what_only_looks_like_a_time_is_none(one: str, two: str) -> None:
    wordings = Wordings()
    assert wordings.of(one.encode()) != wordings.of(two.encode())


def test_a_message_that_tells_a_time_is_not_said_by_all_of_its_wording() -> None:
    wording = Wordings().of(line(TOLD, 36_000).encode())
    assert says(wording, b"RuntimeError: CUDA error: an illegal memory access was encountered at ")
    assert not says(wording, line("ERROR at {time}", 36_000).encode())
