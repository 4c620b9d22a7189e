"""What the port `EventLog` promises, kept by real Kafka: also what only a broker can show, such as open transactions."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import count

import pytest

from relight.transports import kafka_clients
from relight.transports.connection import KafkaConnection
from relight.transports.kafka import KafkaLog
from relight.transports.kafka_member import KafkaMember, send
from relight.transports.port import Fenced, LogError, Outgoing, Partition, Polled, Record, Span, TooLarge, TopicSpec

pytestmark = pytest.mark.kafka

NUMBERS = count()
PATIENCE_S = 20.0


@pytest.fixture
def connection(kafka_address: str) -> KafkaConnection:
    return KafkaConnection(bootstrap=(kafka_address,))


@pytest.fixture
def log(connection: KafkaConnection) -> Iterator[KafkaLog]:
    with KafkaLog(connection) as log:
        yield log


@pytest.fixture
def join(log: KafkaLog) -> Iterator[Callable[..., KafkaMember]]:
    """Join a group; the members leave when the test ends."""
    members: list[KafkaMember] = []

    def joined(group: str, topics: list[str], name: str, **how: bool) -> KafkaMember:
        members.append(log.join(group, topics, name, **how))
        return members[-1]

    yield joined
    for member in members:
        member.close()


def made(log: KafkaLog, partitions: int = 2, **more: int | bool) -> str:
    """Create a topic that no other test has, return its name."""
    name = f"contract-{random.randrange(10**9)}-{next(NUMBERS)}"
    log.create([TopicSpec(name, partitions, **more)])
    return name


def poll_until(condition: Callable[[], object], *members: KafkaMember) -> list[Polled]:
    """Poll members in turn until something holds; return what they gave, without the empty ones."""
    given: list[Polled] = []
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, given
        polls = [member.poll(0.02) for member in members]
        given += [one for one in polls if one != Polled()]
    return given


def records(member: KafkaMember, number: int) -> list[Record]:
    """Poll until so many records came."""
    found: list[Record] = []
    deadline = time.monotonic() + PATIENCE_S
    while len(found) < number:
        assert time.monotonic() < deadline, found
        found += member.poll(0.1).records
    return found


def values(log: KafkaLog, topic: str, partitions: int = 2) -> list[bytes | None]:
    return [one.value for number in range(partitions) for one in log.read(Partition(topic, number), 0)]


# Topics and records


def test_topics_are_as_they_were_specified_and_stay_so(log: KafkaLog) -> None:
    topic = made(log, 3, retention_ms=3_600_000, max_record_bytes=2_000_000)
    compacted = made(log, 1, compacted=True)
    log.create([TopicSpec(topic, 7)])
    there = log.topics()
    assert there[topic] == TopicSpec(topic, 3, retention_ms=3_600_000, max_record_bytes=2_000_000)
    assert there[compacted] == TopicSpec(compacted, 1, compacted=True)
    assert not [name for name in there if name.startswith("__")]


def test_records_are_read_as_they_were_appended(log: KafkaLog) -> None:
    topic = made(log)
    before_ms = int(time.time() * 1000)
    log.append(
        [
            Outgoing(topic, b"value", b"key", (("a", b"1"), ("a", b"2")), 1),
            Outgoing(topic, None, b"key", partition=1),
            Outgoing(topic, b"", partition=1),
        ]
    )
    first, second, third = log.read(Partition(topic, 1), 0)
    assert (first.key, first.value, first.headers, first.place) == (
        b"key", b"value", (("a", b"1"), ("a", b"2")), Partition(topic, 1),
    )  # fmt: skip
    assert (second.key, second.value, second.headers) == (b"key", None, ())
    assert (third.key, third.value) == (None, b"")
    assert before_ms - 1000 <= first.time_ms <= int(time.time() * 1000) + 1000


def test_equal_keys_keep_their_order_in_one_partition(log: KafkaLog) -> None:
    topic = made(log, 3)
    log.append([Outgoing(topic, b"%d" % n, b"key-%d" % (n % 5)) for n in range(100)])
    by_key: dict[bytes | None, list[Record]] = {}
    for number in range(3):
        for one in log.read(Partition(topic, number), 0):
            by_key.setdefault(one.key, []).append(one)
    assert len(by_key) == 5
    for own in by_key.values():
        assert len({one.partition for one in own}) == 1
        assert [int(one.value or b"") for one in own] == sorted(int(one.value or b"") for one in own)


def test_reading_begins_at_an_offset_and_ends_at_the_limit_or_the_end(log: KafkaLog) -> None:
    topic = made(log)
    log.append([Outgoing(topic, b"%d" % n, partition=0) for n in range(10)])
    place = Partition(topic, 0)
    assert [one.offset for one in log.read(place, 3, limit=4)] == [3, 4, 5, 6]
    assert [one.offset for one in log.read(place, 7)] == [7, 8, 9]
    assert [one.offset for one in log.read(place, 2, limit=1)] == [2]
    assert log.read(place, 10) == log.read(place, 99) == log.read(Partition(topic, 1), 0) == []
    assert log.spans(topic) == {0: Span(0, 10), 1: Span(0, 0)}


def test_large_records_come_through_and_too_large_ones_are_refused_without_harm(log: KafkaLog) -> None:
    topic = made(log, 1, max_record_bytes=12_000_000)
    large = random.randbytes(11_000_000)
    log.append([Outgoing(topic, large)])
    with pytest.raises(TooLarge, match=topic):
        log.append([Outgoing(topic, random.randbytes(13_000_000))])
    with pytest.raises(TooLarge, match=topic):
        log.append([Outgoing(topic, bytes(20_000_000))])
    log.append([Outgoing(topic, b"small")])
    assert [one.value for one in log.read(Partition(topic, 0), 0)] == [large]
    assert [one.value for one in log.read(Partition(topic, 0), 1)] == [b"small"]


def test_what_is_not_committed_is_not_seen_and_what_is_aborted_never(
    log: KafkaLog, connection: KafkaConnection
) -> None:
    topic = made(log)
    place = Partition(topic, 0)
    producer = kafka_clients.producer(connection, transactional_id=f"{topic}/open")
    producer.init_transactions()
    producer.begin_transaction()
    send(producer, Outgoing(topic, b"open", partition=0))
    producer.flush()
    log.append([Outgoing(topic, b"behind", partition=0)])
    assert log.read(place, 0) == []
    assert log.spans(topic)[0] == Span(0, 0)
    producer.abort_transaction()
    producer.close()
    deadline = time.monotonic() + PATIENCE_S
    while not (found := log.read(place, 0)):
        assert time.monotonic() < deadline
    assert [one.value for one in found] == [b"behind"]
    assert log.read(place, found[-1].offset + 1) == []  # only the mark of the abort is there


# Transactions


def test_a_transaction_appends_and_advances(log: KafkaLog, join: Callable[..., KafkaMember]) -> None:
    topic, out = made(log), made(log)
    member = join(topic, [topic], "a")
    poll_until(member.assigned, member)
    assert log.positions(topic, topic) == {}
    for number in (1, 2):
        with member.transaction() as transaction:
            transaction.append(Outgoing(out, b"%d" % number, partition=1))
            transaction.advance(Partition(topic, 0), number)
    assert log.positions(topic, topic) == {0: 2}
    assert values(log, out) == [b"1", b"2"]


def test_a_transaction_whose_block_raises_leaves_nothing_and_its_member_goes_on(
    log: KafkaLog, join: Callable[..., KafkaMember]
) -> None:
    topic, out = made(log), made(log)
    member = join(topic, [topic], "a")
    poll_until(member.assigned, member)
    with pytest.raises(ZeroDivisionError), member.transaction() as transaction:
        transaction.append(Outgoing(out, b"undone"))
        transaction.advance(Partition(topic, 0), 1)
        1 / 0  # noqa: B018
    assert log.positions(topic, topic) == {}
    with member.transaction() as transaction:
        transaction.append(Outgoing(out, b"done"))
    assert values(log, out) == [b"done"]


def test_of_a_transaction_with_a_record_that_is_too_large_nothing_stays(
    log: KafkaLog, join: Callable[..., KafkaMember]
) -> None:
    topic, out = made(log), made(log, max_record_bytes=10_000)
    member = join(topic, [topic], "a")
    poll_until(member.assigned, member)
    with pytest.raises(TooLarge), member.transaction() as transaction:
        transaction.append(Outgoing(out, b"small", partition=0))
        transaction.append(Outgoing(out, random.randbytes(20_000), partition=0))
        transaction.advance(Partition(topic, 0), 1)
    with pytest.raises(Fenced, match="join again"):
        member.poll(0)
    again = join(topic, [topic], "a")
    with again.transaction() as transaction:
        transaction.append(Outgoing(out, b"after", partition=0))
    assert values(log, out) == [b"after"]
    assert log.positions(topic, topic) == {}


# Groups


def test_members_share_all_partitions_and_have_the_same_ones_of_every_topic(
    log: KafkaLog, join: Callable[..., KafkaMember]
) -> None:
    topics = [made(log, 4), made(log, 4)]
    one, other = join(topics[0], topics, "a"), join(topics[0], topics, "b")
    every = {Partition(topic, number) for topic in topics for number in range(4)}
    poll_until(lambda: len(one.assigned()) == len(other.assigned()) == 4, one, other)
    assert one.assigned() | other.assigned() == every
    for member in (one, other):
        numbers = [{place.number for place in member.assigned() if place.topic == topic} for topic in topics]
        assert numbers[0] == numbers[1]


def test_a_change_of_the_share_comes_alone_and_what_comes_back_begins_at_the_groups_position(
    log: KafkaLog, join: Callable[..., KafkaMember]
) -> None:
    topic = made(log)
    log.append([Outgoing(topic, b"%d" % n, partition=n % 2) for n in range(20)])
    one = join(topic, [topic], "a")
    assert len(records(one, 20)) == 20
    with one.transaction() as transaction:
        for number in (0, 1):
            transaction.advance(Partition(topic, number), 4)
    other = join(topic, [topic], "b")
    given = poll_until(lambda: len(one.assigned()) == len(other.assigned()) == 1, one, other)
    assert all(not polled.records for polled in given if polled.gained or polled.lost)
    for member in (one, other):
        assert [record.offset for record in records(member, 6)] == [4, 5, 6, 7, 8, 9]


def test_a_group_goes_on_where_it_was_when_all_have_left(log: KafkaLog, join: Callable[..., KafkaMember]) -> None:
    topic = made(log)
    log.append([Outgoing(topic, b"%d" % n, partition=0) for n in range(5)])
    first = join(topic, [topic], "a")
    records(first, 5)
    with first.transaction() as transaction:
        transaction.advance(Partition(topic, 0), 3)
    first.close()
    assert [record.offset for record in records(join(topic, [topic], "b"), 2)] == [3, 4]


def test_a_group_without_a_position_may_begin_at_the_end(log: KafkaLog, join: Callable[..., KafkaMember]) -> None:
    topic = made(log)
    log.append([Outgoing(topic, b"old", partition=0)])
    member = join(topic, [topic], "a", beginning=False)
    poll_until(member.assigned, member)
    log.append([Outgoing(topic, b"new", partition=0)])
    assert [record.value for record in records(member, 1)] == [b"new"]


def test_a_member_that_joins_under_a_name_replaces_the_one_before(
    log: KafkaLog, join: Callable[..., KafkaMember]
) -> None:
    topic = made(log)
    first = join(topic, [topic], "a")
    poll_until(first.assigned, first)
    second = join(topic, [topic], "a")
    with pytest.raises(Fenced), first.transaction() as transaction:
        transaction.append(Outgoing(topic, b"from the dead"))
    poll_until(second.assigned, second)
    first.close()
    with second.transaction() as transaction:
        transaction.advance(Partition(topic, 0), 1)
    assert values(log, topic) == []


def test_a_partition_of_another_member_cannot_be_advanced(log: KafkaLog, join: Callable[..., KafkaMember]) -> None:
    topic = made(log)
    one, other = join(topic, [topic], "a"), join(topic, [topic], "b")
    poll_until(lambda: one.assigned() and other.assigned(), one, other)
    with pytest.raises(Fenced, match="not its own"), one.transaction() as transaction:
        transaction.advance(min(other.assigned()), 1)
    assert log.positions(topic, topic) == {}


def test_names_of_members_may_hold_any_characters(log: KafkaLog, join: Callable[..., KafkaMember]) -> None:
    topic = made(log)
    member = join(topic, [topic], "höst 1/match:0")
    poll_until(member.assigned, member)
    with member.transaction() as transaction:
        transaction.advance(Partition(topic, 0), 1)


def test_every_record_is_handled_once_while_members_come_and_go(log: KafkaLog, connection: KafkaConnection) -> None:
    topic, out = made(log, 4), made(log, 4)
    log.append([Outgoing(topic, b"%d" % n, partition=n % 4) for n in range(2000)])
    done = threading.Event()

    def work(name: str, stays_s: float) -> None:
        with KafkaLog(connection) as own:
            while not done.is_set():
                member = own.join(topic, [topic], name)
                leaves = time.monotonic() + stays_s
                try:
                    while not done.is_set() and time.monotonic() < leaves:
                        copy(member, out)
                except LogError:
                    pass  # joins again
                finally:
                    member.close()

    workers = [threading.Thread(target=work, args=args) for args in (("a", 1.1), ("b", 0.7), ("c", 60))]
    for worker in workers:
        worker.start()
    deadline = time.monotonic() + 60
    while sum(log.positions(topic, topic).values()) < 2000 and time.monotonic() < deadline:
        time.sleep(0.2)
    done.set()
    for worker in workers:
        worker.join()
    copied: Counter[bytes | None] = Counter()
    for number in range(4):
        at = 0
        while found := log.read(Partition(out, number), at):
            copied.update(one.value for one in found)
            at = found[-1].offset + 1
    assert copied == Counter(b"%d" % n for n in range(2000))


def copy(member: KafkaMember, out: str) -> None:
    """Copy what a poll brings, in one transaction."""
    polled = member.poll(0.1, limit=20)
    if polled.records:
        with member.transaction() as transaction:
            for one in polled.records:
                transaction.append(Outgoing(out, one.value, partition=one.partition))
                transaction.advance(one.place, one.offset + 1)
