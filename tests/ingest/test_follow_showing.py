"""Files that are no logs, as they are followed: the lines that come are those that the whole file is shown as."""

import json
import os
import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rendered import File, double, framed
from shipper import Shipper, write
from test_renderings_health import DCGM, DIAG, HEALTH, REPORT
from test_renderings_tables import SMI, smi
from test_renderings_tensorboard import VERSION, event, simple
from test_renderings_wandb import history, item
from test_renderings_wandb import log as wandb_log
from test_stack_dumps import FAULTHANDLER, PY_SPY

from ingest.follow.generations import generation_id
from ingest.follow.pieces import Followed
from ingest.follow.positions import Place, Shown
from ingest.follow.showing import END_MS
from ingest.renderings.table import rendering_of
from ingest.sources import Problem
from ingest.spool import HEAD_BYTES
from tests.dumps import stalled

STEPS: Final = range(1, 40)
TENSORBOARD: Final = VERSION + b"".join(
    event(step, simple("loss", 1 / step))
    + event(step, simple("lr", 0.1))
    + framed(double(1, 1.0) + b"\x7a\x01\n" * step)
    for step in STEPS
)
WANDB: Final = wandb_log(*(history(item("_step", str(n)), item("loss", "2.5"), item("x", "9" * 2000)) for n in STEPS))
LIGHTNING: Final = "step,loss,note\n" + "".join(f'{n},{2.5 / n:.3f},"a, b"\n' for n in STEPS)
SMI_LOOP: Final = (
    SMI
    + "\n"
    + "".join(smi(n % 8, "98 %", "1024 MiB", "6.5 W", "0", "No", "Not Active", "Active") + "\n" for n in STEPS)
)
MONITOR: Final = "#Entity   TMPTR  POWER\nID\n" + "".join(f"GPU {n % 8}     {n}     612.4\n" for n in STEPS)
TEXTS: Final = {
    "metrics.csv": LIGHTNING,
    "smi.csv": SMI_LOOP,
    "smi.txt": "\n" + REPORT + "training goes on " + "x" * 150_000 + "\n" + REPORT,
    "dmon.txt": MONITOR,
    "health.txt": HEALTH,
    "diag.txt": DIAG + "and on it goes\n",
    "dcgm.prom": DCGM * 2,
    "rank_3.stacks": PY_SPY.decode() + "step 12\r\n" + "x" * 200_000 + "\nstep 13\n",
    "rank_4.stacks": FAULTHANDLER.decode(),
}
GROWING: Final = {
    "events.out.tfevents.1": TENSORBOARD,
    "run-1.wandb": WANDB,
    **{name: text.encode() for name, text in TEXTS.items()},
}
ROW_BY_ROW: Final = ("run-1.wandb", "metrics.csv", "smi.csv", "dmon.txt")
"""Nothing in these waits for what may follow it, but the end of a row."""

each_file = pytest.mark.parametrize("name", GROWING)
some = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    (tmp_path / "logs").mkdir()
    return tmp_path / "logs"


@pytest.fixture
def shipper(tmp_path: Path, logs: Path) -> Iterator[Shipper]:
    made = Shipper(tmp_path, Followed((str(logs),), "c1", "node1"))
    yield made
    made.follower.close()


def whole(name: str, data: bytes) -> bytes:
    """Return the lines that a file is shown as when it is there from beginning to end."""
    rendering = rendering_of(name, data[:HEAD_BYTES])
    assert rendering is not None
    file = File(data)
    file.label = name
    return b"".join(rendering.render(file))


def told(shipper: Shipper) -> bytes:
    """Return what came of the only stream, whatever the number of its generations."""
    (parts,) = shipper.streams().values() or ([],)
    return b"".join(parts)


def wait(shipper: Shipper) -> None:
    """Let it be quiet until nothing more is expected."""
    shipper.settle()
    shipper.turn(END_MS)
    shipper.settle()


def cuts(data: bytes) -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(0, len(data)), max_size=8).map(sorted)


