"""What an agent says of commands, as signed records of `relight.outcomes`."""

from collections.abc import Callable
from dataclasses import dataclass

import structlog

from relight.agent.work import Report
from relight.keys import KeyFile
from relight.topics import OUTCOMES
from relight.transports.port import Outgoing, Record
from schemas.command import REFUSED, CommandOutcome, OutcomeStatus, RecoveryCommand
from schemas.events import Event, encoded
from schemas.signal import derived_id

_log = structlog.get_logger("relight")


@dataclass(frozen=True)
class Reporter:
    """Speaks for the agent of a cluster. `by` is who its outcomes are by; `now` tells the time (Unix, seconds)."""

    cluster: str
    by: str
    keys: KeyFile
    now: Callable[[], float]

    def outcome(self, command: RecoveryCommand, report: Report, time: int = 0) -> Outgoing:
        """Return what is said of a command; the same may be said for another `time`."""
        _log.info(
            "command", command=command.id, action=command.action.kind, target=command.target, status=str(report.status),
            reason=report.reason[:200],
        )  # fmt: skip
        name = derived_id("outcome", self.by, command.id, report.status, *([time] if time else []))
        return self._said(command.id, name, report)

    def refusal(self, record: Record, reason: str) -> Outgoing:
        """Return what is said of a record that is not believed, under a name of its own: the one in it is not its."""
        name = derived_id("refused", record.topic, record.partition, record.offset)
        return self._said(f"{REFUSED}{name}", name, Report(OutcomeStatus.REJECTED, reason))

    def _said(self, command: str, name: str, report: Report) -> Outgoing:
        outcome = CommandOutcome(
            id=name, cluster=self.cluster, command=command, by=self.by, at_s=round(self.now(), 3), **report.fields
        )
        event = Event(name, self.cluster, command, outcome.at_s, self.keys.keys.signed(outcome))
        return Outgoing(OUTCOMES, encoded(event), self.cluster.encode())
