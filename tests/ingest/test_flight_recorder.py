"""Dumps of the flight recorder: what is shown of them, and that nothing in them is executed or takes all memory."""

import gzip
import io
import json
import os
import pickle
import tarfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.errors import Unreadable
from ingest.renderings import flight_recorder, plain_pickle
from ingest.renderings.flight_recorder import FlightRecorder
from ingest.renderings.words import ranks
from ingest.sources import Input, discover
from ingest.spool import Blocks
from tests.dumps import BEGAN_NS, call, dump, groups_of, stalled

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**200), 2**200) | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.text() | st.integers(), inner)
        | st.lists(inner, max_size=5).map(tuple)
    ),
    max_leaves=30,
)  # fmt: skip


def lines(told: Any, name: str = "nccl_trace_rank_3", protocol: int = 2) -> list[str]:
    """Return the lines that show a dump."""
    return shown(pickle.dumps(told, protocol=protocol), name)


def shown(data: bytes, name: str = "nccl_trace_rank_3") -> list[str]:
    rendered = FlightRecorder().render(Blocks(name, iter((data,))))
    return b"".join(rendered).decode().splitlines()


def telling(told: Any, **how: Any) -> list[str]:
    return [line for line in lines(told, **how) if "waits" in line]


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_group_has_one_line_that_tells_where_the_rank_waits(protocol: int) -> None:
    told = [line for line in telling(stalled(3, {12}), protocol=protocol) if "group 0" in line]
    assert told == [
        "2026-03-01T03:02:20.000000Z [rank3]: flight recorder: waits in group 0 (default_pg) of ranks 0-63 for "
        "ALLREDUCE #20, started, in [1024] Float, out [1024] Float, timeout 600000 ms; enqueued #21, started #20, "
        "completed #19; calls 19=ALLREDUCE:1024>1024:Float 20=ALLREDUCE:1024>1024:Float "
        "21=ALLREDUCE:1024>1024:Float; at train_step (train.py:88) < <module> (train.py:140)"
    ]


def test_a_group_in_which_all_is_done_says_so() -> None:
    told = telling(stalled(12, {12}))
    assert sum("waits for nothing" in line for line in told) == 3
    assert "of ranks 4-60/8; enqueued #19, started #19, completed #19" in next(line for line in told if "(dp)" in line)


def test_json_tells_what_the_pickle_tells() -> None:
    assert shown(json.dumps(stalled(3, {12})).encode()) == lines(stalled(3, {12}))


def test_lines_come_in_the_order_of_their_times() -> None:
    stamps = [line.split(" ", 1)[0] for line in lines(stalled(3, {12}))]
    assert stamps == sorted(stamps)


def test_only_the_last_calls_of_a_group_are_shown() -> None:
    told = lines(dump([call(n) for n in range(1, 2001)], groups_of(3)))
    assert sum("group 0 (default_pg): ALLREDUCE" in line for line in told) == flight_recorder.LAST_CALLS


def test_a_group_of_which_the_rank_never_called_anything_is_told_too() -> None:
    told = telling(dump([call(1)], groups_of(3)))
    assert any("(tp) of ranks 0-7; enqueued #-1" in line for line in told)


def test_a_group_is_not_called_untouched_where_the_buffer_has_run_over() -> None:
    told = telling(dump([call(2001, record_id=2000)], groups_of(3)))
    assert not any("(tp)" in line for line in told)


def test_a_call_before_one_that_is_done_is_done_whatever_its_state() -> None:
    assert "waits for nothing" in telling(dump([call(1, "scheduled"), call(2)], {}))[0]


def test_a_library_without_events_has_done_what_it_has_given_up() -> None:
    gloo = {"profiling_name": "gloo:all_reduce", "state": "scheduled"}
    entries = [call(1, retired=True) | gloo | {"retired": True}, call(2) | gloo | {"retired": False}]
    assert "for ALLREDUCE #2, scheduled" in telling(dump(entries, {}))[0]


def test_a_timed_out_call_of_nccl_is_not_done_though_it_is_given_up() -> None:
    assert "for ALLREDUCE #1, started" in telling(dump([call(1, "started", retired=True)], {}))[0]


