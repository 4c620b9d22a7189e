"""What the topics tell of remediation: read on as it is written, and at the end as a whole."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import orjson

from relight.keys import KeyFile, Role, key_file
from relight.playbook_book import playbooks
from relight.replay import Replayed, decided
from relight.settings import Settings
from relight.stages.remedies import FLOOR, NAME, Restored
from relight.stages.snapshots import newest
from relight.topics import COMMANDS, DEADLETTERS, INCIDENTS, OUTCOMES, group_of
from relight.transports.port import EventLog, Partition, Record
from relight.transports.reading import batches, records
from remediate import keeping
from remediate.signing import NotAuthentic
from schemas.command import CommandOutcome, CommandWithdrawal, RecoveryCommand, Signed
from schemas.events import data_of, decoded
from schemas.remedy import CommandHistory, CommandIssued, command_of

_KEEPS_UP: Final = (INCIDENTS, OUTCOMES)


@dataclass
class Tail:
    """What is written to a topic, from its beginning on, read as far as it goes."""

    log: EventLog
    topic: str
    _read: dict[int, int] = field(default_factory=dict)

    def skip(self) -> None:
        """Take what is there for read. Raises: LogError."""
        self._read = {number: span.end for number, span in self.log.spans(self.topic).items()}

    def new(self) -> Iterator[Record]:
        """Yield what was not read yet. Raises: LogError."""
        for number, span in sorted(self.log.spans(self.topic).items()):
            place, begin = Partition(self.topic, number), self._read.get(number, span.begin)
            for found in batches(self.log, place, begin, span.end):
                yield from found
            self._read[number] = max(begin, span.end)


@dataclass(frozen=True)
class Told:
    """All that the topics tell. `issued` are the commands that were decided on, `wrong` what is wrong on its face."""

    commands: Sequence[RecoveryCommand] = ()
    withdrawn: frozenset[str] = frozenset()
    outcomes: Sequence[CommandOutcome] = ()
    issued: Sequence[str] = ()
    histories: Sequence[CommandHistory] = ()
    wrong: Sequence[str] = ()


def told(log: EventLog, settings: Settings) -> Told:
    """Read all topics. Raises: LogError."""
    wrong: list[str] = []
    signed = [*_signed(log, COMMANDS, key_file(settings, Role.COMMANDS), wrong)]
    outcomes = [*_signed(log, OUTCOMES, key_file(settings, Role.OUTCOMES), wrong)]
    events = [decoded(record.value) for record in records(log, INCIDENTS)]
    state = Restored()
    for event in events:
        state.take(event)
    wrong += [f"dead letter: {(record.value or b'')[:500]!r}" for record in records(log, DEADLETTERS)]
    return Told(
        commands=[one for one in signed if isinstance(one, RecoveryCommand)],
        withdrawn=frozenset(one.command for one in signed if isinstance(one, CommandWithdrawal)),
        outcomes=[one for one in outcomes if isinstance(one, CommandOutcome)],
        issued=[command_of(event.subject) for event in events if isinstance(event.data, CommandIssued)],
        histories=[one for cases in state.clusters.values() for one in cases.commands.values()],
        wrong=wrong,
    )


def keeps_up(log: EventLog) -> bool:
    """Tell whether the planner has read all that it reads. Raises: LogError."""
    group = group_of(NAME)
    for topic in _KEEPS_UP:
        positions = log.positions(group, topic)
        for number, span in log.spans(topic).items():
            at = positions.get(number, span.begin)
            if at < span.end and any(record.offset < span.end for record in log.read(Partition(topic, number), at, 1)):
                return False
    return True


def differences(log: EventLog, settings: Settings) -> Iterator[str]:
    """Yield where decisions are not those that are taken anew, and snapshots not what the events before them make."""
    replayed = Replayed()
    decided(log, playbooks(tuple(settings.remediate.playbooks)), replayed)
    yield from (f"replay: {one}" for one in replayed.differences)
    for number in sorted(log.spans(INCIDENTS)):
        for name, snapshot in newest(log, NAME, number, keeping.VERSION).items():
            if name != FLOOR:
                state = Restored()
                for record in _before(log, Partition(INCIDENTS, number), snapshot.covers):
                    state.take(decoded(record.value))
                if _same(snapshot.state) != _same(keeping.kept(state.cluster(name))):
                    yield f"the state of {name} at {number}@{snapshot.covers} is not what its events make"


def _before(log: EventLog, place: Partition, end: int) -> Iterator[Record]:
    for found in batches(log, place, None, end):
        yield from found


def _same(state: object) -> bytes:
    return orjson.dumps(state, option=orjson.OPT_SORT_KEYS)


def _signed(log: EventLog, topic: str, keys: KeyFile, wrong: list[str]) -> Iterator[Signed]:
    for record in records(log, topic):
        data = decoded(record.value).data
        assert isinstance(data, Signed), f"{topic} holds what does not belong there"
        try:
            keys.keys.check(data_of(record.value))
        except NotAuthentic as error:
            wrong.append(f"{record.place}@{record.offset} is not authentic: {error}")
        yield data
