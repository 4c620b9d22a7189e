"""Dead letters and what became of them: read from `relight.deadletters`, found by id, and appended again.

Of a letter its place is kept in memory, not the record in it: all letters together may hold gigabytes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, takewhile
from typing import Final

from ingest.redaction import shown
from relight.topics import DEADLETTERS
from relight.transports.port import EventLog, Outgoing, Partition, Record
from relight.transports.reading import records
from schemas.deadletter import RecordRefused, RecordRetried
from schemas.events import Event, NotAnEvent, decoded, encoded
from schemas.signal import derived_id

SHORTEST: Final = 8
"""No prefix that is shown of an id is shorter."""

_STORING: Final = "index"
"""The stage whose letters are what a store refused. It drops what it has read already, however often it comes."""

_AT_THE_EDGE: Final = frozenset({"receive", "ship"})
"""Stages whose letters are of what never became a record: of a request, of a file."""

_READ: Final = 50
"""A letter may have three megabytes: so many are in memory at once, and retried with one append."""


class NoLetter(Exception):
    """An id, or the beginning of one, names no dead letter, or several. The message says which."""


class AlreadyRetried(Exception):
    """A letter was retried before, and it was not said that it should be once more."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter without its record. `topic`, `partition` and `offset` are where the record was refused.

    Times are Unix time in milliseconds; `retried_ms` is that of the last retry. `kept` and `kept_offset` are where the
    letter itself lies. Texts are as someone sent them: they are not to be shown as they are.
    """

    id: str
    cluster: str
    stage: str
    reason: str
    topic: str
    partition: int
    offset: int
    size_bytes: int
    refused_ms: int
    kept: Partition
    kept_offset: int
    retried_ms: int | None = None

    @property
    def stored(self) -> bool:
        """Tell whether the record could be read, and the store refused what came of it."""
        return self.stage == _STORING

    @property
    def outside(self) -> bool:
        """Tell whether what was refused never became a record, and `topic` is where it came from."""
        return self.stage in _AT_THE_EDGE

    @property
    def place(self) -> str:
        """Return where the record was, as people write it: `relight.logs/3@1204`; else where it came from."""
        if self.outside:
            return self.topic
        return f"{self.topic}/{self.partition}@{self.offset}"


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """All letters, newest first. `others` counts the records among them that are none."""

    letters: tuple[Letter, ...] = ()
    others: int = 0

    def chosen(self, stage: str | None = None, topic: str | None = None, since_ms: int = 0) -> list[Letter]:
        """Return the letters of a stage and a topic that were refused at some time or later."""
        return [
            letter
            for letter in self.letters
            if stage in (None, letter.stage) and topic in (None, letter.topic) and letter.refused_ms >= since_ms
        ]

    def prefixes(self) -> dict[str, str]:
        """Return for each id the shortest beginning, of `SHORTEST` characters at least, that no other id has."""
        ids = sorted(letter.id for letter in self.letters)
        length = dict.fromkeys(ids, SHORTEST)
        for one, other in pairwise(ids):
            apart = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))) + 1
            length[one], length[other] = max(length[one], apart), max(length[other], apart)
        return {name: name[:characters] for name, characters in length.items()}

    def named(self, prefix: str) -> Letter:
        """Return the letter whose id is, or begins with, what a person wrote.

        Raises:
            NoLetter: there is none, or more than one.
        """
        found = [letter for letter in self.letters if prefix and letter.id.startswith(prefix)]
        exact = [letter for letter in found if letter.id == prefix]
        if len(exact or found) == 1:
            return (exact or found)[0]
        word = shown(prefix)
        if not found:
            raise NoLetter(f"there is no dead letter {word!r}; `relight deadletters list` shows those there are")
        raise NoLetter(f"{word!r} begins the ids of {len(found)} dead letters; write more of the one that you mean")


def read(log: EventLog) -> DeadLetters:
    """Return all dead letters. One that is there twice, because its record was read again, is returned once.

    Raises:
        LogError: the topic cannot be read.
    """
    letters: dict[str, Letter] = {}
    retried: dict[str, int] = {}
    others = 0
    for record in records(log, DEADLETTERS, _READ):
        event = _event(record)
        if event is not None and isinstance(event.data, RecordRefused):
            letters.setdefault(event.id, _letter(event, event.data, record))
        elif event is not None and isinstance(event.data, RecordRetried):
            retried[event.data.letter] = max(event.data.retried_ms, retried.get(event.data.letter, 0))
        else:
            others += 1
    told = (replace(letter, retried_ms=retried.get(letter.id)) for letter in letters.values())
    newest = sorted(told, key=lambda letter: (letter.refused_ms, letter.kept, letter.kept_offset), reverse=True)
    return DeadLetters(tuple(newest), others)


def whole(log: EventLog, letter: Letter) -> RecordRefused:
    """Return a letter with its record.

    Raises:
        NoLetter: it has been kept for long enough, and is gone since it was read.
        LogError: the topic cannot be read.
    """
    return _whole(log, letter)[0]


def require_fresh(letters: Sequence[Letter]) -> None:
    """Check that no letter has been retried.

    Raises:
        AlreadyRetried: one has.
    """
    for letter in letters:
        if letter.retried_ms is not None:
            raise AlreadyRetried(
                f"the dead letter {shown(letter.id)} was retried already; --again retries it once more"
            )


def retry(log: EventLog, letters: Sequence[Letter], now_ms: int) -> Iterator[Letter]:
    """Append the records of letters again where they were, oldest first; yield each letter when that is recorded.

    A record that several stages refused is appended once. The port promises no append that is seen whole or not at all:
    so records go first, and what is lost in between is the mark. Then the letter can be retried again.

    Raises:
        NoLetter: a letter is gone since it was read.
        LogError: records or marks cannot be appended.
    """
    oldest = sorted(letters, key=lambda letter: (letter.refused_ms, letter.kept, letter.kept_offset))
    done: set[str] = set()
    for at in range(0, len(oldest), _READ):
        batch = oldest[at : at + _READ]
        again: list[Outgoing] = []
        marks: list[Outgoing] = []
        for letter in batch:
            data, kept = _whole(log, letter)
            if letter.place not in done:
                done.add(letter.place)
                again.append(Outgoing(data.topic, data.value, data.key, data.headers, data.partition))
            marks.append(_mark(letter, kept.key, now_ms))
        for appended in (again, marks):
            if appended:
                log.append(appended)
        yield from batch


def _mark(letter: Letter, key: bytes | None, now_ms: int) -> Outgoing:
    data = RecordRetried(letter=letter.id, retried_ms=now_ms)
    event = Event(derived_id("retried", letter.id, now_ms), letter.cluster, letter.id, now_ms / 1000, data)
    return Outgoing(DEADLETTERS, encoded(event), key, partition=letter.kept.number)


def _whole(log: EventLog, letter: Letter) -> tuple[RecordRefused, Record]:
    for record in log.read(letter.kept, letter.kept_offset, 1):
        event = _event(record)
        if event is not None and event.id == letter.id and isinstance(event.data, RecordRefused):
            return event.data, record
    raise NoLetter(f"the dead letter {shown(letter.id)} is not kept any more")


def _letter(event: Event, data: RecordRefused, record: Record) -> Letter:
    return Letter(
        id=event.id,
        cluster=event.cluster,
        stage=data.stage,
        reason=data.reason,
        topic=data.topic,
        partition=data.partition,
        offset=data.offset,
        size_bytes=len(data.value or b""),
        refused_ms=data.refused_ms,
        kept=record.place,
        kept_offset=record.offset,
    )


def _event(record: Record) -> Event | None:
    try:
        return decoded(record.value)
    except NotAnEvent:
        return None
