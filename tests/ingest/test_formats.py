"""What the prefixes of lines tell, and what stays of a line without them."""

import os
from calendar import timegm
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ingest.decode import HEAD_BYTES, decoder_for
from ingest.formats.plain import without_escapes
from schemas.record import Decoded, Origin, Source
from schemas.vocabulary import Provenance

DAY_S = timegm((2024, 5, 1, 0, 0, 0))
AT_S = DAY_S + 4 * 3600 + 11 * 60 + 25.0
"""2024-05-01T04:11:25Z, the time of most lines below."""

SOURCE = Source("some.log", modified_s=AT_S + 7200)
KERNEL, APP, UNKNOWN = Provenance.KERNEL, Provenance.APP, Provenance.UNKNOWN
CASES = Path(__file__).parents[3] / "shared" / "cases"


def decode(line: bytes | str, head: bytes | str | None = None, source: Source = SOURCE) -> Decoded:
    """Decode a line of a source that begins with a head, or else with the line itself."""
    raw, first = (text.encode() if isinstance(text, str) else text for text in (line, line if head is None else head))
    return decoder_for(source, first)(raw)


def told(origin: Origin) -> dict[str, object]:
    """Return what an origin tells, times to the microsecond."""
    values = {name: getattr(origin, name) for name in Origin.__slots__}
    return {
        name: round(value, 6) if isinstance(value, float) else value
        for name, value in values.items()
        if value is not None and value is not UNKNOWN
    }


