"""A member of a group in the embedded log: its lease, its share of the partitions, and its transactions."""

import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from relight.transports.port import Fenced, LogError, Outgoing, Partition, Polled, Record

if TYPE_CHECKING:
    from relight.transports.embedded import EmbeddedLog

LEASE_S: Final = 6.0
"""A member that has not polled for so long has left."""

_RENEW_S: Final = 1.0
_WAIT_S: Final = 0.01


class _Writes:
    """What a transaction will write when it commits."""

    def __init__(self) -> None:
        self.records: list[Outgoing] = []
        self.positions: dict[Partition, int] = {}

    def append(self, record: Outgoing) -> None:
        """Append a record when the transaction commits."""
        self.records.append(record)

    def advance(self, partition: Partition, offset: int) -> None:
        """Set the group's position in a partition when the transaction commits."""
        self.positions[partition] = offset


class EmbeddedMember:
    """A member. Used by one thread."""

    def __init__(
        self, log: "EmbeddedLog", group: str, partitions: Mapping[str, int], name: str, beginning: bool
    ) -> None:
        """Join: whoever had the name before is fenced."""
        self._log, self._group, self._partitions, self._name = log, group, partitions, name
        self._beginning = beginning
        self._token = uuid4().hex
        self._share: dict[Partition, int] = {}
        self._generation = -1
        self._renewed_s = 0.0
        self._turn = 0
        self._closed = False
        with log.writing() as connection:
            row = (group, name, self._token, _now_ms())
            connection.execute("insert or replace into members values (?, ?, ?, ?)", row)
            self._raise_generation(connection)
            for topic, count in partitions.items():
                for number in range(count):
                    self._begin(connection, Partition(topic, number))

    def assigned(self) -> frozenset[Partition]:
        """Return the partitions that are this member's now."""
        return frozenset(self._share)

    def poll(self, timeout_s: float, limit: int = 500) -> Polled:
        """Wait for records, or for a change of the share."""
        deadline = time.monotonic() + timeout_s
        while True:
            changed = self._renewed()
            if changed is not None:
                return changed
            seen = self._data_version()
            if records := self._fetched(limit):
                return Polled(records)
            while self._data_version() == seen:
                if time.monotonic() >= deadline:
                    return Polled()
                time.sleep(min(_WAIT_S, max(0.0, deadline - time.monotonic())))
                if time.monotonic() - self._renewed_s >= _RENEW_S:
                    break

    @contextmanager
    def transaction(self) -> Iterator[_Writes]:
        """Write at the end of the block, if it does not raise and the share is still this member's."""
        writes = _Writes()
        yield writes
        with self._log.writing() as connection:
            self._check(connection, writes.positions)
            self._log.write(connection, writes.records)
            rows = ((self._group, p.topic, p.number, offset) for p, offset in writes.positions.items())
            connection.executemany("insert or replace into positions values (?, ?, ?, ?)", rows)

    def close(self) -> None:
        """Leave the group."""
        if self._closed:
            return
        self._closed = True
        with suppress(LogError), self._log.writing() as connection:
            left = connection.execute(
                "delete from members where log_group=? and name=? and token=?", (self._group, self._name, self._token)
            )
            if left.rowcount:
                self._raise_generation(connection)

    def _renewed(self) -> Polled | None:
        """Renew the lease now and then; return how the share has changed, if it has."""
        now = time.monotonic()
        if now - self._renewed_s >= _RENEW_S:
            self._renewed_s = now
            with self._log.writing() as connection:
                self._alive(connection)
                row = (_now_ms(), self._group, self._name)
                connection.execute("update members set seen_ms=? where log_group=? and name=?", row)
                late = "delete from members where log_group=? and seen_ms<?"
                if connection.execute(late, (self._group, _now_ms() - int(LEASE_S * 1000))).rowcount:
                    self._raise_generation(connection)
        with self._log.problems():
            generation = self._current(self._log.connection())
        return None if generation == self._generation else self._reassigned()

    def _reassigned(self) -> Polled | None:
        """Take the share of the present generation."""
        with self._log.writing() as connection:
            self._alive(connection)
            self._generation = self._current(connection)
            names = [n for (n,) in connection.execute("select name from members where log_group=?", (self._group,))]
            mine = _range(sorted(names), self._name, self._partitions)
            lost = self._share.keys() - mine
            gained = mine - self._share.keys()
            self._share = {
                p: self._share[p] if p in self._share else self._position(connection, p) for p in sorted(mine)
            }
        return Polled(gained=frozenset(gained), lost=frozenset(lost)) if gained or lost else None

    def _fetched(self, limit: int) -> list[Record]:
        """Return what is next in the share, beginning with another partition each time."""
        from relight.transports.embedded import fetched

        found: list[Record] = []
        share = list(self._share)
        self._turn += 1
        with self._log.problems():
            connection = self._log.connection()
            for at in range(len(share)):
                partition = share[(at + self._turn) % len(share)]
                records = fetched(connection, partition, self._share[partition], limit - len(found))
                if records:
                    self._share[partition] = records[-1].offset + 1
                    found += records
                if len(found) >= limit:
                    break
        return found

    def _check(self, connection: sqlite3.Connection, positions: Mapping[Partition, int]) -> None:
        self._alive(connection)
        if self._current(connection) == self._generation:
            return
        names = [n for (n,) in connection.execute("select name from members where log_group=?", (self._group,))]
        mine = _range(sorted(names), self._name, self._partitions)
        if strange := sorted(set(positions) - mine):
            raise Fenced(f"{strange[0]} belongs to another member of {self._group} now")

    def _alive(self, connection: sqlite3.Connection) -> None:
        """Make sure that this is the member that has its name. Raises: Fenced."""
        query = "select token from members where log_group=? and name=?"
        row = connection.execute(query, (self._group, self._name)).fetchone()
        if row is None or row[0] != self._token:
            why = "was silent for too long" if row is None else "has been replaced by another of the same name"
            raise Fenced(f"member {self._name} of {self._group} {why}")

    def _raise_generation(self, connection: sqlite3.Connection) -> None:
        connection.execute(
            "insert into generations values (?, 1) on conflict (log_group) do update set number=number+1",
            (self._group,),
        )

    def _current(self, connection: sqlite3.Connection) -> int:
        row = connection.execute("select number from generations where log_group=?", (self._group,)).fetchone()
        return int(row[0]) if row else 0

    def _begin(self, connection: sqlite3.Connection, partition: Partition) -> None:
        """Give the group its first position in a partition, if it is not to begin at the beginning."""
        if self._beginning:
            return
        row = connection.execute(
            "select next from ends where topic=? and partition=?", (partition.topic, partition.number)
        ).fetchone()
        place = (self._group, partition.topic, partition.number, int(row[0]) if row else 0)
        connection.execute("insert or ignore into positions values (?, ?, ?, ?)", place)

    def _position(self, connection: sqlite3.Connection, partition: Partition) -> int:
        query = "select next from positions where log_group=? and topic=? and partition=?"
        row = connection.execute(query, (self._group, partition.topic, partition.number)).fetchone()
        return int(row[0]) if row else 0

    def _data_version(self) -> tuple[int, int]:
        """Return what changes when any connection, this thread's included, has written."""
        with self._log.problems():
            connection = self._log.connection()
            return int(connection.execute("pragma data_version").fetchone()[0]), connection.total_changes


def _range(names: list[str], name: str, partitions: Mapping[str, int]) -> set[Partition]:
    """Return a member's share: of each topic a range of partitions, so that topics of one size are shared alike."""
    mine: set[Partition] = set()
    for topic, count in partitions.items():
        at, each, more = names.index(name), count // len(names), count % len(names)
        begin = at * each + min(at, more)
        mine |= {Partition(topic, number) for number in range(begin, begin + each + (at < more))}
    return mine


def _now_ms() -> int:
    return int(time.time() * 1000)