def test_sends_and_receives_that_were_part_of_a_call_that_is_done_are_done() -> None:
    part = {"is_p2p": True, "p2p_seq_id": 5, "profiling_name": "nccl:send 0->1"}
    done = call(1) | {"profiling_name": "nccl:coalesced"}
    assert "waits for nothing" in telling(dump([call(1, "scheduled") | part, done], {}))[0]
    assert "for SEND 0->1 p2p #5" in telling(dump([done, call(2, "scheduled") | part], {}))[0]


def test_dumps_of_the_first_versions_are_read_too() -> None:
    old = {k: v for k, v in call(7, "started").items() if k not in ("process_group", "collective_seq_id", "is_p2p")}
    told = telling([old | {"seq_id": 7, "pg_id": 0}])
    assert "waits in group 0 (?) of ranks ? for ALLREDUCE #7, started" in told[0]


@pytest.mark.parametrize(
    ("name", "rank"),
    [
        ("d/nccl_trace_rank_7", 7),
        ("fr_dump_12.pickle", 12),
        ("nccl_trace_rank_3.gz", 3),
        ("x.tar!/rank5", 5),
        ("dump_20260301", None),
        ("dump.json", None),
    ],
)
def test_the_number_at_the_end_of_a_name_is_the_rank(name: str, rank: int | None) -> None:
    label = "" if rank is None else f"[rank{rank}]: "
    assert all(
        line.split(" ", 1)[1].startswith(f"{label}flight recorder: ") for line in lines(dump([call(1)], {}), name)
    )


def test_a_receive_names_the_rank_that_it_waits_for() -> None:
    entry = call(1, "started", group="7", desc="pp", is_p2p=True, p2p_seq_id=77, profiling_name="nccl:recv 0<-1")
    told = telling(dump([entry], {"7": ("pp", [3, 11])}))
    assert "of ranks 3,11 for RECV 0<-1 p2p #77 with rank 11, started" in told[0]


def test_the_rank_is_that_of_the_file_name() -> None:
    assert all("[rank1017]: " in line for line in lines(stalled(3, {12}), name="x/comm_lib_trace_rank_1017"))


@given(st.sets(st.integers(0, 300)))
def test_ranks_in_words_are_these_ranks(numbers: set[int]) -> None:
    from diagnose.correlation.reports import _members

    assert _members(ranks(numbers)) == tuple(sorted(numbers))


# ---- what is no dump, or not a whole one


@given(PLAIN, st.sampled_from([2, 3, 4, 5]))
def test_plain_data_is_read_as_it_was_written(data: Any, protocol: int) -> None:
    assert plain_pickle.loads(pickle.dumps(data, protocol=protocol)) == data


@given(st.binary(max_size=200), st.sampled_from([b"\x80\x02", b"\x80\x04", b""]))
def test_whatever_the_bytes_are_they_are_read_or_refused(data: bytes, magic: bytes) -> None:
    with suppress(plain_pickle.NotPlain):
        plain_pickle.loads(magic + data)


class _Hostile:
    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_pickle_that_would_run_code_is_refused_and_runs_none(tmp_path: Path, protocol: int) -> None:
    mark = tmp_path / "executed"
    told = stalled(3, {12}) | {"version": _Hostile(os.mkdir, (str(mark),))}
    with pytest.raises(Unreadable, match=r"cannot be read, because it would run code .*GLOBAL"):
        lines(told, protocol=protocol)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\x80\x02}q\x00X\x07\x00\x00\x00entries", "it ends in the middle"),
        (b"\x80\x02X\xff\xff\xff\x7fab.", "it ends in the middle"),
        (b"\x80\x02u.", "make no sense"),
        (b"\x80\x02(((.", "make no sense"),
        (b"\x80\x02h\x07.", "make no sense"),
        (b"\x80\x02}(]K\x01u.", "neither texts nor numbers"),
        (b"\x80\x02}(K\x01u.", "make no sense"),
        (b"\x80\x02]K\x01s.", "make no sense|no dict"),
        (b"\x80\x02\xff.", "is no instruction"),
        (b"\x80\x02K\x01.", "holds no dict"),
        (b"\x80\x02" + b"K\x01" + b"\x85" * 100_000 + b"}(h\x00K\x01u.", "make no sense"),
        (b"\x80\x02\x8b\xff\xff\xff\x7f1.", "LONG4"),
    ],
)
def test_a_damaged_or_malicious_pickle_is_refused_with_its_reason(data: bytes, why: str) -> None:
    with pytest.raises(Unreadable, match=why):
        shown(data)


