"""Signals: what repeats is one, what the run moves on from ends, and how a source was cut leaves no trace."""

from functools import cache
from itertools import product
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from reading import MIB, SOURCE, signals, signals_by_ranges, text, told

from diagnose.matching.scanner import Scanner
from diagnose.matching.signals import IDENTITIES, SPANS, SourceFold
from relight.catalogue import catalogue
from schemas.record import SEGMENT_BYTES, Origin, Source

XID = "NVRM: Xid (PCI:0000:{:02x}:00): 79, pid=4711, name=python, Ch 00000008"
VALUE = "ValueError: the flux capacitor is empty"


def step(n: int) -> str:
    return f"Epoch: [1][{n:3}/391]\tTime  0.12 ( 0.15)\tData  0.01 ( 0.02)"


def of(name: str, scanner: Scanner, *lines: str) -> list[tuple[int, int, int]]:
    return [brief[1:] for brief in told(signals(scanner, text(*lines))) if brief[0] == name]


def test_what_repeats_is_one_signal_with_a_count_its_first_and_its_last_line(scanner: Scanner) -> None:
    assert of("python.value-error", scanner, VALUE, "quiet", VALUE, VALUE) == [(1, 4, 3)]


def test_an_error_before_progress_and_the_same_after_it_stay_apart(scanner: Scanner) -> None:
    assert of("python.value-error", scanner, VALUE, step(1), VALUE, VALUE) == [(1, 1, 1), (3, 4, 2)]


GPU = "2025-02-03T04:05:0{}.123Z metric of=gpu gpu=3 gpu_power_w=612.45"


def test_readings_of_a_machine_are_no_part_of_the_story(scanner: Scanner) -> None:
    assert signals(scanner, text(*map(GPU.format, range(9)))) == []
    lines = [VALUE, GPU.format(1), VALUE, GPU.format(2), VALUE]
    assert of("python.value-error", scanner, *lines) == [(1, 5, 3)]


def test_progress_goes_on_among_readings(scanner: Scanner) -> None:
    lines = [line for n in range(9) for line in (step(n), GPU.format(n))]
    assert of("marker.progress.epoch-list", scanner, *lines) == [(1, 17, 9)]


def test_each_value_of_an_identity_is_a_signal_of_its_own(scanner: Scanner) -> None:
    lines = [XID.format(gpu) for gpu in (1, 2, 1)]
    assert of("nvrm.xid.79", scanner, *lines) == [(1, 3, 2), (2, 2, 1)]


def test_each_rank_has_a_signal_of_its_own(scanner: Scanner) -> None:
    found = signals(scanner, text(f"[rank0]: {VALUE}", f"[rank1]: {VALUE}", f"[rank0]: {VALUE}"))
    assert [(s.rank, s.count) for s in found] == [(0, 2), (1, 1)]


def test_a_fault_that_comes_again_and_again_has_few_signals_of_which_the_last_takes_all(scanner: Scanner) -> None:
    lines = [line for n in range(SPANS + 5) for line in (VALUE, step(n))]
    found = of("python.value-error", scanner, *lines)
    assert len(found) == SPANS
    assert sum(count for *_, count in found) == SPANS + 5
    assert found[-1][1] == len(lines) - 1


def test_identities_beyond_a_limit_are_counted_together(scanner: Scanner) -> None:
    many = IDENTITIES + 50
    lines = [f"NVRM: Xid (PCI:{n:04x}:00:00): 79, pid=1, name=python" for n in range(many)]
    found = signals(scanner, text(*lines))
    assert len(found) == IDENTITIES + 1
    assert sum(s.count for s in found) == many


def test_what_the_source_tells_stands_in_for_what_the_line_does_not(scanner: Scanner) -> None:
    source = Source("gpu-01/rank3.log", ("gpu-01", "rank3.log"), Origin(host="gpu-01", rank=3, job="77"))
    (signal,) = signals(scanner, text(VALUE), source=source)
    assert (signal.host, signal.rank, signal.job) == ("gpu-01", 3, "77")
    (signal,) = signals(scanner, text(f"[rank5]: {VALUE}"), source=source)
    assert signal.rank == 5


