"""A server's process under control: a test may stop it, kill it, freeze it, and have it back."""

import signal
from abc import ABC, abstractmethod

from tests.servers.process import Process


class ControlledServer(ABC):
    """A server as a local process. `start` after `stop` or `kill` gives the same server with its data again."""

    _process: Process | None = None

    @abstractmethod
    def start(self) -> None:
        """Start it, wait until it answers."""

    def stop(self) -> None:
        """Stop it as an operator does: it says goodbye and flushes."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill it as a power failure does."""
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """Stop its clock: it accepts connections and answers nothing until `thaw`."""
        assert self._process, "it does not run"
        self._process.send(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on after `freeze`."""
        assert self._process, "it does not run"
        self._process.send(signal.SIGCONT)

    def revive(self) -> None:
        """See that it runs, whatever was done to it."""
        if self._process is None:
            self.start()
        else:
            self.thaw()

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process:
            process.end(how)