# line, message (None: nothing is taken off), what it tells, label
TIME: dict[str, object] = {"time_s": AT_S}
MILLI: dict[str, object] = {"time_s": AT_S + 0.123}
LINES: list[tuple[str, str | None, dict[str, object], str]] = [
    ("loss is 2.5", None, {}, ""),
    ("+ python train.py", None, {}, ""),
    ("Epoch: [0]  [10/20]  eta: 0:00:22", None, {}, ""),
    # containers
    ("2024-05-01T04:11:25.123456789Z stderr F boom", "boom", {"time_s": AT_S + 0.123457}, ""),
    ("2024-05-01T06:11:25+02:00 stdout P part", "part", TIME, ""),
    ('{"log":"boom\\n","stream":"stderr","time":"2024-05-01T04:11:25.123Z"}', "boom", MILLI, ""),
    ("May  1 04:11:25 kernel: NVRM: lost", "NVRM: lost", TIME | {"provenance": KERNEL}, "kernel"),
    ("torch.OutOfMemoryError: CUDA out of memory", "torch.OutOfMemoryError: CUDA out of memory", {}, ""),
    # klog, glog, absl, c10d
    ("E0501 04:11:25.123456    1234 kubelet.go:12] boom", "boom", {"time_s": AT_S + 0.123456, "level": "error"}, ""),
    ("I20240501 04:11:25.123000 99 main.cc:1] boom", "boom", MILLI | {"level": "info"}, ""),
    ("W0501 04:11:25.123000 1399 torch/distributed/run.py:757] ", "", MILLI | {"level": "warning"}, ""),
    (
        "[rank3]:[E501 04:11:25.123456789 ProcessGroupNCCL.cpp:607] boom",
        "boom",
        {"rank": 3, "time_s": AT_S + 0.123457, "level": "error"},
        "rank3",
    ),
    (
        "[rank3]:[E0501 04:11:25.123 ProcessGroupNCCL.cpp:607] boom",
        "boom",
        MILLI | {"rank": 3, "level": "error"},
        "rank3",
    ),
    ("[E ProcessGroupNCCL.cpp:475] [Rank 7] gone", "[Rank 7] gone", {"rank": 7, "level": "error"}, "rank7"),
    ("[PG ID 0 PG GUID 0(default_pg) Rank 7] gone", None, {"rank": 7}, "rank7"),
    # Python
    ("2024-05-01 04:11:25,123 - trainer - ERROR - boom", "boom", MILLI | {"level": "error"}, ""),
    ("2024-05-01 04:11:25,123 trainer.core INFO: boom", "boom", MILLI | {"level": "info"}, ""),
    ("2024-05-01 04:11:25,123 ERROR boom", "boom", MILLI | {"level": "error"}, ""),
    ("2024-05-01 04:11:25,123 CUDA ERROR: lost", "CUDA ERROR: lost", MILLI, ""),
    ("2024-05-01 04:11:25,123   indented", "  indented", MILLI, ""),
    ("2024-05-01 04:11:25.123 | WARNING  | mod.a:run:12 - boom", "boom", MILLI | {"level": "warning"}, ""),
    ("ERROR:trainer.core:boom", "boom", {"level": "error"}, ""),
    ("[2024-05-01 04:11:25,123] [ERROR] [engine.py:12:step] boom", "boom", MILLI | {"level": "error"}, ""),
    ("[2024-05-01 04:11:25,123][trainer][ERROR] - boom", "boom", MILLI | {"level": "error"}, ""),
    ("[2024-05-01 04:11:25,123] torch.distributed.run: [WARNING] boom", "boom", MILLI | {"level": "warning"}, ""),
    ("[INFO|trainer.py:12] 2024-05-01 04:11:25,123 >> boom", "boom", MILLI | {"level": "info"}, ""),
    ("05/01/2024 04:11:25 - INFO - __main__ - boom", "boom", TIME | {"level": "info"}, ""),
    ("[NeMo W 2024-05-01 04:11:25 nemo_logging:349] boom", "boom", TIME | {"level": "warning"}, ""),
    (" [2024-05-01 04:11:25] iteration 10/ 100 | x", "iteration 10/ 100 | x", TIME, ""),
    ("24-05-01 04:11:25 - PID:2 - rank:(0, 0, 0, 1) - a.py:39 - INFO - boom", "boom", TIME | {"level": "info"}, ""),
    # NCCL, MPI
    ("gpu-1:12:13 [5] NCCL WARN boom", None, {"host": "gpu-1", "gpu": 5, "level": "warning"}, "gpu-1:12"),
    (
        "[2024-05-01 04:11:25] gpu-1:12:13 [5] misc/a.cc:12 NCCL WARN boom",
        None,
        TIME | {"host": "gpu-1", "gpu": 5, "level": "warning"},
        "gpu-1:12",
    ),
    ("[node4:1271] MCW rank 3 is not bound", None, {"host": "node4"}, "node4:1271"),
    ("[headnode:227  :0:227] Caught signal 11", None, {"host": "headnode"}, "headnode:227"),
    (
        "[1714536685.123000] [node4:25:0]   parser.c:19 UCX  WARN  unused",
        None,
        MILLI | {"host": "node4", "level": "warning"},
        "node4:25",
    ),
    ("[step:100] loss", None, {}, ""),
    # launchers
    ("12: boom", "boom", {"rank": 12}, "12"),
    (" 0:   indented", "  indented", {"rank": 0}, "0"),
    ("3:", "", {"rank": 3}, "3"),
    ("13:4: not a valid test", None, {}, ""),
    ("[rank3]: Traceback", "Traceback", {"rank": 3}, "rank3"),
    ("[default3]:  File", "  File", {}, "default3"),
    ("[default3]:[rank11]:[W init.cpp:7] boom", "boom", {"rank": 11, "level": "warning"}, "default3/rank11"),
    ("[1,3]<stderr>: boom", "boom", {"rank": 3}, "1,3"),
    ("[1,3]<stdout>:boom", "boom", {"rank": 3}, "1,3"),
    (
        "(RayTrainWorker pid=12, ip=10.0.0.3) boom [repeated 3x across cluster]",
        "boom [repeated 3x across cluster]",
        {"host": "10.0.0.3"},
        "RayTrainWorker pid=12, ip=10.0.0.3",
    ),
    ("\x1b[36m(RayTrainWorker pid=12)\x1b[0m boom", "boom", {}, "RayTrainWorker pid=12"),
    # OpenSM
    ("May  1 04:11:25 123000 [7F3C2100] 0x02 -> SUBNET UP", "SUBNET UP", MILLI, ""),
    ("May  1 04:11:25 123000 [7F3C2100] SUBNET UP", None, {}, ""),
    # Slurm, training
    (
        "slurmstepd: error: *** STEP 561.17 ON n-25 CANCELLED AT 2024-05-01T04:11:25 DUE TO TIME LIMIT ***",
        None,
        TIME | {"host": "n-25", "job": "561", "level": "error", "provenance": Provenance.SCHEDULER},
        "",
    ),
    ("srun: error: n-25: task 0: Exited with exit code 1", None, {"host": "n-25"}, ""),
    ("srun: error: Unable to create step", None, {}, ""),
    ("[2024-05-01T04:11:25.123] error: boom", "error: boom", MILLI, ""),
    (':::MLLOG {"namespace": "", "time_ms": 1714536685123, "key": "a"}', None, MILLI, ""),
    ("[HCTR][04:11:25.123][INFO][RK3][main]: boom", "boom", {"rank": 3, "level": "info"}, "rank3"),
    ("[04:11:25] ../src/file.cc:12: boom", "boom", {}, ""),
    ("DLL 2024-05-01 04:11:25.123000 - Iteration: 1", "Iteration: 1", MILLI, ""),
    ("  host      : node049", None, {"host": "node049"}, ""),
    ("  rank      : 4 (local_rank: 4)", None, {"rank": 4}, ""),
    # JSON
    (
        '{"message": "boom", "level": "ERROR", "ts": 1714536685.123, "host": {"name": "n1"}, "rank": 3}',
        "boom",
        MILLI | {"host": "n1", "rank": 3, "level": "error"},
        "rank3",
    ),
    ('{"msg": "boom", "@timestamp": "2024-05-01T04:11:25Z", "host.name": "n1"}', "boom", TIME | {"host": "n1"}, "n1"),
    ('{"msg": "boom", "timestamp": 1714536685000000000}', "boom", TIME, ""),
    ('{"loss": 2.5, "time": 0.25}', None, {}, ""),
    # dmesg
    ("[12345.678901] boom", "boom", {"clock_s": 12345.678901, "provenance": KERNEL}, ""),
    ("[    5.000001][    T1] boom", "boom", {"clock_s": 5.000001, "provenance": KERNEL}, ""),
    ("[Wed May  1 04:11:25 2024] boom", "boom", TIME | {"provenance": KERNEL}, ""),
    ("kern  :err   : [12.000001] boom", "boom", {"clock_s": 12.000001, "level": "error", "provenance": KERNEL}, ""),
    ("daemon:info  : [12.000001] boom", "boom", {"clock_s": 12.000001, "level": "info", "provenance": APP}, ""),
    ("<3>[12.000001] boom", "boom", {"clock_s": 12.000001, "level": "error", "provenance": KERNEL}, ""),
]


