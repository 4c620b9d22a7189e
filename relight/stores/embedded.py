"""The store in the embedded log's SQLite file, for one host: the adapter `embedded` of the port."""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, Final, Self

from relight.stores.embedded_queries import condition_of, line_condition
from relight.stores.embedded_schema import VERSION, make, version
from relight.stores.facets import Facets, facets
from relight.stores.keeping import at_ms, counted_ms
from relight.stores.port import (
    BUCKETS,
    LIMIT,
    LINES,
    Bucket,
    Facet,
    LineQuery,
    Page,
    Query,
    Refusal,
    Sort,
    StoreFull,
    StoreRefused,
    StoreUnavailable,
)
from relight.stores.words import words
from relight.transports.embedded_file import EmbeddedFile
from relight.transports.port import Full, LogError, Unavailable
from schemas.document import IncidentDocument
from schemas.record import LogRecord
from schemas.vocabulary import Impact, Severity

_COLUMNS: Final = tuple(field.name for field in fields(Facets) if field.name not in ("hosts", "words"))
_SORTED: Final[Mapping[Sort, str]] = {
    "opened": "opened_ms",
    "updated": "updated_ms",
    "severity": "severity",
    "confidence": "confidence",
    "lost": "coalesce(lost_gpu_ms, 0)",
}


