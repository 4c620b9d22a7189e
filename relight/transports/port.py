"""The port `EventLog`: what the stages need of a log of records, and how it fails. Adapters: `embedded`, `kafka`.

Records lie in topics, topics in partitions; a record's place is its offset, and offsets may have gaps. A group's
members share the partitions of their topics and keep one position for each. A transaction appends records and advances
positions: all of it is seen, or none. Readers see committed records only.

LogError
├── Unavailable     the log cannot be reached, or answers too late: try again
├── Fenced          another member has this one's name, or its partitions: forget all state and join again
├── TopicMissing    a topic is not there: `relight setup` creates it
├── Refused         wrong credentials, or not allowed: a person has to change something
├── TooLarge        a record is larger than its topic takes
└── Full            no room is left where the records are kept
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol, Self

Headers = tuple[tuple[str, bytes], ...]
"""A record's headers, in order."""


class LogError(Exception):
    """The log did not do what was asked. The message says what is wrong, where, and what to do."""


class Unavailable(LogError):
    """The log cannot be reached, or answers too late: try again."""


class Fenced(LogError):
    """Another member has this one's name, or its partitions: forget all state and join again."""


class TopicMissing(LogError):
    """A topic is not there."""


class Refused(LogError):
    """The log knows this client or its wish, and does not allow it."""


class TooLarge(LogError):
    """A record is larger than its topic takes."""


class Full(LogError):
    """No room is left where the records are kept."""


@dataclass(frozen=True, slots=True, order=True)
class Partition:
    """A partition of a topic."""

    topic: str
    number: int

    def __str__(self) -> str:
        """Return it as people write it: `relight.logs/3`."""
        return f"{self.topic}/{self.number}"


@dataclass(frozen=True, slots=True)
class Record:
    """A record as it was read. `time_ms` is Unix time in milliseconds: when it was appended."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    time_ms: int

    @property
    def place(self) -> Partition:
        """Return the partition that the record is in."""
        return Partition(self.topic, self.partition)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A record to append. Without a partition the key decides: equal keys go to one partition, in order.

    A record without a value in a compacted topic deletes what its key held.
    """

    topic: str
    value: bytes | None
    key: bytes | None = None
    headers: Headers = ()
    partition: int | None = None


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """A topic as it should be. `retention_ms` -1 keeps records for ever; `compacted` keeps the last one of each key."""

    name: str
    partitions: int
    retention_ms: int = -1
    compacted: bool = False
    max_record_bytes: int = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Span:
    """What a partition holds: from the offset `begin` up to, and without, `end`."""

    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Polled:
    """What a poll gives: records in the order of each partition, and how the member's share has changed before them.

    `lost` partitions belong to others now: forget their state first. `gained` ones begin at the group's position.
    """

    records: Sequence[Record] = ()
    gained: frozenset[Partition] = field(default_factory=frozenset)
    lost: frozenset[Partition] = field(default_factory=frozenset)


class Transaction(Protocol):
    """Appends and positions that are seen together or not at all."""

    def append(self, record: Outgoing) -> None:
        """Append a record when the transaction commits."""
        ...

    def advance(self, partition: Partition, offset: int) -> None:
        """Set the group's position in a partition: the offset of the record to be read next."""
        ...


class Member(Protocol):
    """A member of a group. Used by one thread."""

    def poll(self, timeout_s: float, limit: int = 500) -> Polled:
        """Wait up to `timeout_s` for records, return at most about `limit`. Changes of the share come alone.

        Raises: LogError.
        """
        ...

    def assigned(self) -> frozenset[Partition]:
        """Return the partitions that are this member's now, as far as the last poll has told."""
        ...

    def transaction(self) -> AbstractContextManager[Transaction]:
        """Begin a transaction: it commits at the end of the `with` block, and is undone if that raises.

        Raises:
            Fenced: when it commits, if a partition that it advances is not this member's any more.
            LogError: it did not commit, or whether it did is not known: close, join again, and read the positions.
        """
        ...

    def close(self) -> None:
        """Leave the group. Never raises."""
        ...


class EventLog(Protocol):
    """A log of records. `close` it, or use it in a `with` block."""

    def create(self, topics: Iterable[TopicSpec]) -> None:
        """Create the topics that are not there; those that are stay as they are. Raises: LogError."""
        ...

    def alter(self, topics: Iterable[TopicSpec]) -> None:
        """Change topics that are there to what they should be; partitions only grow. Raises: LogError."""
        ...

    def topics(self) -> Mapping[str, TopicSpec]:
        """Return the topics that are there, as they are. Raises: LogError."""
        ...

    def append(self, records: Sequence[Outgoing]) -> None:
        """Append records; when this returns, they are kept. After an error some may be, and may be appended again.

        Raises: LogError.
        """
        ...

    def read(self, partition: Partition, offset: int, limit: int = 500) -> list[Record]:
        """Return up to `limit` records from an offset on; none where the partition ends. Raises: LogError."""
        ...

    def spans(self, topic: str) -> Mapping[int, Span]:
        """Return what each partition of a topic holds, committed records only. Raises: LogError."""
        ...

    def positions(self, group: str, topic: str) -> Mapping[int, int]:
        """Return a group's position in each partition where it has one. Raises: LogError."""
        ...

    def join(self, group: str, topics: Sequence[str], member: str, *, beginning: bool = True) -> Member:
        """Join a group under a name of one's own: a member that joins under the same name replaces this one.

        All topics of a group that have as many partitions are shared alike: whoever has partition 3 of one has
        partition 3 of the others. Where the group has no position it begins at the beginning, or at the end.

        Raises: LogError.
        """
        ...

    def close(self) -> None:
        """Let go of connections and files. Never raises."""
        ...

    def __enter__(self) -> Self:
        """Return the log itself."""
        ...

    def __exit__(self, *_: object) -> None:
        """Close it."""
        ...
