"""A member of a group as the contract's tests use it, and how they wait: by polling, up to a deadline."""

import time
from collections.abc import Callable, Mapping
from typing import Final

from relight.transports.port import EventLog, Member, Outgoing, Partition, Record

DEADLINE_S: Final = 30.0
_STEP_S: Final = 0.02


class Follower:
    """A member with what its polls have told: its share, and what it has read since it got each partition."""

    def __init__(self, member: Member) -> None:
        self.member = member
        self.share: frozenset[Partition] = frozenset()
        self.lost: frozenset[Partition] = frozenset()
        self.records: list[Record] = []

    def poll(self) -> None:
        polled = self.member.poll(_STEP_S)
        changed = polled.lost | polled.gained
        assert not (changed and polled.records), "a change of the share comes alone"
        assert polled.lost <= self.share
        assert not polled.gained & (self.share - polled.lost)
        self.share = self.share - polled.lost | polled.gained
        self.lost |= polled.lost
        self.records = [record for record in self.records if record.place not in changed]
        self.records += polled.records
        assert self.member.assigned() == self.share
        assert {record.place for record in polled.records} <= self.share

    @property
    def values(self) -> list[bytes | None]:
        return [record.value for record in self.records]

    def commit(self, *records: Record) -> None:
        """Set the group's positions behind some records."""
        with self.member.transaction() as transaction:
            for record in records:
                transaction.advance(record.place, record.offset + 1)

    def write(self, *records: Outgoing, positions: Mapping[Partition, int]) -> None:
        """Append records and set the group's positions, in one transaction."""
        with self.member.transaction() as transaction:
            for record in records:
                transaction.append(record)
            for partition, offset in positions.items():
                transaction.advance(partition, offset)


def poll_until(condition: Callable[[], object], *followers: Follower) -> None:
    """Poll in turn until something holds."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, [(one.share, one.values) for one in followers]
        for follower in followers:
            follower.poll()


def eventually(condition: Callable[[], object]) -> None:
    """Wait until something holds: what is committed may be seen a moment later."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(_STEP_S)


def everything(log: EventLog, topic: str) -> list[Record]:
    """Return all that a topic holds, in the order of each partition."""
    found: list[Record] = []
    for number in log.spans(topic):
        at = 0
        while some := log.read(Partition(topic, number), at):
            found += some
            at = some[-1].offset + 1
    return found


def values(log: EventLog, topic: str) -> list[bytes | None]:
    """Return the values that a topic holds, in the order of each partition."""
    return [record.value for record in everything(log, topic)]