class EmbeddedStore:
    """A store in one file. May be used by several threads and processes."""

    def __init__(self, path: Path | str, durable: bool = True, *, create: bool = True, lines_days: int = 30) -> None:
        """Open the file and the store in it. What is there already is opened without waiting for who writes.

        Args:
            path: where the file is.
            durable: what was written survives a power cut, not only a crash.
            create: make what is not there, and anew what is of another version of relight; else it is refused.
            lines_days: how long log lines are kept, as `relight.stores.keeping` counts.

        Raises:
            StoreError: it cannot be opened.
        """
        self._days = lines_days
        if not create and not Path(path).exists():
            raise _absent(path)
        with _translated():
            self.file = EmbeddedFile(Path(path), durable)
        try:
            self._prepare(create)
        except BaseException:
            self.close()
            raise

    def check(self) -> None:
        """Make sure that the store can be read. Raises: StoreError."""
        with self._reading() as connection:
            connection.execute("select count(*) from incidents").fetchone()

    def put_incidents(self, documents: Sequence[IncidentDocument]) -> Sequence[Refusal]:
        """Keep incidents, unless what is there already is as new or newer."""
        with self._writing() as connection:
            for document in documents:
                _put_incident(connection, document)
        return ()

    def put_lines(self, lines: Sequence[LogRecord]) -> Sequence[Refusal]:
        """Keep log lines; those that are there already stay."""
        with self._writing() as connection:
            for line in lines:
                row = (line.id, line.cluster, line.source, line.host, at_ms(line), line.offset_bytes)
                insert = (
                    "insert or ignore into lines (id, cluster, source, host, at_ms, offset_bytes, counted_ms, record)"
                    " values (?, ?, ?, ?, ?, ?, ?, ?)"
                )
                record = line.model_dump_json(exclude_defaults=True)
                cursor = connection.execute(insert, (*row, counted_ms(line, self._days), record))
                if cursor.rowcount:
                    said = " ".join(words(line.text))
                    connection.execute("insert into line_words (rowid, words) values (?, ?)", (cursor.lastrowid, said))
        return ()

    def known(self, ids: Sequence[str]) -> Mapping[str, IncidentDocument]:
        """Return the incidents with these ids that are there."""
        with self._reading() as connection:
            query = "select document from whole where id=?"
            rows = (connection.execute(query, (name,)).fetchone() for name in ids)
            return {found.id: found for row in rows if row for found in [_document(row[0])]}

    def get(self, prefix: str) -> Sequence[IncidentDocument]:
        """Return the incidents, at most ten, whose ids begin like this."""
        with self._reading() as connection:
            query = "select document from whole where id>=? and id<? order by id limit 10"
            return [_document(row[0]) for row in connection.execute(query, (prefix, prefix + "\x7f"))]

    def search(
        self,
        query: Query,
        sort: Sort = "opened",
        *,
        ascending: bool = False,
        limit: int = 50,
        after: tuple[float, str] | None = None,
    ) -> Page:
        """Return incidents in an order, equal ones by id."""
        limit = min(limit, LIMIT)
        where, value = condition_of(query), _SORTED[sort]
        order, beyond = ("asc", ">") if ascending else ("desc", "<")
        with self._reading() as connection:
            (total,) = connection.execute(f"select count(*) from incidents where {where.sql}", where.values).fetchone()  # noqa: S608 - made of constants
            if after is not None:
                where = where.also(f"({value} {beyond} ? or ({value} = ? and id > ?))", after[0], *after)
            rows = connection.execute(
                f"select document, {value}, id from whole where {where.sql} order by {value} {order}, id limit ?",  # noqa: S608 - made of constants
                (*where.values, limit + 1),
            ).fetchall()
        last = rows[limit - 1] if len(rows) > limit else None
        documents = tuple(_document(row[0]) for row in rows[:limit])
        return Page(documents, total, (last[1], last[2]) if last else None)

    def aggregate(self, query: Query, by: Facet | None = None) -> Sequence[Bucket]:
        """Count incidents by a facet, the largest bucket first, equal ones by key."""
        where = condition_of(query)
        key, table = "'all'" if by is None else by, "incidents"
        if by == "host":
            table = "incidents join incident_hosts using (number)"
        with self._reading() as connection:
            rows = connection.execute(
                f"select {key} as bucket, count(*), sum(impact='{Impact.FAILED}'), min(opened_ms), max(opened_ms),"  # noqa: S608 - made of constants
                " coalesce(sum(detection_ms), 0), count(detection_ms), coalesce(sum(recovery_ms), 0),"
                " count(recovery_ms), coalesce(sum(lost_gpu_ms), 0), count(lost_gpu_ms)"
                f" from {table} where {where.sql} and bucket is not null"
                " group by bucket order by count(*) desc, bucket limit ?",
                (*where.values, BUCKETS),
            ).fetchall()
        return [Bucket(_key(by, row[0]), *row[1:]) for row in rows]

    def lines(self, query: LineQuery) -> Sequence[LogRecord]:
        """Return log lines, the earliest first."""
        where = line_condition(query)
        with self._reading() as connection:
            rows = connection.execute(
                f"select record from lines where {where.sql} order by at_ms, source, offset_bytes limit ?",  # noqa: S608 - made of constants
                (*where.values, min(query.limit, LINES)),
            )
            return [LogRecord.model_validate_json(row[0]) for row in rows]

    def changes(self, after: str | None) -> tuple[Sequence[IncidentDocument], str]:
        """Return incidents that have changed since, and where to go on."""
        with self._reading() as connection:
            (last,) = connection.execute("select last from changes").fetchone()
            if after is None:
                return [], str(last)
            query = "select document from whole where change>? order by change"
            return [_document(row[0]) for row in connection.execute(query, (int(after),))], str(last)

    def refresh(self) -> None:
        """Do nothing: what has been put is seen at once."""

    def clear(self) -> None:
        """Forget everything."""
        with self._writing() as connection:
            make(connection)

    def forget_lines(self, before_ms: int) -> int:
        """Forget lines that count from before a time (Unix, milliseconds), return how many: at most ten thousand."""
        with self._writing() as connection:
            rows = connection.execute(
                "select number, record from lines where counted_ms<? limit 10000", (before_ms,)
            ).fetchall()
            for number, record in rows:
                said = " ".join(words(LogRecord.model_validate_json(record).text))
                connection.execute(
                    "insert into line_words (line_words, rowid, words) values ('delete', ?, ?)", (number, said)
                )
            connection.executemany("delete from lines where number=?", ((row[0],) for row in rows))
        return len(rows)

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def __enter__(self) -> Self:
        """Return the store itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def _prepare(self, create: bool) -> None:
        """Make sure that the tables are of this version: with `create` they are made, empty, where they are not."""
        with self._reading() as connection:
            there = version(connection)
        if there == VERSION:
            return
        if not create:
            raise _absent(self.file.path) if there is None else _other(self.file.path, there)
        with self._writing() as connection:
            if version(connection) != VERSION:  # another process may have been faster
                make(connection)

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with _translated(), self.file.reading() as connection:
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with _translated(), self.file.writing() as connection:
            yield connection


def _absent(path: Path | str) -> StoreRefused:
    return StoreRefused(
        f"there is no store at {path}: `relight run` and `relight index` make it; or set elasticsearch.hosts"
    )


def _other(path: Path, there: int) -> StoreRefused:
    return StoreRefused(
        f"the store at {path} is of another relight (its version is {there}, this one's {VERSION}): use that one; or"
        " stop it and run `relight replay --into store`, which makes the store anew from the topics"
    )


def _put_incident(connection: sqlite3.Connection, document: IncidentDocument) -> None:
    known = connection.execute("select number, version from incidents where id=?", (document.id,)).fetchone()
    if known is not None and known[1] >= document.version:
        return
    found = facets(document)
    (change,) = connection.execute("update changes set last=last+1 returning last").fetchone()
    number = known[0] if known else None
    row = (number, *(getattr(found, name) for name in _COLUMNS), change)
    names, marks = ", ".join(("number", *_COLUMNS, "change")), ", ".join("?" * len(row))
    number = connection.execute(f"insert or replace into incidents ({names}) values ({marks})", row).lastrowid  # noqa: S608 - made of constants
    connection.execute("insert or replace into documents values (?, ?)", (number, document.model_dump_json()))
    connection.execute("delete from incident_hosts where number=?", (number,))
    connection.executemany("insert into incident_hosts values (?, ?)", ((number, host) for host in found.hosts))
    connection.execute("delete from incident_words where rowid=?", (number,))
    connection.execute("insert into incident_words (rowid, words) values (?, ?)", (number, found.words))


def _document(stored: str) -> IncidentDocument:
    return IncidentDocument.model_validate_json(stored)


def _key(by: Facet | None, value: Any) -> str:
    return str(list(Severity)[value]) if by == "severity" else str(value)


@contextmanager
def _translated() -> Iterator[None]:
    """Turn the file's errors into the port's."""
    try:
        yield
    except Full as error:
        raise StoreFull(str(error)) from error
    except Unavailable as error:
        raise StoreUnavailable(str(error)) from error
    except LogError as error:
        raise StoreRefused(str(error)) from error
