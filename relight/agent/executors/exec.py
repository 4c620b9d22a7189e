"""The executor `exec`: programs of one's own carry out actions, never through a shell.

Nobody can ask what became of one. A program has its own session and next to no environment. What it prints goes through
`tee`, which reads on when the agent has stopped: a program that goes on must not die of a pipe that nobody reads.
"""

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from threading import Lock, Thread
from typing import IO, Final

from relight.agent.port import ActionFailed, ActionRejected, ActionUnknown, Done, Effect, Interrupted, Terms
from relight.notify.cleaning import ending
from relight.settings import agents
from schemas.command import OUTPUT_CHARACTERS, RecoveryCommand

GRACE_S: Final = 2.0
"""As long a program has to end by itself before it is killed; less where it has less than ten times that."""
_TEE: Final = ("tee", "/dev/null")
_KEPT_BYTES: Final = 4 * OUTPUT_CHARACTERS
_PAUSES_S: Final = (0.01, 0.25)
_LAST_WORDS_S: Final = 1.0
"""How long after its end a program's output is waited for: something that it has started may hold it open."""
_UNFIT: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]|(?:^|/)\.{1,2}(?:/|$)|^-")
"""Control characters, ways to other folders, and what a program would take for an option."""


class ExecExecutor:
    """Carries out actions with the programs that the settings give for them."""

    name = "exec"

    def __init__(self, settings: agents.Exec) -> None:
        """Take the programs."""
        self._settings = settings
        self.actions = frozenset(settings.programs)

    def prepare(self, command: RecoveryCommand) -> Mapping[str, str]:
        """Return nothing, and make sure that the arguments can be filled in. Raises: ActionRejected."""
        self._arguments(command)
        _environment(command)
        return {}

    def execute(self, command: RecoveryCommand, terms: Terms) -> Done:
        """Run the program, and return when it has ended well. When the agent stops it goes on.

        Raises:
            ActionRejected: what the command holds does not fit into arguments.
            ActionFailed: it could not be started, or it ended with another status than 0.
            ActionUnknown: it took too long and was killed, or it was killed by another.
            Interrupted: the agent is to stop.
        """
        arguments, environment = self._arguments(command), _environment(command)
        left_s = min(self._settings.timeout_s, terms.deadline_s - time.time())
        if left_s <= 0:
            raise ActionFailed("it was not started: its deadline has passed")
        try:
            running = _Running(arguments, environment)
        except OSError as error:
            raise ActionFailed(f"it could not be started: {error}") from error
        status = _waited_for(running, terms, left_s)
        output = running.output()
        if status is None:
            raise ActionUnknown(f"it was killed, for it had not ended after {left_s:.0f} s", output)
        if status < 0:
            raise ActionUnknown(f"it was killed by {_signal(-status)}", output)
        if status > 0:
            raise ActionFailed(f"it ended with status {status}", output)
        return Done(output)

    def found(self, command: RecoveryCommand, before: Mapping[str, str]) -> Effect:
        """Return that it cannot be told: a program cannot be asked what it has done."""
        return Effect.UNKNOWN

    def close(self) -> None:
        """Do nothing: programs that run go on."""

    def _arguments(self, command: RecoveryCommand) -> list[str]:
        program = self._settings.programs.get(command.action.kind)
        if program is None:
            raise ActionRejected(f"exec.programs has no program for {command.action.kind}")
        values = _values(command)
        return [program[0], *(_filled(argument, values) for argument in program[1:])]


