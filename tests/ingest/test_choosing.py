"""Which lines of a source a store keeps, and what it knows of them."""

from collections.abc import Collection, Sequence
from itertools import count, pairwise

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.choosing import NEAR_MS, Choice, Chooser, SourceLines
from ingest.decode import LogFormats
from schemas.record import Decoder, LogRecord, Origin, Source
from schemas.vocabulary import Kept, Provenance

NOW_MS = 1_800_000_000_000
SOURCE = Source(name="n1:/log/train.log", stream="n1:/log/train.log", origin=Origin(host="n1"), key="k", vouched=True)
EVIDENCE = b"[rank3] NVRM: Xid 79"


def spots(data: bytes, decoder: Decoder) -> list[int]:
    found, at = [], data.find(EVIDENCE)
    while at >= 0:
        found.append(at)
        at = data.find(EVIDENCE, at + 1)
    return found


def fresh() -> SourceLines:
    return SourceLines(SOURCE, "c1", "c1\0n1\0/log/train.log\0g")


def restarted(lines: SourceLines) -> SourceLines:
    """Return a source as another process goes on with it."""
    return SourceLines.restored(SOURCE, lines.cluster, lines.key, orjson.loads(orjson.dumps(lines.state())))


def chooser(choice: Choice) -> Chooser:
    return Chooser(choice, LogFormats(), spots)


def chosen(
    pieces: Sequence[bytes], choice: Choice, gaps_ms: Sequence[int] = (), restarts: Collection[int] = ()
) -> list[LogRecord]:
    """Return what is kept of a source that comes in pieces, gaps of time and restarts between them."""
    lines, offset, line, at_ms, found = fresh(), 0, 1, NOW_MS, []
    for number, piece in enumerate(pieces):
        if number in restarts:
            lines = restarted(lines)
        at_ms += gaps_ms[number] if number < len(gaps_ms) else 0
        found += lines.take(chooser(choice), piece, offset, line, NOW_MS, at_ms)
        offset, line = offset + len(piece), line + piece.count(b"\n")
    return found


def texts(records: Sequence[LogRecord]) -> list[str]:
    return [record.text for record in records]


def around(number: int) -> Choice:
    return Choice(every=False, around=number)


def log(count: int, *, evidence: Sequence[int] = (), errors: Sequence[int] = ()) -> list[bytes]:
    marks = {**dict.fromkeys(evidence, EVIDENCE), **dict.fromkeys(errors, b"ERROR: no")}
    return [b"step %d %s\n" % (number, marks.get(number, b"ok")) for number in range(count)]


def test_all_lines_are_kept_with_their_places() -> None:
    records = chosen([b"one\n\ntwo\r\nthree\rfour\n"], Choice(every=True, around=0))
    assert [(r.text, r.line, r.offset_bytes, r.kept) for r in records] == [
        ("one", 1, 0, Kept.ALL),
        ("two", 3, 5, Kept.ALL),
        ("three", 4, 10, Kept.ALL),
        ("four", 4, 16, Kept.ALL),
    ]


def test_lines_around_evidence_and_errors_are_kept_and_say_why() -> None:
    records = chosen([b"".join(log(30, evidence=[10], errors=[20]))], around(2))
    assert [(r.line - 1, r.kept) for r in records] == [
        (8, Kept.CONTEXT), (9, Kept.CONTEXT), (10, Kept.EVIDENCE), (11, Kept.CONTEXT), (12, Kept.CONTEXT),
        (18, Kept.CONTEXT), (19, Kept.CONTEXT), (20, Kept.LEVEL), (21, Kept.CONTEXT), (22, Kept.CONTEXT),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "line",
    [
        b"WARNING: clock skew", b"2026-05-12 03:00:00,123 - ERROR - no", b'{"level":"error","msg":"x"}',
        b"Traceback (most recent call last):", b"RuntimeError: CUDA error", b"E0512 03:00:00.123456 12 a.cc:1] no",
        b"kernel panic", b"torch.cuda.OutOfMemoryError: no", b"fatal: it ended", b"Segfault at 0",
    ],
)  # fmt: skip
def test_a_line_that_warns_or_is_an_error_is_kept(line: bytes) -> None:
    assert [r.kept for r in chosen([b"a\n" * 9 + line + b"\n" + b"b\n" * 9], around(0))] == [Kept.LEVEL]


