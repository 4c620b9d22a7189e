"""A member of a group in the embedded log: its polls, its place in the group, and its transactions."""

import logging
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from relight.transports import embedded_share
from relight.transports.embedded_share import Presence, Shares
from relight.transports.port import Fenced, LogError, Partition, Polled, Record
from relight.transports.writes import Writes

if TYPE_CHECKING:
    from relight.transports.embedded import EmbeddedLog

WATCH_S: Final = 0.5
"""How often a member looks whether the others live."""

_WAIT_S: Final = 0.01
_log = logging.getLogger(__name__)


class EmbeddedMember:
    """A member. It is in the group until it closes, another takes its name, or its process ends."""

    def __init__(self, log: "EmbeddedLog", group: str, topics: Sequence[str], name: str, *, beginning: bool) -> None:
        """Join: whoever had the name before is fenced. Raises: LogError."""
        self._log, self._file, self._group, self._name = log, log.file, group, name
        self._share: Shares = {}
        self._next: dict[Partition, int] = {}
        self._turn = 0
        self._watched_s = 0.0
        self._members = Path(f"{log.file.path}-members")
        with self._file.problems():
            self._presence = Presence(self._members)
        try:
            with self._file.writing() as connection:
                embedded_share.enter(connection, group, name, self._presence.token, list(topics))
                if not beginning:
                    _begin_at_end(connection, group, topics)
        except BaseException:
            self._presence.close()
            raise

    def poll(self, timeout_s: float, limit: int = 500) -> Polled:
        """Wait up to `timeout_s` for records, return at most `limit`. Changes of the share come alone.

        Raises: LogError.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            self._watch()
            before = self._file.change()
            with self._file.reading() as connection:
                if changed := self._changed(connection):
                    return changed
                if records := self._fetch(connection, limit):
                    return Polled(records)
            if not self._wait_for_change(before, deadline):
                return Polled()

    def assigned(self) -> frozenset[Partition]:
        """Return the partitions that are this member's now, as far as the last poll has told."""
        return frozenset(self._share)

    @contextmanager
    def transaction(self) -> Iterator[Writes]:
        """Begin a transaction: it is written at the end of the `with` block, and dropped if that raises.

        Raises:
            Fenced: when it commits, if a partition that it advances is not this member's any more.
            LogError: it did not commit.
        """
        begun = Writes()
        yield begun
        with self._file.writing() as connection:
            self._require(connection, begun.positions)
            self._log.write(connection, begun.records)
            rows = ((self._group, self._share[p][1], offset) for p, offset in begun.positions.items())
            connection.executemany("insert or replace into positions values (?, ?, ?)", rows)

    def close(self) -> None:
        """Leave the group. Never raises."""
        try:
            with self._file.problems():
                self._presence.close()
            with self._file.writing() as connection:
                embedded_share.leave(connection, self._group, [self._presence.token])
        except LogError as error:  # the others find out by themselves
            _log.warning("%s could not leave: %s", self._who, error)

    @property
    def _who(self) -> str:
        return f"member {self._name} of {self._group}"

    def _watch(self) -> None:
        """Take those out of the group whose processes have ended, now and then."""
        if time.monotonic() < self._watched_s + WATCH_S:
            return
        self._watched_s = time.monotonic()
        with self._file.reading() as connection:
            others = set(embedded_share.tokens(connection, self._group)) - {self._presence.token}
        gone = [token for token in others if embedded_share.is_gone(self._members, token)]
        if gone:
            with self._file.writing() as connection:
                embedded_share.leave(connection, self._group, gone)
            for token in gone:
                (self._members / token).unlink(missing_ok=True)

    def _changed(self, connection: sqlite3.Connection) -> Polled | None:
        """Take what is this member's share by now; return how it has changed, if it has. Raises: Fenced."""
        now, before = self._alive(connection), self._share
        if now == before:
            return None
        lost = frozenset(partition for partition in before if now.get(partition) != before[partition])
        gained = frozenset(partition for partition in now if before.get(partition) != now[partition])
        self._share = now
        for partition in lost:
            del self._next[partition]
        for partition in gained:
            self._next[partition] = _position(connection, self._group, now[partition][1])
        return Polled(gained=gained, lost=lost)

    def _fetch(self, connection: sqlite3.Connection, limit: int) -> list[Record]:
        """Return what is next in the share, beginning with another partition each time."""
        found: list[Record] = []
        share = list(self._share)
        self._turn += 1
        for n in range(len(share)):
            partition = share[(n + self._turn) % len(share)]
            place, offset = self._share[partition][1], self._next[partition]
            found += self._log.fetch(connection, partition, place, offset, limit - len(found))
            if found and found[-1].place == partition:
                self._next[partition] = found[-1].offset + 1
            if len(found) >= limit:
                break
        return found

    def _wait_for_change(self, before: tuple[int, int], deadline: float) -> bool:
        """Wait until somebody has written, or it is time to look at the others; return false at the deadline."""
        until = min(deadline, self._watched_s + WATCH_S)
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(_WAIT_S, left))
            if self._file.change() != before:
                return True
        return time.monotonic() < deadline

    def _alive(self, connection: sqlite3.Connection) -> Shares:
        """Return the share of this member. Raises: Fenced."""
        if self._presence.token not in embedded_share.tokens(connection, self._group):
            raise Fenced(f"{self._who} has left, or another has its name now: forget all state and join again")
        return embedded_share.shares(connection, self._group, self._presence.token)

    def _require(self, connection: sqlite3.Connection, partitions: Iterable[Partition]) -> None:
        now = self._alive(connection)
        strange = sorted(p for p in partitions if p not in now or now[p] != self._share.get(p))
        if strange:
            listed = ", ".join(map(str, strange))
            raise Fenced(f"{self._who} cannot advance {listed}: not its own any more. Forget all state and join again")


def _begin_at_end(connection: sqlite3.Connection, group: str, topics: Sequence[str]) -> None:
    for topic in topics:
        connection.execute(
            "insert or ignore into positions select ?, id, next from places where topic=?", (group, topic)
        )


def _position(connection: sqlite3.Connection, group: str, place: int) -> int:
    query = "select next from positions where log_group=? and place=?"
    row = connection.execute(query, (group, place)).fetchone()
    return int(row[0]) if row else 0