@each_file
@some
@given(data=st.data())
def test_what_comes_of_a_growing_file_is_what_the_whole_is_shown_as(name: str, data: st.DataObject) -> None:
    content = GROWING[name]
    begin = 0
    with TemporaryDirectory() as folder:
        logs = Path(folder) / "logs"
        logs.mkdir()
        shipper = Shipper(Path(folder), Followed((str(logs),), "c1", "node1"))
        for end in [*data.draw(cuts(content)), len(content)]:
            write(logs / name, content[begin:end])
            begin = end
            shipper.confirms = data.draw(st.booleans())
            shipper.turn(300)
            if data.draw(st.booleans()):
                shipper.restart(lost=data.draw(st.booleans()))
        wait(shipper)
        shipper.follower.close()
        assert told(shipper) == whole(name, content)
        assert shipper.news == []


@pytest.mark.parametrize("name", ROW_BY_ROW)
@some
@given(data=st.data())
def test_however_long_a_writer_pauses_within_a_record(name: str, data: st.DataObject) -> None:
    content, begin = GROWING[name], 0
    with TemporaryDirectory() as folder:
        logs = Path(folder) / "logs"
        logs.mkdir()
        shipper = Shipper(Path(folder), Followed((str(logs),), "c1", "node1"))
        beginning = content.index(b"\n", content.index(b"\n") + 1) + 1  # until then it may be anything
        for end in [beginning, *(cut for cut in data.draw(cuts(content)) if cut > beginning), len(content)]:
            write(logs / name, content[begin:end])
            begin = end
            shipper.settle()
            if data.draw(st.booleans()):
                shipper.restart(lost=data.draw(st.booleans()))
        wait(shipper)
        shipper.follower.close()
        assert told(shipper) == whole(name, content)


def test_a_step_that_waits_is_told_when_its_file_is_quiet_and_what_comes_later_has_a_line_of_its_own(
    logs: Path, shipper: Shipper
) -> None:
    file = logs / "events.out.tfevents.1"
    write(file, VERSION + event(1, simple("loss", 2.0)))
    assert [piece.value for piece in shipper.turn()] == []
    shipper.settle()
    shipper.restart()
    write(file, event(1, simple("lr", 0.5)) + event(2, simple("loss", 1.0)))
    shipper.turn(1000)
    shipper.restart()
    wait(shipper)
    stamp = "2025-02-03T04:05:06.125Z metric of=training"
    assert told(shipper).decode().splitlines() == [
        f"{stamp} step=1 loss=2", f"{stamp} step=1 learning_rate=0.5", f"{stamp} step=2 loss=1",
    ]  # fmt: skip


def test_the_numbers_of_a_row_are_never_cut(logs: Path, shipper: Shipper) -> None:
    write(logs / "metrics.csv", b"step,loss\n1,2.5\n2,2.")
    shipper.settle()
    assert told(shipper) == b"metric of=training step=1 loss=2.5\n"
    write(logs / "metrics.csv", b"25\n")
    shipper.turn(1000)
    assert told(shipper).endswith(b"step=2 loss=2.25\n")


def test_a_row_without_its_end_is_told_in_the_end(logs: Path, shipper: Shipper) -> None:
    write(logs / "metrics.csv", b"step,loss\n1,2.5\n2,2.25")
    wait(shipper)
    assert told(shipper) == b"metric of=training step=1 loss=2.5\nmetric of=training step=2 loss=2.25\n"
    assert shipper.follower.at_end()


def test_a_finished_file_is_not_read_again(logs: Path, shipper: Shipper) -> None:
    write(logs / "events.out.tfevents.1", TENSORBOARD)
    os.utime(logs / "events.out.tfevents.1", (1, 1))
    wait(shipper)
    before = told(shipper)
    shipper.restart()
    (logs / "events.out.tfevents.1").touch()
    os.utime(logs / "events.out.tfevents.1", (1, 1))
    shipper.pieces.clear()
    wait(shipper)
    assert [piece for piece in shipper.pieces if piece.value] == []
    assert (told(shipper), shipper.follower.at_end()) == (before, True)
    assert not any(tail.descriptor for tail in shipper.follower._roster.tails)


def test_what_was_told_at_the_end_is_not_told_again_when_more_comes(logs: Path, shipper: Shipper) -> None:
    write(logs / "metrics.csv", b"step,loss\n1,2.5\n2,2.25")
    wait(shipper)
    shipper.restart()
    write(logs / "metrics.csv", b"\n3,1.5\n")
    wait(shipper)
    assert [line.split()[2] for line in told(shipper).splitlines()] == [b"step=1", b"step=2", b"step=3"]


