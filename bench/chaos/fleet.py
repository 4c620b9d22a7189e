"""The fleet: the stages of the pipeline as real processes, which can be killed, frozen and doubled."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

_RELIGHT: Final = (sys.executable, "-c", "from relight.cli import main; main()")
_TIED: Final = ("setpriv", "--pdeathsig", "KILL") if shutil.which("setpriv") else ()
"""The kernel kills the processes when the thread that started them ends, however it ends."""

_HELD_S: Final = 0.012
_GOES_S: Final = 0.001


@dataclass
class Post:
    """A place in the fleet: what runs there, under which name, and the process that does."""

    name: str
    arguments: Sequence[str]
    process: subprocess.Popen[bytes] | None = None
    frozen: bool = False

    @property
    def stage(self) -> str:
        """Return the stage that runs here."""
        return self.name.rpartition("-")[0]


@dataclass
class Fleet:
    """Processes below a folder: their state, each of its own, and what they print. `counts` has what was done to them.

    `ghosts` are processes whose place and name others have taken, while they were frozen.
    """

    folder: Path
    environment: Mapping[str, str]
    posts: dict[str, Post] = field(default_factory=dict)
    ghosts: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    died: list[str] = field(default_factory=list)

    def add(self, name: str, *arguments: str) -> None:
        """Make a place, and start its process."""
        self.posts[name] = Post(name, arguments)
        self.start(name)

    def up(self) -> list[str]:
        """Return the places whose processes run."""
        return sorted(name for name, post in self.posts.items() if post.process and not post.frozen)

    def state(self, name: str) -> Path:
        """Return where the process of a place keeps what it must not lose."""
        return self.folder / "state" / name

    def output(self, name: str) -> Path:
        """Return the file with what the processes of a place have printed."""
        return self.folder / f"{name}.log"

    def start(self, name: str) -> None:
        """Start the process of a place, if none runs."""
        post = self.posts[name]
        if post.process is None:
            post.process = self._started(post, self.state(name))

    def kill(self, name: str) -> None:
        """Kill the process of a place."""
        post = self.posts[name]
        if post.process is not None:
            self.counts[f"killed {post.stage}"] += 1
            _end(post.process)
            post.process, post.frozen = None, False

    def freeze(self, name: str) -> None:
        """Stop the process of a place without its knowing."""
        post = self.posts[name]
        if post.process is not None:
            self.counts[f"froze {post.stage}"] += 1
            os.kill(post.process.pid, signal.SIGSTOP)
            post.frozen = True

    def thaw(self, name: str) -> None:
        """Let a frozen process go on: it may be a zombie by now."""
        post = self.posts[name]
        if post.process is not None and post.frozen:
            os.kill(post.process.pid, signal.SIGCONT)
            post.frozen = False

    def drag(self, name: str, length_s: float) -> None:
        """Let the process of a place run in slow motion for a while.

        Mostly it waits for records, and waiting is not slowed: so what comes next hits it at work.
        """
        process, until_s = self.posts[name].process, time.monotonic() + length_s
        while process is not None and time.monotonic() < until_s:
            os.kill(process.pid, signal.SIGSTOP)
            time.sleep(_HELD_S)
            os.kill(process.pid, signal.SIGCONT)
            time.sleep(_GOES_S)

    def double(self, name: str) -> None:
        """Freeze the process of a place, and start another one under its name: the old one is a ghost from now on."""
        post = self.posts[name]
        if post.process is None or name in self.ghosts:
            return
        os.kill(post.process.pid, signal.SIGSTOP)
        self.counts[f"doubled {post.stage}"] += 1
        self.ghosts[name] = post.process
        number = self.counts[f"doubled {post.stage}"]
        post.process = self._started(post, self.state(f"{name}-double-{number}"))

    def wake(self, name: str) -> None:
        """Let a ghost go on: it finds that it is not what it was."""
        if name in self.ghosts:
            os.kill(self.ghosts[name].pid, signal.SIGCONT)

    def lay(self, name: str) -> None:
        """Kill a ghost."""
        if name in self.ghosts:
            _end(self.ghosts.pop(name))

    def watch(self) -> None:
        """Take note of processes that have ended of themselves: none should."""
        for name, post in self.posts.items():
            if post.process is not None and post.process.poll() is not None:
                self.died.append(f"{name} ended of itself with {post.process.returncode}: see {self.output(name)}")
                post.process = None

    def close(self) -> None:
        """Kill whatever runs."""
        for process in (*self.ghosts.values(), *(post.process for post in self.posts.values() if post.process)):
            _end(process)
        self.ghosts.clear()
        self.posts.clear()

    def _started(self, post: Post, state: Path) -> subprocess.Popen[bytes]:
        own = {"RELIGHT_CLUSTER__MEMBER": post.name, "XDG_STATE_HOME": str(state)}
        with self.output(post.name).open("ab") as output:
            return subprocess.Popen(
                [*_TIED, *_RELIGHT, *post.arguments],
                env={**self.environment, **own},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )


def environment(**settings: object) -> dict[str, str]:
    """Return this process's environment with no settings of relight but the given ones (`section__key`)."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("RELIGHT_")}
    return others | {f"RELIGHT_{name.upper()}": str(value) for name, value in settings.items()}


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGKILL)
    process.wait()
