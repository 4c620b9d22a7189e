"""The agent's own host: its processes as /proc tells of them, and its files: what may go, what is saved of a fault.

A pid alone is never trusted, for pids are used again: a process is its pid, when it started, and in which boot. A
signal goes through a pidfd that was opened before this was compared, so that it cannot hit a successor. A file that
may go is removed by way of its folders, none of which may be a link, so that nothing beside them can be hit.
"""

import glob
import hashlib
import os
import re
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePath
from typing import Final

from pydantic import PositiveInt

from relight.agent.port import Interrupted
from relight.stores.waiting import Waited
from schemas.model import Model

POLL_S: Final = 0.05
"""How often it is looked whether something has changed."""
_KILLED_S: Final = 10.0
"""How long a process may take to go after SIGKILL: one that waits in the kernel for a device may never go."""
_THREADS: Final = 256
_TOOL_S: Final = 30.0
_ASIDE: Final = ".set-aside-"


class Identity(Model):
    """A process: its pid, when it started (clock ticks since the boot), and the boot's id."""

    pid: PositiveInt
    started: int
    boot: str


@dataclass(frozen=True, slots=True)
class _Entry:
    """What /proc/PID/stat says. `gone`: only its exit status is left of it."""

    pid: int
    parent: int
    session: int
    started: int
    gone: bool


def identity_of(pid: int) -> Identity:
    """Return who has this pid now.

    Raises:
        ProcessLookupError: Nobody has.
    """
    entry = _entry(pid)
    if entry is None:
        raise ProcessLookupError(pid)
    return Identity(pid=pid, started=entry.started, boot=_boot())


def alive(one: Identity) -> bool:
    """Tell whether a process still runs, be it stopped; one that only waits to be reaped does not."""
    entry = _entry(one.pid)
    return entry is not None and not entry.gone and (entry.started, _boot()) == (one.started, one.boot)


def belonging(leader: Identity, mark: str) -> frozenset[Identity]:
    """Return the living processes of an attempt.

    They are its leader's session, who has `mark` (such as `NAME=value`) in its environment, and the descendants of
    these: launchers give their workers sessions of their own, and some programs overwrite their environment. Once the
    leader is gone its number says nothing any more, and a session is no longer told by it.
    """
    entries = {entry.pid: entry for entry in _entries()}
    first = entries.get(leader.pid)
    known = first is not None and (first.started, _boot()) == (leader.started, leader.boot)
    ours = {entry.pid for entry in entries.values() if known and entry.session == leader.pid}
    ours |= {pid for pid in entries.keys() - ours if _is_marked(pid, mark)}
    while more := {entry.pid for entry in entries.values() if entry.parent in ours} - ours:
        ours |= more
    living = (entries[pid] for pid in ours if pid != os.getpid() and not entries[pid].gone)
    return frozenset(Identity(pid=entry.pid, started=entry.started, boot=_boot()) for entry in living)


def end(leader: Identity, mark: str, grace_s: float, waited: Waited) -> frozenset[Identity]:
    """End the processes of an attempt: SIGTERM, time to save what they have, SIGKILL. Return those that did not go.

    Raises:
        Interrupted: The agent is to stop.
    """
    seen: set[Identity] = set()
    told: set[Identity] = set()
    kill_at = time.monotonic() + grace_s
    while True:
        seen |= belonging(leader, mark)
        left = frozenset(filter(alive, seen))
        now = time.monotonic()
        if not left or now > kill_at + _KILLED_S:
            return left
        for one in left:
            if now >= kill_at:
                _send(one, signal.SIGKILL)
            elif one not in told:
                _send(one, signal.SIGTERM)
                _send(one, signal.SIGCONT)  # who is stopped hears of the other signal only then
                told.add(one)
        if waited(POLL_S):
            raise Interrupted


def save(one: Identity, folder: Path, until_s: float, waited: Waited) -> None:
    """Save what is told of a process: its status, where it and its threads wait, its stacks if py-spy is there.

    Raises:
        Interrupted: The agent is to stop.
    """
    folder.mkdir(parents=True, exist_ok=True)
    place = Path(f"/proc/{one.pid}")
    for name in ("status", "wchan", "stack"):
        (folder / name).write_text(_told(place / name), encoding="utf-8")
    with suppress(OSError), (folder / "threads").open("w", encoding="utf-8") as threads:
        for task in sorted((place / "task").iterdir())[:_THREADS]:
            threads.write(f"{task.name} {_told(task / 'comm')} {_told(task / 'wchan')}\n")
    _run(("py-spy", "dump", "--pid", str(one.pid)), folder / "py-spy.txt", until_s, waited)


def save_gpus(folder: Path, until_s: float, waited: Waited) -> None:
    """Save what is told of the GPUs, if nvidia-smi is there.

    Raises:
        Interrupted: The agent is to stop.
    """
    _run(("nvidia-smi", "-q"), folder / "nvidia-smi.txt", until_s, waited)