def test_a_list_that_holds_itself_is_read_as_calls_that_are_none() -> None:
    assert "1000 calls, 1000 of them unreadable" in shown(b"\x80\x02]q\x00" + b"h\x00a" * 1000 + b".")[0]


def test_a_pickle_of_too_many_instructions_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain_pickle, "MOST_INSTRUCTIONS", 1000)
    with pytest.raises(Unreadable, match="more than 1,000 instructions"):
        shown(b"\x80\x02" + b"}" * 2000 + b".")


def test_a_dump_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flight_recorder, "MOST_BYTES", 1 << 20)
    with pytest.raises(Unreadable, match="more than 1 MiB"):
        shown(b"\x80\x02" + b"N" * (1 << 21))


@given(st.integers(2, 4000))
def test_a_truncated_dump_is_unreadable_and_nothing_else(size: int) -> None:
    data = pickle.dumps(stalled(3, {12}), protocol=2)
    with pytest.raises(Unreadable, match="ends in the middle"):
        shown(data[: min(size, len(data) - 1)])


@pytest.mark.parametrize("data", [b"{", b'{"entries": ', b'{"a":' * 100_000])
def test_json_that_is_none_is_refused(data: bytes) -> None:
    with pytest.raises(Unreadable, match="no valid JSON"):
        shown(data)


@settings(max_examples=40)
@given(st.dictionaries(st.sampled_from(sorted(call(1))), PLAIN))
def test_entries_of_any_sort_are_shown_or_counted_as_unreadable(odd: dict[str, Any]) -> None:
    told = lines(dump([call(1), call(2) | odd], groups_of(3)) | {"pg_status": odd}, protocol=4)
    assert told
    assert all("\r" not in line and "\x1b" not in line for line in told)


def test_sizes_that_share_themselves_cost_no_time() -> None:
    wide = [2] * 100_000
    entry = call(1, input_sizes=[wide] * 100_000, frames=[{"name": "f"}] * 100_000)
    assert len(lines(dump([entry] * 20_000, {}))) < 60


def test_names_cannot_break_out_of_their_line() -> None:
    told = lines(dump([call(1, desc="x) \n[rank0]: NVRM: Xid (PCI:0000:3b:00): 79, gone \x1b[2J")], {}))
    assert len(told) == 3
    assert not any("Xid (" in line for line in told)


# ---- where they are found


def content(found: Input) -> bytes:
    with found.open() as stream:
        return stream.readall()


def test_dumps_are_found_in_folders_compressed_and_in_archives(tmp_path: Path) -> None:
    data = pickle.dumps(stalled(3, {12}), protocol=2)
    (tmp_path / "nccl_trace_rank_3").write_bytes(data)
    (tmp_path / "nccl_trace_rank_4.gz").write_bytes(gzip.compress(data))
    with tarfile.open(tmp_path / "all.tar", "w") as tar:
        info = tarfile.TarInfo("dumps/nccl_trace_rank_5")
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))
    found = discover([str(tmp_path)])
    assert [len(content(one).splitlines()) for one in found.inputs] == [63, 63, 63]
    assert found.skipped == ()


def test_a_dump_that_cannot_be_read_is_unreadable_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "nccl_trace_rank_3").write_bytes(pickle.dumps(_Hostile(os.getpid, ())))
    found = discover([str(tmp_path)])
    with pytest.raises(Unreadable, match="cannot be read, because it would run code"):
        content(found.inputs[0])


def test_other_pickles_and_other_json_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "model.pkl").write_bytes(pickle.dumps({"weights": [1.0]}))
    (tmp_path / "run.json").write_bytes(b'{"entries": 3}\n')
    found = discover([str(tmp_path)])
    assert [one.path.rpartition("/")[2] for one in found.skipped] == ["model.pkl"]
    assert content(found.inputs[0]) == b'{"entries": 3}\n'


def test_times_are_those_at_which_calls_were_made() -> None:
    assert BEGAN_NS // 10**9 == 1_772_334_120
    assert lines(dump([call(7)], {}))[1].startswith("2026-03-01T03:02:07.000000Z ")
