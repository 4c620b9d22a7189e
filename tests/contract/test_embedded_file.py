"""What is promised of the embedded log's file: errors that help, room that is freed, little work, nothing left open."""

import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from relight.transports.embedded import EmbeddedLog
from relight.transports.port import (
    Full,
    LogError,
    Outgoing,
    Partition,
    Refused,
    Span,
    TopicMissing,
    TopicSpec,
    Unavailable,
)
from tests.contract.following import Follower, everything, poll_until, values


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "relight.db"


@pytest.fixture
def log(path: Path) -> Iterator[EmbeddedLog]:
    with EmbeddedLog(path, durable=False) as log:
        yield log


def open_refused(path: Path) -> str:
    with pytest.raises(Refused) as caught:
        EmbeddedLog(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


# Files that are no log


def test_a_file_of_a_newer_version_is_left_alone(path: Path) -> None:
    EmbeddedLog(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("pragma user_version=99")
    connection.close()
    assert "newer relight" in open_refused(path)


def test_a_file_that_is_no_database_is_left_alone(path: Path) -> None:
    path.write_bytes(b"precious notes\n" * 1000)
    assert "no log of relight" in open_refused(path)
    assert path.read_bytes() == b"precious notes\n" * 1000


def test_a_database_of_something_else_is_left_alone(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("create table precious (notes)")
    connection.close()
    before = path.read_bytes()
    assert "something else" in open_refused(path)
    assert path.read_bytes() == before


def test_a_damaged_file_is_told_as_such(path: Path, log: EmbeddedLog) -> None:
    log.create([TopicSpec("t", 1)])
    log.append([Outgoing("t", b"x" * 1000) for _ in range(1000)])
    log.close()
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xff" * 100_000)
    with pytest.raises(Refused, match="damaged"), EmbeddedLog(path) as damaged:
        values(damaged, "t")


def test_a_path_below_a_file_or_to_a_folder_is_refused(path: Path, tmp_path: Path) -> None:
    path.touch()
    assert "embedded.path" in open_refused(path / "relight.db")
    assert "embedded.path" in open_refused(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_refused(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    assert "embedded.path" in open_refused(closed / "relight.db")


def test_a_folder_that_is_not_there_is_made(tmp_path: Path) -> None:
    with EmbeddedLog(tmp_path / "a" / "b" / "relight.db") as log:
        assert log.topics() == {}


def test_a_new_file_that_another_is_making_a_log_is_waited_for(path: Path) -> None:
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("begin immediate")
    timer = threading.Timer(0.1, other.execute, ["rollback"])
    timer.start()
    with EmbeddedLog(path) as log:
        assert log.topics() == {}
    timer.join()
    other.close()


def test_a_full_disk_is_told_and_harms_nothing_that_is_there(log: EmbeddedLog, path: Path) -> None:
    log.create([TopicSpec("t", 1)])
    log.append([Outgoing("t", b"kept")])
    follower = Follower(log.join("g", ["t"], "a"))
    poll_until(lambda: follower.share, follower)
    room(log, 40)
    big = [Outgoing("t", os.urandom(100_000))] * 20
    with pytest.raises(Full, match=str(path)):
        log.append(big)
    with pytest.raises(Full, match=str(path)):
        follower.write(*big, positions={})
    assert values(log, "t") == [b"kept"]
    room(log, 1_000_000)
    log.append(big)
    assert log.spans("t") == {0: Span(0, 21)}
    follower.member.close()


def room(log: EmbeddedLog, pages: int) -> None:
    """Let the file grow to so many pages."""
    with log.file.writing() as connection:
        connection.execute(f"pragma max_page_count={pages}")


def test_topics_are_altered_together_or_not_at_all(log: EmbeddedLog) -> None:
    log.create([TopicSpec("t", 1)])
    with pytest.raises(TopicMissing, match="unknown"):
        log.alter([TopicSpec("t", 5), TopicSpec("unknown", 1)])
    assert log.topics() == {"t": TopicSpec("t", 1)}


def test_a_file_that_another_writes_for_too_long_is_unavailable(
    log: EmbeddedLog, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.create([TopicSpec("t", 1)])
    monkeypatch.setattr("relight.transports.embedded_file.BUSY_S", 0.05)
    with log.file.writing(), EmbeddedLog(path) as other:
        assert other.spans("t") == {0: Span(0, 0)}
        with pytest.raises(Unavailable, match=str(path)):
            other.append([Outgoing("t", b"x")])


def test_a_log_that_was_closed_is_unavailable(log: EmbeddedLog) -> None:
    log.close()
    with pytest.raises(Unavailable, match="closed"):
        log.topics()


# Room


def test_old_records_go_as_others_come_and_offsets_never_go_back(log: EmbeddedLog, path: Path) -> None:
    log.create([TopicSpec("t", 1, retention_ms=20)])
    log.append([Outgoing("t", b"old %d" % n) for n in range(10)])
    time.sleep(0.03)
    log.append([Outgoing("t", b"new %d" % n) for n in range(3)])
    assert log.spans("t") == {0: Span(10, 13)}
    assert [(r.offset, r.value) for r in log.read(Partition("t", 0), 0)] == [(10 + n, b"new %d" % n) for n in range(3)]
    with log.file.writing() as connection:
        connection.execute("delete from records")
    log.close()
    with EmbeddedLog(path) as again:
        assert again.spans("t") == {0: Span(13, 13)}
        again.append([Outgoing("t", b"later")])
        assert again.read(Partition("t", 0), 0)[0].offset == 13


def test_a_group_whose_position_is_gone_goes_on_with_what_is_left(log: EmbeddedLog) -> None:
    log.create([TopicSpec("t", 1, retention_ms=20)])
    log.append([Outgoing("t", b"old")] * 5)
    follower = Follower(log.join("g", ["t"], "a"))
    poll_until(lambda: len(follower.records) == 5, follower)
    follower.commit(follower.records[1])
    follower.member.close()
    time.sleep(0.03)
    log.append([Outgoing("t", b"new")])
    again = Follower(log.join("g", ["t"], "a"))
    poll_until(lambda: again.values == [b"new"], again)
    again.member.close()


def test_a_file_whose_records_come_and_go_does_not_grow(log: EmbeddedLog, path: Path) -> None:
    log.create([TopicSpec("t", 1, retention_ms=10)])
    for _ in range(60):
        log.append([Outgoing("t", os.urandom(100_000)) for _ in range(4)])
        time.sleep(0.004)
    assert path.stat().st_size < 60 * 4 * 100_000 / 3


def test_compaction_keeps_the_last_record_of_each_key_and_its_offset(log: EmbeddedLog) -> None:
    log.create([TopicSpec("t", 1, compacted=True), TopicSpec("u", 1, compacted=True)])
    keys = (b"a", b"b", b"a", None, b"c", b"b", None)
    log.append([Outgoing("u", b"other", b"a")])
    log.append([Outgoing("t", b"%d" % n, key) for n, key in enumerate(keys)])
    log.append([Outgoing("t", None, b"c")])
    found = [(r.offset, r.key, r.value) for r in log.read(Partition("t", 0), 0)]
    assert found == [(2, b"a", b"2"), (3, None, b"3"), (5, b"b", b"5"), (6, None, b"6"), (7, b"c", None)]
    assert values(log, "u") == [b"other"]


def test_a_topic_becomes_compacted_and_stops_being_so(log: EmbeddedLog) -> None:
    log.create([TopicSpec("t", 1), TopicSpec("u", 1)])
    for topic in "tu":
        log.append([Outgoing(topic, b"%d" % n, b"%d" % (n % 2)) for n in range(6)])
    log.alter([TopicSpec("t", 1, compacted=True)])
    assert values(log, "t") == [b"4", b"5"]
    log.append([Outgoing("t", b"6", b"0")])
    assert values(log, "t") == [b"5", b"6"]
    log.alter([TopicSpec("t", 1)])
    log.append([Outgoing("t", b"7", b"0")])
    assert values(log, "t") == [b"5", b"6", b"7"]
    assert len(values(log, "u")) == 6


# Work, and what is left open


def test_an_idle_poll_costs_little(log: EmbeddedLog) -> None:
    log.create([TopicSpec("t", 4)])
    member = log.join("g", ["t"], "a")
    member.poll(1)
    worked_s = time.thread_time()
    assert not member.poll(1.2).records
    assert time.thread_time() - worked_s < 0.03 * 1.2
    member.close()


def test_threads_share_a_log(log: EmbeddedLog) -> None:
    log.create([TopicSpec("t", 4)])

    def write(name: bytes) -> None:
        for n in range(50):
            log.append([Outgoing("t", b"%d" % n, name)])

    threads = [threading.Thread(target=write, args=(b"%d" % n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = everything(log, "t")
    for n in range(4):
        assert [r.value for r in found if r.key == b"%d" % n] == [b"%d" % m for m in range(50)]


def test_closing_leaves_no_files_and_threads_open(path: Path) -> None:
    def opened() -> tuple[int, int]:
        return len(list(Path("/proc/self/fd").iterdir())), threading.active_count()

    before = opened()
    log = EmbeddedLog(path)
    log.create([TopicSpec("t", 1)])
    member = log.join("g", ["t"], "a")
    member.poll(1)
    thread = threading.Thread(target=log.append, args=([Outgoing("t", b"x")],))
    thread.start()
    thread.join()
    assert opened() != before
    member.close()
    log.close()
    assert opened() == before


def test_a_file_that_is_taken_away_below_a_member_is_an_error_of_the_log(path: Path, tmp_path: Path) -> None:
    with EmbeddedLog(path) as log:
        log.create([TopicSpec("t", 1)])
        shutil.rmtree(tmp_path)
        with pytest.raises(LogError, match=str(path)):
            log.join("g", ["t"], "a")
        tmp_path.mkdir()
