"""Stages as real processes, as an operator starts them, on either log."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from relight.settings import Settings, settings
from relight.topics import INCIDENTS
from relight.transports import reading
from relight.transports.port import EventLog, Record
from schemas.events import Event, decoded
from schemas.history import IncidentHistory

RELIGHT = str(Path(sys.executable).parent / "relight")
PATIENCE_S = 60.0


@dataclass
class Fleet:
    """Processes of `relight` that share a log, a state directory and settings."""

    flags: Sequence[str]
    state: Path
    more: dict[str, str] = field(default_factory=dict)
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _errors: list[IO[bytes]] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        own = {
            "XDG_STATE_HOME": str(self.state),
            "RELIGHT_CONFIG": "",
            "RELIGHT_SHIP__JOURNAL": "false",
            "RELIGHT_SHIP__KERNEL": "false",
        }
        return {**os.environ, **own, **self.more}

    @property
    def settings(self) -> Settings:
        """What the flags say, for this process."""
        name, value = self.flags
        return settings({"kafka.bootstrap" if name == "--bootstrap" else "embedded.path": value}, None)

    def call(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        command = [RELIGHT, *map(str, words), *self.flags]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=120, check=False)

    def start(self, name: str, *words: str | Path) -> None:
        """Start a process under a name of ours."""
        log = (self.state / f"{name}.err").open("ab")
        self._errors.append(log)
        command = [RELIGHT, *map(str, words), *self.flags]
        self.running[name] = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)

    def stop(self, name: str) -> tuple[int, float]:
        """Stop a process as an operator does; return its exit status, and how long it took (seconds)."""
        begun = time.monotonic()
        process = self.running.pop(name)
        process.send_signal(signal.SIGTERM)
        status = process.wait(timeout=30)
        return status, time.monotonic() - begun

    def kill(self, name: str) -> None:
        """Kill a process."""
        process = self.running.pop(name)
        process.kill()
        process.wait()

    def close(self) -> None:
        """Kill what is left."""
        for name in list(self.running):
            self.kill(name)
        for log in self._errors:
            log.close()

    def said(self, name: str) -> str:
        """Return what a process has said on standard error."""
        return (self.state / f"{name}.err").read_text()


def events(log: EventLog, topic: str) -> list[Event]:
    """Return all events of a topic, each partition in order."""
    return [decoded(record.value) for record in records(log, topic)]


def records(log: EventLog, topic: str) -> list[Record]:
    """Return all records of a topic."""
    return [*reading.records(log, topic)]


def incidents(log: EventLog) -> dict[str, IncidentHistory]:
    """Return the incidents that the log tells of."""
    found: dict[str, IncidentHistory] = {}
    for event in events(log, INCIDENTS):
        if event.type.writer != "correlate":
            continue
        known = found.get(event.subject, IncidentHistory(id=event.subject))
        assert event.sequence == known.sequence + 1, (
            f"{event.subject}: {known.sequence} is followed by {event.sequence}"
        )
        found[event.subject] = known.after(event.data, event.time_s or 0.0)  # type: ignore[arg-type]
    return found


def until(look: Callable[[], Any], patience_s: float = PATIENCE_S) -> Any:
    """Return what is looked for when it is there; what was there last, when patience ends."""
    deadline = time.monotonic() + patience_s
    while not (found := look()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return found
