"""Guards: what can hold a command back, each a decision with a name and a reason.

They are asked in an order, and the first that holds a command back is what people are told. Nothing of a guard is
remembered: each is asked again whenever something has changed, or when it said that time alone may open it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from remediate.breaker import may_take_out
from remediate.case import Case
from remediate.cases import EVERYWHERE, Cases
from remediate.ledger import has_effect, jobs_of, keys_of, touched_hosts
from remediate.silences import concerns, matches, window
from schemas.action import ACTIONS
from schemas.history import State
from schemas.playbook import human
from schemas.remedy import CommandHistory, CommandPlanned, Guard


@dataclass(frozen=True, slots=True)
class Held:
    """A command is held back. `until_s` is when time alone may change that (Unix, seconds); `None`: never."""

    guard: Guard
    reason: str
    until_s: float | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """What a guard is asked about: a command, for an incident, in a cluster."""

    cases: Cases
    case: Case
    command: CommandHistory
    plan: CommandPlanned


def held(cases: Cases, case: Case, command: CommandHistory) -> Held | None:
    """Return what holds a planned command back now, `None` where nothing does."""
    assert command.plan is not None, "a command begins with its plan"
    asked = Asked(cases, case, command, command.plan)
    effect = has_effect(command.plan.action)
    for guard, applies in GUARDS:
        if (effect or command.plan.action.kind in applies) and (found := guard(asked)) is not None:
            return found
    return None


def dry_run(asked: Asked) -> Held | None:
    """Hold everything back until dry run is turned off."""
    if not asked.cases.policy.dry_run:
        return None
    return Held(Guard.DRY_RUN, "dry run: nothing is issued until remediate.dry_run is turned off")


def pause(asked: Asked) -> Held | None:
    """Hold back while people have paused remediation, of this cluster or altogether."""
    pauses = asked.cases.pauses
    found = pauses.get(asked.cases.name) or pauses.get(EVERYWHERE)
    if found is None:
        return None
    return Held(Guard.PAUSE, f"{found.by} has paused remediation{_because(found.reason)}", found.until_s)


def silence(asked: Asked) -> Held | None:
    """Hold back what people have silenced."""
    labels: list[dict[str, str]] = []
    for found in asked.cases.silences.values():
        labels = labels or [labels_of(asked.case, asked.plan) | {"host": host} for host in _hosts(asked) or ("",)]
        if any(matches(found.matchers, own) for own in labels):
            return Held(Guard.SILENCE, f"{found.by} has silenced it{_because(found.reason)}", found.until_s)
    return None


def maintenance(asked: Asked) -> Held | None:
    """Hold back while people are at work on what a command affects."""
    for one in asked.cases.policy.maintenance:
        span = window(one, asked.cases.time_s)
        if span and concerns(one, _hosts(asked), jobs_of(asked.plan.action)):
            return Held(Guard.MAINTENANCE, f"maintenance: {one.name}", span[1])
    return None


def unsettled(asked: Asked) -> Held | None:
    """Hold back what rests on a diagnosis that may still change."""
    if asked.case.history.settled or asked.case.history.state is not State.OPEN:
        return None  # what is over is not revised any more
    return Held(Guard.UNSETTLED, "the diagnosis has been revised, and is not settled yet")


def stale(asked: Asked) -> Held | None:
    """Hold back what answers something that happened long before it was planned: old logs cause nothing.

    Only the first step is looked at: the others answer that it has not helped.
    """
    happened_s, planned_s = asked.case.happened_s or asked.case.history.touched_s, asked.command.planned_s or 0.0
    if happened_s is None or planned_s - happened_s <= asked.cases.policy.stale_s:
        return None
    own = (asked.cases.commands[name] for name in asked.case.commands if name != asked.command.id)
    if any(one.issued_s is not None for one in own):
        return None
    longest = human(max(1, round(asked.cases.policy.stale_s)))
    return Held(Guard.STALE, f"it happened more than {longest} before it was planned for")


def confidence(asked: Asked) -> Held | None:
    """Hold back what rests on a diagnosis that is not sure enough."""
    least = asked.cases.policy.confidence
    found = asked.case.history.diagnosed
    if found is None or found.diagnosis.confidence >= least:
        return None
    return Held(Guard.CONFIDENCE, f"the confidence is {found.diagnosis.confidence:.2f}, less than {least:.2f}")


def approval(asked: Asked) -> Held | None:
    """Hold back what a person has to agree to, until one has."""
    if not asked.plan.approval or asked.command.approved_by is not None:
        return None
    return Held(Guard.APPROVAL, "a person has to agree")


def in_flight(asked: Asked) -> Held | None:
    """Hold back while another command is in flight for anything that this one affects."""
    busy = asked.cases.ledger.busy
    for key in keys_of(asked.plan):
        if (other := busy.get(key)) is not None and other != asked.command.id:
            return Held(Guard.IN_FLIGHT, f"another command is in flight for {key}: {other}")
    return None


def cooldown(asked: Asked) -> Held | None:
    """Hold back until everything that a command affects has been left alone for a while."""
    cooldown_s, now = asked.cases.policy.cooldown_s, asked.cases.time_s
    if (recovering := _recovering(asked)) is not None:
        return recovering
    until = {key: asked.cases.ledger.ended_s.get(key, float("-inf")) + cooldown_s for key in keys_of(asked.plan)}
    key = max(until, key=lambda one: (until[one], one), default=None)
    if key is None or until[key] <= now:
        return None
    return Held(Guard.COOLDOWN, f"a command for {key} ended less than {cooldown_s:g} s ago", until[key])


def _recovering(asked: Asked) -> Held | None:
    """Hold back what would start a job again that was just started again, for something that happened before that."""
    if not ACTIONS[asked.plan.action.kind].restarts:
        return None
    for job in jobs_of(asked.plan.action):
        other = asked.cases.commands.get(asked.cases.ledger.recovering.get(job, ""))
        before = other is not None and (asked.case.history.opened_s or 0.0) <= (other.ended_s or 0.0)
        if other is not None and before and other.id != asked.command.id:
            return Held(Guard.COOLDOWN, f"job {job} was started again by {other.id}, and may make progress yet")
    return None


def budget(asked: Asked) -> Held | None:
    """Hold back what would start a job again too often."""
    policy = asked.cases.policy
    if not ACTIONS[asked.plan.action.kind].restarts:
        return None
    for job in jobs_of(asked.plan.action):
        times = asked.cases.ledger.restarts.get(job, ())
        if len(times) >= policy.restarts:
            spell = human(max(1, round(policy.restarts_s)))
            reason = f"job {job} has been started again {policy.restarts} times within {spell}"
            return Held(Guard.BUDGET, reason, times[-policy.restarts] + policy.restarts_s)
    return None


def breaker(asked: Asked) -> Held | None:
    """Hold back what would take too many hosts out of service."""
    if not ACTIONS[asked.plan.action.kind].takes_out:
        return None
    refused = may_take_out(asked.cases, asked.plan)
    return None if refused is None else Held(Guard.BREAKER, refused.reason, refused.until_s)


Check = Callable[[Asked], Held | None]
_TOLD: Final = frozenset(("notify",))
_LOOKED_AT: Final = frozenset(("collect_diagnostics",))
_ALL: Final = _TOLD | _LOOKED_AT
GUARDS: Final[tuple[tuple[Check, frozenset[str]], ...]] = (
    (dry_run, _ALL),
    (pause, _LOOKED_AT),
    (silence, _ALL),
    (maintenance, _LOOKED_AT),
    (unsettled, frozenset()),
    (stale, _ALL),
    (confidence, frozenset()),
    (approval, _ALL),
    (in_flight, _LOOKED_AT),
    (cooldown, frozenset()),
    (budget, frozenset()),
    (breaker, frozenset()),
)
"""The guards in their order, each with the actions without effect that it applies to as well."""


def labels_of(case: Case, plan: CommandPlanned) -> dict[str, str]:
    """Return what silences are matched with."""
    found = case.history.diagnosed
    return {
        "fault": plan.fault,
        "host": case.host or "",
        "job": case.job or "",
        "signature": found.diagnosis.signature if found else "",
        "severity": str(found.diagnosis.severity) if found else "",
        "action": plan.action.kind,
    }


def _hosts(asked: Asked) -> tuple[str, ...]:
    """Return the hosts that a command is about: those it is done to, and that of the culprit."""
    culprit = (asked.case.host,) if asked.case.host else ()
    return tuple(dict.fromkeys((*touched_hosts(asked.plan.action), *culprit)))


def _because(reason: str) -> str:
    return f": {reason}" if reason else ""
