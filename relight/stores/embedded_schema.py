"""The tables of the embedded store. They lie beside those of the log, and can be emptied: the topics have it all.

Documents lie apart from what incidents are found by, so that looking for some does not read them all.
"""

import sqlite3
from typing import Final

VERSION: Final = 2
"""Of the tables. Who writes empties those of another version: a store can be rebuilt."""

_TOKENS: Final = "tokenize='unicode61 remove_diacritics 0'"
_SCHEMA: Final = f"""
create table store (version integer not null);
create table incidents (
  number integer primary key, id text not null unique, version integer not null, cluster text not null,
  state text not null, opened_ms integer not null, updated_ms integer not null, began_ms integer, ended_ms integer,
  fault text not null, signature text not null, severity integer not null, impact text not null, domain text not null,
  confidence integer not null, job text, blamed text, ranks integer not null, week text not null, detection_ms integer,
  recovery_ms integer, lost_gpu_ms integer, change integer not null
);
create table documents (number integer primary key, document text not null);
create view whole as select * from incidents join documents using (number);
create index incidents_opened on incidents (opened_ms, id);
create index incidents_changed on incidents (change);
create table incident_hosts (number integer, host text, primary key (number, host)) without rowid;
create table changes (last integer not null);
create virtual table incident_words using fts5(words, {_TOKENS});
create table lines (
  number integer primary key, id text not null unique, cluster text not null, source text not null, host text,
  at_ms integer not null, offset_bytes integer not null, counted_ms integer not null, record text not null
);
create index lines_by_source on lines (source, at_ms);
create index lines_by_host on lines (host, at_ms);
create index lines_by_time on lines (at_ms);
create index lines_by_age on lines (counted_ms);
create virtual table line_words using fts5(words, content='', {_TOKENS});
insert into store values ({VERSION})"""  # noqa: S608 - made of constants
_TABLES: Final = (
    "store",
    "incidents",
    "documents",
    "incident_hosts",
    "changes",
    "incident_words",
    "lines",
    "line_words",
)


def version(connection: sqlite3.Connection) -> int | None:
    """Return the version of the tables, `None` where there are none."""
    if connection.execute("select 1 from sqlite_master where name='store'").fetchone() is None:
        return None
    return int(connection.execute("select version from store").fetchone()[0])


def make(connection: sqlite3.Connection) -> None:
    """Make the tables, empty. Changes are counted on, for those who follow them."""
    last = _last(connection)
    connection.execute("drop view if exists whole")
    for table in _TABLES:
        connection.execute(f"drop table if exists {table}")
    for statement in _SCHEMA.split(";\n"):
        connection.execute(statement)
    connection.execute("insert into changes values (?)", (last,))


def _last(connection: sqlite3.Connection) -> int:
    """Return the number of the last change there was."""
    if connection.execute("select 1 from sqlite_master where name='changes'").fetchone() is None:
        return 0
    return int(connection.execute("select last from changes").fetchone()[0])
