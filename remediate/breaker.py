"""The circuit breaker: how many hosts may be out of service, and how it opens, is tried and closes.

Closed, it lets hosts be taken out until the limit is reached; then it opens, and nothing is taken out. Once there is
room again (hosts came back, or were taken out long enough ago) it is half open: one host is tried, `probe_s` after the
last one. When that has gone well the breaker closes, and what it held back is planned anew for the state of then.
"""

from dataclasses import dataclass

from remediate.cases import Cases
from remediate.ledger import hosts_of
from schemas.action import ACTIONS, Action
from schemas.policy import Policy
from schemas.remedy import CommandHistory, CommandPlanned


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a host may not be taken out of service, and when time alone may change that (Unix, seconds)."""

    reason: str
    until_s: float | None


def limit(policy: Policy) -> int:
    """Return how many hosts may be out of service: the smaller of both limits, a share being one host at least."""
    if policy.hosts is None:
        return policy.hosts_out
    return min(policy.hosts_out, max(1, int(policy.hosts * policy.percent_out / 100)))


def takes_too_many(policy: Policy, action: Action) -> bool:
    """Tell whether an action takes more hosts out of service at once than may ever be."""
    return ACTIONS[action.kind].takes_out and len(set(hosts_of(action))) > limit(policy)


def may_take_out(cases: Cases, plan: CommandPlanned) -> Refused | None:
    """Return why a command's hosts may not be taken out of service now, `None` where they may."""
    out, most = cases.ledger.out, limit(cases.policy)
    fresh = [host for host in hosts_of(plan.action) if host not in out]
    if not fresh:
        return None
    if len(out) + len(fresh) > most:
        oldest_s = min((own.since_s for own in out.values()), default=None)
        until_s = None if oldest_s is None else oldest_s + cases.policy.hosts_out_s
        return Refused(f"no more than {most} hosts may be out of service", until_s)
    if cases.breaker_s is None:
        return None
    if len(fresh) > 1:
        return Refused("the breaker is half open: hosts are tried one by one", None)
    newest_s = max((own.since_s for own in out.values()), default=cases.breaker_s)
    if any(cases.commands[own.command].state.in_flight for own in out.values() if own.command in cases.commands):
        return Refused("the breaker is half open, and a host is being tried", None)
    if cases.time_s < newest_s + cases.policy.probe_s:
        return Refused("the breaker is open", newest_s + cases.policy.probe_s)
    return None


def closes(cases: Cases) -> bool:
    """Tell whether an open breaker closes: what was tried since it opened has gone well, and there is room."""
    if cases.breaker_s is None or len(cases.ledger.out) >= limit(cases.policy):
        return False
    tried = [one for one in cases.commands.values() if _tried(one, cases.breaker_s)]
    return any(one.state.ended and one.result == "succeeded" and one.healthy is not False for one in tried)


def _tried(command: CommandHistory, since_s: float) -> bool:
    takes_out = command.plan is not None and ACTIONS[command.plan.action.kind].takes_out
    return takes_out and command.issued_s is not None and command.issued_s > since_s
