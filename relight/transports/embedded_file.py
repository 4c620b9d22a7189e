"""The file of the embedded log: its tables and version, a connection for each thread, and what its errors mean."""

import errno
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from relight.transports.port import Full, LogError, Refused, Unavailable

VERSION: Final = 1
BUSY_S: Final = 5.0
"""How long to wait for others to finish writing."""

_APPLICATION: Final = int.from_bytes(b"rlgt", "big")
_PLACE: Final = 1 << 40
_SCHEMA: Final = """
create table topics (
  name text primary key, partitions integer not null, retention_ms integer not null, compacted integer not null,
  max_record_bytes integer not null
);
create table places (
  id integer primary key, topic text not null, number integer not null, next integer not null default 0,
  unique (topic, number)
);
create table records (
  at integer primary key, time_ms integer not null, compacted integer, key blob, headers blob, value blob
);
create index by_key on records (key) where compacted;
create table positions (
  log_group text, place integer, next integer not null, primary key (log_group, place)
) without rowid;
create table members (
  log_group text, name text, token text not null, topics text not null, primary key (log_group, name)
) without rowid;
create table shares (
  number integer primary key autoincrement, log_group text not null, place integer not null, token text not null,
  unique (log_group, place)
)"""


class EmbeddedFile:
    """The file, for all threads of this process. `durable`: what was written survives a power cut, not only a crash."""

    def __init__(self, path: Path, durable: bool) -> None:
        """Open the file, which is made if it is not there. Raises: LogError."""
        self.path = path
        self._synchronous = "full" if durable else "normal"
        self._local = threading.local()
        self._opened: list[sqlite3.Connection] | None = []
        self._lock = threading.Lock()
        try:
            with self.problems():
                path.parent.mkdir(parents=True, exist_ok=True)
                self._prepare()
        except BaseException:
            self.close()
            raise

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Give this thread's connection in a transaction that sees one state of the file. Raises: LogError."""
        with self._transaction("begin") as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Give this thread's connection in a transaction that no other writes beside. Raises: LogError."""
        with self._transaction("begin immediate") as connection:
            yield connection

    def change(self) -> tuple[int, int]:
        """Return what is another one whenever anybody, this thread included, has written. Raises: LogError."""
        with self.problems():
            connection = self._connection()
            return int(_pragma(connection, "data_version")), connection.total_changes

    def close(self) -> None:
        """Close the connections of all threads: nobody may be using them."""
        with self._lock:
            opened, self._opened = self._opened or [], None
        self._local = threading.local()
        for connection in opened:
            connection.close()

    @contextmanager
    def problems(self) -> Iterator[None]:
        """Turn SQLite's errors and the file system's into the port's."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise _meant(error, self.path) from error

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        with self.problems():
            connection = self._connection()
            connection.execute(begin)
            try:
                yield connection
                connection.execute("commit")
            finally:
                if connection.in_transaction:
                    connection.execute("rollback")

    def _connection(self) -> sqlite3.Connection:
        found: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if found is None:
            with self._lock:
                if self._opened is None:
                    raise Unavailable(f"{self.path} has been closed here: open it again")
                # Closing is done by another thread than using, never at the same time.
                found = sqlite3.connect(self.path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
                self._opened.append(found)
            found.execute(f"pragma synchronous={self._synchronous}")
            found.execute("pragma cache_size=-16384")
            found.execute("pragma journal_size_limit=67108864")  # else a large batch leaves a large -wal for ever
            self._local.connection = found
        return found

    def _prepare(self) -> None:
        """Make sure that the file is a log of this version, or make it one."""
        connection = self._connection()
        if self._is_log(connection):
            return
        self._switch_to_wal(connection)
        with self.writing():
            if not self._is_log(connection):  # another process may have been faster
                for statement in _SCHEMA.split(";\n"):
                    connection.execute(statement)
                connection.execute(f"pragma application_id={_APPLICATION}")
                connection.execute(f"pragma user_version={VERSION}")

    def _is_log(self, connection: sqlite3.Connection) -> bool:
        """Return whether the file is a log, not an empty file. Raises: Refused."""
        (tables,) = connection.execute("select count(*) from sqlite_master").fetchone()
        application, version = _pragma(connection, "application_id"), _pragma(connection, "user_version")
        if application != _APPLICATION and (application or tables):
            raise Refused(f"{self.path} is a database of something else: set embedded.path to another file")
        if version > VERSION:
            raise Refused(
                f"{self.path} is of a newer relight (its version is {version}, this one knows {VERSION}):"
                " upgrade relight, or set embedded.path to another file"
            )
        return bool(tables)

    def _switch_to_wal(self, connection: sqlite3.Connection) -> None:
        """Switch the journal's mode, once for all. SQLite does not wait here for others that do the same."""
        deadline = time.monotonic() + BUSY_S
        while True:
            try:
                connection.execute("pragma journal_mode=wal")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
            else:
                return


def at(place: int, offset: int) -> int:
    """Return where a record lies among all: they are kept by place, then by offset."""
    return place * _PLACE + min(max(offset, 0), _PLACE - 1)


def offset_of(where: int) -> int:
    """Return the offset of a record that lies there."""
    return where % _PLACE


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"pragma {name}").fetchone()[0])


def _meant(error: sqlite3.Error | OSError, path: Path) -> LogError:
    code = getattr(error, "sqlite_errorcode", None)
    primary = code & 0xFF if isinstance(code, int) else None
    if primary == sqlite3.SQLITE_FULL or getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
        return Full(f"no room is left for {path}: make some on its disk, or set embedded.path to a file on another")
    if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return Unavailable(f"{path}: others have been writing for {BUSY_S:.0f} s: try again")
    if primary in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        return Refused(f"{path} is no log of relight, or damaged ({error}): move it away, or set embedded.path")
    if isinstance(error, OSError) or primary in (
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PERM,
    ):
        return Refused(f"{path} cannot be opened for writing ({error}): set embedded.path to a file of this user's")
    return Unavailable(f"{path}: {error}")
