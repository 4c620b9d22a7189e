"""Recovery commands as people look at them and speak to them: found by the beginning of an id, listed, described."""

import getpass
import os
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import re2
from pydantic import ValidationError
from rich.table import Table
from rich.text import Text

from relight.incidents.cleaning import clean, plain
from relight.incidents.reading import SHORT
from relight.incidents.times import stamp, utc
from relight.reports.console import console
from relight.topics import CONTROL
from relight.transports.port import EventLog, Outgoing
from remediate.breaker import limit
from remediate.cases import EVERYWHERE, Cases
from remediate.signing import Keys
from remediate.silences import check_patterns
from schemas.command import Matcher, Request, RequestKind
from schemas.events import Event, encoded
from schemas.remedy import CommandHistory, CommandState

_GAP: Final = 2
_MATCHER: Final = re2.compile(r"([a-z]+)(=~|!~|!=|=)(.*)")
_UNTOUCHED: Final = (CommandState.PLANNED, CommandState.WAITING, CommandState.ISSUED, CommandState.ACCEPTED)


class NoCommand(Exception):
    """There is no such command, or it cannot be asked for what is asked. The message says why."""


class NoMatcher(Exception):
    """What was written is no matcher of a silence. The message says why."""


class NoRequest(Exception):
    """What was written cannot be asked for. The message says why."""


@dataclass(frozen=True, slots=True)
class Found:
    """A command and its cluster."""

    cluster: str
    command: CommandHistory

    @property
    def what(self) -> str:
        """Return what is to be done to what."""
        plan = self.command.plan
        return clean(f"{plan.action.kind} {plan.target}" if plan else "unknown")

    @property
    def words(self) -> str:
        """Return what it is, in a line, and how it is called."""
        return f"{self.what} ({self.command.id[:SHORT]})"

    @property
    def why(self) -> str:
        """Return what holds it back, or what has become of it."""
        held = self.command.held
        return clean(f"{held.guard}: {held.reason}" if held else self.command.reason)

    @property
    def told(self) -> dict[str, Any]:
        """Return it as JSON holds it, each string as it may be put in front of a person."""
        return {"cluster": clean(self.cluster), **plain(self.command.model_dump(mode="json"))}

    def refuse(self, kind: RequestKind) -> None:
        """Refuse what cannot be asked of it any more. Raises: NoCommand."""
        state, plan = self.command.state, self.command.plan
        if kind is RequestKind.APPROVE and (state is not CommandState.PLANNED or plan is None or not plan.approval):
            raise NoCommand(f"{self.words} waits for nobody's approval: it is {state}")
        if kind in (RequestKind.DENY, RequestKind.CANCEL) and state not in _UNTOUCHED:
            raise NoCommand(f"{self.words} cannot be taken back any more: it is {state}")


@dataclass(frozen=True, slots=True)
class Silence:
    """A silence and its cluster."""

    cluster: str
    id: str
    matchers: tuple[Matcher, ...]


class Desk:
    """The state of remediation of all clusters, as it is looked at."""

    def __init__(self, clusters: Mapping[str, Cases]) -> None:
        """Take the state, as `relight.stages.remedies.present` returns it."""
        self.clusters = clusters

    @property
    def commands(self) -> list[Found]:
        """Return all commands, the newest first."""
        found = [Found(name, one) for name, cases in self.clusters.items() for one in cases.commands.values()]
        return sorted(found, key=lambda one: (-(one.command.planned_s or 0.0), one.command.id))

    def named(self, name: str) -> Found:
        """Return the command whose id begins like this. Raises: NoCommand."""
        found = [one for one in self.commands if one.command.id.startswith(name)] if name else []
        if not found:
            raise NoCommand(f"there is no command {name!r}: `relight commands list --all` shows them")
        if len(found) > 1:
            raise NoCommand(f"{name!r} is the beginning of {len(found)} commands: write more of it")
        return found[0]

    def silence(self, name: str) -> Silence:
        """Return the silence whose id begins like this. Raises: NoCommand."""
        found = [
            Silence(cluster, key, one.matchers)
            for cluster, cases in self.clusters.items()
            for key, one in cases.silences.items()
            if name and key.startswith(name)
        ]
        if len(found) != 1:
            raise NoCommand(f"there are {len(found) or 'no'} silences whose id begins with {name!r}")
        return found[0]

    def out(self, cluster: str) -> Sequence[str]:
        """Return the hosts of a cluster that are out of service by commands."""
        cases = self.clusters.get(cluster)
        return sorted(cases.ledger.out) if cases else ()


def listed(desk: Desk, *, every: bool) -> list[Found]:
    """Return commands, the newest first: those that are not over, or all of them."""
    open_ones = (CommandState.PLANNED, CommandState.WAITING)
    return [one for one in desk.commands if every or one.command.state in open_ones or one.command.state.in_flight]


def table(desk: Desk, found: Sequence[Found], terminal: bool) -> str:
    """Return a list of commands for a terminal; elsewhere the columns are separated by tabs, and nothing is cut."""
    if not terminal:
        rows = ((one.command.id, stamp(one.command.planned_s), str(one.command.state), one.what, one.why)
                for one in found)  # fmt: skip
        return "".join("\t".join(row) + "\n" for row in rows)
    width = shutil.get_terminal_size((80, 24)).columns
    out = console(width, colour=True)
    with out.capture() as capture:
        for line in _standing(desk):
            out.print(Text(line, "yellow"))
        out.print(_drawn(found, width) if found else "No commands.")
    return capture.get()


