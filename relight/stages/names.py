"""Names that a process has to itself on its host while it lives: of members of groups, and of a shipper's state."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from relight.settings.values import state_folder
from relight.transports.port import Refused

_ORDINALS: Final = 1000


@contextmanager
def member_name(host: str, stage: str) -> Iterator[str]:
    """Take a name for a member of a stage's group while a `with` block lasts: one that no other process here has.

    The first process of a stage on a host is its number 0, the second 1: so a process that is started again after a
    crash has the name of the one that crashed, and with it its partitions at once.
    """
    for ordinal in range(_ORDINALS):
        name = f"{host}-{stage}-{ordinal}"
        try:
            lock = _locked(state_folder() / "members" / f"{name}.lock")
        except OSError:
            continue
        if lock is not None:
            with lock:
                yield name
            return
    yield f"{host}-{stage}-{os.getpid()}"


@contextmanager
def alone(state_path: Path) -> Iterator[None]:
    """Keep the state of a shipper to one process while a `with` block lasts.

    Raises:
        Refused: another process has it.
    """
    lock = _locked(state_path.with_suffix(".lock"))
    if lock is None:
        raise Refused(
            f"another shipper keeps its state in {state_path}: give this one its own ship.state_path and "
            "ship.spool_path, or name all paths to one"
        )
    with lock:
        yield


def _locked(path: Path) -> IO[str] | None:
    """Return a file that is locked as long as it is open, `None` if another process has locked it. Raises: OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        return None
    return lock
