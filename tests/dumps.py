"""Dumps made by hand, in the forms that PyTorch's flight recorder writes, of a job whose ranks wait for some others."""

import json
import pickle
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

BEGAN_NS = 1_772_334_120 * 10**9
"""2026-03-01T03:02:00Z."""
STEP_NS = 10**9

FRAMES = [
    {"name": "all_reduce", "filename": "/usr/lib/python3/torch/distributed/distributed_c10d.py", "line": 2500},
    {"name": "train_step", "filename": "/app/train.py", "line": 88},
    {"name": "<module>", "filename": "/app/train.py", "line": 140},
]


def call(seq: int, state: str = "completed", group: str = "0", desc: str = "default_pg", **told: Any) -> dict[str, Any]:
    """Return one entry: the `seq`th collective of a group, which is called a second after the one before it."""
    created = BEGAN_NS + seq * STEP_NS
    done = state == "completed"
    plain = {
        "record_id": seq - 1,
        "pg_id": int(group),
        "process_group": (group, desc),
        "collective_seq_id": seq,
        "p2p_seq_id": 0,
        "op_id": seq,
        "profiling_name": "nccl:all_reduce",
        "time_created_ns": created,
        "input_sizes": [[1024]],
        "input_dtypes": ["Float"],
        "output_sizes": [[1024]],
        "output_dtypes": ["Float"],
        "state": state,
        "time_discovered_started_ns": None if state == "scheduled" else created + 10**6,
        "time_discovered_completed_ns": created + 10**8 if done else None,
        "retired": done,
        "timeout_ms": 600_000,
        "is_p2p": False,
        "frames": FRAMES,
    }
    return plain | told


def dump(entries: Iterable[dict[str, Any]], members: dict[str, tuple[str, Iterable[int]]]) -> dict[str, Any]:
    """Return a whole dump; `members` are the description and the ranks of each group by its name."""
    config = {n: {"name": n, "desc": desc, "ranks": str(list(ranks))} for n, (desc, ranks) in members.items()}
    return {"version": "2.10", "pg_config": config, "pg_status": {}, "entries": list(entries)}


def groups_of(rank: int, world: int = 64, size: int = 8) -> dict[str, tuple[str, Iterable[int]]]:
    """Return the three groups of a rank: all ranks, its host's, and those at its place on every host."""
    host, place = divmod(rank, size)
    return {
        "0": ("default_pg", range(world)),
        str(1 + host): ("tp", range(host * size, (host + 1) * size)),
        str(101 + place): ("dp", range(place, world, size)),
    }


def stalled(rank: int, absent: Collection[int], world: int = 64, seq: int = 20) -> dict[str, Any]:
    """Return the dump of a rank of a job in which `absent` ranks never came to `seq` of the group of all ranks."""
    groups = groups_of(rank, world)
    done = [call(n, group=name, desc=desc) for name, (desc, _) in groups.items() for n in range(1, seq)]
    last = [] if rank in absent else [call(seq, "started"), call(seq + 1, "scheduled")]
    entries = sorted((*done, *last), key=lambda entry: entry["time_created_ns"])
    return dump([entry | {"record_id": at} for at, entry in enumerate(entries)], groups)


def write(folder: Path, dumps: dict[int, dict[str, Any]], form: str = "pickle") -> None:
    """Write the dumps of ranks as PyTorch names them."""
    for rank, told in dumps.items():
        data = pickle.dumps(told, protocol=2) if form == "pickle" else json.dumps(told).encode()
        (folder / f"nccl_trace_rank_{rank}").write_bytes(data)


def stacks(folder: Path) -> None:
    """Write the stacks of eight ranks, as `py-spy dump` shows them; rank 5 does something else."""
    for rank in range(8):
        frame = "read (data.py:31)" if rank == 5 else "all_reduce (torch/distributed/distributed_c10d.py:2500)"
        head = "Process 1: python train.py\nPython v3.11.4 (/usr/bin/python3)\n"
        stack = f'Thread 1 (idle): "MainThread"\n    {frame}\n    <module> (train.py:140)\n'
        (folder / f"rank_{rank}.txt").write_text(f"{head}\n{stack}")
