"""What the port `EventLog` promises of groups: who has which partitions, where they go on, and transactions."""

import os
import time
from collections import Counter
from contextlib import closing, suppress

import pytest

from relight.transports.port import EventLog, Fenced, Outgoing, Partition, Span, TooLarge, TopicMissing
from tests.contract.following import DEADLINE_S, Follower, eventually, poll_until, values
from tests.contract.log_fixtures import PARTITIONS, Join, LogFixtures, Open, made


class GroupsContract(LogFixtures):
    """Groups, positions, shares and transactions."""

    def test_a_transaction_shows_its_records_and_positions_when_it_commits(
        self, join: Join, other: EventLog, topic: str, out: str
    ) -> None:
        follower = join("a")
        poll_until(lambda: len(follower.share) == PARTITIONS, follower)
        with follower.member.transaction() as transaction:
            transaction.append(Outgoing(out, b"1", partition=0))
            transaction.append(Outgoing(out, b"2", partition=3))
            transaction.advance(Partition(topic, 1), 7)
            assert values(other, out) == []
            assert other.spans(out)[0] == Span(0, 0)
            assert other.positions(topic, topic) == {}
        eventually(lambda: values(other, out) == [b"1", b"2"] and other.positions(topic, topic) == {1: 7})

    def test_a_transaction_whose_block_raises_leaves_nothing(
        self, join: Join, other: EventLog, topic: str, out: str
    ) -> None:
        follower = join("a")
        poll_until(lambda: follower.share, follower)
        with suppress(ZeroDivisionError), follower.member.transaction() as transaction:
            transaction.append(Outgoing(out, b"undone", partition=0))
            transaction.advance(Partition(topic, 0), 1)
            raise ZeroDivisionError
        with follower.member.transaction() as transaction:
            transaction.append(Outgoing(out, b"done", partition=0))
        eventually(lambda: values(other, out) == [b"done"])
        assert other.positions(topic, topic) == {}

    @pytest.mark.parametrize("reason", [TooLarge, TopicMissing])
    def test_of_a_transaction_with_a_record_that_cannot_be_kept_nothing_stays(
        self, join: Join, other: EventLog, topic: str, reason: type[Exception]
    ) -> None:
        out = made(other, max_record_bytes=10_000)
        bad = Outgoing(out, os.urandom(30_000), partition=0) if reason is TooLarge else Outgoing(f"{out}-unknown", b"x")
        follower = join("a")
        poll_until(lambda: follower.share, follower)
        with pytest.raises(reason):
            follower.write(Outgoing(out, b"small", partition=0), bad, positions={Partition(topic, 0): 1})
        follower.member.close()
        again = join("a")
        poll_until(lambda: again.share, again)
        with again.member.transaction() as transaction:
            transaction.append(Outgoing(out, b"after", partition=0))
        eventually(lambda: values(other, out) == [b"after"])
        assert other.positions(topic, topic) == {}

    def test_a_single_member_gets_all_partitions_from_the_beginning(
        self, join: Join, other: EventLog, topic: str
    ) -> None:
        other.append([Outgoing(topic, b"%d" % n, partition=n % PARTITIONS) for n in range(40)])
        follower = join("a")
        assert follower.member.assigned() == frozenset()
        poll_until(lambda: len(follower.records) == 40, follower)
        assert follower.share == {Partition(topic, number) for number in range(PARTITIONS)}
        for number in range(PARTITIONS):
            own = [int(r.value or b"") for r in follower.records if r.partition == number]
            assert own == list(range(number, 40, PARTITIONS))

    def test_a_poll_gives_at_most_about_its_limit(self, join: Join, other: EventLog, topic: str) -> None:
        other.append([Outgoing(topic, b"%d" % n, partition=0) for n in range(50)])
        follower = join("a")
        poll_until(lambda: follower.share, follower)
        found: list[bytes | None] = []
        deadline = time.monotonic() + DEADLINE_S
        while len(found) < 50 and time.monotonic() < deadline:
            polled = follower.member.poll(0.1, limit=10)
            assert len(polled.records) <= 20
            found += [record.value for record in polled.records]
        assert found == [b"%d" % n for n in range(50)]

    def test_a_group_without_positions_may_begin_at_the_end(self, join: Join, other: EventLog, topic: str) -> None:
        other.append([Outgoing(topic, b"old", partition=0)])
        follower = join("a", beginning=False)
        poll_until(lambda: follower.share, follower)
        other.append([Outgoing(topic, b"new", partition=0)])
        poll_until(lambda: follower.records, follower)
        assert follower.values == [b"new"]

    def test_only_a_commit_moves_positions(self, join: Join, other: EventLog, topic: str) -> None:
        other.append([Outgoing(topic, b"%d" % n, partition=0) for n in range(5)])
        first = join("a")
        poll_until(lambda: len(first.records) == 5, first)
        assert other.positions(topic, topic) == {}
        first.commit(first.records[2])
        eventually(lambda: other.positions(topic, topic) == {0: first.records[2].offset + 1})
        first.member.close()
        second = join("b", beginning=False)
        poll_until(lambda: len(second.records) == 2, second)
        assert second.values == [b"3", b"4"]

    def test_groups_do_not_touch_each_other(self, join: Join, open_log: Open, topic: str) -> None:
        with open_log() as other:
            other.append([Outgoing(topic, b"x", partition=0)])
            first = join("a")
            poll_until(lambda: first.records, first)
            first.commit(*first.records)
            assert other.positions(f"{topic}-second", topic) == {}
            with closing(other.join(f"{topic}-second", [topic], "a")) as member:
                second = Follower(member)
                poll_until(lambda: second.records, first, second)
                assert first.share == second.share

    def test_a_poll_waits_no_longer_than_it_may(self, join: Join) -> None:
        follower = join("a")
        poll_until(lambda: follower.share, follower)
        begun = time.monotonic()
        follower.member.poll(0.05)
        assert time.monotonic() - begun < 2

    def test_members_share_the_partitions_and_one_that_leaves_gives_its_back(
        self, join: Join, other: EventLog, topic: str
    ) -> None:
        other.append([Outgoing(topic, b"%d" % n, partition=n % PARTITIONS) for n in range(20)])
        a = join("a")
        poll_until(lambda: len(a.records) == 20, a)
        whole, half = a.share, PARTITIONS // 2
        a.commit(*(record for record in a.records if int(record.value or b"") < 12))
        b = join("b")
        poll_until(lambda: len(a.share) == len(b.share) == half, a, b)
        assert a.lost >= b.share
        assert a.share | b.share == whole
        poll_until(lambda: len(b.records) == 4, a, b)
        assert {int(value or b"") for value in b.values} <= set(range(12, 20))
        (first, *_) = b.records
        b.commit(first)
        b.member.close()
        a.records = [record for record in a.records if record.place in a.share]
        poll_until(lambda: a.share == whole, a)
        back = {record.value for record in b.records} - {first.value}
        poll_until(lambda: back <= set(a.values), a)
        assert first.value not in a.values

    def test_what_was_read_and_not_committed_is_read_again_by_whoever_gets_it(
        self, join: Join, other: EventLog, topic: str
    ) -> None:
        other.append([Outgoing(topic, b"%d" % n, partition=n % PARTITIONS) for n in range(8)])
        every = {b"%d" % n for n in range(8)}
        a = join("a")
        poll_until(lambda: set(a.values) == every, a)
        b = join("b")
        poll_until(lambda: a.share and b.share and Counter(a.values + b.values) == Counter(every), a, b)
        b.member.close()
        poll_until(lambda: Counter(a.values) == Counter(every), a)
        a.member.close()
        again = join("a")
        poll_until(lambda: Counter(again.values) == Counter(every), again)

    def test_a_replaced_member_learns_it_when_it_polls(self, join: Join, topic: str) -> None:
        first = join("a")
        poll_until(lambda: first.share, first)
        second = join("a")
        poll_until(lambda: len(second.share) == PARTITIONS, second)
        with pytest.raises(Fenced):
            poll_until(lambda: False, first)

    def test_a_group_reads_across_the_gaps_that_transactions_leave(
        self, join: Join, other: EventLog, topic: str, out: str
    ) -> None:
        writer = join("a")
        poll_until(lambda: writer.share, writer)
        for n in range(5):
            with writer.member.transaction() as transaction:
                transaction.append(Outgoing(out, b"%d" % n, partition=0))
        other.append([Outgoing(out, b"5", partition=0)])
        with closing(other.join(out, [out], "a")) as member:
            reader = Follower(member)
            poll_until(lambda: reader.values == [b"%d" % n for n in range(6)], reader)

    def test_topics_of_one_size_are_shared_alike(self, join: Join, topic: str, out: str) -> None:
        members = [join(name, topic, out) for name in ("a", "b", "c")]
        poll_until(lambda: sum(len(one.share) for one in members) == 2 * PARTITIONS and all(
            one.share for one in members), *members)  # fmt: skip
        assert frozenset().union(*(one.share for one in members)) == {
            Partition(name, number) for name in (topic, out) for number in range(PARTITIONS)
        }
        for one in members:
            first, second = ({p.number for p in one.share if p.topic == name} for name in (topic, out))
            assert first == second

    def test_a_member_may_have_nothing_and_takes_over_when_others_leave(self, join: Join, other: EventLog) -> None:
        single = made(other, 1)
        a, b = join("a", single), join("b", single)
        poll_until(lambda: a.share | b.share, a, b)
        owner, idle = (a, b) if a.share else (b, a)
        assert not idle.share
        owner.member.close()
        poll_until(lambda: idle.share, idle)
        assert idle.share == {Partition(single, 0)}

    def test_a_partition_of_another_member_cannot_be_advanced(
        self, join: Join, other: EventLog, topic: str, out: str
    ) -> None:
        a = join("a")
        poll_until(lambda: len(a.share) == PARTITIONS, a)
        b = join("b")
        poll_until(lambda: len(a.share) == len(b.share) == PARTITIONS // 2, a, b)
        with pytest.raises(Fenced):
            a.write(Outgoing(out, b"from another", partition=0), positions={min(b.share): 1})
        assert values(other, out) == []
        assert other.positions(topic, topic) == {}

    @pytest.mark.parametrize("advancing", [True, False])
    def test_a_member_that_joins_under_a_name_fences_the_one_before(
        self, join: Join, other: EventLog, topic: str, out: str, advancing: bool
    ) -> None:
        first = join("a")
        poll_until(lambda: first.share, first)
        second = join("a")
        positions = {Partition(topic, 0): 1} if advancing else {}
        with pytest.raises(Fenced):
            first.write(Outgoing(out, b"from the dead", partition=0), positions=positions)
        first.member.close()
        poll_until(lambda: len(second.share) == PARTITIONS, second)
        second.write(Outgoing(out, b"alive", partition=0), positions={Partition(topic, 0): 2})
        eventually(lambda: values(other, out) == [b"alive"] and other.positions(topic, topic) == {0: 2})

    def test_what_a_dead_member_began_is_taken_up_with_nothing_lost_and_nothing_twice(
        self, join: Join, other: EventLog, topic: str, out: str
    ) -> None:
        other.append([Outgoing(topic, b"%d" % n, partition=n % PARTITIONS) for n in range(60)])
        for steps in (0, 1, 2):
            copier = join("a")
            for _ in range(steps):
                copy(copier, out)
            with pytest.raises(ZeroDivisionError):  # it dies in the middle, and does not leave
                copy(copier, out, dies=True)
        last = join("a")
        deadline = time.monotonic() + DEADLINE_S
        while sum(other.positions(topic, topic).values()) < 60 and time.monotonic() < deadline:
            copy(last, out)
        eventually(lambda: len(values(other, out)) >= 60)
        assert Counter(values(other, out)) == Counter(b"%d" % n for n in range(60))


def copy(follower: Follower, out: str, dies: bool = False) -> None:
    """Poll until there are records, copy them in one transaction, or die where it would commit."""
    deadline = time.monotonic() + 2
    while not (records := follower.member.poll(0.1, limit=7).records) and time.monotonic() < deadline:
        pass
    with follower.member.transaction() as transaction:
        for record in records:
            transaction.append(Outgoing(out, record.value, partition=record.partition))
            transaction.advance(record.place, record.offset + 1)
        if dies:
            raise ZeroDivisionError
