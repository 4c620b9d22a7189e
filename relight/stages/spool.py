"""The spool: what a shipper could not send yet, kept on disk in order until the log is back, within a limit."""

import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from relight.transports.packing import packed, unpacked
from relight.transports.port import Full, Outgoing

_SCHEMA: Final = """
create table if not exists waiting (
  id integer primary key autoincrement, topic text not null, key blob, headers blob not null, value blob
)
"""
_OVERHEAD_BYTES: Final = 200


class Spool:
    """Records that wait, in one SQLite file. Used by one thread."""

    def __init__(self, path: Path, limit_bytes: int) -> None:
        """Open the file, with what is left in it.

        Raises:
            Full: it cannot be opened or made.
        """
        self.path, self.limit_bytes = path, limit_bytes
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = sqlite3.connect(path, isolation_level=None)
            os.chmod(path, 0o600)
            self._file.execute("pragma journal_mode=wal")
            self._file.execute("pragma auto_vacuum=incremental")
            self._file.execute(_SCHEMA)
            total = "select count(*), coalesce(sum(length(value) + ?), 0) from waiting"
            self.records, self.size_bytes = self._file.execute(total, (_OVERHEAD_BYTES,)).fetchone()
        except (OSError, sqlite3.Error) as error:
            raise Full(f"the spool {path} cannot be opened: {error}. Set ship.spool_path to another place") from None

    def append(self, records: Sequence[Outgoing]) -> None:
        """Keep records behind those that wait already: all of them, or none.

        Raises:
            Full: they would make it larger than allowed, or the disk is full.
        """
        size = sum(len(one.value or b"") + _OVERHEAD_BYTES for one in records)
        if self.size_bytes + size > self.limit_bytes:
            raise Full(f"the spool {self.path} holds {self.size_bytes} bytes of {self.limit_bytes} (ship.spool_bytes)")
        rows = [(r.topic, r.key, packed(r.headers), r.value) for r in records]
        try:
            with self._file:
                self._file.execute("begin")
                self._file.executemany("insert into waiting (topic, key, headers, value) values (?, ?, ?, ?)", rows)
        except sqlite3.Error as error:
            raise Full(f"the spool {self.path} takes no more: {error}. Make room on its disk") from None
        self.records += len(records)
        self.size_bytes += size

    def first(self, limit_bytes: int) -> tuple[int, list[Outgoing]]:
        """Return the records that have waited longest, and the number of the last of them, for `drop`."""
        found: list[Outgoing] = []
        last, size = 0, 0
        for number, topic, key, headers, value in self._file.execute("select * from waiting order by id"):
            found.append(Outgoing(topic, value, key, unpacked(headers)))
            last, size = number, size + len(value or b"")
            if size >= limit_bytes:
                break
        return last, found

    def drop(self, last: int) -> None:
        """Forget the records up to a number: they have been sent."""
        counted = "select count(*), coalesce(sum(length(value) + ?), 0) from waiting where id <= ?"
        records, size = self._file.execute(counted, (_OVERHEAD_BYTES, last)).fetchone()
        self._file.execute("delete from waiting where id <= ?", (last,))
        self.records -= records
        self.size_bytes -= size
        if not self.records:
            self._file.execute("pragma incremental_vacuum")
            self._file.execute("pragma wal_checkpoint(truncate)")

    def close(self) -> None:
        """Close the file; what waits in it stays."""
        self._file.close()
