"""The log in one SQLite file, for several processes on one host: the adapter `embedded` of the port."""

import sqlite3
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

import orjson

from relight.transports.embedded_member import EmbeddedMember
from relight.transports.murmur2 import partition_of
from relight.transports.port import (
    Full,
    Headers,
    LogError,
    Outgoing,
    Partition,
    Record,
    Refused,
    Span,
    TooLarge,
    TopicMissing,
    TopicSpec,
    Unavailable,
)

VERSION: Final = 1
BUSY_S: Final = 5.0
_CLEAN_S: Final = 30.0
_CLEAN_RECORDS: Final = 5000
_SCHEMA: Final = """
create table topics (
  name text primary key, partitions integer not null, retention_ms integer not null, compacted integer not null,
  max_record_bytes integer not null
);
create table ends (topic text, partition integer, next integer not null, primary key (topic, partition)) without rowid;
create table records (
  topic text, partition integer, offset integer, key blob, value blob, headers blob, time_ms integer not null,
  primary key (topic, partition, offset)
);
create index by_key on records (topic, partition, key) where key is not null;
create table positions (
  log_group text, topic text, partition integer, next integer not null, primary key (log_group, topic, partition)
) without rowid;
create table members (
  log_group text, name text, token text not null, seen_ms integer not null, primary key (log_group, name)
) without rowid;
create table generations (log_group text primary key, number integer not null) without rowid;
"""


