"""The state of remediation in one cluster: a fold of the events of `relight.incidents`, and of nothing else.

Events may come twice: what is known already changes nothing. What people and orchestrators say waits until the next
tick, so that whatever follows from it follows at a place that is recorded.
"""

from collections import OrderedDict, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, get_args

from remediate.case import Case, Climb, Latest, Used, climb_of, is_over
from remediate.ladders import Recurring, recurring
from remediate.ledger import WITHOUT_EFFECT, Ledger, hosts_of
from schemas.action import ACTIONS, Action
from schemas.command import CommandOutcome, Request, RequestKind
from schemas.events import Event
from schemas.history import DiagnosisRevised, EvidenceAdded, Happening, IncidentHistory, State
from schemas.policy import Policy
from schemas.remedy import (
    BreakerClosed,
    BreakerOpened,
    CommandHistory,
    CommandJoined,
    CommandPlanned,
    CommandState,
    Doing,
    OutcomeAdmitted,
    PolicyAdopted,
    RemediationTick,
    RequestAdmitted,
    command_of,
)

SEEN: Final = 20_000
"""So many ids of requests and outcomes are remembered, to know them again."""
ALIKE: Final = 200
"""So many incidents are looked at, the newest first, to see how often the same has happened."""
FORGET_S: Final = 30 * 86_400.0
FORGET_TICKS: Final = 256
"""So many ticks pass from one look for what can be forgotten to the next."""
EVERYWHERE: Final = "*"
"""The pause that holds for all clusters."""

_DOING: Final = get_args(Doing)
_HAPPENING: Final = get_args(Happening)


