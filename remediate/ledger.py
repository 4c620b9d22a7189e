"""The ledger: what commands hold and have used up of jobs, hosts and GPUs. It is kept by the fold of their events."""

from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import Final

from schemas.action import ACTIONS, Action, ResourceKind, RestartProcess
from schemas.policy import Policy
from schemas.remedy import (
    PASSING,
    CommandHistory,
    CommandIssued,
    CommandPlanned,
    CommandProgressed,
    CommandState,
    Doing,
)

EFFECTLESS: Final = frozenset((*PASSING, "notify", "collect_diagnostics"))
"""Actions that change nothing."""
WITHOUT_EFFECT: Final = frozenset((CommandState.REJECTED, CommandState.EXPIRED, CommandState.CANCELLED))
"""How a command ends that nobody has tried."""
_RECOVERING: Final = frozenset((CommandState.SUCCEEDED, CommandState.UNKNOWN, CommandState.OVERDUE))
_BRINGS_BACK: Final = frozenset(("reboot_node", "reset_gpu"))


@dataclass(frozen=True, slots=True)
class Out:
    """A host is out of service by a command, since a time (Unix, seconds)."""

    command: str
    since_s: float


@dataclass(slots=True)
class Ledger:
    """What is held and used up, by the names of resources (`host/node03`); `restarts` by job, `out` by host.

    `busy` has the command in flight for each resource, `ended_s` when the last one that had an effect ended, `restarts`
    when a job was started again, `out` the hosts that are out of service, or are being taken out. `recovering` has the
    command by which a job was started again, until that has helped or not.
    """

    busy: dict[str, str] = field(default_factory=dict)
    ended_s: dict[str, float] = field(default_factory=dict)
    restarts: dict[str, deque[float]] = field(default_factory=lambda: defaultdict(deque))
    out: dict[str, Out] = field(default_factory=dict)
    recovering: dict[str, str] = field(default_factory=dict)

    def enter(self, command: CommandHistory, doing: Doing, time_s: float) -> None:
        """Take in an event of a command, which is given as it is after it."""
        plan = command.plan
        if plan is None or command.issued_s is None:
            return
        if isinstance(doing, CommandIssued):
            self._issued(command.id, plan, time_s)
        if isinstance(doing, CommandProgressed) and command.state not in WITHOUT_EFFECT:
            self._heard_late(command, plan)
        if not command.state.in_flight:
            self._ended(command, plan, time_s)
        for job in jobs_of(plan.action) if ACTIONS[plan.action.kind].restarts else ():
            if command.state in _RECOVERING:
                self.recovering[job] = command.id
            elif self.recovering.get(job) == command.id:
                del self.recovering[job]

    def forget(self, time_s: float, policy: Policy) -> None:
        """Forget what has no meaning for a policy any more."""
        self.out = {host: own for host, own in self.out.items() if own.since_s > time_s - policy.hosts_out_s}
        self.ended_s = {key: at_s for key, at_s in self.ended_s.items() if at_s > time_s - policy.cooldown_s}
        for job, times in list(self.restarts.items()):
            while times and times[0] <= time_s - policy.restarts_s:
                times.popleft()
            if not times:
                del self.restarts[job]

    def is_out(self, host: str, command: str) -> bool:
        """Tell whether a host is out of service by a command."""
        own = self.out.get(host)
        return own is not None and own.command == command

    def _issued(self, name: str, plan: CommandPlanned, time_s: float) -> None:
        self.busy |= dict.fromkeys(keys_of(plan), name)
        facts = ACTIONS[plan.action.kind]
        for job in jobs_of(plan.action) if facts.restarts else ():
            self.restarts[job].append(time_s)
        for host in hosts_of(plan.action) if facts.takes_out else ():
            self.out.setdefault(host, Out(name, time_s))

    def _heard_late(self, command: CommandHistory, plan: CommandPlanned) -> None:
        """Note what a command holds that was taken for lost, and is not."""
        for key in keys_of(plan) if command.state.in_flight else ():
            self.busy.setdefault(key, command.id)
        for host in hosts_of(plan.action) if ACTIONS[plan.action.kind].takes_out else ():
            self.out.setdefault(host, Out(command.id, command.issued_s or 0.0))

    def _ended(self, command: CommandHistory, plan: CommandPlanned, time_s: float) -> None:
        for key in keys_of(plan):
            if self.busy.get(key) == command.id:
                del self.busy[key]
                if has_effect(plan.action):
                    self.ended_s[key] = time_s
        if command.result in WITHOUT_EFFECT or command.state is CommandState.CANCELLED:
            self.out = {host: own for host, own in self.out.items() if own.command != command.id}
        elif plan.action.kind in _BRINGS_BACK and command.result is CommandState.SUCCEEDED and command.healthy:
            for host in hosts_of(plan.action):
                self.out.pop(host, None)


def has_effect(action: Action) -> bool:
    """Tell whether an action changes anything: telling people and collecting diagnostics do not."""
    return action.kind not in EFFECTLESS


def hosts_of(action: Action) -> tuple[str, ...]:
    """Return the hosts that an action is done to."""
    return tuple(one.name for one in action.resources if one.kind is ResourceKind.HOST)


def touched_hosts(action: Action) -> tuple[str, ...]:
    """Return the hosts that an action is done to, or on which it is done to a part of a job."""
    own = (action.host,) if isinstance(action, RestartProcess) and action.host is not None else ()
    return (*hosts_of(action), *own)


def jobs_of(action: Action) -> tuple[str, ...]:
    """Return the jobs that an action is done to."""
    return tuple(one.name for one in action.resources if one.kind is ResourceKind.JOB)


def keys_of(plan: CommandPlanned) -> tuple[str, ...]:
    """Return the names of the resources that a command holds while it is in flight; channels can be shared."""
    return tuple(str(one) for one in plan.affects if one.kind is not ResourceKind.CHANNEL)