@pytest.mark.parametrize(("line", "message", "origin", "label"), LINES, ids=[line[:48] for line, *_ in LINES])
def test_a_prefix_is_taken_off_and_tells_its_origin(
    line: str, message: str | None, origin: dict[str, object], label: str
) -> None:
    found = decode(line)
    assert found.message.decode() == (line if message is None else message)
    assert told(found.origin) == origin
    assert found.label == label


@pytest.mark.parametrize(
    ("line", "provenance", "label"),
    [
        ("May  1 04:11:25 gpu-1 kernel: boom", KERNEL, "gpu-1 kernel"),
        ("May  1 04:11:25 gpu-1 python3[12]: boom", APP, "gpu-1 python3[12]"),
        ("<6>May  1 04:11:25 gpu-1 kernel: boom", KERNEL, "gpu-1 kernel"),
        ("<13>May  1 04:11:25 gpu-1 kernel: boom", APP, "gpu-1 kernel"),
        ("2024-05-01T06:11:25+02:00 gpu-1 slurmd[9]: boom", Provenance.SCHEDULER, "gpu-1 slurmd[9]"),
        ("2024-05-01T04:11:25.000000Z gpu-1 kubelet[9]: boom", Provenance.SCHEDULER, "gpu-1 kubelet[9]"),
        ("2024-05-01T04:11:25+0000 gpu-1 containerd[9]: boom", Provenance.CONTAINER, "gpu-1 containerd[9]"),
        (
            "<30>1 2024-05-01T04:11:25Z gpu-1 nv-fabricmanager 9 - - boom",
            Provenance.FABRIC,
            "gpu-1 nv-fabricmanager[9]",
        ),
        ('<6>1 2024-05-01T04:11:25Z gpu-1 kernel - - [a b="c\\]d"] boom', KERNEL, "gpu-1 kernel"),
        ("1 2024-05-01T04:11:25Z gpu-1 dockerd 9 - - boom", Provenance.CONTAINER, "gpu-1 dockerd[9]"),
    ],
)
def test_a_syslog_tells_host_time_and_who_wrote(line: str, provenance: Provenance, label: str) -> None:
    found = decode(line)
    assert (found.message, found.origin.host, found.origin.time_s) == (b"boom", "gpu-1", AT_S)
    assert (found.origin.provenance, found.label) == (provenance, label)


