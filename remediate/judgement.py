"""Judgement: whether a command that has ended has helped, seen from its incidents and not from what it returned.

What starts a job again has helped when the job makes progress; what takes a machine out of service or mends it, when
that is so, unless a job waits for it.
"""

from typing import Final

from remediate.case import Case
from remediate.cases import Cases
from remediate.climbing import superseded
from schemas.action import ACTIONS, Wait
from schemas.history import State
from schemas.playbook import Playbook
from schemas.remedy import CommandFailedToHelp, CommandHistory, CommandProved, CommandState
from schemas.vocabulary import Impact

Verdict = CommandProved | CommandFailedToHelp
AGAIN_S: Final = 30.0
"""So long what a job fails of that was just started may take to become known."""
OTHERS_S: Final = 5.0
"""So long another orchestrator may take what one has refused."""
LONGEST_S: Final = 86_400.0
"""What has no time of its own is given so long."""


def judged(cases: Cases, command: CommandHistory) -> Verdict | float | None:
    """Return whether a command has helped, or when that can be said (Unix, seconds); `None`: it cannot be said.

    The command waits, or it has ended.
    """
    plan = command.plan
    assert plan is not None, "a command begins with its plan"
    own = [cases.cases[name] for name in command.incidents]
    if isinstance(plan.action, Wait):
        return _waited(cases, command, plan.action.seconds, own)
    restarts = ACTIONS[plan.action.kind].restarts
    if command.result in (CommandState.FAILED, CommandState.REJECTED, CommandState.EXPIRED):
        return _failed(cases, command, own, restarts)
    if not restarts and command.healthy is False:
        return CommandFailedToHelp(reason="the machine is not well after it")
    waiting = [case for case in own if _waits(cases, case, restarts)]
    sure = command.result is CommandState.SUCCEEDED
    if not waiting and (restarts or sure):
        return _proved(own[0], restarts)
    if restarts and waiting and all(superseded(cases, case) for case in waiting):
        return CommandFailedToHelp(reason="the job has failed again")
    until_s = (command.issued_s or 0.0) + (plan.patience_s or LONGEST_S)
    if cases.time_s < until_s:
        return until_s
    return CommandFailedToHelp(reason="what it was for has not come to be in its time")


def made_way(case: Case, command: CommandHistory, playbook: Playbook | None) -> CommandProved | None:
    """Say that what had to be done before an ended job is started again is done, where its start is the next rung."""
    plan, history = command.plan, case.history
    if plan is None or command.result is not CommandState.SUCCEEDED or command.healthy is False:
        return None
    if history.state is not State.OPEN or history.diagnosed is None or history.diagnosed.impact is not Impact.FAILED:
        return None
    if ACTIONS[plan.action.kind].restarts or playbook is None or playbook.id != plan.playbook:
        return None
    following = playbook.ladder[plan.rung : plan.rung + 1]
    if not any(rung.facts.restarts for rung in following):
        return None
    return CommandProved(reason="it is done, and the job can be started again")


def _failed(cases: Cases, command: CommandHistory, own: list[Case], restarts: bool) -> Verdict | float:
    """Return that a command has failed. A job that was started, and failed again at once, soon has an own incident."""
    until_s = (command.ended_s or 0.0) + OTHERS_S
    if command.result is CommandState.REJECTED and cases.time_s < until_s:
        return until_s
    again = restarts and all(superseded(cases, case) for case in own)
    until_s = (command.ended_s or 0.0) + AGAIN_S
    if restarts and command.result is CommandState.FAILED and not again and cases.time_s < until_s:
        return until_s
    return CommandFailedToHelp(reason=command.reason or f"it was {command.result}")


def _waited(cases: Cases, command: CommandHistory, seconds: int, own: list[Case]) -> Verdict | float:
    if all(case.history.state is not State.OPEN for case in own):
        return CommandProved(reason="it has healed by itself")
    until_s = (command.planned_s or 0.0) + seconds
    return until_s if cases.time_s < until_s else CommandFailedToHelp(reason="it has not healed by itself")


def _waits(cases: Cases, case: Case, restarts: bool) -> bool:
    """Tell whether an incident waits for what a command was for: with a job, for its progress."""
    if case.history.state is not State.OPEN:
        return False
    return restarts or (case.job is not None and not superseded(cases, case))


def _proved(case: Case, restarts: bool) -> CommandProved:
    history = case.history
    if history.state is not State.RESOLVED or history.ended_s is None:
        return CommandProved(reason="the machine is as the command wants it")
    found = history.diagnosed.diagnosis if history.diagnosed else None
    began_s = history.opened_s if history.began_s is None else history.began_s
    recovery_s = max(0.0, history.ended_s - (began_s or 0.0))
    ranks = len(found.scope.ranks) if found else 0
    return CommandProved(
        reason="the job makes progress again" if restarts else "the machine is as the command wants it",
        recovery_s=recovery_s,
        lost_steps=history.lost_steps,
        lost_gpu_s=ranks * recovery_s if ranks else None,
    )
