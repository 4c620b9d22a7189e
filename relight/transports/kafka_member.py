"""A member of a consumer group on Kafka: what it reads, and how it commits what follows from that, in transactions."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from kafka import OffsetAndMetadata, TopicPartition
from kafka.admin import MemberToRemove
from kafka.consumer.fetcher import ConsumerRecord
from kafka.errors import KafkaError, KafkaTimeoutError, UnknownTopicOrPartitionError
from kafka.structs import MemberState

from relight.transports import kafka_clients
from relight.transports.connection import KafkaConnection
from relight.transports.kafka_admin import Admin
from relight.transports.kafka_clients import Producer
from relight.transports.kafka_coordinator import committed, coordinator
from relight.transports.kafka_errors import meaning, translated
from relight.transports.kafka_share import KafkaShare
from relight.transports.port import Fenced, Outgoing, Partition, Polled, Record
from relight.transports.writes import Writes

_HEARTBEAT_MS: Final = 500
_CHECK_EVERY_S: Final = 3.0
_LEAVE_S: Final = 2.0
_log = logging.getLogger(__name__)


class KafkaMember:
    """A static member of a consumer group with a transactional producer, both under the member's name."""

    def __init__(
        self, connection: KafkaConnection, group: str, topics: Sequence[str], name: str,
        *, beginning: bool, session_timeout_s: float,
    ) -> None:  # fmt: skip
        """Take the name over: from here on a transaction of an earlier member of this name fails. Raises: LogError."""
        self._connection, self._group, self._name, self._beginning = connection, group, name, beginning
        self._check_at = time.monotonic() + _CHECK_EVERY_S
        self._unusable = ""
        self._announced = False
        self._admin = Admin(connection)
        self._at: dict[Partition, int] = {}
        self._producer = kafka_clients.producer(connection, transactional_id=f"{group}/{name}")
        try:
            with self._translated("begin"):
                self._producer.init_transactions()
            self._consumer = kafka_clients.consumer(
                connection, group_id=group, group_instance_id=name, heartbeat_interval_ms=_HEARTBEAT_MS,
                session_timeout_ms=int(session_timeout_s * 1000),
            )  # fmt: skip
        except BaseException:
            self._producer.close()
            raise
        self._coordinator = coordinator(self._consumer)
        self._share = KafkaShare(self._consumer)
        self._consumer.subscribe(topics, listener=self._share)

    def poll(self, timeout_s: float, limit: int = 500) -> Polled:
        """Wait up to `timeout_s` for records, return at most `limit`. Changes of the share come alone.

        Raises: LogError.
        """
        self._require_usable()
        self._check()
        if self._rebalance_begins():
            return Polled()
        self._share.stale = frozenset()
        with self._translated("poll"):
            if self._share.membership is None:
                self._learn_topics()
            found = self._consumer.poll(timeout_ms=timeout_s * 1000, max_records=limit)
            if self._share.changed:
                self._rewind()  # what was found is read again
                return self._share.tell()
        return Polled([record(one) for some in found.values() for one in some])

    def assigned(self) -> frozenset[Partition]:
        """Return the partitions that are this member's now, as far as the last poll has told."""
        return self._share.told

    @contextmanager
    def transaction(self) -> Iterator[Writes]:
        """Begin a transaction: it commits at the end of the `with` block, and is undone if that raises.

        Raises:
            Fenced: when it commits, if a partition that it advances is not this member's any more.
            LogError: it did not commit, or whether it did is not known: close, join again, and read the positions.
        """
        self._require_usable()
        begun = Writes()
        yield begun
        if strangers := self._share.strangers(begun.positions):
            listed = ", ".join(map(str, strangers))
            raise Fenced(f"{self._who} cannot advance {listed}: not its own any more. Forget their state")
        if begun.records or begun.positions:
            self._admin.require({one.topic for one in begun.records})
            self._commit(begun)

    def close(self) -> None:
        """Leave the group. Never raises."""
        if self._unusable == _CLOSED:
            return
        self._unusable = _CLOSED
        member_id = self._consumer.group_metadata().member_id
        self._quietly("close its consumer", lambda: self._consumer.close(timeout_ms=_LEAVE_S * 1000))
        if member_id:
            self._quietly("leave the group", lambda: self._leave(member_id))
        self._quietly("close its producer", self._producer.close)
        self._quietly("close its connection", self._admin.close)

    @property
    def _who(self) -> str:
        return f"member {self._name} of {self._group}"

    def _translated(self, doing: str) -> Any:
        return translated(self._connection, f"{doing} as {self._who}")

    def _require_usable(self) -> None:
        if self._unusable:
            raise Fenced(f"{self._who} {self._unusable}: close it and join again")

    def _check(self) -> None:
        """Find out what kafka-python keeps to itself: that no broker answers, or that this name is another's now."""
        if time.monotonic() < self._check_at:
            return
        groups = self._admin.ask(f"look up {self._group}", lambda admin: admin.describe_groups([self._group]))
        members = {member["member_id"] for member in groups[self._group]["members"]}
        self._check_at = time.monotonic() + _CHECK_EVERY_S
        known = self._consumer.group_metadata()
        if known.state is MemberState.STABLE and known.member_id not in members:
            self._unusable = "has lost its name to another member"
            self._require_usable()

    def _rebalance_begins(self) -> bool:
        """Whether a rebalance waits for this member, seen for the first time.

        The next poll joins it; until then the group accepts what the caller has read and not committed yet.
        """
        waits = bool(self._share.told) and self._coordinator.rebalance_waits()
        begins, self._announced = waits and not self._announced, waits
        self._coordinator.holds = bool(self._share.told) and not waits
        return begins

    def _learn_topics(self) -> None:
        """Look the topics up: a member that leads the group before it knows them gives nobody anything."""
        self._edges([TopicPartition(topic, 0) for topic in self._consumer.subscription()])

    def _rewind(self) -> None:
        """Go to the group's positions: kafka-python goes on where it was in a partition that comes back."""
        places = [_place(partition) for partition in sorted(self._share.now)]
        at = committed(self._consumer, places, self._connection.timeout_s)
        self._at = {Partition(*place): offset for place, offset in at.items()}
        for place, offset in (at | self._edges([place for place in places if place not in at])).items():
            self._consumer.seek(place, offset)
        if places:
            self._admin.settle(self._group)

    def _edges(self, places: list[TopicPartition]) -> dict[TopicPartition, int]:
        """Return where partitions begin for a group that has no position."""
        look = self._consumer.beginning_offsets if self._beginning else self._consumer.end_offsets
        found: dict[TopicPartition, int] = look(places, timeout_ms=self._connection.timeout_s * 1000) if places else {}
        return found

    def _commit(self, begun: Writes) -> None:
        self._unusable = "has begun a transaction that did not end well"
        try:
            self._producer.begin_transaction()
            sent = [send(self._producer, one) for one in begun.records]
            # A member that has been thrown out fails at the group's positions, so at least one is said again.
            if positions := begun.positions or dict(list(self._at.items())[:1]):
                offsets = {_place(partition): OffsetAndMetadata(at) for partition, at in positions.items()}
                self._producer.send_offsets_to_transaction(offsets, self._share.membership)
            self._producer.commit_transaction()
            for one in sent:
                one.get(timeout=self._connection.timeout_s)
        except BaseException as error:
            cause = self._producer.cause or error
            if not isinstance(cause, KafkaTimeoutError):  # else nobody would answer
                self._quietly("abort its transaction", self._producer.abort_transaction)
            if isinstance(cause, KafkaError):
                raise meaning(cause, self._connection, f"commit as {self._who}") from error
            raise
        self._unusable = ""
        self._at |= begun.positions

    def _leave(self, member_id: str) -> None:
        """Leave at once: closing a static member leaves its partitions to nobody until its session times out."""
        me = MemberToRemove(member_id=member_id, group_instance_id=self._name)
        self._admin.ask("leave", lambda admin: admin.remove_group_members(self._group, [me]), _LEAVE_S)

    def _quietly(self, doing: str, step: Callable[[], object]) -> None:
        try:
            step()
        except Exception as error:
            _log.warning("%s could not %s: %s", self._who, doing, error)


_CLOSED: Final = "is closed"


def send(producer: Producer, outgoing: Outgoing) -> Any:
    """Hand a record to a producer, return the future of its being kept. Raises: KafkaError."""
    topic, partition = outgoing.topic, outgoing.partition
    if partition is not None and partition not in producer.partitions_for(topic):
        raise UnknownTopicOrPartitionError(f"{topic}/{partition}")
    return producer.send(topic, outgoing.value, outgoing.key, list(outgoing.headers), partition=partition)


def record(found: ConsumerRecord) -> Record:
    """Return a record of Kafka's as the port has it."""
    return Record(
        found.topic, found.partition, found.offset, found.key, found.value, tuple(found.headers), found.timestamp
    )


def _place(partition: Partition) -> TopicPartition:
    return TopicPartition(partition.topic, partition.number)