JOURNAL = '"__REALTIME_TIMESTAMP":"1714536685000000","_HOSTNAME":"gpu-1","PRIORITY":"3"'


@pytest.mark.parametrize(
    ("fields", "provenance"),
    [
        ('"MESSAGE":"boom","_TRANSPORT":"kernel","SYSLOG_FACILITY":"0","SYSLOG_IDENTIFIER":"kernel"', KERNEL),
        ('"MESSAGE":[98,111,111,109],"_TRANSPORT":"kernel","SYSLOG_FACILITY":"0"', KERNEL),
        ('"MESSAGE":"boom","_TRANSPORT":"kernel","SYSLOG_FACILITY":"1","SYSLOG_IDENTIFIER":"kernel"', APP),
        ('"MESSAGE":"boom","_TRANSPORT":"kernel","SYSLOG_IDENTIFIER":"kernel"', APP),
        ('"MESSAGE":"boom","_TRANSPORT":"syslog","SYSLOG_FACILITY":"0","SYSLOG_IDENTIFIER":"kernel"', APP),
        ('"MESSAGE":"boom","_TRANSPORT":"stdout","SYSLOG_IDENTIFIER":"slurmd"', Provenance.SCHEDULER),
    ],
)
def test_a_journal_vouches_for_the_kernel_only_with_transport_and_facility(fields: str, provenance: Provenance) -> None:
    found = decode("{" + fields + "," + JOURNAL + "}")
    assert found.message == b"boom"
    assert told(found.origin) == TIME | {"host": "gpu-1", "level": "error", "provenance": provenance}


STEPS = "".join(f"step {number} loss 2.5\n" for number in range(40))


@pytest.mark.parametrize(
    "line",
    [
        "[12345.678901] NVRM: Xid",
        "[Wed May  1 04:11:25 2024] NVRM: Xid",
        "May  1 04:11:25 gpu-1 kernel: NVRM: Xid",
        "<6>May  1 04:11:25 gpu-1 kernel: NVRM: Xid",
        "kern  :err   : [12345.678901] NVRM: Xid",
        '{"MESSAGE":"NVRM: Xid","_TRANSPORT":"kernel","SYSLOG_FACILITY":"0",' + JOURNAL + "}",
    ],
)
def test_a_line_that_a_program_prints_does_not_vouch_for_the_kernel(line: str) -> None:
    found = decode(line, head=STEPS + line + "\n")
    assert found.message == b"NVRM: Xid"
    assert found.origin.provenance is UNKNOWN


@pytest.mark.parametrize("wrapper", ["2024-05-01T04:11:25Z stdout F ", "0: ", "[rank3]: ", "(Worker pid=1) "])
@pytest.mark.parametrize("line", ["[12345.678901] NVRM: Xid", "May  1 04:11:25 gpu-1 kernel: NVRM: Xid"])
def test_what_a_program_prints_never_vouches_though_its_source_is_a_kernel_log(wrapper: str, line: str) -> None:
    assert decode(wrapper + line, head=line).origin.provenance is UNKNOWN
    assert decode(wrapper + line).origin.provenance is UNKNOWN