@pytest.mark.parametrize("line", [b"step 7 loss 2.31 error_rate 0.1", b"terror", b"warned_up", b"WARMUP done"])
def test_a_line_that_only_looks_like_it_is_not_kept(line: bytes) -> None:
    assert chosen([line + b"\n"], around(3)) == []


@given(
    marks=st.lists(st.sampled_from(["", "", "", "e", "x"]), max_size=40),
    number=st.integers(0, 4),
    cuts=st.sets(st.integers(1, 39)),
)
def test_the_same_lines_are_kept_however_they_were_cut(marks: list[str], number: int, cuts: set[int]) -> None:
    lines = log(
        len(marks),
        evidence=[i for i, mark in enumerate(marks) if mark == "e"],
        errors=[i for i, mark in enumerate(marks) if mark == "x"],
    )
    worth = [i for i, mark in enumerate(marks) if mark]
    near = {i for at in worth for i in range(max(0, at - number), min(len(marks), at + number + 1))}
    edges = [0, *sorted(cut for cut in cuts if cut < len(lines)), len(lines)]
    pieces = [b"".join(lines[begin:end]) for begin, end in pairwise(edges)]
    records = chosen([piece for piece in pieces if piece], around(number))
    assert [record.line - 1 for record in records] == sorted(near)
    assert records == chosen([b"".join(lines)] if lines else [], around(number))


@given(
    marks=st.lists(
        st.lists(st.sampled_from(["", "", "time", "time", "ERROR", "time ERROR"]), min_size=1, max_size=4),
        min_size=3,
        max_size=15,
    ),
    choice=st.builds(Choice, every=st.booleans(), around=st.integers(0, 4)),
    restarts=st.sets(st.integers(0, 15)),
    gaps_ms=st.lists(st.sampled_from([0, 1000]), max_size=15),
)
def test_what_is_said_of_a_line_does_not_depend_on_cuts_and_restarts(
    marks: list[list[str]], choice: Choice, restarts: set[int], gaps_ms: list[int]
) -> None:
    number = count()
    pieces = [b"".join(text(next(number), mark) for mark in piece) for piece in marks]
    assert chosen(pieces, choice, gaps_ms, restarts) == chosen([b"".join(pieces)], choice)


def text(number: int, mark: str) -> bytes:
    """Return a line with a time of its own, or without one."""
    stamp = b"2026-05-12 03:%02d:00,500 - INFO - " % number if "time" in mark else b"  "
    return stamp + b"step %d %s\n" % (number, b"ERROR" if "ERROR" in mark else b"\xffok")


def test_a_time_is_that_of_a_line_at_most_19_before_also_in_a_piece_that_came_long_ago() -> None:
    first, errors = text(7, "time"), [b"ERROR %d\n" % number for number in range(25)]
    gaps_ms = [0, *[10 * NEAR_MS] * 25]
    for every in (True, False):
        records = chosen([first, *errors], Choice(every, around=0), gaps_ms)
        times = [record.time_ms for record in records if "ERROR" in record.text]
        assert times == [*[times[0]] * 19, *[None] * 6]
        assert times[0] is not None


def test_bytes_that_were_there_before_a_restart_are_dropped() -> None:
    lines, data = fresh(), b"".join(log(10))
    every = chooser(Choice(every=True, around=0))
    assert len(list(lines.take(every, data, 0, 1, NOW_MS, NOW_MS))) == 10
    again = restarted(lines)
    (record,) = again.take(every, data + b"new\n", 0, 1, NOW_MS, NOW_MS)
    assert record.text == "new"


