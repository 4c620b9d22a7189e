"""A cluster for the tests of planning: its topic of incidents, its time, and orchestrators that do what they are told.

Events go through a list as through the topic: what planning says is appended, and read back at its place.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from remediate.case import Case
from remediate.cases import Cases
from remediate.planner import Planner
from schemas.command import CommandOutcome, Matcher, OutcomeStatus, Request, RequestKind
from schemas.events import Event
from schemas.history import (
    DiagnosisRevised,
    DiagnosisSettled,
    Happening,
    IncidentHistory,
    IncidentOpened,
    IncidentReopened,
    IncidentResolved,
)
from schemas.playbook import Playbook
from schemas.policy import Policy
from schemas.remedy import (
    CommandBlocked,
    CommandHistory,
    CommandIssued,
    Guard,
    OutcomeAdmitted,
    PolicyAdopted,
    RemediationTick,
    RequestAdmitted,
    command_of,
)
from schemas.signal import derived_id
from tests.remediate.stories import START_S, incident, notify, playbook, rung

FREE = Policy(dry_run=False, cooldown_s=0, hosts_out=100)
"""A policy that holds nothing back but what is always held back."""
LADDER = (
    rung("restart_job_excluding_hosts", timeout="30m"),
    rung("reboot_node", timeout="45m"),
    rung("replace_node", timeout="1d"),
    notify(),
)


@dataclass
class World:
    """A cluster. `now_s` is its time; `topic` has all events in order."""

    playbooks: Sequence[Playbook]
    policy: Policy = FREE
    now_s: float = START_S + 60
    cases: Cases = field(default_factory=lambda: Cases("alpha"))
    topic: list[Event] = field(default_factory=list)
    read: int = 0
    ids: int = 0

    def __post_init__(self) -> None:
        self.planner = Planner(self.playbooks)
        self.say(PolicyAdopted(policy=self.policy, playbooks="digest"))

    def say(self, data: Any, subject: str = "alpha", sequence: int | None = None) -> None:
        self.ids += 1
        self.topic.append(Event(derived_id("test", self.ids), "alpha", subject, self.now_s, data, sequence))

    def adopt(self, **changes: Any) -> None:
        self.policy = self.policy.model_copy(update=changes)
        self.say(PolicyAdopted(policy=self.policy, playbooks="digest"))

    def happen(self, name: str, *happenings: Happening) -> None:
        """Append events of an incident."""
        own = [e for e in self.topic if e.subject == name and isinstance(e.data, Happening)]
        for sequence, one in enumerate(happenings, len(own) + 1):
            self.say(one, name, sequence)

    def fails(self, name: str = "one", *, attempt: int = 1, settled: bool = True, **about: Any) -> str:
        """An incident happens, as `tests.remediate.stories.incident` tells it, now."""
        told = incident(name=name, **about)
        assert told.opened is not None
        assert told.diagnosed is not None
        found = told.diagnosed.diagnosis
        self.happen(name, told.opened.model_copy(update={"attempt": attempt}), told.diagnosed)
        if settled:
            self.happen(name, DiagnosisSettled(fault=found.fault, signature=found.signature))
        return name

    def revises(self, name: str, *, settled: bool = True, **about: Any) -> None:
        told = incident(name=name, **about)
        assert told.diagnosed is not None
        found = told.diagnosed.diagnosis
        self.happen(name, told.diagnosed)
        if settled:
            self.happen(name, DiagnosisSettled(fault=found.fault, signature=found.signature))

    def resolves(self, name: str) -> None:
        self.happen(name, IncidentResolved(reason="the job makes progress again"))

    def reopens(self, name: str) -> None:
        self.happen(name, IncidentReopened(reason="it has happened again"))

    def report(self, command: str, *statuses: OutcomeStatus, **more: Any) -> None:
        """An orchestrator reports."""
        for status in statuses:
            self.ids += 1
            outcome = CommandOutcome(
                id=derived_id("outcome", self.ids), cluster="alpha", command=command, status=status, by="agent",
                at_s=self.now_s, **more,
            )  # fmt: skip
            self.say(OutcomeAdmitted(outcome=outcome), command)

    def succeed(self, command: str, **more: Any) -> None:
        self.report(command, OutcomeStatus.ACCEPTED, OutcomeStatus.STARTED)
        self.report(command, OutcomeStatus.SUCCEEDED, **more)

    def ask(self, kind: RequestKind, **about: Any) -> str:
        """A person asks for something; return the id of the request."""
        self.ids += 1
        about = {"cluster": "alpha", "by": "ann"} | about
        request = Request(id=derived_id("request", self.ids), kind=kind, at_s=self.now_s, **about)
        self.say(RequestAdmitted(request=request))
        return request.id

    def tick(self, after_s: float = 0.0, times: int = 1) -> None:
        """Let time pass, and everything be read; planning says what it has to say until it has nothing more."""
        for _ in range(times):
            self.now_s += after_s
            passed = bool(after_s)
            for _ in range(50):
                if not (self.drain() or self.cases.fresh or passed):
                    break
                passed = False
                tick = RemediationTick(number=self.cases.tick + 1, time_s=self.now_s)
                self.say(tick)
            else:
                raise AssertionError(f"planning does not come to rest: {self.topic[-3:]}")

    def drain(self) -> bool:
        """Read what is in the topic; tell whether there was anything but a tick."""
        said = False
        while self.read < len(self.topic):
            event = self.topic[self.read]
            self.read += 1
            said = said or not isinstance(event.data, RemediationTick)
            self.topic += self.planner.follow(self.cases, event)
        return said

    @property
    def commands(self) -> list[CommandHistory]:
        return list(self.cases.commands.values())

    def case(self, name: str = "one") -> Case:
        return self.cases.cases[name]

    def actions(self, name: str | None = None) -> list[str]:
        """Return the kinds of the commands that were issued, in order."""
        issued = [self.cases.commands[command_of(e.subject)] for e in self.topic if isinstance(e.data, CommandIssued)]
        return [c.plan.action.kind for c in issued if c.plan and name in (None, *c.incidents)]

    def deeds(self) -> list[str]:
        """Return what was issued besides telling people."""
        return [kind for kind in self.actions() if kind != "notify"]

    def last(self, kind: str | None = None) -> CommandHistory:
        """Return the command that was planned last, of a kind."""
        return [c for c in self.commands if c.plan and kind in (None, c.plan.action.kind)][-1]

    def guard(self) -> Guard | None:
        """Return what holds the last command back."""
        blocked = self.last().blocked
        return blocked.guard if blocked else None

    def blocks(self) -> list[Guard]:
        """Return every decision of a guard, in order."""
        return [e.data.guard for e in self.topic if isinstance(e.data, CommandBlocked)]


def world(*ladder: dict[str, Any], policy: Policy = FREE, faults: object = "*", **more: Any) -> World:
    """Return a cluster with one playbook, for all faults unless told otherwise."""
    return World([playbook("lab", faults, ladder=list(ladder or LADDER), **more)], policy)


__all__ = ["FREE", "LADDER", "DiagnosisRevised", "IncidentHistory", "IncidentOpened", "Matcher", "World", "world"]