class _Running:
    """A program that runs, and the end of what it has printed."""

    def __init__(self, arguments: list[str], environment: Mapping[str, str]) -> None:
        """Start it. Raises: OSError."""
        self._tail, self._lock = bytearray(), Lock()
        relay = subprocess.Popen(  # noqa: S603  # SIGPIPE stays ignored: tee goes on when its reader is gone
            _TEE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True, restore_signals=False
        )
        assert relay.stdin is not None
        assert relay.stdout is not None
        self._reader = Thread(target=self._read, args=(relay, relay.stdout), daemon=True)
        self._reader.start()
        with relay.stdin as sink:
            self._process = subprocess.Popen(  # noqa: S603  # of the settings, and no shell
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                cwd="/",
                env=dict(environment),
                start_new_session=True,
            )

    def status(self) -> int | None:
        """Return its exit status, of a signal the negative; nothing while it runs."""
        return self._process.poll()

    def kill(self, grace_s: float) -> None:
        """End it and all that it has started in its session: first friendly, then not."""
        leader = self._process.pid
        os.killpg(leader, signal.SIGTERM)  # the leader is not yet waited for, so the number is still its own
        end_s = time.monotonic() + grace_s
        look = os.WEXITED | os.WNOHANG | os.WNOWAIT
        while os.waitid(os.P_PID, leader, look) is None and time.monotonic() < end_s:
            time.sleep(_PAUSES_S[0])
        with suppress(ProcessLookupError, PermissionError):  # a group of the dead alone
            os.killpg(leader, signal.SIGKILL)
        self._process.wait()

    def leave(self) -> None:
        """Let it go on without anybody who waits for it."""
        self._process.returncode = 0  # else its end would be taken for forgotten

    def output(self) -> str:
        """Return the end of what it has printed."""
        self._reader.join(_LAST_WORDS_S)
        with self._lock:
            return ending(self._tail.decode("utf-8", "replace"))

    def _read(self, relay: "subprocess.Popen[bytes]", printed: IO[bytes]) -> None:
        with relay, printed:
            while chunk := os.read(printed.fileno(), 65_536):
                with self._lock:
                    self._tail += chunk
                    del self._tail[:-_KEPT_BYTES]


def _waited_for(running: _Running, terms: Terms, within_s: float) -> int | None:
    """Return the status with which a program has ended, or nothing where it was killed for it had not."""
    grace_s = min(GRACE_S, within_s / 10)
    end_s = time.monotonic() + within_s - grace_s
    pause_s, longest_s = _PAUSES_S
    while (status := running.status()) is None:
        left_s = end_s - time.monotonic()
        if left_s <= 0:
            running.kill(grace_s)
            return None
        if terms.waited(min(pause_s, left_s)):
            running.leave()
            raise Interrupted
        pause_s = min(2 * pause_s, longest_s)
    return status


def _values(command: RecoveryCommand) -> dict[str, tuple[str, ...]]:
    """Return what can be filled in; what the command does not have is empty."""
    found: dict[str, tuple[str, ...]] = {
        "action": (command.action.kind,),
        "cluster": (command.cluster,),
        "command": (command.id,),
        "fault": (command.fault,),
        "incident": (command.incident,),
    }
    for name, value in command.action:
        if name != "kind":
            found[name] = tuple(map(str, value if isinstance(value, tuple) else () if value is None else (value,)))
    return found


def _filled(argument: str, values: Mapping[str, tuple[str, ...]]) -> str:
    return agents.PLACEHOLDER.sub(lambda found: ",".join(_fit(found[1], values[found[1]])), argument)


def _fit(name: str, values: tuple[str, ...]) -> Iterable[str]:
    """Return values that no program takes for something else; an empty one could mean all of them."""
    if not values or not all(values):
        raise ActionRejected(f"the command has no {name}, and the arguments of its program need one")
    if unfit := next((each for each in values if _UNFIT.search(each) or (name == "hosts" and "," in each)), None):
        raise ActionRejected(f"its {name} {unfit[:100]!r} cannot be an argument")
    return values


def _environment(command: RecoveryCommand) -> Mapping[str, str]:
    own = {
        "RELIGHT_COMMAND": command.id,
        "RELIGHT_INCIDENT": command.incident,
        "RELIGHT_CLUSTER": command.cluster,
    }
    if unfit := next((name for name, value in own.items() if _UNFIT.search(value)), None):
        raise ActionRejected(f"what would be {unfit} cannot be a variable")
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": os.environ.get("HOME", "/"),
        "LANG": os.environ.get("LANG", "C.UTF-8"),
        **own,
    }


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
