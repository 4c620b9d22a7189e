"""The state of remediation as JSON can hold it, for snapshots; what follows from the rest is not kept."""

from collections import defaultdict, deque
from typing import Any, Final

from pydantic import TypeAdapter

from remediate.case import Case, Latest, Used
from remediate.cases import Cases
from remediate.ladders import recurring
from remediate.ledger import Ledger, Out
from schemas.command import CommandOutcome, Request
from schemas.history import IncidentHistory
from schemas.policy import Policy
from schemas.remedy import CommandHistory

VERSION: Final = 2
"""Rises when what is kept changes: a state of another version is rebuilt from the beginning."""

_HISTORIES: Final = TypeAdapter(dict[str, IncidentHistory])
_COMMANDS: Final = TypeAdapter(dict[str, CommandHistory])
_REQUESTS: Final = TypeAdapter(dict[str, Request])
_ARRIVED: Final = TypeAdapter(list[Request | CommandOutcome])


def kept(cases: Cases) -> dict[str, Any]:
    """Return the state as JSON can hold it."""
    own, ledger = cases.cases, cases.ledger
    return {
        "name": cases.name,
        "policy": cases.policy.model_dump(mode="json"),
        "playbooks": cases.playbooks,
        "histories": _plain(_HISTORIES, {name: case.history for name, case in own.items()}),
        "about": {name: [case.happened_s, case.commands, case.planned] for name, case in own.items()},
        "commands": _plain(_COMMANDS, cases.commands),
        "tick": cases.tick,
        "time_s": cases.time_s,
        "arrived": _plain(_ARRIVED, cases.arrived),
        "seen": list(cases.seen),
        "pauses": _plain(_REQUESTS, cases.pauses),
        "silences": _plain(_REQUESTS, cases.silences),
        "breaker_s": cases.breaker_s,
        "used": [[list(climb), used.rung, used.at_s, used.attempt] for climb, used in cases.used.items()],
        "attempts": {job: [latest.attempt, latest.opened_s] for job, latest in cases.attempts.items()},
        "seen_requests": list(cases.seen_requests),
        "busy": ledger.busy,
        "ended_s": ledger.ended_s,
        "restarts": {job: list(times) for job, times in ledger.restarts.items()},
        "recovering": ledger.recovering,
        "out": {host: [out.command, out.since_s] for host, out in ledger.out.items()},
    }


def restored(state: dict[str, Any]) -> Cases:
    """Return the state that was kept. Raises: ValueError: it is of another version."""
    cases = Cases(state["name"], Policy.model_validate(state["policy"]), state["playbooks"])
    for name, history in _HISTORIES.validate_python(state["histories"]).items():
        happened_s, commands, planned = state["about"][name]
        cases.cases[name] = Case(history, happened_s, list(commands), planned)
        cases.recurring[recurring(history)][name] = None
        if (job := cases.cases[name].job) is not None:
            cases.jobs[job][name] = None
    cases.commands = _COMMANDS.validate_python(state["commands"])
    cases.latest = {c.plan.action: name for name, c in cases.commands.items() if c.plan}
    cases.tick, cases.time_s, cases.breaker_s = state["tick"], state["time_s"], state["breaker_s"]
    cases.arrived = _ARRIVED.validate_python(state["arrived"])
    cases.seen.update(dict.fromkeys(state["seen"]))
    cases.pauses = _REQUESTS.validate_python(state["pauses"])
    cases.silences = _REQUESTS.validate_python(state["silences"])
    cases.used = {tuple(climb): Used(*used) for climb, *used in state["used"]}
    cases.attempts = {job: Latest(*latest) for job, latest in state["attempts"].items()}
    cases.seen_requests.update(dict.fromkeys(state["seen_requests"]))
    restarts: dict[str, deque[float]] = defaultdict(deque)
    restarts.update({job: deque(times) for job, times in state["restarts"].items()})
    out = {host: Out(command, since_s) for host, (command, since_s) in state["out"].items()}
    cases.ledger = Ledger(dict(state["busy"]), dict(state["ended_s"]), restarts, out, dict(state["recovering"]))
    return cases


def _plain(adapter: TypeAdapter[Any], value: object) -> Any:
    return adapter.dump_python(value, mode="json")