def test_the_end_of_a_file_that_is_removed_is_told(logs: Path, shipper: Shipper) -> None:
    write(logs / "metrics.csv", b"step,loss\n1,2.5\n2,2.25")
    shipper.turn(1000)
    (logs / "metrics.csv").unlink()
    shipper.settle()
    assert told(shipper).endswith(b"step=2 loss=2.25\n")
    assert (shipper.news, shipper.follower._roster.tails) == ([], [])


def test_that_nothing_waits_is_known_after_a_restart_too(logs: Path, shipper: Shipper) -> None:
    write(logs / "metrics.csv", LIGHTNING.encode())
    wait(shipper)
    shipper.restart()
    (place,) = shipper.positions
    assert isinstance(place, Place)
    assert place.shown == Shown(
        read_bytes=len(LIGHTNING.encode()), lines_bytes=len(told(shipper)),
        rest_bytes=len(LIGHTNING.encode()), end_bytes=len(LIGHTNING.encode()),
    )  # fmt: skip


def test_a_file_that_is_shown_is_another_source_than_its_text(logs: Path, shipper: Shipper) -> None:
    write(logs / "metrics.csv", LIGHTNING.encode())
    wait(shipper)
    (place,) = shipper.positions
    assert isinstance(place, Place)
    assert place.generation != generation_id(place.stream, place.inode, place.head, ())


def test_a_source_that_is_shown_says_when_it_is_at_its_end(logs: Path, shipper: Shipper) -> None:
    write(logs / "metrics.csv", LIGHTNING.encode())
    shipper.settle()
    assert [piece for piece in shipper.turn(6000) if piece.header.at_end and not piece.value]


def test_a_log_beside_it_does_not_wait(logs: Path, shipper: Shipper) -> None:
    write(logs / "metrics.csv", b"step,loss\n")
    write(logs / "a.log", b"one\n")
    assert [piece.value for piece in shipper.turn()] == [b"one\n"]


def test_a_large_file_holds_nothing_up_though_showing_it_takes_long(logs: Path, shipper: Shipper) -> None:
    steps = [event(n, simple("loss", 2.0)) for n in range(20_000)]
    write(logs / "events.out.tfevents.1", VERSION + b"".join(steps[:-1]))
    (shipper.folder / "logs" / "z.log").write_bytes(b"one\n")
    for line in (b"one\n", b"two\n"):
        read = shipper.turn(1000, budget=8 << 20)
        assert [piece.value for piece in read if piece.header.stream.endswith("z.log") and piece.value] == [line]
        large = next(tail for tail in shipper.follower._roster.tails if "events" in tail.path)
        assert 0 < large.offset < 700_000 < large.size
        shipper.settle()
        shipper.restart()
        write(logs / "events.out.tfevents.1", steps[-1])
        write(logs / "z.log", b"two\n")


# Files that are written once


def trace(rank: int = 3, step: int = 12) -> bytes:
    dumped = stalled(rank, {12})
    dumped["entries"][4]["timeout_ms"] += step
    return pickle.dumps(dumped, protocol=4)


