"""Dumps of Python stacks: each thread's stack in one line that can be compared with those of other ranks."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.errors import Unreadable
from ingest.renderings.stacks import StackDump, StackList
from ingest.renderings.table import rendering_of
from ingest.spool import Blocks

PY_SPY = b"""\
Process 4211: python train.py --config base.yaml
Python v3.11.4 (/usr/bin/python3.11)

Thread 4211 (idle): "MainThread"
    all_reduce (torch/distributed/distributed_c10d.py:2500)
    train_step (train.py:88)
    <module> (train.py:140)
Thread 4300 (active+gil): "pin_memory"
    do (torch/utils/data/_utils/pin_memory.py:30)
    run (threading.py:953)
"""
FAULTHANDLER = b"""\
Timeout (0:10:00)!
Thread 0x00007f3a2bfff700 (most recent call first):
  File "/usr/lib/python3.11/threading.py", line 320 in wait
  File "/usr/lib/python3.11/threading.py", line 966 in _bootstrap

Thread 0x00007f3b5c1d2740 (most recent call first):
  File "/app/data.py", line 31 in read
  File "/app/train.py", line 88 in train_step
  File "/app/train.py", line 140 in <module>
"""


def shown(data: bytes, name: str = "stacks/rank_3.txt") -> list[str]:
    stream = Blocks(name, iter(data[at : at + 7] for at in range(0, len(data), 7)))
    rendering = rendering_of(stream.label, stream.peek(8192))
    assert rendering is not None
    return b"".join(rendering.render(stream)).decode().splitlines()


def stacks(data: bytes, name: str = "stacks/rank_3.txt") -> list[str]:
    return [line for line in shown(data, name) if "stack of" in line]


def test_a_dump_of_py_spy_tells_each_threads_stack() -> None:
    assert stacks(PY_SPY) == [
        "[rank3]: stack of MainThread (idle): all_reduce (distributed/distributed_c10d.py:2500) < "
        "train_step (train.py:88) < <module> (train.py:140)",
        "[rank3]: stack of thread pin_memory (active+gil): do (_utils/pin_memory.py:30) < run (threading.py:953)",
    ]


def test_the_thread_that_runs_the_program_is_the_main_one_to_faulthandler() -> None:
    assert stacks(FAULTHANDLER)[1] == (
        "[rank3]: stack of MainThread (stopped): read (app/data.py:31) < train_step (app/train.py:88) < "
        "<module> (app/train.py:140)"
    )
    assert "stack of thread 0x00007f3a2bfff700" in stacks(FAULTHANDLER)[0]


def test_json_of_py_spy_tells_what_its_text_tells() -> None:
    def frame(name: str, file: str, line: int) -> dict[str, Any]:
        return {"name": name, "filename": "/x/" + file, "short_filename": file, "module": None, "line": line}

    thread = {
        "pid": 4211,
        "thread_id": 4211,
        "thread_name": "MainThread",
        "active": False,
        "owns_gil": False,
        "frames": [
            frame("all_reduce", "torch/distributed/distributed_c10d.py", 2500),
            frame("train_step", "train.py", 88),
            frame("<module>", "train.py", 140),
        ],
    }
    data = json.dumps([thread], indent=2).encode()
    assert StackList().recognises("rank_3.json", data[:8192])
    assert shown(data) == stacks(PY_SPY)[:1]


@pytest.mark.parametrize("data", [PY_SPY, FAULTHANDLER])
def test_the_lines_of_a_dump_stay_as_they_are(data: bytes) -> None:
    assert StackDump().recognises("x", data)
    assert [line for line in shown(data) if "stack of" not in line] == data.decode().splitlines()


def test_without_a_rank_in_the_name_none_is_told() -> None:
    assert stacks(PY_SPY, "stack.txt")[0].startswith("stack of MainThread")


@pytest.mark.parametrize("text", [b"", b"Process 12: started\n", b"2026-03-01 step 12\nThread 0x1\n", b"[1, 2]"])
def test_a_log_is_no_dump(text: bytes) -> None:
    assert not StackDump().recognises("rank_3.log", text)
    assert not StackList().recognises("rank_3.log", text)


def test_json_that_is_cut_off_is_unreadable() -> None:
    with pytest.raises(Unreadable, match="no valid JSON"):
        shown(b'[{"thread_id": 1, "owns_gil": true, "frames": [')


@given(st.binary(max_size=300))
def test_whatever_follows_a_dump_stays_in_its_lines(rest: bytes) -> None:
    told = b"".join(StackDump().render(Blocks("rank_1", iter((PY_SPY + rest,)))))
    kept = [line for line in told.split(b"\n") if b"[rank1]: stack of " not in line]
    assert kept == [*(PY_SPY + rest).removesuffix(b"\n").split(b"\n"), b""]
