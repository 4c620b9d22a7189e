"""The faults of the demo: how each is really injected into a running job, and what should be made of it."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from struct import pack
from typing import Final

from demo.stand import Stand
from demo.train import BATCH_BYTES

DISK: Final = "512k"
"""How large the disk is that is filled: for the checkpoints that are kept, and as much again."""
_BAD_BATCH: Final = 12
_SHARD: Final = b"\1" * 16_384


class NotHere(Exception):
    """A fault cannot be injected on this machine. The message says why."""


@dataclass(frozen=True)
class Fault:
    """A fault. `diagnosed` and `commands` are what should follow; `without` the batches that a recovery leaves out.

    `own_disk`: the checkpoints lie on a small file system of their own.
    """

    name: str
    what: str
    inject: Callable[[Stand], None]
    diagnosed: tuple[str, ...]
    commands: tuple[str, ...]
    without: range = range(0)
    own_disk: bool = False


def kill(stand: Stand) -> None:
    """Kill the program, as the kernel does when it is out of memory."""
    stand.until_step(13)
    os.kill(stand.program(), signal.SIGKILL)


def freeze(stand: Stand) -> None:
    """Stop the second rank in the middle of its work: the first one waits for it in vain."""
    stand.until_step(13)
    os.kill(stand.second_rank(), signal.SIGSTOP)


def poison(stand: Stand) -> None:
    """Overwrite a batch that is still to come with what is no number."""
    stand.until_step(3)
    with stand.data.open("r+b") as file:
        file.seek(_BAD_BATCH * BATCH_BYTES)
        file.write(pack("d", float("nan")) * (BATCH_BYTES // 8))


def corrupt(stand: Stand) -> None:
    """Kill the program, and flip bytes of the checkpoint that it would go on from."""
    kill(stand)
    newest = max(stand.checkpoints.glob("step_*.json"))
    with newest.open("r+b") as file:
        file.seek(200)
        there = file.read(8)
        file.seek(200)
        file.write(bytes(byte ^ 0xFF for byte in there))


def fill(stand: Stand) -> None:
    """Fill the disk of the checkpoints with a cache, to the last byte."""
    stand.until_step(8)
    cache = stand.checkpoints / "cache"
    cache.mkdir()
    with suppress(OSError):
        for number in range(10_000):
            (cache / f"shard_{number:05d}.bin").write_bytes(_SHARD)


@contextmanager
def disk(folder: Path) -> Iterator[None]:
    """Let a folder be a small disk, as long as this lasts.

    Raises:
        NotHere: This user may not mount one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0:
        raise NotHere("only root may mount a small disk to fill")
    options = f"size={DISK},mode=700"
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise NotHere(f"no small disk can be mounted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=False)


FAULTS: Final = (
    Fault("kill", "the program is killed (SIGKILL)", kill, ("launcher.worker_exit",), ("restart_job",)),
    Fault(
        "hang",
        "a rank is frozen (SIGSTOP)",
        freeze,
        ("comm.collective_timeout",),
        ("restart_job",),
    ),
    Fault(
        "nan",
        "a batch is poisoned with NaN",
        poison,
        ("training.loss_nan", "training.loss_nan"),
        ("collect_diagnostics", "rollback_checkpoint", "collect_diagnostics", "skip_data"),
        without=range(10, 15),
    ),
    Fault(
        "corrupt",
        "killed, and its checkpoint damaged",
        corrupt,
        ("launcher.worker_exit", "storage.checkpoint_corrupt"),
        ("restart_job", "collect_diagnostics", "rollback_checkpoint"),
    ),
    Fault(
        "disk",
        "the disk is filled",
        fill,
        ("storage.disk_full",),
        ("collect_diagnostics", "free_disk", "restart_job"),
        own_disk=True,
    ),
)
