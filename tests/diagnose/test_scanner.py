"""The scanner: which lines are hits and stretches, in which order, and what keeps a line from being one."""

from dataclasses import replace

import hyperscan
import pytest
from made import resolve
from reading import findings, hits, names, signals, text

from diagnose.matching.database import Plan
from diagnose.matching.scanner import Scanner, Stretch
from diagnose.rules import Catalogue
from diagnose.tables import for_code, table
from schemas.record import Origin, Source
from schemas.vocabulary import Kind, Provenance

XID = "NVRM: Xid (PCI:0000:3b:00): {}, pid=4711, name=python, Ch 00000008"
TIMEOUT = (
    "[rank{0}]:[E1124 03:22:01.480113 ProcessGroupNCCL.cpp:616] [Rank {0}] Watchdog caught collective operation "
    "timeout: WorkNCCL(SeqNum=812, OpType=ALLREDUCE, NumelIn=1, NumelOut=1, Timeout(ms)=600000) ran for 600041 "
    "milliseconds before timing out."
)
STEP = (
    " [2026-11-24 03:12:{:02}] iteration {:8}/     500 | consumed samples: 64 | elapsed time per iteration (ms): 500.0 "
    "| lm loss: 2.1E+00 |"
)


def test_a_line_without_a_fault_is_no_finding(scanner: Scanner) -> None:
    assert findings(scanner, text("all is well", "Xid is a word", "timed out is not enough")) == []


def test_no_bytes_are_no_finding(scanner: Scanner) -> None:
    assert findings(scanner, b"") == []


def test_a_hit_names_line_offset_and_captures(scanner: Scanner) -> None:
    (hit,) = hits(scanner, "starting", TIMEOUT.format(3))
    assert (hit.signature.id, hit.line, hit.offset) == ("c10d.watchdog-timeout", 2, len("starting\n"))
    assert dict(hit.captures)["timeout_ms"] == "600000"
    assert (hit.origin.rank, dict(hit.captures)["collective"]) == (3, "ALLREDUCE")


def test_a_file_may_end_without_a_line_end(scanner: Scanner) -> None:
    (hit,) = findings(scanner, text("starting") + TIMEOUT.format(3).encode())
    assert hit.line == 2


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_a_segment_ends_at_either_line_end_and_line_numbers_count_newlines_only(scanner: Scanner, end: bytes) -> None:
    (hit,) = findings(scanner, b"loading 1%" + end + TIMEOUT.format(3).encode() + end)
    assert hit.text == TIMEOUT.format(3).encode()
    assert hit.line == 1 + end.count(b"\n")


def test_hits_and_stretches_come_in_the_order_of_their_lines(scanner: Scanner) -> None:
    lines = [STEP.format(1, 10), TIMEOUT.format(0), STEP.format(2, 20), STEP.format(3, 30), TIMEOUT.format(1)]
    kinds = [f.signature.kind for f in findings(scanner, text(*lines))]
    assert kinds == [Kind.PROGRESS, Kind.FAULT, Kind.PROGRESS, Kind.FAULT]


def test_a_stretch_counts_its_lines_and_keeps_the_first_and_the_last(scanner: Scanner) -> None:
    (stretch,) = findings(
        scanner, text(*(f"Epoch: [1][{n:3}/391]\tTime  0.12 ( 0.15)\tData  0.01 ( 0.02)" for n in range(1, 41)))
    )
    assert isinstance(stretch, Stretch)
    assert (stretch.count, stretch.first.line, stretch.last.line) == (40, 1, 40)


def test_a_line_that_is_no_evidence_is_no_hit_whatever_else_matches_it(
    compiled: tuple[Plan, hyperscan.Database], scanner: Scanner
) -> None:
    order, database = compiled
    credulous = Scanner(replace(order, vetoes=()), database)
    lines = [line for signature in order.vetoes for line in signature.match]
    assert any(hits(credulous, line) for line in lines)
    assert [line for line in lines if any(hit.signature.kind is Kind.FAULT for hit in hits(scanner, line))] == []


def test_a_catch_all_is_silent_where_a_specific_signature_has_spoken(scanner: Scanner) -> None:
    assert names(scanner, "RuntimeError: CUDA error: an illegal memory access was encountered") == [
        "cuda.illegal-access"
    ]
    assert names(scanner, "RuntimeError: the flux capacitor is empty") == ["python.runtime-error"]


@pytest.mark.parametrize(("skipped", "nominated"), [(0, False), (3, True)])
def test_a_fault_whose_piece_stands_in_lines_of_progress_is_nominated_by_a_whole_match_only(
    compiled: tuple[Plan, hyperscan.Database], skipped: int, nominated: bool
) -> None:
    order, database = compiled
    found = list[int]()
    line = (
        f" iteration      100/  500000 | consumed samples:  1024 | number of nan iterations:   {skipped} |\n".encode()
    )
    database.scan(line, match_event_handler=lambda expression, *_: found.append(expression))
    assert any(expression >= order.faults_from for expression in found) is nominated


