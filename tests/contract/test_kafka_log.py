"""What the port `EventLog` promises, kept by real Kafka; and what only a broker can show."""

import os
import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest
from kafka.admin import MemberToRemove

from relight.transports import kafka_clients
from relight.transports.connection import KafkaConnection
from relight.transports.kafka import KafkaLog
from relight.transports.kafka_member import send
from relight.transports.port import EventLog, Fenced, LogError, Outgoing, Partition, Span
from tests.contract.event_log import EventLogContract, Open
from tests.contract.following import Follower, eventually, poll_until, values
from tests.contract.groups_contract import copy
from tests.contract.log_fixtures import Join, made

pytestmark = pytest.mark.kafka


@pytest.fixture
def connection(kafka_address: str) -> KafkaConnection:
    return KafkaConnection(bootstrap=(kafka_address,))


class TestKafkaLog(EventLogContract):
    @pytest.fixture
    def open_log(self, connection: KafkaConnection) -> Open:
        return lambda: KafkaLog(connection)

    @pytest.fixture
    def kafka(self, connection: KafkaConnection) -> Iterator[KafkaLog]:
        with KafkaLog(connection) as log:
            yield log

    def test_what_is_not_committed_is_not_seen_and_what_is_aborted_never(
        self, log: EventLog, connection: KafkaConnection, topic: str
    ) -> None:
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
        eventually(lambda: log.read(place, 0))
        (behind,) = log.read(place, 0)
        assert behind.value == b"behind"
        assert log.read(place, behind.offset + 1) == []  # only the mark of the abort is there

    def test_what_is_committed_counts_at_once_for_a_members_successor(
        self, kafka: KafkaLog, join: Join, topic: str, out: str
    ) -> None:
        for n in range(10):
            member = join("ab"[n % 2])
            poll_until(lambda: member.share, member)  # noqa: B023 - it is called here
            assert len(values(kafka, out)) == n
            assert kafka.positions(topic, topic) == ({0: n} if n else {})
            with member.member.transaction() as transaction:
                transaction.append(Outgoing(out, b"%d" % n, partition=n % 4))
                transaction.advance(Partition(topic, 0), n + 1)
            member.member.close()

    def test_a_member_that_was_thrown_out_cannot_append_even_where_it_advances_nothing(
        self, kafka: KafkaLog, join: Join, topic: str, out: str
    ) -> None:
        first = join("a")
        poll_until(lambda: first.share, first)
        with first.member.transaction() as transaction:
            transaction.append(Outgoing(out, b"in time", partition=0))
            transaction.advance(Partition(topic, 0), 1)
        thrown_out = [MemberToRemove(group_instance_id="a")]
        kafka._admin.ask("throw it out", lambda admin: admin.remove_group_members(topic, thrown_out))
        second = join("b")
        poll_until(lambda: second.share, second)
        with pytest.raises(Fenced), first.member.transaction() as transaction:
            transaction.append(Outgoing(out, b"too late", partition=0))
        with second.member.transaction() as transaction:
            transaction.append(Outgoing(out, b"from its successor", partition=0))
        eventually(lambda: values(kafka, out) == [b"in time", b"from its successor"])

    def test_a_rebalance_that_ends_between_two_polls_counts(self, join: Join) -> None:
        member = join("a").member
        deadline = time.monotonic() + 10
        while not member.assigned() and time.monotonic() < deadline:
            member.poll(0)
            time.sleep(0.1)
        assert len(member.assigned()) == 4

    def test_a_member_may_have_any_name(self, join: Join, topic: str) -> None:
        follower = join("höst 1/match:0")
        poll_until(lambda: follower.share, follower)
        with follower.member.transaction() as transaction:
            transaction.advance(Partition(topic, 0), 1)

    def test_a_record_may_have_16_mib(self, log: EventLog) -> None:
        topic = made(log, 1, max_record_bytes=17_000_000)
        large = os.urandom(kafka_clients.LARGEST_RECORD_BYTES)
        log.append([Outgoing(topic, large)])
        assert [record.value for record in log.read(Partition(topic, 0), 0)] == [large]

    def test_every_record_is_handled_once_while_members_come_and_go(
        self, log: EventLog, open_log: Open, topic: str, out: str
    ) -> None:
        log.append([Outgoing(topic, b"%d" % n, partition=n % 4) for n in range(2000)])
        done = threading.Event()

        def work(name: str, stays_s: float) -> None:
            with open_log() as own:
                while not done.is_set():
                    member = own.join(topic, [topic], name)
                    leaves = time.monotonic() + stays_s
                    try:
                        while not done.is_set() and time.monotonic() < leaves:
                            copy(Follower(member), out)
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
        assert Counter(values(log, out)) == Counter(b"%d" % n for n in range(2000))