def _drawn(found: Sequence[Found], width: int) -> Table:
    """Return commands as a table: what each is goes on in further lines, and below it, in one line, stands why."""
    planned = [_short(one.command.planned_s) for one in found]
    states = [str(one.command.state) for one in found]
    room = max(20, width - SHORT - max(map(len, planned)) - max(map(len, states)) - 3 * _GAP)
    shown = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="dim", expand=False)
    for title in ("ID", "PLANNED", "STATE"):
        shown.add_column(title, no_wrap=True)
    shown.add_column("COMMAND", overflow="fold")
    for one, moment, state in zip(found, planned, states, strict=True):
        why = Text(one.why, "dim")
        why.truncate(room, overflow="ellipsis")
        shown.add_row(one.command.id[:SHORT], moment, state, Text(one.what))
        if one.why:
            shown.add_row("", "", "", why)
    return shown


def _short(time_s: float | None) -> str:
    moment = utc(time_s)
    return f"{moment:%m-%d %H:%M}" if moment else ""


def _standing(desk: Desk) -> Iterator[str]:
    """Yield what holds commands of a cluster back as a whole, a line each."""
    for name, cases in sorted(desk.clusters.items()):
        if cases.policy.dry_run:
            yield f"{clean(name)}: dry run, nothing is issued: set remediate.dry_run = false"
        for key, pause in sorted(cases.pauses.items()):
            where = "all clusters" if key == EVERYWHERE else clean(name)
            because = f": {clean(pause.reason)}" if pause.reason else ""
            yield f"{where}: paused by {clean(pause.by)}{_until(pause.until_s)}{because}"
        for key, one in cases.silences.items():
            matchers = clean(", ".join(map(str, one.matchers)))
            yield f"{clean(name)}: silence {key[:SHORT]} {matchers}{_until(one.until_s)}"
        if cases.ledger.out:
            hosts = ", ".join(map(clean, sorted(cases.ledger.out)[:10]))
            opened = ", the breaker is open" if cases.breaker_s is not None else ""
            out = f"{len(cases.ledger.out)} of {limit(cases.policy)} hosts out of service"
            yield f"{clean(name)}: {out}{opened}: {hosts}"


def described(found: Found) -> str:
    """Return everything about a command, for people."""
    command, plan = found.command, found.command.plan
    facts: list[tuple[str, str]] = [("Command", command.id), ("State", str(command.state)), ("Cluster", found.cluster)]
    if plan is not None:
        action = plan.action.model_dump(exclude={"kind"})
        facts += [
            ("Action", f"{plan.action.kind} {', '.join(f'{k} {v}' for k, v in action.items() if v not in (None, ()))}"),
            ("Affects", ", ".join(map(str, plan.affects))),
            ("Incidents", ", ".join(command.incidents)),
            ("Fault", plan.fault),
            ("Playbook", f"{plan.playbook or 'none'}, rung {plan.rung}"),
            ("Why", plan.why),
            ("Approval", _approval(command)),
        ]
    if command.held is not None:
        facts.append(("Held back", f"{command.held.guard}: {command.held.reason}"))
    times = ("planned", "issued", "expires", "deadline", "started", "ended")
    facts += [(word.capitalize(), stamp(getattr(command, f"{word}_s"))) for word in times]
    facts += [
        ("Result", str(command.result or "")),
        ("By", command.by or ""),
        ("Reason", command.reason),
        ("Recovery", f"{command.recovery_s:,.0f} s" if command.recovery_s is not None else ""),
        ("Lost steps", str(command.lost_steps) if command.lost_steps is not None else ""),
        ("Lost GPU h", f"{command.lost_gpu_s / 3600:,.1f}" if command.lost_gpu_s is not None else ""),
    ]
    lines = [f"{title:<11}{clean(text)}" for title, text in facts if text]
    output = [f"  {clean(line)}" for line in command.output.splitlines()]
    return "\n".join([*lines, *(["Output", *output] if output else [])])


def parsed_matchers(texts: Sequence[str]) -> tuple[Matcher, ...]:
    """Return the matchers that texts such as `host=~node0.*` are. Raises: NoMatcher."""
    found = []
    for text in texts:
        match = _MATCHER.fullmatch(text)
        if match is None:
            raise NoMatcher(
                f"{text!r} is no matcher: write LABEL=VALUE, LABEL!=VALUE, LABEL=~PATTERN or LABEL!~PATTERN"
            )
        try:
            found.append(Matcher(label=match[1], operator=match[2], value=match[3].strip('"')))
            check_patterns(tuple(found))
        except ValidationError as error:
            raise NoMatcher(f"{text!r}: {error.errors()[0]['msg']}") from None
        except ValueError as error:
            raise NoMatcher(str(error)) from None
    return tuple(found)


def asked(kind: RequestKind, by: str | None, *, cluster: str | None, **about: Any) -> Request:
    """Return a request of the person who is logged in, or of whom is named. Raises: NoRequest."""
    try:
        return Request(
            id=str(uuid.uuid4()), cluster=cluster, kind=kind, by=by or person(), at_s=round(time.time(), 3), **about
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise NoRequest(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def until(span_s: float | None) -> float | None:
    """Return when a span of seconds that begins now ends."""
    return None if span_s is None else round(time.time() + span_s, 3)


def sent(log: EventLog, request: Request, keys: Keys) -> None:
    """Put a request on `relight.control`, signed. Raises: LogError."""
    cluster = request.cluster or EVERYWHERE
    event = Event(request.id, cluster, request.command or cluster, request.at_s, keys.signed(request))
    log.append([Outgoing(CONTROL, encoded(event), cluster.encode())])


def _approval(command: CommandHistory) -> str:
    if command.approved_by:
        return f"by {command.approved_by}"
    return "needed" if command.plan and command.plan.approval else "not needed"


def _until(until_s: float | None) -> str:
    return "" if until_s is None else f" until {stamp(until_s)} UTC"


def person() -> str:
    """Return the name of who is logged in."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