@pytest.mark.parametrize(("name", "count"), [("xid", 172), ("sxid", 93)])
def test_a_table_holds_all_codes(name: str, count: int) -> None:
    assert len(table(name)) == count


@pytest.mark.parametrize("code", sorted(table("xid"), key=int))
def test_the_scanner_knows_xid(scanner: Scanner, code: str) -> None:
    row = table("xid")[code]
    (signal,) = signals(scanner, text(XID.format(code)))
    assert signal.signature == f"nvrm.xid.{code}"
    assert (signal.kind, signal.severity, signal.fault) == (row["kind"], row["severity"], row["fault"] or None)
    assert signal.captures["pci"] == "0000:3b:00"


@pytest.mark.parametrize("code", sorted(table("sxid"), key=int))
def test_the_scanner_knows_sxid(scanner: Scanner, known: Catalogue, code: str) -> None:
    row = table("sxid")[code]
    (own,) = [s for s in known.signatures if s.table == "sxid"]
    lines = [line.replace(_code(own.match[0]), f"{code}") for line in own.match[:1]]
    found = {s.signature: s for s in signals(scanner, text(*lines))}
    signal = found[f"{own.id}.{code}"]
    assert (signal.kind, signal.severity, signal.fault) == (row["kind"], row["severity"], row["fault"] or None)


def _code(line: str) -> str:
    return line.partition("): ")[2].partition(",")[0]


def test_a_code_that_the_table_does_not_know_is_an_error_of_the_gpu(scanner: Scanner) -> None:
    (signal,) = signals(scanner, text(XID.format(999)))
    assert (signal.signature, signal.fault, signal.severity) == ("nvrm.xid.999", "gpu.other_xid", "error")


def test_a_code_with_leading_zeros_is_the_same_code(known: Catalogue) -> None:
    assert for_code(known.by_id["nvrm.xid"], "079").id == "nvrm.xid.79"


def test_a_critical_code_is_decisive_and_says_what_to_do(known: Catalogue) -> None:
    fallen = for_code(known.by_id["nvrm.xid"], "79")
    assert fallen.decisive
    assert fallen.fault == "gpu.fallen_off_bus"
    assert "reboot" in fallen.action


SYSLOG = "Nov 24 03:12:{:02} gpu-01 {}: {}"


def source_of(*hints: str) -> Source:
    return Source("job.log", hints, Origin())


def test_a_kernel_signature_does_not_fire_on_a_line_that_an_app_is_known_to_have_written(scanner: Scanner) -> None:
    written = [SYSLOG.format(n, "trainer[411]", f"line {n}") for n in range(30)]
    assert names(scanner, *written, SYSLOG.format(31, "trainer[411]", XID.format(79))) == []


def test_a_kernel_signature_fires_on_a_line_that_the_kernel_is_known_to_have_written(scanner: Scanner) -> None:
    written = [SYSLOG.format(n, "kernel", f"line {n}") for n in range(30)]
    (signal,) = signals(scanner, text(*written, SYSLOG.format(31, "kernel", XID.format(79))))
    assert (signal.signature, signal.provenance) == ("nvrm.xid.79", Provenance.KERNEL)


def test_a_kernel_signature_fires_where_nobody_vouches_for_the_writer_and_the_signal_says_so(scanner: Scanner) -> None:
    (signal,) = signals(scanner, text(XID.format(79)))
    assert (signal.signature, signal.provenance) == ("nvrm.xid.79", Provenance.UNKNOWN)


def test_userspace_that_writes_to_the_kernels_buffer_is_not_the_kernel(scanner: Scanner) -> None:
    entry = (
        '{{"__REALTIME_TIMESTAMP":"17640000000000{:02}","_HOSTNAME":"gpu-01","_TRANSPORT":"kernel",'
        '"SYSLOG_FACILITY":"{}","MESSAGE":"{}"}}'
    )
    quiet = [entry.format(n, 0, f"line {n}") for n in range(20)]
    assert names(scanner, *quiet, entry.format(30, 1, XID.format(79))) == []
    assert names(scanner, *quiet, entry.format(30, 0, XID.format(79))) == ["nvrm.xid.79"]


TRACEBACK = (
    "Traceback (most recent call last):",
    '  File "/job/train.py", line 12, in <module>',
    "    main()",
    "ValueError: the flux capacitor is empty",
)


def test_a_traceback_is_one_unit(scanner: Scanner) -> None:
    (hit,) = hits(scanner, "before", *TRACEBACK, "after")
    assert (hit.line, hit.unit) == (5, (2, 5))