def test_a_syslog_of_a_program_does_not_become_the_kernels_by_what_it_says() -> None:
    found = decode("May  1 04:11:25 gpu-1 python[7]: [12345.678901] NVRM: Xid")
    assert (found.message, found.origin.provenance) == (b"NVRM: Xid", APP)


def test_prefixes_nest() -> None:
    found = decode("2024-05-01T04:11:25.5Z stderr F 12: \x1b[31m[rank3]:[E0501 04:11:25.123 Group.cpp:607] boom\x1b[0m")
    assert found.message == b"boom"
    assert told(found.origin) == MILLI | {"rank": 3, "level": "error"}
    assert found.label == "12/rank3"


def test_a_time_whose_zone_is_a_guess_does_not_replace_one_that_is_hours_away() -> None:
    assert decode("2024-05-01T04:11:25Z stderr F 2024-05-01 12:11:25,000 - a - INFO - x").origin.time_s == AT_S
    assert decode("2024-05-01T04:11:30Z stderr F 2024-05-01 04:11:25,000 - a - INFO - x").origin.time_s == AT_S


def test_the_outer_host_has_the_word_on_the_host() -> None:
    assert decode("May  1 04:11:25 gpu-1 app[1]: pod-7:12:13 [5] NCCL WARN x").origin.host == "gpu-1"


PDSH = "".join(f"node{number % 3}: step {number}\n" for number in range(30))


def test_host_labels_are_taken_off_where_the_head_shows_that_they_are_hosts() -> None:
    found = decode("node17: [2024-05-01 04:11:25,123] [INFO] [a.py:1:f] boom", head=PDSH)
    assert (found.message, found.origin.host, found.label) == (b"boom", "node17", "node17")


def test_host_labels_that_alternate_are_hosts_though_most_lines_have_none() -> None:
    head = STEPS + "".join(f"worker-{number % 2}: step\n" for number in range(10))
    assert decode("worker-1: boom", head=head).origin.host == "worker-1"


@pytest.mark.parametrize("line", ["node17: boom", "layer1: boom", "RuntimeError: boom", "loss: 2.5"])
def test_labels_stay_where_the_head_does_not_show_hosts(line: str) -> None:
    assert decode(line, head=STEPS).message == line.encode()
    assert decode(line, head="epoch: 1\nloss: 2\nlayer1: 3\nlayer2: 4\n" * 20).message == line.encode()


@pytest.mark.parametrize("line", ["RuntimeError: boom", "libnuma2: boom"])
def test_other_labels_stay_among_host_labels(line: str) -> None:
    assert decode(line, head=PDSH).message == line.encode()


def test_a_kernel_log_gathered_by_pdsh_is_one() -> None:
    head = "".join(f"node{number % 3}: [{number}.000001] boom\n" for number in range(30))
    assert told(decode("node2: [5.000001] boom", head=head).origin) == {
        "host": "node2",
        "clock_s": 5.000001,
        "provenance": KERNEL,
    }


def test_a_bracketed_number_is_a_rank_where_most_lines_have_one() -> None:
    assert decode("[3] boom", head="[0] a\n[1] b\n[2] c\n").origin.rank == 3
    assert decode("[3] boom", head=STEPS).message == b"[3] boom"


def test_prefixes_that_cannot_be_mistaken_are_taken_off_whatever_the_head_was() -> None:
    assert decode("12: [rank3]: boom", head=STEPS).origin.rank == 3


