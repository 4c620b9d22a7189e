"""What people are told: one message for the commands of one outage. All words in it have passed the gate."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from relight.notify.cleaning import line
from relight.reports.phrases import counted, moment
from schemas.action import Notify
from schemas.command import RecoveryCommand
from schemas.signal import derived_id

NAMED: Final = 10
"""So many incidents are told of one by one."""
DEFAULT: Final = "default"
"""The channel of a command that names none."""
TITLE_CHARACTERS: Final = 150
_NAME: Final = 100
_WHAT: Final = 500


@dataclass(frozen=True, slots=True)
class Told:
    """What is told of one incident: its id, what happened and what relight does, and by which step it is told."""

    incident: str
    what: str
    step: str


@dataclass(frozen=True, slots=True)
class Message:
    """A message. `before` is how many commands of the same outage were told of in messages before it.

    `told` holds the first incidents, of which there are `count`; `more` of them are left out.
    """

    id: str
    cluster: str
    fault: str
    channel: str
    title: str
    since: str
    told: tuple[Told, ...]
    count: int
    before: int
    commands: tuple[RecoveryCommand, ...]

    @property
    def more(self) -> int:
        """Return how many incidents are not told of one by one."""
        return self.count - len(self.told)

    @property
    def text(self) -> str:
        """Return it as plain text."""
        return environment(html=False).get_template("message.txt.j2").render(message=self)

    @property
    def html(self) -> str:
        """Return it as a page of HTML, where every value is escaped."""
        return environment(html=True).get_template("message.html.j2").render(message=self)


def message(commands: Sequence[RecoveryCommand], before: int = 0) -> Message:
    """Return the message for commands of one cluster, fault and channel, in the order in which they came."""
    first = commands[0]
    by_incident: dict[str, RecoveryCommand] = {}
    for command in commands:
        by_incident.setdefault(command.incident, command)
    cluster, fault = line(first.cluster, _NAME), line(first.fault, _NAME)
    count = len(by_incident)
    new = counted(count, "incident") if not before else f"and {count:,} more"
    return Message(
        id=derived_id("notification", first.id),
        cluster=cluster,
        fault=fault,
        channel=channel(first),
        title=line(f"{cluster}: {fault}, {new}", TITLE_CHARACTERS),
        since=_moment(min(command.issued_s for command in commands)),
        told=tuple(map(_told, list(by_incident.values())[:NAMED])),
        count=count,
        before=before,
        commands=tuple(commands),
    )


def channel(command: RecoveryCommand) -> str:
    """Return the channel that a command names."""
    return line(command.action.channel, _NAME) if isinstance(command.action, Notify) else DEFAULT


@cache
def environment(*, html: bool) -> Environment:
    """Return the environment of the HTML template, where every value is escaped, or of that of plain text."""
    return Environment(
        loader=PackageLoader("relight.notify", "templates"),
        autoescape=html,  # noqa: S701  # plain text has nothing to escape: it has no escapes and no line ends
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _told(command: RecoveryCommand) -> Told:
    step = f"step {command.rung} of" if command.rung else "before the steps of"
    return Told(
        incident=line(command.incident, _NAME),
        what=line(command.reason, _WHAT) or "no reason was given",
        step=f"{step} playbook {line(command.playbook, _NAME)}",
    )


def _moment(time_s: float) -> str:
    try:
        return moment(datetime.fromtimestamp(time_s, UTC))
    except (OverflowError, ValueError, OSError):
        return "an unknown time"