def test_lines_of_another_writer_within_a_traceback_do_not_belong_to_it(scanner: Scanner) -> None:
    mixed = [f"{rank}: {line}" for line in TRACEBACK[:3] for rank in (3, 4)]
    found = hits(scanner, *mixed, f"3: {TRACEBACK[3]}", "4: TypeError: 'NoneType' object is not callable")
    assert [(h.line, h.unit) for h in found] == [(7, (1, 7)), (8, (2, 8))]


def test_a_failure_box_of_torchrun_is_one_unit(scanner: Scanner) -> None:
    box = [
        "=" * 60,
        "train.py FAILED",
        "-" * 60,
        "Failures:",
        "  <NO_OTHER_FAILURES>",
        "-" * 60,
        "Root Cause (first observed failure):",
        "[0]:",
        "  time      : 2026-11-24_03:12:01",
        "  host      : gpu-01",
        "  rank      : 3 (local_rank: 3)",
        "  exitcode  : 1 (pid: 4711)",
        "  error_file: <N/A>",
        "  traceback : To enable traceback see: https://pytorch.org/docs/stable/elastic/errors.html",
        "=" * 60,
    ]
    units = {hit.unit for hit in hits(scanner, "before", *box, "after") if 3 <= hit.line <= 15}
    assert units == {(2, 16)}


def test_a_box_of_mpirun_is_one_unit(scanner: Scanner) -> None:
    box = [
        "-" * 74,
        "mpirun noticed that process rank 3 with PID 4711 on node gpu-01 exited on signal 9 (Killed).",
        "-" * 74,
    ]
    (hit,) = hits(scanner, "before", *box, "after")
    assert (hit.line, hit.unit) == (3, (2, 4))


def test_the_report_of_the_oom_killer_is_one_unit(scanner: Scanner) -> None:
    report = [
        "python invoked oom-killer: gfp_mask=0x100cca(GFP_HIGHUSER_MOVABLE), order=0, oom_score_adj=0",
        "CPU: 3 PID: 4711 Comm: python Tainted: P           OE     5.15.0-91-generic #101-Ubuntu",
        "Call Trace:",
        "Tasks state (memory values in pages):",
        "Out of memory: Killed process 4711 (python) total-vm:1048576kB, anon-rss:524288kB, file-rss:0kB, "
        "shmem-rss:0kB, UID:1000 pgtables:2048kB oom_score_adj:0",
    ]
    lines = [f"[ 812.{n:06}] {line}" for n, line in enumerate(report)]
    found = hits(scanner, *lines)
    assert found[-1].line == 5
    assert {hit.unit for hit in found} == {(1, 5)}


def test_a_line_without_a_stamp_takes_the_time_of_the_line_before_and_says_so(scanner: Scanner) -> None:
    (hit,) = hits(scanner, "2026-11-24 03:12:01 INFO starting", *TRACEBACK)
    assert hit.origin.time_s == 1795489921.0
    assert not hit.timed


def test_a_line_with_a_stamp_has_its_own_time(scanner: Scanner) -> None:
    (hit,) = hits(scanner, "2026-11-24 03:12:01 INFO starting", "2026-11-24 03:12:09 ERROR ValueError: it is empty")
    assert hit.origin.time_s == 1795489929.0
    assert hit.timed


def test_a_line_has_no_time_if_no_line_before_it_is_near_that_has_one(scanner: Scanner) -> None:
    (hit,) = hits(scanner, "2026-11-24 03:12:01 INFO starting", *("x" * 99 for _ in range(99)), *TRACEBACK)
    assert hit.origin.time_s is None


def test_the_json_record_of_a_container_holds_the_lines_of_a_traceback(scanner: Scanner) -> None:
    record = (
        '{"log":"Traceback (most recent call last):\\nValueError: the flux capacitor is empty\\n",'
        '"stream":"stderr","time":"2026-11-24T03:12:01Z"}'
    )
    assert names(scanner, record) == ["python.value-error"]


@pytest.mark.parametrize("name", ["marker.progress.tqdm", "marker.progress.megatron", "marker.progress.step"])
def test_a_stretch_counts_lines_not_nominations(scanner: Scanner, name: str) -> None:
    line = resolve(name).match[0]
    counts = [
        f.count for f in findings(scanner, text(*[line] * 10)) if isinstance(f, Stretch) and f.signature.id == name
    ]
    assert counts == [10]


def test_the_three_lines_of_a_gpu_that_fell_off_the_bus_are_one_unit(scanner: Scanner) -> None:
    lines = [
        "NVRM: GPU at PCI:0000:3b:00: GPU-7f1b2a30-0000-4444-8888-000000000001",
        "NVRM: Xid (PCI:0000:3b:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus.",
        "NVRM: GPU 0000:3b:00.0: GPU has fallen off the bus.",
    ]
    assert {s.first.unit for s in signals(scanner, text("before", *lines, "after"))} == {(2, 4)}
