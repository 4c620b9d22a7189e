"""The embedded store keeps the contract, and lives beside the log in one file."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from relight.stores.embedded import EmbeddedStore
from relight.stores.port import IncidentStore, LineQuery, Query, StoreRefused
from relight.transports.embedded import EmbeddedLog
from relight.transports.port import Outgoing, Partition, TopicSpec
from tests.contract.store_contract import StoreContract
from tests.contract.store_stories import START_S, document, line


class TestEmbeddedStore(StoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[IncidentStore]:
        with EmbeddedStore(tmp_path / "relight.db") as store:
            yield store


def test_it_shares_its_file_with_the_log(tmp_path: Path) -> None:
    with EmbeddedLog(tmp_path / "relight.db") as log, EmbeddedStore(tmp_path / "relight.db") as store:
        log.create([TopicSpec("t", 1)])
        log.append([Outgoing("t", b"one")])
        store.put_incidents([document(1)])
        store.clear()
        assert [record.value for record in log.read(Partition("t", 0), 0)] == [b"one"]


def test_it_is_there_after_it_was_closed(tmp_path: Path) -> None:
    with EmbeddedStore(tmp_path / "relight.db") as store:
        store.put_incidents([document(1)])
    with EmbeddedStore(tmp_path / "relight.db") as store:
        assert store.search(Query()).total == 1


def test_tables_of_another_version_are_emptied(tmp_path: Path) -> None:
    with EmbeddedStore(tmp_path / "relight.db") as store:
        store.put_incidents([document(1)])
        with store.file.writing() as connection:
            connection.execute("update store set version=0")
    with EmbeddedStore(tmp_path / "relight.db") as store:
        assert store.search(Query()).total == 0


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.db").write_bytes(b"no database at all, but long enough to look like one" * 100)
    with pytest.raises(StoreRefused, match=r"other\.db"):
        EmbeddedStore(tmp_path / "other.db")


def test_old_lines_are_forgotten_with_their_words(tmp_path: Path) -> None:
    at_ms = round(START_S * 1000)
    with EmbeddedStore(tmp_path / "relight.db") as store:
        store.put_lines([line("old words", time_ms=at_ms - 1000), line("new words", time_ms=at_ms)])
        assert store.forget_lines(at_ms) == 1
        assert [found.text for found in store.lines(LineQuery(text="words"))] == ["new words"]
        store.put_lines([line("others here", time_ms=at_ms)])
        assert store.lines(LineQuery(text="old")) == []
