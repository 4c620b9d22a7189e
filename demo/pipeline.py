"""relight around a demo, as an operator starts it: processes in a folder, and what they have said, from the topics."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

from relight.settings import Settings, settings
from relight.topics import INCIDENTS
from relight.transports import reading
from relight.transports.opening import open_log
from relight.transports.port import LogError
from remediate.cases import Cases
from schemas.events import Event, decoded

CLUSTER: Final = "lab"
PROMPT: Final = """\
provenance = "app"
heartbeat_s = 0.5
journal = false
kernel = false
[match]
progress_s = 0.5
[correlate]
settle_s = 1
"""
"""Settings of a shipper, and of the stages behind it, that nobody who looks on has to wait for."""
_RELIGHT: Final = str(Path(sys.executable).parent / "relight")
_POLL_S: Final = 0.1
_STOP_S: Final = 10.0
_WORDS: Final = 500


class NotInTime(Exception):
    """What was waited for has not come. The message says what it was."""


@dataclass
class Pipeline:
    """Processes of relight that share a folder, in which `relight.toml` holds their settings."""

    folder: Path
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict, kw_only=True)
    _errors: list[IO[bytes]] = field(default_factory=list, kw_only=True)

    @property
    def settings(self) -> Settings:
        """Return the settings of all its processes."""
        return settings(None, self.folder / "relight.toml")

    def start(self, words: Sequence[str]) -> None:
        """Start a command of relight that goes on."""
        name = " ".join(word for word in words if word.isalpha())
        errors = self._errors_of(name).open("ab")
        self._errors.append(errors)
        self.running[name] = subprocess.Popen([_RELIGHT, *words], env=self._environment, stdout=errors, stderr=errors)

    def call(self, *words: str) -> str:
        """Run a command of relight to its end, and return what it printed.

        Raises:
            NotInTime: It has failed, or did not end.
        """
        try:
            done = subprocess.run(
                [_RELIGHT, *words], env=self._environment, capture_output=True, text=True, timeout=60, check=False
            )
        except subprocess.TimeoutExpired:
            raise NotInTime(f"`relight {' '.join(words)}` does not end") from None
        if done.returncode:
            raise NotInTime(f"`relight {' '.join(words)}` has failed: {done.stderr[-_WORDS:]}")
        return done.stdout

    def until(self, look: Callable[[], Any], patience_s: float, what: str) -> Any:
        """Return what is looked for, when it is there.

        Raises:
            NotInTime: It is not there in time, or a process of relight has ended.
        """
        deadline = time.monotonic() + patience_s
        while not (found := look()):
            if dead := next((name for name, one in self.running.items() if one.poll() is not None), None):
                raise NotInTime(f"`relight {dead}` has ended: {self._said(dead)[-_WORDS:]}")
            if time.monotonic() > deadline:
                raise NotInTime(f"{what} has not come within {patience_s:g} s")
            time.sleep(_POLL_S)
        return found

    def happened(self) -> Cases:
        """Return what has been said on the topic of incidents, as a state."""
        cases = Cases(CLUSTER)
        for event in self.events():
            cases.apply(event)
        return cases

    def events(self, topic: str = INCIDENTS) -> Iterator[Event]:
        """Yield what has been said on a topic."""
        with suppress(LogError), open_log(self.settings) as log:
            for record in reading.records(log, topic):
                yield decoded(record.value)

    def close(self) -> None:
        """Stop relight."""
        for process in self.running.values():
            process.send_signal(signal.SIGTERM)
        for process in self.running.values():
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.running.clear()
        for errors in self._errors:
            errors.close()

    def _said(self, name: str) -> str:
        return self._errors_of(name).read_text(errors="replace")

    def _errors_of(self, name: str) -> Path:
        return self.folder / f"{name.replace(' ', '_')}.err"

    @property
    def _environment(self) -> dict[str, str]:
        own = {"XDG_STATE_HOME": str(self.folder / "state"), "RELIGHT_CONFIG": str(self.folder / "relight.toml")}
        return {name: value for name, value in os.environ.items() if not name.startswith("RELIGHT_")} | own