@pytest.mark.parametrize(
    ("modified", "expected"),
    [
        ((2024, 5, 1, 5, 0, 0), (2024, 5, 1, 4, 11, 25)),
        ((2025, 1, 1, 0, 5, 0), (2024, 5, 1, 4, 11, 25)),
        ((2024, 4, 30, 12, 0, 0), (2024, 5, 1, 4, 11, 25)),
        ((2024, 4, 29, 12, 0, 0), (2023, 5, 1, 4, 11, 25)),
    ],
)
def test_a_stamp_without_a_year_takes_the_latest_that_the_source_allows(
    modified: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    source = Source("a", modified_s=float(timegm(modified)))
    assert decode("E0501 04:11:25.0 1 a.go:1] x", source=source).origin.time_s == timegm(expected)


def test_a_stamp_without_a_year_in_a_source_without_a_time_tells_none() -> None:
    found = decode("E0501 04:11:25.0 1 a.go:1] x", source=Source("a"))
    assert (found.message, told(found.origin)) == (b"x", {"level": "error"})


@pytest.mark.parametrize("day", ["2023-02-29", "2024-13-01", "2024-00-10", "0001-01-01", "20x4-01-01"])
def test_a_day_that_does_not_exist_is_no_stamp(day: str) -> None:
    assert decode(f"{day} 04:11:25 x").origin.time_s is None


def test_an_mlperf_record_in_the_middle_of_a_line_still_tells_its_time() -> None:
    assert decode('3: 100%|#| :::MLLOG {"namespace": "", "time_ms": 1714536685123}').origin.time_s == AT_S + 0.123


def test_a_message_of_a_record_may_hold_several_lines() -> None:
    assert decode('{"message": "[rank3]: a\\nb\\u001b[0m\\n", "level": "info"}').message == b"a\nb"


def test_escapes_and_nuls_are_no_part_of_a_message() -> None:
    assert decode(b"\x1b[1;31mbo\x00om\x1b[0m").message == b"boom"


PIECES = st.sampled_from(
    [line.encode() for line, *_ in LINES]
    + [b"12: ", b"[rank3]: ", b"[", b"{", b"}", b"<", b">", b":", b" ", b"\x1b[", b"\x00", b"2024-05-01T04:11:25"]
    + [b"May  1 04:11:25 ", b"host ", b"kernel: ", b"node1: ", b'"MESSAGE":', b"\xff", b"9" * 40, b":::MLLOG"]
)
SEGMENTS = st.binary(max_size=200) | st.lists(PIECES | st.binary(max_size=6), max_size=6).map(b"".join)


@given(SEGMENTS, st.lists(SEGMENTS, max_size=5).map(b"\n".join), st.none() | st.floats())
@example(b'{"ts": 1e308, "msg": "a"}', b"", None)
@example(b"May 29 04:11:25 a b: c", b"", float("inf"))
def test_any_bytes_decode_without_an_exception_and_always_to_the_same(
    segment: bytes, head: bytes, modified_s: float | None
) -> None:
    source = Source("a", modified_s=modified_s)
    decoder = decoder_for(source, head)
    assert decoder(segment) == decoder(segment) == decoder_for(source, head)(segment)


@given(SEGMENTS.filter(lambda segment: b"{" not in segment), st.lists(SEGMENTS, max_size=5).map(b"\n".join))
def test_the_message_of_a_line_is_its_end(segment: bytes, head: bytes) -> None:
    found = decoder_for(SOURCE, head)(segment)
    assert without_escapes(segment).endswith(found.message)


@given(st.binary(max_size=64), st.binary(max_size=64))
def test_a_plain_program_cannot_make_itself_the_kernel(before: bytes, after: bytes) -> None:
    line = before + b"kernel: " + after
    assert decode(line, head=STEPS).origin.provenance is not KERNEL


def test_a_segment_of_the_greatest_length_is_decoded() -> None:
    for unit in (b"[", b"{", b"0: ", b"[rank3]: ", b"\x1b[", b" ", b"a:", b"(a pid="):
        assert decode(unit * (32 * 1024 // len(unit)), head=b"x")


@pytest.mark.cases
@pytest.mark.skipif(
    not CASES.is_dir(), reason=f"the labelled real logs are not at {CASES}: nothing here was tested on them"
)
def test_nine_of_ten_mlperf_records_of_real_logs_have_a_time() -> None:
    records = timed = 0
    for log in sorted(CASES.glob("*/*.log")):
        data = log.read_bytes()
        decoder = decoder_for(Source(os.fspath(log)), data[:HEAD_BYTES])
        for segment in data.replace(b"\r", b"\n").split(b"\n"):
            if b":::MLLOG" in segment:
                records += 1
                timed += decoder(segment).origin.time_s is not None
    assert records > 1000
    assert timed / records >= 0.9
