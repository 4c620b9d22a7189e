"""What is special to members of a group in the embedded log: how shares change, and who is taken for dead."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from relight.transports.embedded import EmbeddedLog
from relight.transports.embedded_member import WATCH_S
from relight.transports.port import Fenced, Outgoing, Partition, TopicSpec
from tests.contract.following import Follower, poll_until


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "relight.db"


@pytest.fixture
def log(path: Path) -> Iterator[EmbeddedLog]:
    with EmbeddedLog(path, durable=False) as log:
        yield log


def test_a_partition_that_was_lost_and_came_back_between_polls_cannot_be_advanced(log: EmbeddedLog) -> None:
    log.create([TopicSpec("t", 2)])
    first = log.join("g", ["t"], "a")
    first.poll(1)
    log.join("g", ["t"], "b").close()
    with pytest.raises(Fenced, match="t/1"), first.transaction() as transaction:
        transaction.advance(Partition("t", 1), 1)
    with first.transaction() as transaction:
        transaction.advance(Partition("t", 0), 1)
    polled = first.poll(1)
    assert polled.lost == polled.gained == {Partition("t", 1)}
    with first.transaction() as transaction:
        transaction.advance(Partition("t", 1), 1)
    first.close()


def test_a_slow_member_keeps_its_partitions_for_its_process_lives(log: EmbeddedLog) -> None:
    log.create([TopicSpec("t", 2)])
    slow, other = log.join("g", ["t"], "a"), Follower(log.join("g", ["t"], "b"))
    slow.poll(1)
    poll_until(lambda: other.share, other)
    deadline = time.monotonic() + 2.2 * WATCH_S
    poll_until(lambda: time.monotonic() > deadline, other)
    assert other.share == {Partition("t", 1)}
    with slow.transaction() as transaction:
        transaction.advance(Partition("t", 0), 1)
    slow.close()
    other.member.close()


def test_a_long_partition_does_not_starve_the_others(log: EmbeddedLog) -> None:
    log.create([TopicSpec("t", 2)])
    log.append([Outgoing("t", b"x", partition=number) for number in (0, 1) for _ in range(100)])
    member = log.join("g", ["t"], "a")
    member.poll(1)
    polls = [{record.partition for record in member.poll(1, limit=10).records} for _ in range(3)]
    assert set().union(*polls) == {0, 1}
    member.close()


def test_partitions_that_a_topic_grows_by_come_to_its_members(log: EmbeddedLog) -> None:
    log.create([TopicSpec("t", 1)])
    follower = Follower(log.join("g", ["t"], "a", beginning=False))
    poll_until(lambda: follower.share, follower)
    log.alter([TopicSpec("t", 2)])
    log.append([Outgoing("t", b"x", partition=1)])
    poll_until(lambda: follower.values == [b"x"], follower)
    follower.member.close()


def test_members_of_one_group_may_read_different_topics(log: EmbeddedLog) -> None:
    log.create([TopicSpec("t", 2), TopicSpec("u", 2)])
    old, new = Follower(log.join("g", ["t"], "a")), Follower(log.join("g", ["t", "u"], "b"))
    poll_until(lambda: old.share and new.share, old, new)
    assert old.share == {Partition("t", 0)}
    assert new.share == {Partition("t", 1), Partition("u", 0), Partition("u", 1)}
    old.member.close()
    new.member.close()


def test_a_member_may_be_closed_after_its_log(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log = EmbeddedLog(path)
    log.create([TopicSpec("t", 1)])
    member = log.join("g", ["t"], "a")
    log.close()
    member.close()
    assert "could not leave" in caplog.text
    with EmbeddedLog(path) as again:
        heir = Follower(again.join("g", ["t"], "b"))
        poll_until(lambda: heir.share, heir)
        heir.member.close()