@pytest.mark.parametrize("form", ["pickle", "json", "stacks"])
def test_a_dump_is_shown_once_when_it_is_complete(form: str, logs: Path, shipper: Shipper) -> None:
    stack = [{"pid": 1, "thread_id": 1, "thread_name": "MainThread", "active": True, "owns_gil": True, "frames": [
        {"name": "step", "filename": "/a/train.py", "short_filename": "train.py", "line": 8}]}]  # fmt: skip
    forms = {"pickle": trace(), "json": json.dumps(stalled(3, {12})).encode(), "stacks": json.dumps(stack).encode()}
    name, content = "nccl_trace_rank_3", forms[form]
    for begin in range(0, len(content), len(content) // 3 + 1):
        write(logs / name, content[begin : begin + len(content) // 3 + 1])
        shipper.turn(1000)
        assert shipper.values() == []
    shipper.settle()
    assert {piece.header.part for piece in shipper.pieces} == {0}
    assert told(shipper) == whole(name, content)
    shipper.restart()
    (logs / name).touch()
    wait(shipper)
    assert told(shipper) == whole(name, content)


@pytest.mark.parametrize("how", ["overwritten", "renamed", "while away"])
def test_a_dump_that_is_replaced_is_shown_again(how: str, logs: Path, shipper: Shipper) -> None:
    name, first, second = "nccl_trace_rank_3", trace(step=12), trace(step=13)
    assert len(first) == len(second)
    write(logs / name, first)
    shipper.settle()
    if how == "while away":
        shipper.restart()
    if how == "renamed":
        (logs.parent / "new").write_bytes(second)
        shutil.move(logs.parent / "new", logs / name)
    else:
        (logs / name).write_bytes(second)
    wait(shipper)
    assert shipper.streams()[str(logs / name)] == [whole(name, first), whole(name, second)]


def test_a_dump_that_was_sent_in_part_goes_on_where_it_was(logs: Path, shipper: Shipper) -> None:
    name, content = "nccl_trace_rank_3", pickle.dumps(stalled(3, {12}) | {"entries": _many()}, protocol=4)
    lines = whole(name, content)
    assert len(lines) > 100_000
    write(logs / name, content)
    shipper.confirms = False
    shipper.settle()
    first = next(piece for piece in shipper.pieces if piece.value)
    shipper.follower.confirm([first])
    shipper.confirms = True
    shipper.pieces.clear()
    shipper.restart()
    wait(shipper)
    assert next(piece for piece in shipper.pieces if piece.value).header.offset_bytes == len(first.value)
    assert told(shipper) == lines


def _many() -> list[dict[str, object]]:
    """Return more calls than go into one chunk, in many groups."""
    (one, *_) = stalled(3, {12})["entries"]
    return [{**one, "process_group": (str(n % 20), "pp"), "collective_seq_id": n} for n in range(2000)]


# What cannot be shown


def test_what_cannot_be_shown_is_told_with_its_reason_once(logs: Path, shipper: Shipper) -> None:
    write(logs / "nccl_trace_rank_3", trace()[:-200])
    write(logs / "run-1.wandb", WANDB[:60_000] + b"\1" * 9000)
    wait(shipper)
    found = {Path(one.path).name: one.what for one in shipper.news if isinstance(one, Problem)}
    assert len(shipper.news) == 2
    assert found["nccl_trace_rank_3"].startswith("a flight recorder dump that cannot be read")
    assert found["run-1.wandb"].startswith("damaged: ")
    (lines,) = shipper.streams()[str(logs / "run-1.wandb")]
    assert whole("run-1.wandb", WANDB).startswith(lines)
    assert lines.count(b"\n") > 20


def test_a_dump_that_becomes_complete_late_is_shown_then(logs: Path, shipper: Shipper) -> None:
    write(logs / "nccl_trace_rank_3", trace()[:-200])
    shipper.settle()
    assert len(shipper.news) == 1
    write(logs / "nccl_trace_rank_3", trace()[-200:])
    wait(shipper)
    assert told(shipper) == whole("nccl_trace_rank_3", trace())


def test_a_pickle_that_is_no_dump_is_passed_over(logs: Path, shipper: Shipper) -> None:
    write(logs / "optimizer.pkl", pickle.dumps({"state": list(range(3000))}))
    wait(shipper)
    assert (shipper.values(), [type(one).__name__ for one in shipper.news]) == ([], ["Skipped"])


def test_a_file_that_was_rotated_while_it_was_shown_goes_on_in_its_copy(logs: Path, shipper: Shipper) -> None:
    rows = SMI_LOOP.encode().splitlines(keepends=True)
    write(logs / "smi.csv", b"".join(rows[:20]))
    shipper.turn(300)
    write(logs / "smi.csv", b"".join(rows[20:]))
    shutil.copyfile(logs / "smi.csv", logs / "smi.csv.1")
    later = rows[0] + b"".join(rows[30:])
    (logs / "smi.csv").write_bytes(later)
    wait(shipper)
    assert b"".join(shipper.streams()[str(logs / "smi.csv")]) == whole("smi.csv", SMI_LOOP.encode()) + whole(
        "smi.csv", later
    )
