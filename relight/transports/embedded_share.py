"""Who is in a group of the embedded log, who has died, and how the members share the partitions: tables and locks.

A member holds a lock on a file of its own for as long as its process lives, so that its death is known at once and
slowness is not taken for it. Each time a partition is given to a member the share gets a new number: a member that
has lost a partition and got it back can tell.
"""

import fcntl
import sqlite3
from pathlib import Path
from uuid import uuid4

import orjson

from relight.transports.port import Partition

Shares = dict[Partition, tuple[int, int]]
"""The number of the share and the place of each partition that a member has."""


class Presence:
    """The sign that a member lives: a lock, which the system lets go of when the process ends, however it ends.

    A process that it has forked without starting another program shares the lock: it must end with it.
    """

    def __init__(self, folder: Path) -> None:
        """Give the sign, under a token that nobody else has. Raises: OSError."""
        folder.mkdir(exist_ok=True)
        self.token = uuid4().hex
        self._path = folder / self.token
        self._file = self._path.open("wb")
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def close(self) -> None:
        """Take the sign away. Raises: OSError."""
        self._file.close()
        self._path.unlink(missing_ok=True)


def is_gone(folder: Path, token: str) -> bool:
    """Return whether a member's process has ended. Raises: OSError."""
    try:
        with (folder / token).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return True
    except BlockingIOError:
        return False
    return True


def enter(connection: sqlite3.Connection, group: str, name: str, token: str, topics: list[str]) -> None:
    """Make a member one of a group, in the place of another of its name, if there is one."""
    row = (group, name, token, orjson.dumps(topics).decode())
    connection.execute("insert or replace into members values (?, ?, ?, ?)", row)
    divide(connection, group)


def leave(connection: sqlite3.Connection, group: str, tokens: list[str]) -> None:
    """Take members out of a group."""
    connection.executemany("delete from members where log_group=? and token=?", ((group, one) for one in tokens))
    divide(connection, group)


def tokens(connection: sqlite3.Connection, group: str) -> list[str]:
    """Return the tokens of a group's members."""
    return [token for (token,) in connection.execute("select token from members where log_group=?", (group,))]


def shares(connection: sqlite3.Connection, group: str, token: str) -> Shares:
    """Return a member's share."""
    rows = connection.execute(
        "select topic, places.number, shares.number, place from shares join places on place=id"
        " where log_group=? and token=? order by topic, places.number",
        (group, token),
    )
    return {Partition(topic, number): (share, place) for topic, number, share, place in rows}


def place_of(connection: sqlite3.Connection, partition: Partition) -> int:
    """Return the place where a partition that is there is kept."""
    query = "select id from places where topic=? and number=?"
    return int(connection.execute(query, (partition.topic, partition.number)).fetchone()[0])


def divide_all(connection: sqlite3.Connection) -> None:
    """Divide the partitions of every group anew."""
    for (group,) in connection.execute("select distinct log_group from members").fetchall():
        divide(connection, group)


def divide(connection: sqlite3.Connection, group: str) -> None:
    """Divide the partitions among a group's members: a range of each topic, so topics of one size are shared alike."""
    rows = connection.execute("select token, topics from members where log_group=? order by name", (group,))
    members = [(token, orjson.loads(topics)) for token, topics in rows]
    owners: dict[int, str] = {}
    for topic in sorted({topic for _, topics in members for topic in topics}):
        places = [p for (p,) in connection.execute("select id from places where topic=? order by number", (topic,))]
        each, more = divmod(len(places), sum(topic in topics for _, topics in members))
        among = [token for token, topics in members if topic in topics]
        ranges = [token for n, token in enumerate(among) for _ in range(each + (n < more))]
        owners |= zip(places, ranges, strict=True)
    before = dict(connection.execute("select place, token from shares where log_group=?", (group,)).fetchall())
    taken = [(group, place) for place, token in before.items() if owners.get(place) != token]
    given = [(group, place, token) for place, token in owners.items() if before.get(place) != token]
    connection.executemany("delete from shares where log_group=? and place=?", taken)
    connection.executemany("insert into shares (log_group, place, token) values (?, ?, ?)", given)