def tail(path: Path, lines: int) -> str:
    """Return the last lines of a file; nothing of one that cannot be read."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - lines * 1000))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
    except OSError:
        return ""


def file_name(command: str) -> str:
    """Return a command's id as a part of a file's name: as it is, or its digest where it does not look like one."""
    fits = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", command)
    return command if fits else hashlib.sha256(command.encode("utf-8", "replace")).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """What a command leaves behind of a job's checkpoints: how many remain, and which are set aside, newest first.

    What it set aside before the agent was killed counts.
    """

    remaining: int
    going: tuple[str, ...]
    command: str

    def set_aside(self) -> None:
        """Rename those that go."""
        for path in self.going:
            os.rename(path, f"{path}{_ASIDE}{file_name(self.command)}")


def checkpoints(pattern: str, count: int, command: str) -> Checkpoints:
    """Return what going back by `count` checkpoints means. The newest is the last by name, numbers as numbers."""
    pattern = pattern.rstrip("/")
    left = max(0, count - len(glob.glob(f"{pattern}{_ASIDE}{file_name(command)}")))
    there = [path for path in glob.glob(pattern) if _ASIDE not in os.path.basename(path) and not os.path.islink(path)]
    there.sort(key=lambda path: [(word.isdecimal(), word.zfill(30)) for word in re.split(r"(\d+)", path)])
    going = there[::-1][:left]
    return Checkpoints(len(there) - len(going), tuple(going), command)


def free(patterns: Sequence[str], keep: int, waited: Waited) -> str:
    """Remove the files that match a pattern, but the newest of each; no folder and no link, and nothing behind one.

    Returns: What was removed, for people.

    Raises:
        OSError: Something could not be removed, and nothing was.
        Interrupted: The agent is to stop.
    """
    removed: list[str] = []
    errors: list[OSError] = []
    total = 0
    for pattern in patterns:
        root, files = _files(pattern)
        for path, size_bytes in files[keep:]:
            if waited(0):
                raise Interrupted
            try:
                with _folder(root, path.parent) as folder:
                    os.unlink(path.name, dir_fd=folder)
            except OSError as error:
                errors.append(error)
            else:
                removed.append(str(root / path))
                total += size_bytes
    if errors and not removed:
        raise errors[0]
    return "\n".join((*removed, f"removed {len(removed)} files, {total} bytes; {len(errors)} could not be removed"))


def _run(program: Sequence[str], file: Path, until_s: float, waited: Waited) -> None:
    """Save what a program prints, if it is there. One that hangs, maybe in the kernel, is killed and not waited for."""
    found = shutil.which(program[0])
    if found is None:
        return
    until_s = min(until_s, time.time() + _TOOL_S)
    with file.open("wb") as output:
        child = subprocess.Popen(  # noqa: S603 - no shell
            [found, *program[1:]], stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
        while child.poll() is None and time.time() < until_s:
            if waited(POLL_S):
                child.kill()
                raise Interrupted
        if child.poll() is None:
            child.kill()
            output.write(b"was killed, for it took too long\n")
        with suppress(subprocess.TimeoutExpired):
            child.wait(1)


def _files(pattern: str) -> tuple[Path, list[tuple[PurePath, int]]]:
    """Return the folder that a pattern names, and the files in it that match, the newest first, with their bytes."""
    parts = PurePath(pattern).parts
    fixed = next((number for number, part in enumerate(parts[:-1]) if glob.has_magic(part)), len(parts) - 1)
    root = Path(*parts[:fixed])
    found: list[tuple[int, PurePath, int]] = []
    for name in glob.iglob(str(PurePath(*parts[fixed:])), root_dir=root, recursive=True):
        path = PurePath(name)
        with suppress(OSError), _folder(root, path.parent) as folder:
            status = os.stat(path.name, dir_fd=folder, follow_symlinks=False)
            if stat.S_ISREG(status.st_mode):
                found.append((status.st_mtime_ns, path, status.st_blocks * 512))
    return root, [(path, size_bytes) for _, path, size_bytes in sorted(found, reverse=True)]


@contextmanager
def _folder(root: Path, inner: PurePath) -> Iterator[int]:
    """Open a folder below a root, by a way without links."""
    opened = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in inner.parts:
            outer, opened = opened, os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=opened)
            os.close(outer)
        yield opened
    finally:
        os.close(opened)


def _entries() -> Iterator[_Entry]:
    for name in os.listdir("/proc"):
        if name.isdecimal() and (entry := _entry(int(name))):
            yield entry


def _entry(pid: int) -> _Entry | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    fields = text[text.rindex(b")") + 2 :].split()  # proc_pid_stat(5), from its third field; a name may hold anything
    gone = fields[0] in (b"Z", b"X", b"x") and int(fields[17]) <= 1  # a first thread may end before the others
    return _Entry(pid, parent=int(fields[1]), session=int(fields[3]), started=int(fields[19]), gone=gone)


def _is_marked(pid: int, mark: str) -> bool:
    try:
        return mark.encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False  # another user's, or gone


def _send(one: Identity, number: signal.Signals) -> None:
    """Send a signal to a process and nobody else; who must not be sent one shows by not going."""
    with suppress(ProcessLookupError, PermissionError):
        handle = os.pidfd_open(one.pid)
        try:
            if alive(one):
                signal.pidfd_send_signal(handle, number)
        finally:
            os.close(handle)


def _told(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError as error:
        return f"cannot be read: {error.strerror}"


@cache
def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
