"""A server's process: a group of its own, its output in a file, dead at the latest when its parent is."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path


class NotStarted(Exception):
    """The server did not start. The message has the end of its output."""


class Process:
    """A server's process. What it prints goes to a file, so that a server that does not start can say why."""

    def __init__(self, command: Sequence[str], output: Path) -> None:
        """Start it.

        The kernel kills it when the thread that started it ends, even by SIGKILL: start it from one that lasts.
        """
        tied = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        self._output = output
        with output.open("ab") as file:
            self._process = subprocess.Popen([*tied, *command], stdout=file, stderr=file, start_new_session=True)

    def wait_for(self, port: int, patience_s: float = 60) -> None:
        """Wait until something listens on a port of the loopback.

        Raises:
            NotStarted: the process has ended, or nothing listened in time.
        """
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline and self._process.poll() is None:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                return
            time.sleep(0.05)
        code = self._process.poll()
        self.end(signal.SIGKILL)
        what = f"nothing listens on port {port}" if code is None else f"it ended with {code}"
        raise NotStarted(f"{what}:\n{self._output.read_text('utf-8', 'replace')[-2000:]}")

    def send(self, what: signal.Signals) -> None:
        """Send a signal to the whole group."""
        os.killpg(self._process.pid, what)

    def end(self, how: signal.Signals, patience_s: float = 15) -> None:
        """Send a signal to the whole group and wait for the end; what does not end in time is killed."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, how)
        try:
            self._process.wait(patience_s)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


def free_ports(number: int) -> list[int]:
    """Return ports of the loopback that nothing listens on now."""
    held = [socket.socket() for _ in range(number)]
    try:
        for one in held:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in held]
    finally:
        for one in held:
            one.close()
