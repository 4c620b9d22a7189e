"""What was said of commands on `relight.outcomes`, by whoever has the keys: read from the beginning once, then read on.

The outcomes of a cluster lie in one partition, so all agents see them in one order: whoever said first that it starts
a command is the one that carries it out.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from relight.keys import KeyFile
from relight.topics import OUTCOMES
from relight.transports.port import EventLog, Partition
from relight.transports.reading import batches
from remediate.signing import NotAuthentic
from schemas.command import CommandOutcome, OutcomeStatus
from schemas.events import NotAnEvent, data_of, decoded

MEMBER: Final = "agent"
"""Under this `before` has the name of the member that carries a command out."""
_MOST: Final = 100_000
"""So many commands are remembered; the topic holds those of a week."""


@dataclass(slots=True)
class Said:
    """What was said of a command: how far it has come, and of those who said that they start it.

    `takers` have accepted it; who has not, and rejects it, does not speak for them, and of `refusers` the others may
    take it. `first` said first that it starts
    it; `last` said so last, with what it has noted `before`; it was said `starts` times.
    """

    status: OutcomeStatus = OutcomeStatus.ACCEPTED
    takers: set[str] = field(default_factory=set)
    refusers: set[str] = field(default_factory=set)
    first: str | None = None
    last: str | None = None
    before: Mapping[str, str] = field(default_factory=dict)
    starts: int = 0

    def add(self, outcome: CommandOutcome) -> None:
        """Take in what was said next. What was said after the end changes nothing."""
        if self.closed_to(outcome.by):
            return
        match outcome.status:
            case OutcomeStatus.ACCEPTED:
                self.takers.add(outcome.by)
                self.status = self.status if self.status is OutcomeStatus.STARTED else outcome.status
            case OutcomeStatus.STARTED:
                self.takers.add(outcome.by)
                self.status, self.starts = outcome.status, self.starts + 1
                self.last = outcome.before.get(MEMBER, outcome.by)
                self.first, self.before = self.first or self.last, outcome.before
            case OutcomeStatus.REJECTED:
                self.takers.discard(outcome.by)
                self.refusers.add(outcome.by)
                if not self.takers:
                    self.status = outcome.status
            case _:
                self.status = outcome.status

    def closed_to(self, by: str) -> bool:
        """Tell whether it has ended, for an orchestrator: what all others have rejected it may still take."""
        return self.status.final and (self.status is not OutcomeStatus.REJECTED or by in self.refusers)


class Told:
    """What was said of a cluster's commands."""

    def __init__(self, log: EventLog, keys: KeyFile, cluster: str) -> None:
        """Take where it is read, and the keys of those who are believed."""
        self._log, self._keys, self._cluster = log, keys, cluster
        self._said: dict[str, Said] = {}
        self._positions: dict[int, int] = {}

    def read(self) -> None:
        """Read what has come since it was read last. Raises: LogError."""
        for number, span in sorted(self._log.spans(OUTCOMES).items()):
            begin = max(span.begin, self._positions.get(number, 0))
            for records in batches(self._log, Partition(OUTCOMES, number), begin, span.end):
                for record in records:
                    self._take(record.value)
            self._positions[number] = max(begin, span.end)
        while len(self._said) > _MOST:
            del self._said[next(iter(self._said))]

    def of(self, command: str) -> Said | None:
        """Return what was said of a command, `None` where nothing was."""
        return self._said.get(command)

    def over(self, command: str) -> bool:
        """Tell whether it was said how a command has ended."""
        said = self._said.get(command)
        return said is not None and said.status.final

    def _take(self, value: bytes | None) -> None:
        try:
            outcome = decoded(value).data
            self._keys.keys.check(data_of(value))
        except (NotAnEvent, NotAuthentic):
            return
        if not isinstance(outcome, CommandOutcome) or outcome.cluster != self._cluster:
            return
        known = self._said.get(outcome.command)
        if known is None and outcome.status is OutcomeStatus.REJECTED:
            return  # nobody has taken it yet
        if known is None:
            known = self._said[outcome.command] = Said()
        known.add(outcome)