@dataclass
class Cases:
    """What is known of a cluster. `apply` changes it in place.

    `requests` and `outcomes` were admitted between the last two ticks: they are to be decided on now. `breaker_s`
    is since when the breaker is open; `used` how far ladders were climbed; `attempts` the last known one of each job;
    `latest` the last command with an action; `recurring` the incidents of a fault on a host or in a job, `jobs` those
    of a job.
    `fresh` tells whether anything has been learned since the last tick, `changed` of which incidents.
    """

    name: str
    policy: Policy = field(default_factory=Policy)
    playbooks: str = ""
    cases: dict[str, Case] = field(default_factory=dict)
    commands: dict[str, CommandHistory] = field(default_factory=dict)
    tick: int = 0
    time_s: float = 0.0
    fresh: bool = False
    changed: set[str] = field(default_factory=set)
    requests: list[Request] = field(default_factory=list)
    outcomes: list[CommandOutcome] = field(default_factory=list)
    arrived: list[Request | CommandOutcome] = field(default_factory=list)
    seen: OrderedDict[str, None] = field(default_factory=OrderedDict)
    seen_requests: OrderedDict[str, None] = field(default_factory=OrderedDict)
    pauses: dict[str, Request] = field(default_factory=dict)
    silences: dict[str, Request] = field(default_factory=dict)
    ledger: Ledger = field(default_factory=Ledger)
    breaker_s: float | None = None
    used: dict[Climb, Used] = field(default_factory=dict)
    latest: dict[Action, str] = field(default_factory=dict)
    jobs: dict[str, dict[str, None]] = field(default_factory=lambda: defaultdict(dict))
    recurring: dict[Recurring | None, dict[str, None]] = field(default_factory=lambda: defaultdict(dict))
    attempts: dict[str, Latest] = field(default_factory=dict)

    def apply(self, event: Event) -> None:
        """Take in a fact."""
        data = event.data
        if isinstance(data, _HAPPENING):
            self._happened(event, data)
        elif isinstance(data, _DOING):
            self._done(event, data)
        else:
            self._told(event, data)

    def live(self, case: Case) -> CommandHistory | None:
        """Return the command of an incident that something is still to come of, `None` where there is none."""
        for name in reversed(case.commands):
            command = self.commands[name]
            if not is_over(command) and command.plan and command.plan.action.kind != "notify":
                return command
        return None

    def alike(self, case: Case) -> Iterator[Case]:
        """Yield the incidents that may be the same happening again: of one fault, on one host or in one job."""
        names = islice(reversed(self.recurring.get(recurring(case.history), {})), ALIKE)
        return (self.cases[name] for name in names if name in self.cases)

    def lasting(self, action: Action) -> CommandHistory | None:
        """Return the command that has taken an action's hosts out of service, if by it they still are."""
        command = self.commands.get(self.latest.get(action, ""))
        if command is None or command.state is not CommandState.EFFECTIVE or not ACTIONS[action.kind].of_a_machine:
            return None
        return command if all(self.ledger.is_out(host, command.id) for host in hosts_of(action)) else None

    def pending(self) -> Iterator[CommandHistory]:
        """Yield the commands that are held back or not yet issued, in the order in which they were planned."""
        return (c for c in self.commands.values() if c.state is CommandState.PLANNED)

    def floor(self, case: Case, playbook: str, action: str) -> int:
        """Return how many rungs of a ladder have been used up for an incident, as far as an action is concerned.

        For so long as the policy says that the fault has stayed away, the ladder steps down a rung.
        """
        climb = climb_of(case, playbook, action)
        used = self.used.get(climb) if climb else None
        opened_s = case.history.opened_s or 0.0
        if used is None:
            return 0
        again = used.attempt is not None and case.attempt > used.attempt  # it may fail before the command has ended
        if opened_s < used.at_s and not again:
            return 0
        heal_s = self.policy.heal_s if ACTIONS[action].restarts else self.policy.heal_hosts_s
        return max(0, used.rung - int(max(0.0, opened_s - used.at_s) // heal_s))

    def look_at_all(self) -> None:
        """Let everything be looked at again at the next tick, as after a state was restored."""
        self.changed |= self.cases.keys()
        self.fresh = True

    def _told(self, event: Event, data: object) -> None:
        match data:
            case RequestAdmitted():
                self._arrive(data.request)
            case OutcomeAdmitted():
                self._arrive(data.outcome)
            case PolicyAdopted():
                self.policy, self.playbooks, self.fresh = data.policy, data.playbooks, True
                self.changed |= self.cases.keys()
            case BreakerOpened():
                self.breaker_s = event.time_s
            case BreakerClosed():
                self.breaker_s = None
            case RemediationTick() if data.number == self.tick + 1:
                self._ticked(data)

    def _arrive(self, said: Request | CommandOutcome) -> None:
        seen = self.seen_requests if isinstance(said, Request) else self.seen
        if said.id not in seen:
            seen[said.id] = None
            self.arrived.append(said)
            self.fresh = True
            while len(seen) > SEEN:
                seen.popitem(last=False)

    def _ticked(self, tick: RemediationTick) -> None:
        self.tick, self.time_s, self.fresh = tick.number, max(self.time_s, tick.time_s), False
        self.requests = [one for one in self.arrived if isinstance(one, Request)]
        self.outcomes = [one for one in self.arrived if isinstance(one, CommandOutcome)]
        self.arrived = []
        for request in self.requests:
            self._asked(request)
        self.pauses = {key: one for key, one in self.pauses.items() if not _over(one, self.time_s)}
        self.silences = {key: one for key, one in self.silences.items() if not _over(one, self.time_s)}
        self.ledger.forget(self.time_s, self.policy)
        if self.tick % FORGET_TICKS == 0:
            self._forget()

    def _forget(self) -> None:
        """Forget incidents that have been over for long, and those that nothing is heard of, with their commands."""
        before_s = self.time_s - FORGET_S
        for name, case in list(self.cases.items()):
            last_s = case.history.ended_s if case.history.state is not State.OPEN else case.history.touched_s
            if (last_s or 0.0) < before_s and self.live(case) is None:
                del self.cases[name]
                self.recurring[recurring(case.history)].pop(name, None)
        needed = {name for case in self.cases.values() for name in case.commands}
        self.commands = {name: one for name, one in self.commands.items() if name in needed}
        self.latest = {action: name for action, name in self.latest.items() if name in needed}
        self.recurring = defaultdict(dict, {key: own for key, own in self.recurring.items() if own})
        self.jobs = defaultdict(dict)
        for name, case in self.cases.items():
            if case.job:
                self.jobs[case.job][name] = None
        self.attempts = {job: latest for job, latest in self.attempts.items() if job in self.jobs}
        self.used = {climb: used for climb, used in self.used.items() if used.at_s > before_s}

    def _asked(self, request: Request) -> None:
        """Take in what people ask for that is about no command."""
        match request.kind:
            case RequestKind.PAUSE:
                self.pauses[request.cluster or EVERYWHERE] = request
            case RequestKind.RESUME:
                self.pauses.pop(request.cluster or EVERYWHERE, None)
            case RequestKind.SILENCE:
                self.silences[request.id] = request
            case RequestKind.UNSILENCE if request.silence:
                self.silences.pop(request.silence, None)
            case RequestKind.RESTORE if request.host:
                self.ledger.out.pop(request.host, None)

    def _happened(self, event: Event, happening: Happening) -> None:
        """Take in an event of an incident, in its turn."""
        case = self.cases.get(event.subject) or Case(IncidentHistory(id=event.subject))
        if event.sequence != case.history.sequence + 1:
            return
        if isinstance(happening, EvidenceAdded) and (last := happening.evidence.last.time) is not None:
            case.happened_s = max(case.happened_s or 0.0, last.timestamp())
        if isinstance(happening, DiagnosisRevised):
            happening = happening.model_copy(update={"symptoms": (), "alternatives": ()})
        before = recurring(case.history)
        after = case.history.after(happening, event.time_s or 0.0)
        case.history = after.model_copy(update={"evidence": {}})
        self._recur(event.subject, case, before)
        self.cases[event.subject] = case
        self._touch(event.subject)
        self._attempted(case)

    def _attempted(self, case: Case) -> None:
        """Keep account of the last attempt of each job; a job's name may come back, and is counted from 1 again."""
        opened_s = case.history.opened_s
        if case.job is None or opened_s is None:
            return
        known = self.attempts.get(case.job)
        if known is None or (known.attempt != case.attempt and opened_s >= known.opened_s):
            self.attempts[case.job] = Latest(case.attempt, opened_s)
            self.changed |= {name for name in self.jobs[case.job] if name in self.cases}
        self.jobs[case.job][case.history.id] = None

    def _done(self, event: Event, doing: Doing) -> None:
        """Take in an event of a command, in its turn."""
        name = command_of(event.subject)
        before = self.commands.get(name) or CommandHistory(id=name)
        if event.sequence != before.sequence + 1:
            return
        command = self.commands[name] = before.after(doing, event.time_s or 0.0)
        plan = command.plan
        assert plan is not None, "a command begins with its plan"
        if isinstance(doing, CommandPlanned | CommandJoined):
            case = self.cases.setdefault(doing.incident, Case(IncidentHistory(id=doing.incident)))
            case.commands.append(command.id)
            if isinstance(doing, CommandPlanned):
                case.planned += 1
                self.latest[doing.action] = command.id
        for incident in (doing.incident,) if isinstance(doing, CommandJoined) else command.incidents:
            self._touch(incident)
        self.ledger.enter(command, doing, event.time_s or 0.0)
        if command.result is not None and command.result not in WITHOUT_EFFECT:
            self._climbed(command, event.time_s or 0.0)

    def _recur(self, name: str, case: Case, before: Recurring | None) -> None:
        """Keep account of what may be the same happening again; what opened later is looked at anew."""
        after = recurring(case.history)
        if before == after and name in self.recurring[after] and case.history.state is not State.MERGED:
            return
        self.recurring[before].pop(name, None)
        for key in (before, after) if before != after else (after,):
            for other in reversed(self.recurring[key]):
                later = self.cases.get(other)
                if later is None or (later.history.opened_s or 0.0) < (case.history.opened_s or 0.0):
                    break
                later.others += 1
                self.changed.add(other)
        self.recurring[after][name] = None

    def _climbed(self, command: CommandHistory, time_s: float) -> None:
        """Remember how far the ladders of a command's incidents have been climbed."""
        plan = command.plan
        assert plan is not None, "a command begins with its plan"
        rungs = [(plan.incident, plan.playbook, plan.rung)]
        rungs += [(one.incident, one.playbook, one.rung) for one in command.joined]
        for incident, playbook, rung in rungs:
            case = self.cases.get(incident)
            climb = climb_of(case, playbook, plan.action.kind) if case else None
            if case is not None and climb is not None and rung:
                restarts = case.job is not None and ACTIONS[plan.action.kind].restarts
                self.used[climb] = Used(rung, time_s, case.attempt if restarts else None)

    def _touch(self, incident: str) -> None:
        self.changed.add(incident)
        self.fresh = True


def _over(request: Request, time_s: float) -> bool:
    return request.until_s is not None and request.until_s <= time_s
