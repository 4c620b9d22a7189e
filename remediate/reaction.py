"""The reaction to a tick: says what is to be done about a cluster's incidents and has not been said yet.

Each step follows from the present state, so that what was half done before a crash is one case with everything else.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from remediate import breaker
from remediate.case import Case, is_over
from remediate.cases import Cases
from remediate.climbing import Step, helped, next_step, superseded, to_be_mended
from remediate.guards import Held, held
from remediate.hearing import come, rank_of
from remediate.judgement import LONGEST_S, Verdict, judged, made_way
from remediate.ladders import action_of
from remediate.ledger import has_effect
from schemas.action import ACTIONS, Action, Notify
from schemas.command import REASON_CHARACTERS, CommandOutcome, OutcomeStatus, Request, RequestKind
from schemas.events import Event
from schemas.history import State
from schemas.playbook import Playbook
from schemas.remedy import (
    BreakerClosed,
    BreakerOpened,
    CommandApproved,
    CommandBlocked,
    CommandCancelled,
    CommandExpired,
    CommandHistory,
    CommandIssued,
    CommandJoined,
    CommandPlanned,
    CommandProgressed,
    CommandProved,
    CommandState,
    Doing,
    Guard,
    subject_of,
)
from schemas.signal import derived_id

GRACE_S: Final = 120.0
"""Clocks differ, and outcomes are on their way: so long after its time a command is taken for lost."""


@dataclass
class Reaction:
    """What is said at one tick. `chosen` returns the playbook for an incident, or none and why.

    `opens_s` is when a guard may open by time alone (Unix, seconds).
    """

    cases: Cases
    chosen: Callable[[Cases, Case], tuple[Playbook | None, str]]
    events: list[Event] = field(default_factory=list)
    opens_s: float | None = None

    def said(self) -> list[Event]:
        """Return what is said, taken in already."""
        cases = self.cases
        for request in cases.requests:
            self._asked(request)
        for outcome in cases.outcomes:
            self._reported(outcome)
        self._close_breaker()
        late = {n for n, case in cases.cases.items() if case.due_s is not None and case.due_s <= cases.time_s}
        due, cases.changed = late | (cases.changed & cases.cases.keys()), set()
        for name in sorted(due):
            self._about(cases.cases[name])
        for command in sorted(cases.pending(), key=self._urgency):
            self._guard(command)
        return self.events

    def _asked(self, request: Request) -> None:
        """Do what a person asks for about a command."""
        command = self.cases.commands.get(request.command or "")
        if command is None:
            return
        untouched = command.state.pending or command.state in (CommandState.ISSUED, CommandState.ACCEPTED)
        match request.kind:
            case RequestKind.APPROVE if command.state is CommandState.PLANNED and command.approved_by is None:
                self._say(command.id, CommandApproved(by=request.by, reason=request.reason))
            case RequestKind.DENY | RequestKind.CANCEL if untouched:
                word = "denied" if request.kind is RequestKind.DENY else "cancelled"
                reason = request.reason or f"{word} by {request.by}"
                self._say(command.id, CommandCancelled(reason=reason, by=request.by))

    def _reported(self, outcome: CommandOutcome) -> None:
        """Take in what an orchestrator says of a command, if it comes to more than what is known."""
        command = self.cases.commands.get(outcome.command)
        rank = None if command is None else come(self.cases, command)
        if command is None or rank is None or rank_of(outcome.status) <= rank:
            return
        refused = command.state is CommandState.REJECTED
        another = command.by is not None and command.by != outcome.by and not refused
        if another and outcome.status in (OutcomeStatus.ACCEPTED, OutcomeStatus.REJECTED):
            return  # it is another's
        said = outcome.model_dump(include=set(CommandProgressed.model_fields))
        self._say(command.id, CommandProgressed.model_validate(said))

    def _close_breaker(self) -> None:
        if not breaker.closes(self.cases):
            return
        self._record("breaker", BreakerClosed(reason="a host was taken out of service, and that has gone well"))
        for command in list(self.cases.pending()):
            if command.blocked and command.blocked.guard is Guard.BREAKER:
                reason = "the breaker has closed: what it held back is planned for the state of now"
                self._say(command.id, CommandCancelled(reason=reason))

    def _about(self, case: Case) -> None:
        """Bring what is done about an incident up to date."""
        case.due_s = None
        self._look_at_notices(case)
        while True:
            live = self.cases.live(case)
            if live is not None and not self._is_over(case, live):
                return
            step, playbook = self._step(case)
            if step is None:
                return
            self._plan(case, step, playbook)

    def _look_at_notices(self, case: Case) -> None:
        """Let go of what people need not be told any more, and of what nobody has told them in its time."""
        over = case.history.state is not State.OPEN and not to_be_mended(self.cases, case)
        for name in case.commands:
            command = self.cases.commands[name]
            if _kind(command) != "notify" or command.plan is None or command.plan.incident != case.history.id:
                continue
            if command.state.pending and over:
                self._say(name, CommandCancelled(reason="what it was for is over"))
            elif command.state.in_flight:
                self._is_lost(case, command)

    def _is_over(self, case: Case, command: CommandHistory) -> bool:
        """Say what has become of a command, and tell whether nothing more will."""
        cases, plan = self.cases, command.plan
        assert plan is not None, "a command begins with its plan"
        if command.state is not CommandState.WITHDRAWN and not command.state.ended:
            not_begun = command.state is not CommandState.STARTED
            if not_begun and (reason := self._unwanted(command)) is not None:
                self._say(command.id, CommandCancelled(reason=reason))
                return command.state.pending
        if command.state.in_flight:
            return self._is_lost(case, command)
        if command.state is CommandState.PLANNED:
            return False
        verdict: Verdict | float | None = made_way(case, command, self.chosen(cases, case)[0]) or judged(cases, command)
        if isinstance(verdict, float):
            case.due_s = min(verdict, case.due_s or verdict)
            return False
        if verdict is None:
            return False
        self._say(command.id, verdict)
        return True

    def _is_lost(self, case: Case, command: CommandHistory) -> bool:
        """Tell whether nothing has been heard of a command in its time; what follows is decided at the next tick."""
        begun = command.state is CommandState.STARTED
        at_s = ((command.deadline_s if begun else command.expires_s) or 0.0) + GRACE_S
        if self.cases.time_s < at_s:
            case.due_s = min(at_s, case.due_s or at_s)
            return False
        reason = "nothing was heard of its end in time" if begun else "no orchestrator has begun it in time"
        self._say(command.id, CommandExpired(reason=reason))
        return False

    def _unwanted(self, command: CommandHistory) -> str | None:
        """Return why none of its incidents wants a command any more, `None` where one does."""
        assert command.plan is not None, "a command begins with its plan"
        plan = command.plan
        reason = None
        for incident, playbook, rung in _spots(command):
            reason = self._why_not(self.cases.cases[incident], playbook, rung, plan.action)
            if reason is None:
                return None
        return reason

    def _wants(self, incident: str, playbook: str, rung: int, action: Action) -> bool:
        return action.kind == "notify" or self._why_not(self.cases.cases[incident], playbook, rung, action) is None

    def _why_not(self, case: Case, name: str, rung: int, action: Action) -> str | None:
        """Return why an incident does not want an action any more, `None` where it does."""
        over = case.history.state is not State.OPEN or superseded(self.cases, case)
        mends = ACTIONS[action.kind].of_a_machine or action.kind == "collect_diagnostics"
        if over and not (mends and to_be_mended(self.cases, case)):
            return "what it was for is over"
        playbook, _ = self.chosen(self.cases, case)
        if playbook is None or playbook.id != name:
            return "the diagnosis was revised: it asks for something else"
        if rung and action_of(playbook.ladder[rung - 1], case.history) != action:
            return "the diagnosis was revised: it asks for something else"
        return None

    def _step(self, case: Case) -> tuple[Step | None, str]:
        """Return what is to be done next about an incident, and the playbook that says so."""
        cases, history = self.cases, case.history
        stopped = any(cases.commands[name].cancelled_by for name in case.commands)
        unsure = history.state is State.OPEN and not history.settled
        if stopped or history.state is State.MERGED or unsure or history.diagnosed is None:
            return None, ""
        mending = history.state is not State.OPEN or superseded(cases, case)
        if (mending and not to_be_mended(cases, case)) or (not mending and helped(cases, case)):
            return None, ""
        playbook, why = self.chosen(cases, case)
        if playbook is None:
            return self._notice(case, f"Nothing is known to do: {why}."), ""
        step = next_step(cases, case, playbook, cases.policy.diagnostics_s)
        if step is None and mending:
            step = self._notice(case, "The job goes on, and nothing has mended the host that it was moved away from.")
        return step, playbook.id

    def _notice(self, case: Case, why: str) -> Step | None:
        """Return the step that tells people something, if they have not been told of this incident."""
        told = any(_kind(self.cases.commands[name]) == "notify" for name in case.commands)
        return None if told else Step(0, Notify(), why)

    def _plan(self, case: Case, step: Step, playbook: str) -> None:
        """Plan a step, or join the command that does the same already."""
        incident = case.history.id
        if (other := self._same(case, step)) is not None:
            self._say(other.id, CommandJoined(incident=incident, playbook=playbook, rung=step.rung))
            return
        resources = step.action.resources
        name = derived_id("command", self.cases.name, incident, case.planned)
        plan = CommandPlanned(
            incident=incident,
            fault=case.fault,
            playbook=playbook,
            rung=step.rung,
            action=step.action,
            target=str(resources[0]) if resources else "none",
            affects=resources,
            why=step.why[:REASON_CHARACTERS],
            approval=step.approval,
            patience_s=step.patience_s,
        )
        self._say(name, plan)
        if step.action.kind == "none":
            self._say(name, CommandProved(reason="nothing needs to be done"))

    def _same(self, case: Case, step: Step) -> CommandHistory | None:
        """Return the command that does the same as a step: one that is not over, or took the same host out for good."""
        other = self.cases.commands.get(self.cases.latest.get(step.action, ""))
        if other is not None and self._is_later(case, other):
            return None
        if other is None or other.plan is None or step.action.kind in ("notify", "none", "wait"):
            return None
        if other.state.pending and step.approval and not other.plan.approval:
            return None
        if other.state is CommandState.WITHDRAWN or is_over(other) or case.history.id in other.incidents:
            return self.cases.lasting(step.action) if case.history.id not in other.incidents else None
        before = other.issued_s is None or (case.history.opened_s or 0.0) <= other.issued_s
        return other if before or other.state.in_flight else None

    def _is_later(self, case: Case, command: CommandHistory) -> bool:
        """Tell whether an incident is of a later attempt than a command was planned for: it may have begun that one."""
        first = self.cases.cases[command.incidents[0]]
        return case.job is not None and case.job == first.job and case.attempt > first.attempt

    def _guard(self, command: CommandHistory) -> None:
        """Issue a planned command, or say what holds it back."""
        cases, plan = self.cases, command.plan
        assert plan is not None, "a command begins with its plan"
        wanting = [cases.cases[one] for one, name, rung in _spots(command) if self._wants(one, name, rung, plan.action)]
        asked = [(case, held(cases, case, command)) for case in wanting or [cases.cases[plan.incident]]]
        case, found = next((pair for pair in asked if pair[1] is None), asked[0])
        if found is not None:
            self._held(command, case, found)
            return
        own = (cases.commands[name] for name in case.commands)
        ended_s = (one.ended_s for one in own if one.plan and has_effect(one.plan.action))
        since_s = max(one or 0.0 for one in (command.planned_s, command.approved_s, *ended_s))
        if cases.time_s - since_s > cases.policy.stale_s:
            self._say(command.id, CommandCancelled(reason="it was held back for long: it is planned anew"))
            return
        expires_s = cases.time_s + cases.policy.start_s
        deadline_s = cases.time_s + (LONGEST_S if plan.patience_s is None else plan.patience_s)
        self._say(command.id, CommandIssued(expires_s=expires_s, deadline_s=max(expires_s, deadline_s)))

    def _held(self, command: CommandHistory, case: Case, found: Held) -> None:
        if found.until_s is not None:
            self.opens_s = min(found.until_s, self.opens_s or found.until_s)
        blocked = CommandBlocked(guard=found.guard, reason=found.reason[:REASON_CHARACTERS])
        if command.blocked == blocked:
            return
        opens = found.guard is Guard.BREAKER and self.cases.breaker_s is None
        if opens:
            self._record("breaker", BreakerOpened(reason=found.reason))
        self._say(command.id, blocked)
        assert command.plan is not None, "a command begins with its plan"
        what = f"{command.plan.action.kind} {command.plan.target}"
        if found.guard is Guard.APPROVAL:
            self._tell(case, f"A person has to agree to {what}: `relight commands approve {command.id}`.")
        elif found.guard is Guard.BUDGET or opens:
            self._tell(case, f"{what} is held back: {found.reason}.")

    def _tell(self, case: Case, why: str) -> None:
        """Tell people something about an incident, once."""
        if not any(_why(self.cases.commands[name]) == why for name in case.commands):
            self._plan(case, Step(0, Notify(), why), "")

    def _urgency(self, command: CommandHistory) -> tuple[int, float, str]:
        case = self.cases.cases[command.incidents[0]]
        found = case.history.diagnosed
        return -(found.diagnosis.severity.rank if found else 0), command.planned_s or 0.0, command.id

    def _say(self, command: str, doing: Doing) -> None:
        """Say the next event of a command, and take it in."""
        known = self.cases.commands.get(command)
        sequence = 1 + (known.sequence if known else 0)
        name = derived_id("event", command, sequence)
        incident = doing.incident if isinstance(doing, CommandPlanned) else self.cases.commands[command].incidents[0]
        subject = subject_of(incident, command)
        self._append(Event(name, self.cases.name, subject, self.cases.time_s, doing, sequence))

    def _record(self, what: str, data: BreakerOpened | BreakerClosed) -> None:
        """Say something about the cluster."""
        name = derived_id(what, self.cases.name, self.cases.tick, type(data).__name__)
        self._append(Event(name, self.cases.name, self.cases.name, self.cases.time_s, data))

    def _append(self, event: Event) -> None:
        self.cases.apply(event)
        self.events.append(event)


def _spots(command: CommandHistory) -> Iterator[tuple[str, str, int]]:
    """Yield the incidents that a command is for, each with the playbook and the rung that asks for it."""
    assert command.plan is not None, "a command begins with its plan"
    yield command.plan.incident, command.plan.playbook, command.plan.rung
    for one in command.joined:
        yield one.incident, one.playbook, one.rung


def _kind(command: CommandHistory) -> str:
    return command.plan.action.kind if command.plan else ""


def _why(command: CommandHistory) -> str:
    return command.plan.why if command.plan else ""
