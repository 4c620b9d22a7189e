"""The embedded store keeps the contract, and lives beside the log in one file."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from relight.settings import settings
from relight.stores.embedded import EmbeddedStore
from relight.stores.embedded_schema import VERSION
from relight.stores.opening import open_store
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


def another_version(path: Path) -> None:
    """Make a store of another version, with an incident."""
    with EmbeddedStore(path) as store:
        store.put_incidents([document(1)])
        with store.file.writing() as connection:
            connection.execute("update store set version=?", (VERSION + 1,))


def test_tables_of_another_version_are_emptied_by_who_writes(tmp_path: Path) -> None:
    another_version(tmp_path / "relight.db")
    with EmbeddedStore(tmp_path / "relight.db") as store:
        assert store.search(Query()).total == 0


def test_tables_of_another_version_are_refused_to_who_reads_and_left_as_they_are(tmp_path: Path) -> None:
    another_version(tmp_path / "relight.db")
    refused = rf"its version is {VERSION + 1}, this one's {VERSION}.*relight replay --into store"
    with pytest.raises(StoreRefused, match=refused):
        EmbeddedStore(tmp_path / "relight.db", create=False)
    with EmbeddedLog(tmp_path / "relight.db") as log, log.file.reading() as connection:
        assert connection.execute("select count(*) from incidents").fetchone() == (1,)


def test_a_log_without_a_store_is_refused_to_who_reads(tmp_path: Path) -> None:
    EmbeddedLog(tmp_path / "relight.db").close()
    with pytest.raises(StoreRefused, match="there is no store at"):
        EmbeddedStore(tmp_path / "relight.db", create=False)


@pytest.mark.parametrize("create", [False, True])
def test_a_store_is_opened_and_read_while_another_writes(tmp_path: Path, create: bool) -> None:
    with EmbeddedStore(tmp_path / "relight.db") as writer:
        writer.put_incidents([document(1)])
        with writer.file.writing(), EmbeddedStore(tmp_path / "relight.db", create=create) as reader:
            assert reader.search(Query()).total == 1


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


DAY_MS = 86_400_000


@pytest.mark.parametrize("years", [-50, 50])
def test_a_line_whose_time_cannot_be_is_kept_for_as_long_as_one_of_when_it_was_read(tmp_path: Path, years: int) -> None:
    read_ms = round(START_S * 1000)
    wrong = line("a clock without a battery", time_ms=read_ms + years * 365 * DAY_MS, observed_ms=read_ms)
    with EmbeddedStore(tmp_path / "relight.db", lines_days=7) as store:
        store.put_lines([wrong])
        assert store.forget_lines(read_ms) == 0
        assert store.lines(LineQuery()) == [wrong]
        assert store.forget_lines(read_ms + 1) == 1


def test_how_long_lines_are_kept_is_a_setting(tmp_path: Path) -> None:
    read_ms = round(START_S * 1000)
    flags = {"embedded.path": str(tmp_path / "relight.db"), "index.lines_days": "7"}
    with open_store(settings(flags, None)) as store:
        store.put_lines([line("late", time_ms=read_ms - 8 * DAY_MS, observed_ms=read_ms)])
        assert store.forget_lines(read_ms) == 0


def test_a_line_that_was_read_late_is_kept_by_its_own_time(tmp_path: Path) -> None:
    read_ms = round(START_S * 1000)
    late, too_late = (line("late", time_ms=read_ms - days * DAY_MS, observed_ms=read_ms) for days in (7, 8))
    with EmbeddedStore(tmp_path / "relight.db", lines_days=7) as store:
        store.put_lines([late, too_late])
        assert store.forget_lines(read_ms) == 1
        assert store.lines(LineQuery()) == [too_late]