def test_an_id_depends_on_source_place_and_signature_alone(scanner: Scanner) -> None:
    (once,), (again,) = signals(scanner, text(VALUE)), signals(scanner, text(VALUE, VALUE))
    (elsewhere,) = signals(scanner, text(VALUE), source=Source("other.log", ("other.log",)))
    (later,) = signals(scanner, text("", VALUE))
    assert once.id == again.id
    assert len({once.id, elsewhere.id, later.id}) == 3


def test_an_empty_fold_has_no_signals() -> None:
    assert SourceFold().signals(SOURCE, bytes.decode) == []


@cache
def spoken() -> tuple[bytes, ...]:
    """Return what catalogues and people say, among them what is known to be awkward."""
    lines = [line for signature in catalogue().signatures for line in signature.match]
    return tuple(line.encode() for line in lines)


LINES = st.one_of(
    st.deferred(lambda: st.sampled_from(spoken())),
    st.deferred(lambda: st.sampled_from(spoken())),
    st.integers(1, 400).map(lambda n: step(n).encode()),
    st.integers(1, 9).map(lambda n: f"2026-11-24 03:12:0{n} INFO step {n}/9 | loss 2.{n} | lr 1.0e-04".encode()),
    st.sampled_from([b"", b"\0\0\0", b"x" * (SEGMENT_BYTES + 7), VALUE.encode() + b" " * 2 * SEGMENT_BYTES]),
    st.sampled_from([b"Traceback (most recent call last):", VALUE.encode(), b"[rank1]: " + VALUE.encode(), b"-" * 70]),
    st.binary(max_size=40),
)
LOGS = st.lists(
    st.tuples(LINES, st.sampled_from([b"\n", b"\n", b"\n", b"\r", b"\r\n", b"\0\n", b""])), max_size=30
).map(lambda lines: b"".join(line + end for line, end in lines))


@given(data=LOGS, size=st.sampled_from([64, 1000]))
def test_the_size_of_the_chunks_leaves_no_trace(scanner: Scanner, data: bytes, size: int) -> None:
    assert signals(scanner, data, size) == signals(scanner, data, MIB)


@given(data=LOGS, parts=st.integers(2, 7))
@example(
    data=b"RAS records:258 exceed threshold:256training ...\n[before the start of training step] datetime: \n", parts=2
)
def test_a_file_that_is_read_in_ranges_gives_the_signals_of_one_pass(
    scanner: Scanner, tmp_path: Path, data: bytes, parts: int
) -> None:
    path = tmp_path / "job.log"
    path.write_bytes(data)
    assert signals_by_ranges(scanner, path, parts) == signals(scanner, data)


WORDS = (step(7), VALUE, ":::MLL 1764000000.123 run_start: {}", "[rank0]: Training completed")


@pytest.mark.parametrize("first", WORDS)
def test_a_chapter_of_the_story_goes_on_where_a_chunk_or_a_range_ends(
    scanner: Scanner, tmp_path: Path, first: str
) -> None:
    path = tmp_path / "job.log"
    for rest in product(WORDS, repeat=3):
        path.write_bytes(text(first, *rest))
        whole = signals(scanner, path.read_bytes())
        assert signals(scanner, path.read_bytes(), 64) == whole
        assert [signals_by_ranges(scanner, path, parts) for parts in (2, 3, 4)] == [whole] * 3


@given(data=st.one_of(st.binary(max_size=400), LOGS, LOGS.map(lambda data: data[7:-9])))
def test_any_bytes_can_be_scanned(scanner: Scanner, data: bytes) -> None:
    for signal in signals(scanner, data):
        assert 0 <= signal.first.offset_bytes <= signal.last.offset_bytes <= len(data)
        assert 1 <= signal.first.line <= signal.last.line <= 1 + data.count(b"\n")


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_offsets_and_line_numbers_point_to_the_line_itself(scanner: Scanner, end: bytes) -> None:
    data = b"one" + end + b"\0two" + end + VALUE.encode() + end + b"four"
    (signal,) = signals(scanner, data, 64)
    assert data[signal.first.offset_bytes :].startswith(VALUE.encode())
    assert data[: signal.first.offset_bytes].count(b"\n") == signal.first.line - 1
