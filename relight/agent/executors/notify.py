"""The executor `notify`: tells people, in one message for all commands of one outage.

Commands of one cluster, fault and channel belong to one group. They wait in it without a thread of their own: one
thread sends the messages of all groups, and says of each command what became of it. A message that may have been sent
is not sent again, so of a command that was started nobody can tell, unless all its ways are Alertmanagers, for which
telling twice is telling once.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import Condition, Event, Thread
from typing import Final, Protocol, runtime_checkable

import structlog

from relight.agent.port import (
    ActionError,
    ActionFailed,
    ActionRejected,
    ActionUnknown,
    Done,
    Effect,
    Interrupted,
    Terms,
)
from relight.notify.grouping import Batch, Groups
from relight.notify.message import channel, message
from relight.notify.opening import Ways
from relight.notify.ways import PAUSES_S, Telling, tell
from relight.settings import agents
from schemas.command import RecoveryCommand

MARGIN_S: Final = 2.0 + sum(PAUSES_S)
"""A message goes so much earlier than it has to, beside the time that its ways may take."""
CLOSING_S: Final = 20.0
"""As long messages are still sent when the agent stops."""
_POLL_S: Final = 0.25
_REASON: Final = 1500

_log = structlog.get_logger("relight")

End = Done | ActionError
"""How a command has ended."""
Ended = Callable[[End], None]
"""Is told how a command has ended, in a thread of the executor's; it returns soon and raises nothing."""
Starting = Callable[[Sequence[RecoveryCommand]], None]
"""Is told of commands right before their message is sent, and returns when `started` is committed for all of them.

Raises:
    ActionError: they are not to be told of; that is their end.
    Interrupted: the agent is to stop; they are left as they are, and nobody is told of their end.
"""


_Key = tuple[str, str, str]
"""Cluster, fault and channel."""


@runtime_checkable
class Deferring(Protocol):
    """An executor that can take commands without a thread for each, and tells later how each has ended."""

    def take(self, command: RecoveryCommand, ended: Ended) -> None:
        """Take a command, and return at once. `ended` is called once, by the command's deadline.

        Raises:
            ActionRejected: it is not to be done.
            Interrupted: it is closed.
        """
        ...


@dataclass(frozen=True, slots=True)
class _Held:
    command: RecoveryCommand
    ended: Ended
    started: bool


