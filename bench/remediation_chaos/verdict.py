"""The verdict: whether each command was issued once, took effect as often as it may, and ended as it was.

It is pure: it judges what others have read and counted.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from bench.remediation_chaos.topics import Told
from schemas.command import CommandOutcome, OutcomeStatus, RecoveryCommand
from schemas.remedy import CommandHistory, CommandState

TOLD: Final = "notify"
"""The action that nobody here carries out: it says that something could not be done."""
_SLACK_S: Final = 0.002  # times are rounded


@dataclass(frozen=True)
class Happened:
    """What was done. `asked` has, by incident, the action that it stayed open for until that had ended.

    `deaths` are the times at which the agents of a cluster were killed (Unix, seconds), for those that are alone.
    `silent` are commands that were never answered, `effects` how often commands took effect, where that is counted.
    """

    exact: Mapping[str, bool]
    asked: Mapping[str, str] = field(default_factory=dict)
    deaths: Mapping[str, Sequence[float]] = field(default_factory=dict)
    silent: frozenset[str] = frozenset()
    effects: Mapping[str, float] = field(default_factory=dict)


def complaints(told: Told, happened: Happened) -> Iterator[str]:
    """Yield what is wrong, a sentence each."""
    yield from told.wrong
    yield from _issued(told)
    yield from _asked_for(told, happened)
    said: dict[str, list[CommandOutcome]] = defaultdict(list)
    for outcome in told.outcomes:
        said[outcome.command].append(outcome)
    commands = {command.id: command for command in told.commands}
    yield from (f"there are outcomes of {name}, which was never issued" for name in sorted(said.keys() - commands))
    histories = {history.id: history for history in told.histories}
    for command in commands.values():
        if command.action.kind != TOLD:
            yield from _about(command, said[command.id], histories.get(command.id), told, happened)


def interrupted(said: Sequence[CommandOutcome], deaths: Sequence[float]) -> bool:
    """Tell whether the agent was killed after it had said that it started, and before it said how that ended."""
    begun_s = min((one.at_s for one in said if one.status is OutcomeStatus.STARTED), default=None)
    ended_s = max((one.at_s for one in said if one.status.final), default=None)
    if begun_s is None or ended_s is None:
        return False
    return any(begun_s + _SLACK_S < death_s < ended_s - _SLACK_S for death_s in deaths)


def _issued(told: Told) -> Iterator[str]:
    """Yield commands that are not on their topic once, or were not decided on once."""
    there, decided = Counter(command.id for command in told.commands), Counter(told.issued)
    for name in sorted(there.keys() | decided.keys()):
        if (there[name], decided[name]) != (1, 1):
            yield f"command {name} was decided on {decided[name]} times, and is {there[name]} times on its topic"


def _asked_for(told: Told, happened: Happened) -> Iterator[str]:
    """Yield incidents for which nothing was done."""
    done = {
        (incident, history.plan.action.kind)
        for history in told.histories
        if history.plan is not None and history.issued_s is not None
        for incident in history.incidents
    }
    for incident, action in happened.asked.items():
        if (incident, action) not in done:
            yield f"incident {incident} asked for {action}, which was never issued"


def _about(
    command: RecoveryCommand,
    said: Sequence[CommandOutcome],
    history: CommandHistory | None,
    told: Told,
    happened: Happened,
) -> Iterator[str]:
    name = f"command {command.id} ({command.action.kind} {command.target} of {command.cluster})"
    order = [outcome.status for outcome in said]
    ends = [status for status in order if status.final]
    if order.count(OutcomeStatus.ACCEPTED) > 1 or len(ends) != 1 or not order[-1].final:
        yield f"{name} should have been told of in order and to one end, and was: {', '.join(order) or 'nothing'}"
        return
    (end,) = ends
    known = f"{name} is {end} ({said[-1].reason[:200]})"
    if history is None or not _is_known(history, end):
        yield f"{known}, and the planner takes it for {history.result if history else 'nothing'}"
    times = happened.effects.get(command.id)
    if times is not None and not _fits(times, end):
        yield f"{known}, and took effect {times:g} times"
    if (wrong := _wrong(end, command, said, told, happened)) is not None:
        yield f"{known}: {wrong}"


def _is_known(history: CommandHistory, end: OutcomeStatus) -> bool:
    """Tell whether the planner takes a command to have ended as its agent says."""
    if history.state is CommandState.CANCELLED:
        return end is OutcomeStatus.REJECTED
    return history.result == end.value


def _fits(times: float, end: OutcomeStatus) -> bool:
    match end:
        case OutcomeStatus.SUCCEEDED:
            return times == 1
        case OutcomeStatus.REJECTED:
            return times == 0
        case _:
            return times in (0, 1)


def _wrong(
    end: OutcomeStatus, command: RecoveryCommand, said: Sequence[CommandOutcome], told: Told, happened: Happened
) -> str | None:
    """Return why a command should have ended otherwise, if so."""
    if end is OutcomeStatus.REJECTED:
        return None if command.id in told.withdrawn else "nobody has withdrawn it"
    if happened.exact[command.cluster] or end is OutcomeStatus.FAILED:
        return None if end is OutcomeStatus.SUCCEEDED else "it could be done, and its system could be asked"
    if interrupted(said, happened.deaths.get(command.cluster, ())):
        return None if end is OutcomeStatus.UNKNOWN else "its agent was killed in between, and cannot know that"
    if end is OutcomeStatus.UNKNOWN and command.id not in happened.silent:
        return "nothing had come in between"
    return None