class EmbeddedLog:
    """A log in one file. May be used by several threads; `durable` survives a power cut, not only a crash."""

    def __init__(self, path: Path | str, durable: bool = True) -> None:
        """Open the file, which is made if it is not there.

        Raises:
            LogError: it cannot be opened, is none of ours, or is of a newer relight.
        """
        self.path = Path(path)
        self._synchronous = "full" if durable else "normal"
        self._local = threading.local()
        self._opened: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        self._cleaned_s = time.monotonic()
        with self.problems():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._prepare()

    def connection(self) -> sqlite3.Connection:
        """Return this thread's connection."""
        found: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if found is None:
            found = sqlite3.connect(self.path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
            found.execute(f"pragma synchronous={self._synchronous}")
            found.execute("pragma cache_size=-16384")
            self._local.connection = found
            with self._lock:
                self._opened.append(found)
        return found

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Give the connection in a transaction that has the file to itself, and turn errors into the port's."""
        with self.problems():
            connection = self.connection()
            connection.execute("begin immediate")
            try:
                yield connection
            except BaseException:
                connection.execute("rollback")
                raise
            connection.execute("commit")

    def create(self, topics: Iterable[TopicSpec]) -> None:
        """Create the topics that are not there."""
        with self.writing() as connection:
            for topic in topics:
                row = (topic.name, topic.partitions, topic.retention_ms, topic.compacted, topic.max_record_bytes)
                connection.execute("insert or ignore into topics values (?, ?, ?, ?, ?)", row)

    def alter(self, topics: Iterable[TopicSpec]) -> None:
        """Change topics that are there to what they should be; partitions only grow."""
        with self.writing() as connection:
            for topic in topics:
                change = (
                    "update topics set partitions=max(partitions, ?), retention_ms=?, compacted=?, max_record_bytes=?"
                )
                row = (topic.partitions, topic.retention_ms, topic.compacted, topic.max_record_bytes, topic.name)
                connection.execute(f"{change} where name=?", row)

    def topics(self) -> Mapping[str, TopicSpec]:
        """Return the topics that are there."""
        with self.problems():
            rows = self.connection().execute("select * from topics order by name").fetchall()
        return {row[0]: TopicSpec(row[0], row[1], row[2], bool(row[3]), row[4]) for row in rows}

    def append(self, records: Sequence[Outgoing]) -> None:
        """Append records, all of them or none."""
        with self.writing() as connection:
            self.write(connection, records)

    def write(self, connection: sqlite3.Connection, records: Sequence[Outgoing]) -> None:
        """Append records within a transaction.

        Raises:
            TopicMissing, TooLarge: nothing must be committed then.
        """
        now_ms = int(time.time() * 1000)
        known = {name: self._topic(connection, name) for name in dict.fromkeys(r.topic for r in records)}
        rows: dict[Partition, list[Outgoing]] = defaultdict(list)
        for record in records:
            rows[_place(record, known[record.topic])].append(record)
        for place, own in rows.items():
            at = self._next(connection, place)
            connection.executemany(
                "insert into records values (?, ?, ?, ?, ?, ?, ?)",
                (
                    (place.topic, place.number, offset, r.key, r.value, _packed(r.headers), now_ms)
                    for offset, r in enumerate(own, at)
                ),
            )
            connection.execute(
                "insert or replace into ends values (?, ?, ?)", (place.topic, place.number, at + len(own))
            )
            if known[place.topic].compacted:
                _compact(connection, place, {record.key for record in own if record.key is not None})
        if time.monotonic() - self._cleaned_s > _CLEAN_S:
            self._cleaned_s = time.monotonic()
            self._clean(connection, now_ms)

    def read(self, partition: Partition, offset: int, limit: int = 500) -> list[Record]:
        """Return up to `limit` records from an offset on."""
        with self.problems():
            connection = self.connection()
            self._topic(connection, partition.topic)
            return fetched(connection, partition, offset, limit)

    def spans(self, topic: str) -> Mapping[int, Span]:
        """Return what each partition of a topic holds."""
        with self.problems():
            connection = self.connection()
            partitions = self._topic(connection, topic).partitions
            lowest = "select partition, min(offset) from records where topic=? group by partition"
            begins = dict(connection.execute(lowest, (topic,)))
            ends = dict(connection.execute("select partition, next from ends where topic=?", (topic,)))
        return {n: Span(begins.get(n, ends.get(n, 0)), ends.get(n, 0)) for n in range(partitions)}

    def positions(self, group: str, topic: str) -> Mapping[int, int]:
        """Return a group's position in each partition where it has one."""
        query = "select partition, next from positions where log_group=? and topic=?"
        with self.problems():
            self._topic(self.connection(), topic)
            return dict(self.connection().execute(query, (group, topic)))

    def join(self, group: str, topics: Sequence[str], member: str, *, beginning: bool = True) -> EmbeddedMember:
        """Join a group."""
        with self.problems():
            partitions = {name: self._topic(self.connection(), name).partitions for name in topics}
        return EmbeddedMember(self, group, partitions, member, beginning)

    def close(self) -> None:
        """Close the connections of all threads."""
        with self._lock:
            opened, self._opened = self._opened, []
        for connection in opened:
            connection.close()
        self._local = threading.local()

    def __enter__(self) -> Self:
        """Return the log itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    @contextmanager
    def problems(self) -> Iterator[None]:
        """Turn SQLite's errors and the file system's into the port's."""
        try:
            yield
        except LogError:
            raise
        except (sqlite3.Error, OSError) as error:
            raise _meant(error, self.path) from error

    def _prepare(self) -> None:
        connection = self.connection()
        connection.execute("pragma journal_mode=wal")
        (version,) = connection.execute("pragma user_version").fetchone()
        if version > VERSION:
            raise Refused(f"{self.path} is of a newer relight (version {version}); use that one, or another file")
        if version == 0:
            with self.writing():
                (version,) = connection.execute("pragma user_version").fetchone()
                if version == 0:
                    for statement in _SCHEMA.split(";\n"):
                        connection.execute(statement)
                    connection.execute(f"pragma user_version={VERSION}")

    def _topic(self, connection: sqlite3.Connection, name: str) -> TopicSpec:
        row = connection.execute("select * from topics where name=?", (name,)).fetchone()
        if row is None:
            raise TopicMissing(f"there is no topic {name} in {self.path}; `relight setup` creates it")
        return TopicSpec(row[0], row[1], row[2], bool(row[3]), row[4])

    def _next(self, connection: sqlite3.Connection, place: Partition) -> int:
        query = "select next from ends where topic=? and partition=?"
        row = connection.execute(query, (place.topic, place.number)).fetchone()
        return int(row[0]) if row else 0

    def _clean(self, connection: sqlite3.Connection, now_ms: int) -> None:
        """Delete records that have been kept for long enough, some at a time."""
        timed = connection.execute("select name, retention_ms from topics where retention_ms >= 0").fetchall()
        for name, retention_ms in timed:
            old = (
                "delete from records where rowid in"
                " (select rowid from records where topic=? and time_ms < ? order by partition, offset limit ?)"
            )
            connection.execute(old, (name, now_ms - retention_ms, _CLEAN_RECORDS))


def fetched(connection: sqlite3.Connection, partition: Partition, offset: int, limit: int) -> list[Record]:
    """Return up to `limit` records of a partition from an offset on."""
    query = "select * from records where topic=? and partition=? and offset>=? order by offset limit ?"
    rows = connection.execute(query, (partition.topic, partition.number, offset, limit))
    return [Record(t, p, o, key, value, _unpacked(headers), ms) for t, p, o, key, value, headers, ms in rows]


def _place(record: Outgoing, topic: TopicSpec) -> Partition:
    if len(record.value or b"") + len(record.key or b"") > topic.max_record_bytes:
        size = len(record.value or b"") + len(record.key or b"")
        raise TooLarge(f"a record of {size} bytes; {topic.name} takes up to {topic.max_record_bytes}")
    number = partition_of(record.key, topic.partitions) if record.partition is None else record.partition
    if not 0 <= number < topic.partitions:
        raise TopicMissing(f"there is no partition {number} of {topic.name}, which has {topic.partitions}")
    return Partition(topic.name, number)


def _compact(connection: sqlite3.Connection, place: Partition, keys: Iterable[bytes]) -> None:
    """Keep the last record of each key; one without a value deletes its key, and stays itself until the next."""
    older = (
        "delete from records where topic=?1 and partition=?2 and key=?3 and offset <"
        " (select max(offset) from records where topic=?1 and partition=?2 and key=?3)"
    )
    connection.executemany(older, ((place.topic, place.number, key) for key in keys))


def _packed(headers: Headers) -> bytes | None:
    return orjson.dumps([(name, value.decode("latin-1")) for name, value in headers]) if headers else None


def _unpacked(data: bytes | None) -> Headers:
    return tuple((name, text.encode("latin-1")) for name, text in orjson.loads(data)) if data else ()


def _meant(error: sqlite3.Error | OSError, path: Path) -> LogError:
    code = getattr(error, "sqlite_errorcode", None)
    primary = code & 0xFF if isinstance(code, int) else None
    if primary == sqlite3.SQLITE_FULL or getattr(error, "errno", None) == 28:
        return Full(f"the disk of {path} is full: make room on it, or set embedded.path to another one")
    if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return Unavailable(f"{path} has been busy for {BUSY_S:.0f} s")
    if primary in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM) or isinstance(error, OSError):
        return Refused(f"{path} cannot be opened for writing: {error}. Set embedded.path to a file of this user's")
    if primary in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        return Refused(f"{path} is no log of relight, or damaged: {error}. Move it away, or set embedded.path")
    return Unavailable(f"{path}: {error}")