class NotifyExecutor:
    """Tells people by all ways of a channel."""

    name = "notify"
    actions = frozenset({"notify"})

    def __init__(self, settings: agents.Notify, starting: Starting | None = None) -> None:
        """Take where people are told, and who is told before a message is sent.

        With `starting`, take commands that are accepted and not started: those that still wait when the agent dies
        were not begun, and can be taken again. Without, they are to be started before they are taken.

        Raises:
            Misconfigured: the CA file cannot be read.
        """
        self._ways = Ways(settings)
        self._starting = starting
        self._sending_s = MARGIN_S + settings.timeout_s * max(1, self._ways.most)
        self._groups: Groups[_Key, _Held] = Groups(settings.group_wait_s, settings.group_interval_s)
        self._changed = Condition()
        self._closing = Event()
        self._close_by_s = float("inf")
        self._sender: Thread | None = None

    def prepare(self, command: RecoveryCommand) -> Mapping[str, str]:
        """Return nothing, and make sure that there is a way. Raises: ActionRejected."""
        if command.action.kind not in self.actions:
            raise ActionRejected(f"notify does not carry out {command.action.kind}")
        if not self._ways.of(channel(command)):
            raise ActionRejected(f"no way leads to the channel {channel(command)!r}: see the settings of [notify]")
        return {}

    def take(self, command: RecoveryCommand, ended: Ended) -> None:
        """Take a command into its group, and return at once. See `Deferring`."""
        self._take(_Held(command, ended, started=self._starting is None))

    def execute(self, command: RecoveryCommand, terms: Terms) -> Done:
        """Take a command, and return when its group's message has been sent. It needs a thread: `take` needs none.

        Raises:
            ActionError: nobody was told, or that is not sure.
            Interrupted: the agent is to stop.
        """
        ends: list[End] = []
        self._take(_Held(command, ends.append, started=True))
        while not ends:
            if terms.waited(_POLL_S) and not ends:
                raise Interrupted
        (end,) = ends
        if isinstance(end, ActionError):
            raise type(end)(str(end), end.output)
        return end

    def found(self, command: RecoveryCommand, before: Mapping[str, str]) -> Effect:
        """Return that it cannot be told, or where telling twice is telling once, that it may be told."""
        ways = self._ways.of(channel(command))
        return Effect.NOT_DONE if all(way.repeatable for way in ways) else Effect.UNKNOWN

    def close(self) -> None:
        """Send what waits, earlier than it would have been, and end; what is not sent soon has failed."""
        with self._changed:
            self._closing.set()
            self._close_by_s = time.monotonic() + CLOSING_S
            self._changed.notify()
        if self._sender is not None:
            self._sender.join(CLOSING_S + 2 * self._sending_s)

    def _take(self, held: _Held) -> None:
        command = held.command
        self.prepare(command)
        now_s = time.monotonic()
        left_s = command.deadline_s - time.time()
        key = (command.cluster, command.fault, channel(command))
        with self._changed:
            if self._closing.is_set():
                raise Interrupted
            self._groups.add(key, held, now_s, now_s + left_s - self._sending_s)
            if self._sender is None:
                self._sender = Thread(target=self._send, name="notify", daemon=True)
                self._sender.start()
            self._changed.notify()

    def _send(self) -> None:
        while batches := self._next():
            for batch in batches:
                self._tell(batch)

    def _next(self) -> list[Batch[_Key, _Held]]:
        """Wait until messages are due, and return them; none where it is closed and nothing waits."""
        with self._changed:
            while not self._closing.is_set():
                if found := self._groups.due(time.monotonic()):
                    return found
                next_s = self._groups.next_s()
                self._changed.wait(None if next_s is None else max(0.0, next_s - time.monotonic()))
            return self._groups.all()

    def _tell(self, batch: Batch[_Key, _Held]) -> None:
        held = [each for each in batch.items if not self._late(each)]
        if not held:
            return
        commands = [each.command for each in held]
        end: End
        try:
            self._start([each.command for each in held if not each.started])
            end = self._told(commands, batch.key)
        except Interrupted:
            return
        except ActionError as error:
            end = error
        except Exception as error:  # this thread serves all groups
            _log.exception("a message could not be made or sent", fault=commands[0].fault)
            end = ActionUnknown(f"it went wrong: {type(error).__name__}")
        for each in held:
            _end(each, end)

    def _start(self, commands: Sequence[RecoveryCommand]) -> None:
        if self._starting is not None and commands:
            self._starting(commands)

    def _late(self, held: _Held) -> bool:
        """Tell whether it is too late for a command, and end it then."""
        if time.monotonic() > self._close_by_s:
            _end(held, ActionFailed("the agent was stopped before anybody was told"))
        elif time.time() > held.command.deadline_s:
            _end(held, ActionFailed("nobody was told by its deadline"))
        else:
            return False
        return True

    def _told(self, commands: Sequence[RecoveryCommand], key: _Key) -> Done:
        with self._changed:
            made = message(commands, self._groups.told(key))
        telling = tell(self._ways.of(made.channel), made, self._closing.wait)
        together = f"one message for {len(commands):,} commands" if len(commands) > 1 else "one message"
        if telling.told:
            with self._changed:
                self._groups.count_told(key, len(commands))
            return Done(f"{together}\n{telling}")
        raise _failure(telling)


def _failure(telling: Telling) -> ActionError:
    ways = "; ".join((*telling.maybe, *telling.failed))
    reason = ways if len(ways) <= _REASON else ways[: _REASON - 1] + "…"
    if telling.maybe:
        return ActionUnknown(f"it is not sure that anybody was told: {reason}", str(telling))
    return ActionFailed(f"nobody was told: {reason}", str(telling))


def _end(held: _Held, end: End) -> None:
    try:
        held.ended(end)
    except Exception:  # the others are to hear of theirs
        _log.exception("the end of a command was not taken", command=held.command.id)
