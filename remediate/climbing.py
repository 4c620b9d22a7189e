"""Climbing: which rung of its playbook's ladder an incident is due for, seen from what was tried for it before.

A ladder gets a job going again, and mends the machine that has broken it. Both are climbed in one order, and each for
itself: when the job goes on elsewhere, the machine that was left out is still to be mended.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from remediate.breaker import takes_too_many
from remediate.case import Case
from remediate.cases import Cases
from remediate.ladders import Unresolved, action_of, sound_host, sound_job
from remediate.ledger import has_effect
from schemas.action import ACTIONS, Action, CollectDiagnostics
from schemas.history import State
from schemas.playbook import Playbook
from schemas.remedy import CommandHistory, CommandState

_LEAVES_OUT: Final = "restart_job_excluding_hosts"


@dataclass(frozen=True, slots=True)
class Step:
    """What is to be done next. `rung` counts from 1, 0 is a step before a rung; `patience_s`: `None` is for ever."""

    rung: int
    action: Action
    why: str
    approval: bool = False
    patience_s: float | None = None


def tried(cases: Cases, case: Case) -> list[tuple[CommandHistory, str, int]]:
    """Return what has been done for an incident, each with the playbook and its rung there; what was cancelled is not.

    A command that was joined counts at the rung where this incident joined it.
    """
    found = []
    for name in case.commands:
        command = cases.commands[name]
        if command.state is CommandState.CANCELLED or command.plan is None:
            continue
        spots = {command.plan.incident: (command.plan.playbook, command.plan.rung)}
        spots |= {one.incident: (one.playbook, one.rung) for one in command.joined}
        found.append((command, *spots[case.history.id]))
    return found


def next_step(cases: Cases, case: Case, playbook: Playbook, diagnostics_s: float) -> Step | None:
    """Return the step that an incident is due for, `None` where its ladder has come to its end.

    A rung is passed over if earlier incidents have used it up, if it cannot be done, or if it is not what is needed:
    once the job goes on, only what mends the machine is.
    """
    done = tried(cases, case)
    climbed = max((rung for _, name, rung in done if name == playbook.id), default=0)
    mending = case.history.state is not State.OPEN or superseded(cases, case)
    for number, rung in enumerate(playbook.ladder, 1):
        if number <= climbed or (mending and not rung.facts.of_a_machine):
            continue
        action = action_of(rung, case.history)
        if isinstance(action, Unresolved) or takes_too_many(cases.policy, action):
            continue
        lasting = cases.lasting(action) is not None
        if number <= cases.floor(case, playbook.id, rung.action) and not lasting:
            continue
        if rung.facts.destructive and not lasting and (first := _diagnostics(case, done)) is not None:
            return Step(0, first, f"Before {rung.action}, which may destroy what tells more.", patience_s=diagnostics_s)
        why = rung.why if rung.action != "notify" else " ".join((rung.why, *told(done)))
        return Step(number, action, why, rung.needs_approval, rung.patience_s)
    return None


def to_be_mended(cases: Cases, case: Case) -> bool:
    """Tell whether a job goes on without a host that nothing has mended since."""
    done = [command for command, _, _ in tried(cases, case)]
    left_out = [c for c in done if c.plan and c.plan.action.kind == _LEAVES_OUT and c.result == "succeeded"]
    return bool(left_out) and not any(_has_mended(command) for command in done)


def helped(cases: Cases, case: Case) -> bool:
    """Tell whether what was done last for an open incident has helped, and it has not happened again since."""
    done = [c for c, _, _ in tried(cases, case) if c.plan and has_effect(c.plan.action)]
    if not done or done[-1].state is not CommandState.EFFECTIVE:
        return False
    assert done[-1].plan is not None, "it was asked for above"
    if case.job is not None and not superseded(cases, case):
        return False  # it waits for the job
    if cases.lasting(done[-1].plan.action) is not None:
        return True
    again_s = case.happened_s if case.happened_s is not None else case.history.touched_s
    return (again_s or 0.0) <= (done[-1].ended_s or 0.0) and not _reopened(case, done[-1])


def superseded(cases: Cases, case: Case) -> bool:
    """Tell whether a later attempt of the job has its own incidents: what gets the job going is decided there."""
    latest = cases.attempts.get(case.job or "")
    return latest is not None and latest.attempt > case.attempt and latest.opened_s >= (case.history.opened_s or 0.0)


def told(done: Sequence[tuple[CommandHistory, str, int]]) -> Iterator[str]:
    """Yield in words what has been tried."""
    for command, _, _ in done:
        if command.plan is None or command.plan.action.kind in ("notify", "none"):
            continue
        result = f" ({command.result})" if command.result else ""
        yield f"Tried: {command.plan.action.kind} {command.plan.target}{result}: {command.reason[:200]}."


def _reopened(case: Case, command: CommandHistory) -> bool:
    return command.recovery_s is not None and (case.history.touched_s or 0.0) > (command.ended_s or 0.0)


def _has_mended(command: CommandHistory) -> bool:
    mends = command.plan is not None and ACTIONS[command.plan.action.kind].of_a_machine
    return mends and command.result == "succeeded" and command.state is not CommandState.INEFFECTIVE


def _diagnostics(case: Case, done: Sequence[tuple[CommandHistory, str, int]]) -> CollectDiagnostics | None:
    """Return what is to be collected before a destructive rung, `None` where it has been, or nobody knows where."""
    if any(command.plan and command.plan.action.kind == "collect_diagnostics" for command, _, _ in done):
        return None
    host, job = sound_host(case.history), sound_job(case.history)
    return CollectDiagnostics(hosts=(host,) if host else (), job=job) if host or job else None