def test_a_format_is_found_out_after_a_restart_from_the_same_bytes_as_without_one() -> None:
    lines = fresh()
    every = chooser(Choice(every=True, around=0))
    list(lines.take(every, b"".join(log(20)), 0, 1, NOW_MS, NOW_MS))
    again = restarted(lines)
    for one in (lines, again):
        list(one.take(every, b"x\n" * 10_000, one.high, 21, NOW_MS, NOW_MS))
    assert (again.head, again.surveyed, again.told) == (lines.head, lines.surveyed, lines.told)
    assert again.head.startswith(b"step 0")


def test_what_came_much_earlier_or_later_is_not_near() -> None:
    lines = log(9, evidence=[4])
    gaps = [0] * 9
    gaps[4] = gaps[6] = NEAR_MS + 1
    assert [record.line - 1 for record in chosen(lines, around(3), gaps)] == [4, 5]


def test_bytes_that_were_there_already_are_dropped() -> None:
    lines, data = fresh(), b"".join(log(10))
    every = Choice(every=True, around=0)

    def take(begin: int, end: int) -> list[LogRecord]:
        at, line = begin, data[:begin].count(b"\n") + 1
        return list(lines.take(chooser(every), data[begin:end], at, line, NOW_MS, NOW_MS))

    size = len(data) // 10
    first, again, rest = take(0, 5 * size), take(2 * size, 7 * size), take(0, len(data))
    assert [record.line for record in (*first, *again, *rest)] == list(range(1, 11))


def test_nothing_is_near_across_missing_bytes() -> None:
    lines = fresh()
    list(lines.take(chooser(around(3)), b"a\nb\n", 0, 1, NOW_MS, NOW_MS))
    found = list(lines.take(chooser(around(3)), b"ERROR: no\nc\n", 100, 9, NOW_MS, NOW_MS))
    assert [(record.text, record.line) for record in found] == [("ERROR: no", 9), ("c", 10)]


def test_an_id_follows_from_where_the_line_is() -> None:
    every = Choice(every=True, around=0)
    whole, cut = chosen([b"one\ntwo\n"], every), chosen([b"one\n", b"two\n"], every)
    assert [r.id for r in whole] == [r.id for r in cut]
    assert len({r.id for r in whole}) == 2


def test_a_line_without_a_time_has_that_of_the_line_before() -> None:
    data = b"2026-05-12 03:00:00,500 - INFO - step\nTraceback (most recent call last):\n  File x\n"
    first, second, third = chosen([data], Choice(every=True, around=0))
    assert first.time_ms == second.time_ms == third.time_ms
    assert first.time_ms is not None
    assert first.time_ms % 1000 == 500
    assert chosen([b"no time\n"], Choice(every=True, around=0))[0].time_ms is None


def test_the_shippers_host_outranks_the_lines() -> None:
    (record,) = chosen([b"May 12 03:00:00 other kernel: ERROR: no\n"], around(0))
    assert record.host == "n1"


def test_secrets_and_escapes_are_gone() -> None:
    (record,) = chosen([b"ERROR: \x1b[31mpassword=hunter2hunter2\x1b[0m\n"], around(0))
    assert record.text == "ERROR: password=[masked]"


def test_a_line_of_a_megabyte_is_cut() -> None:
    (record,) = chosen([b"ERROR: " + b"x" * 1_000_000 + b"\n"], around(0))
    assert len(record.text) <= 2000


def test_records_of_a_foreign_shipper_are_lines_by_their_offsets() -> None:
    source = Source(name="n1:app", stream="n1:app", origin=Origin(host="n1", provenance=Provenance.UNKNOWN), key="k")
    lines = SourceLines(source, "c1", "k")
    given_ = [(100, b"fine"), (104, b"ERROR: one\nwith a second line"), (109, b"fine again"), (110, b"far")]
    records = list(lines.take_records(chooser(around(1)), given_, NOW_MS))
    assert [(r.offset_bytes, r.line, r.kept) for r in records] == [
        (100, 101, Kept.CONTEXT), (104, 105, Kept.LEVEL), (109, 110, Kept.CONTEXT),
    ]  # fmt: skip
    assert records[1].text == "ERROR: one with a second line"
    assert list(lines.take_records(chooser(around(1)), given_, NOW_MS)) == []
