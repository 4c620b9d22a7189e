"""The log in one SQLite file, for several processes on one host: the adapter `embedded` of the port."""

import sqlite3
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, Self

from relight.transports import embedded_share
from relight.transports.embedded_file import EmbeddedFile, at, offset_of
from relight.transports.embedded_member import EmbeddedMember
from relight.transports.murmur2 import partition_of
from relight.transports.packing import packed, unpacked
from relight.transports.port import (
    Outgoing,
    Partition,
    Record,
    Span,
    TooLarge,
    TopicMissing,
    TopicSpec,
)

_CLEAN_AT_LEAST: Final = 8


class EmbeddedLog:
    """A log in one file. May be used by several threads; each member by one."""

    def __init__(self, path: Path | str, durable: bool = True) -> None:
        """Open the file, which is made if it is not there.

        Args:
            path: the file; beside it lie SQLite's own `-wal` and `-shm`, and a folder `-members`.
            durable: what was appended survives a power cut, not only a crash of processes.

        Raises:
            LogError: it cannot be opened, is none of ours, or is of a newer relight.
        """
        self.file = EmbeddedFile(Path(path), durable)

    def create(self, topics: Iterable[TopicSpec]) -> None:
        """Create the topics that are not there; those that are stay as they are. Raises: LogError."""
        with self.file.writing() as connection:
            for topic in topics:
                row = (topic.name, topic.partitions, topic.retention_ms, topic.compacted, topic.max_record_bytes)
                if connection.execute("insert or ignore into topics values (?, ?, ?, ?, ?)", row).rowcount:
                    _make_places(connection, topic)

    def alter(self, topics: Iterable[TopicSpec]) -> None:
        """Change topics that are there to what they should be; partitions only grow. Raises: LogError."""
        with self.file.writing() as connection:
            for topic in topics:
                before = self._topic(connection, topic.name)
                connection.execute(
                    "update topics set partitions=?, retention_ms=?, compacted=?, max_record_bytes=? where name=?",
                    (
                        max(before.partitions, topic.partitions),
                        topic.retention_ms,
                        topic.compacted,
                        topic.max_record_bytes,
                        topic.name,
                    ),
                )
                _make_places(connection, topic)
                if topic.compacted != before.compacted:
                    _recompact(connection, topic)
            embedded_share.divide_all(connection)

    def topics(self) -> Mapping[str, TopicSpec]:
        """Return the topics that are there, as they are. Raises: LogError."""
        with self.file.reading() as connection:
            rows = connection.execute("select * from topics order by name").fetchall()
        return {row[0]: _spec(row) for row in rows}

    def append(self, records: Sequence[Outgoing]) -> None:
        """Append records, all of them or none. Raises: LogError."""
        with self.file.writing() as connection:
            self.write(connection, records)

    def write(self, connection: sqlite3.Connection, records: Sequence[Outgoing]) -> None:
        """Append records within a transaction.

        Raises:
            TopicMissing, TooLarge: nothing must be committed then.
        """
        now_ms = int(time.time() * 1000)
        known = {name: self._topic(connection, name) for name in {record.topic for record in records}}
        sorted_out: dict[Partition, list[Outgoing]] = defaultdict(list)
        for record in records:
            sorted_out[_partition(record, known[record.topic])].append(record)
        for partition, own in sorted_out.items():
            topic = known[partition.topic]
            place, start = _insert(connection, partition, own, topic.compacted, now_ms)
            if topic.compacted:
                last = {record.key: at(place, start + n) for n, record in enumerate(own) if record.key is not None}
                older = "delete from records where compacted and key=? and at>=? and at<?"
                connection.executemany(older, ((key, at(place, 0), where) for key, where in last.items()))
            elif topic.retention_ms >= 0:
                _clean(connection, place, now_ms - topic.retention_ms, 2 * len(own) + _CLEAN_AT_LEAST)

    def read(self, partition: Partition, offset: int, limit: int = 500) -> list[Record]:
        """Return up to `limit` records from an offset on; none where the partition ends. Raises: LogError."""
        with self.file.reading() as connection:
            topic = self._topic(connection, partition.topic)
            if not 0 <= partition.number < topic.partitions:
                raise _no_partition(topic, partition.number)
            return self.fetch(connection, partition, embedded_share.place_of(connection, partition), offset, limit)

    def fetch(
        self, connection: sqlite3.Connection, partition: Partition, place: int, offset: int, limit: int
    ) -> list[Record]:
        """Return up to `limit` records of a partition, which is kept at a place, from an offset on."""
        rows = connection.execute(
            "select at, key, value, headers, time_ms from records where at>=? and at<? order by at limit ?",
            (at(place, offset), at(place + 1, 0), limit),
        )
        topic, number = partition.topic, partition.number
        return [
            Record(topic, number, offset_of(row[0]), row[1], row[2], unpacked(row[3]) if row[3] else (), row[4])
            for row in rows
        ]

    def spans(self, topic: str) -> Mapping[int, Span]:
        """Return what each partition of a topic holds. Raises: LogError."""
        with self.file.reading() as connection:
            self._topic(connection, topic)
            places = connection.execute("select number, id, next from places where topic=? order by number", (topic,))
            return {number: Span(_begin(connection, place, end), end) for number, place, end in places.fetchall()}

    def positions(self, group: str, topic: str) -> Mapping[int, int]:
        """Return a group's position in each partition where it has one. Raises: LogError."""
        with self.file.reading() as connection:
            self._topic(connection, topic)
            rows = connection.execute(
                "select number, positions.next from positions join places on place=id where log_group=? and topic=?"
                " order by number",
                (group, topic),
            )
            return dict(rows.fetchall())

    def join(self, group: str, topics: Sequence[str], member: str, *, beginning: bool = True) -> EmbeddedMember:
        """Join a group under a name of one's own: a member that joins under the same name replaces this one.

        Raises: LogError.
        """
        with self.file.reading() as connection:
            for topic in topics:
                self._topic(connection, topic)
        return EmbeddedMember(self, group, topics, member, beginning=beginning)

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def __enter__(self) -> Self:
        """Return the log itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def _topic(self, connection: sqlite3.Connection, name: str) -> TopicSpec:
        row = connection.execute("select * from topics where name=?", (name,)).fetchone()
        if row is None:
            raise TopicMissing(f"there is no topic {name} in {self.file.path}: `relight setup` creates it")
        return _spec(row)


def _spec(row: tuple[str, int, int, int, int]) -> TopicSpec:
    return TopicSpec(row[0], row[1], row[2], bool(row[3]), row[4])


def _make_places(connection: sqlite3.Connection, topic: TopicSpec) -> None:
    rows = ((topic.name, number) for number in range(topic.partitions))
    connection.executemany("insert or ignore into places (topic, number) values (?, ?)", rows)


def _partition(record: Outgoing, topic: TopicSpec) -> Partition:
    size = sum(len(part or b"") for part in (record.key, record.value, *(value for _, value in record.headers)))
    if size > topic.max_record_bytes:
        raise TooLarge(f"a record of {size} bytes: {topic.name} takes up to {topic.max_record_bytes}")
    number = partition_of(record.key, topic.partitions) if record.partition is None else record.partition
    if not 0 <= number < topic.partitions:
        raise _no_partition(topic, number)
    return Partition(topic.name, number)


def _no_partition(topic: TopicSpec, number: int) -> TopicMissing:
    return TopicMissing(f"{topic.name} has {topic.partitions} partitions: there is no {topic.name}/{number}")


def _insert(
    connection: sqlite3.Connection, partition: Partition, records: Sequence[Outgoing], compacted: bool, now_ms: int
) -> tuple[int, int]:
    """Insert records behind the end of a partition; return its place, and the offset of the first."""
    place, start = connection.execute(
        "select id, next from places where topic=? and number=?", (partition.topic, partition.number)
    ).fetchone()
    connection.executemany(
        "insert into records values (?, ?, ?, ?, ?, ?)",
        (
            (
                at(place, start + n),
                now_ms,
                compacted or None,
                record.key,
                packed(record.headers) if record.headers else None,
                record.value,
            )
            for n, record in enumerate(records)
        ),
    )
    connection.execute("update places set next=? where id=?", (start + len(records), place))
    return place, start


def _clean(connection: sqlite3.Connection, place: int, before_ms: int, limit: int) -> None:
    """Delete records that have been kept for long enough, but not all at once: as others come, so they go."""
    connection.execute(
        "delete from records where time_ms<?"
        " and at in (select at from records where at>=? and at<? order by at limit ?)",
        (before_ms, at(place, 0), at(place + 1, 0), limit),
    )


def _recompact(connection: sqlite3.Connection, topic: TopicSpec) -> None:
    """Begin to keep only the last record of each key, or keep all from now on."""
    for (place,) in connection.execute("select id from places where topic=?", (topic.name,)).fetchall():
        begin, end = at(place, 0), at(place + 1, 0)
        connection.execute("update records set compacted=? where at>=? and at<?", (topic.compacted or None, begin, end))
        connection.execute(
            "delete from records where compacted and key is not null and at>=? and at<? and at not in"
            " (select max(at) from records where compacted and at>=? and at<? group by key)",
            (begin, end, begin, end),
        )


def _begin(connection: sqlite3.Connection, place: int, end: int) -> int:
    query = "select at from records where at>=? and at<? order by at limit 1"
    row = connection.execute(query, (at(place, 0), at(place + 1, 0))).fetchone()
    return offset_of(row[0]) if row else end
