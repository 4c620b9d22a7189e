"""How far a command has come, so that what is said of it counts only if it is further: reports come late, and twice."""

from typing import Final

from remediate.cases import Cases
from remediate.ledger import keys_of
from schemas.command import OutcomeStatus
from schemas.remedy import CommandHistory, CommandState

_RANK: Final = {
    CommandState.ISSUED: 0,
    CommandState.REJECTED: 0,  # by one orchestrator: another may take it
    CommandState.WITHDRAWN: 1,
    CommandState.ACCEPTED: 1,
    CommandState.STARTED: 2,
    CommandState.EXPIRED: 1,
    CommandState.OVERDUE: 2,
}
"""How far a command has come; what an orchestrator says counts only if it is further."""


def come(cases: Cases, command: CommandHistory) -> int | None:
    """Return how far a command has come, `None` where nothing that is said of it counts any more.

    One that was taken for lost may have been begun all the same, unless something else is under way by now.
    """
    if command.state is CommandState.INEFFECTIVE and command.result is CommandState.EXPIRED and command.plan:
        free = not any(key in cases.ledger.busy for key in keys_of(command.plan))
        return _RANK[CommandState.EXPIRED] if free else _RANK[CommandState.STARTED]
    return _RANK.get(command.state)


def rank_of(status: OutcomeStatus) -> int:
    """Return how far a command has come of which this is said."""
    match status:
        case OutcomeStatus.ACCEPTED:
            return 1
        case OutcomeStatus.STARTED:
            return 2
        case _:
            return 3
