"""The event log on Kafka. Groups are consumer groups with static members, transactions Kafka's own."""

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Self

from kafka import IsolationLevel, KafkaConsumer, OffsetSpec, TopicPartition
from kafka.errors import IllegalStateError

from relight.transports import kafka_clients, kafka_topics
from relight.transports.connection import KafkaConnection
from relight.transports.kafka_admin import Admin
from relight.transports.kafka_clients import Producer
from relight.transports.kafka_coordinator import committed
from relight.transports.kafka_errors import translated
from relight.transports.kafka_member import KafkaMember, record, send
from relight.transports.port import Outgoing, Partition, Record, Span, TopicMissing, TopicSpec, Unavailable

_STEP_MS: Final = 10
_log = logging.getLogger(__name__)


class KafkaLog:
    """An event log in Kafka. It connects when it is used. Used by one thread; so is each of its members."""

    def __init__(
        self, connection: KafkaConnection, *, replication_factor: int = -1, session_timeout_s: float = 10
    ) -> None:
        """Take the brokers' addresses.

        Args:
            connection: where the brokers are, and how to log in.
            replication_factor: how many brokers hold a topic that `create` creates; -1 leaves it to the brokers.
            session_timeout_s: how long a group waits for a member that has died before others get its partitions.
        """
        self._connection = connection
        self._replication_factor = replication_factor
        self._session_timeout_s = session_timeout_s
        self._admin = Admin(connection)
        self._producer: Producer | None = None
        self._reader: KafkaConsumer | None = None
        self._onlookers: dict[str, KafkaConsumer] = {}
        self._reader_at: tuple[TopicPartition, int] | None = None

    def create(self, topics: Iterable[TopicSpec]) -> None:
        """Create the topics that are not there; those that are stay as they are. Raises: LogError."""
        if wanted := tuple(topics):
            copies = self._replication_factor
            self._admin.ask(f"create {_listed(wanted)}", lambda client: kafka_topics.create(client, wanted, copies))

    def alter(self, topics: Iterable[TopicSpec]) -> None:
        """Change topics that are there to what they should be; partitions only grow. Raises: LogError."""
        if wanted := tuple(topics):
            self._admin.ask(f"change {_listed(wanted)}", lambda client: kafka_topics.alter(client, wanted))
            self._close_producer()  # it would not know new partitions for minutes
            self._admin.forget()

    def topics(self) -> Mapping[str, TopicSpec]:
        """Return the topics that are there, as they are. Raises: LogError."""
        return self._admin.ask("list topics", kafka_topics.describe)

    def append(self, records: Sequence[Outgoing]) -> None:
        """Append records; when this returns, they are kept. After an error some may be, and may be appended again.

        Raises: LogError.
        """
        topics = self._admin.require({one.topic for one in records})
        try:
            with self._translated(f"append to {', '.join(sorted(topics))}"):
                self._append(records)
        except BaseException:
            # It may be unable to go on, may hold records, or the topic may have been deleted: begin anew.
            self._close_producer()
            self._admin.forget()
            raise

    def read(self, partition: Partition, offset: int, limit: int = 500) -> list[Record]:
        """Return up to `limit` records from an offset on; none where the partition ends. Raises: LogError."""
        place = self._place(partition)
        with self._translated(f"read {partition}"):
            try:
                return self._again(place, offset, limit)
            except BaseException:
                self._close_reader()
                raise

    def spans(self, topic: str) -> Mapping[int, Span]:
        """Return what each partition of a topic holds, committed records only. Raises: LogError."""
        places = [TopicPartition(topic, number) for number in range(self._admin.partitions(topic))]
        first, last = (
            self._admin.ask(
                f"look up the offsets of {topic}",
                lambda client, edge=edge: client.list_partition_offsets(  # type: ignore[misc]
                    dict.fromkeys(places, edge), IsolationLevel.READ_COMMITTED
                ),
            )
            for edge in (OffsetSpec.EARLIEST, OffsetSpec.LATEST)
        )
        return {place.partition: Span(first[place].offset, last[place].offset) for place in places}

    def positions(self, group: str, topic: str) -> Mapping[int, int]:
        """Return a group's position in each partition where it has one. Raises: LogError."""
        places = [TopicPartition(topic, number) for number in range(self._admin.partitions(topic))]
        with self._translated(f"look up the positions of {group}"):
            if group not in self._onlookers:
                self._onlookers[group] = kafka_clients.consumer(self._connection, group_id=group)
            try:
                found = committed(self._onlookers[group], places, self._connection.timeout_s)
            except BaseException:
                self._onlookers.pop(group).close()
                raise
        return {place.partition: at for place, at in sorted(found.items())}

    def join(self, group: str, topics: Sequence[str], member: str, *, beginning: bool = True) -> KafkaMember:
        """Join a group under a name of one's own: a member that joins under the same name replaces this one.

        All topics of a group that have as many partitions are shared alike: whoever has partition 3 of one has
        partition 3 of the others. Where the group has no position it begins at the beginning, or at the end.

        Raises: LogError.
        """
        self._admin.require(topics)
        return KafkaMember(
            self._connection, group, topics, member, beginning=beginning, session_timeout_s=self._session_timeout_s
        )

    def close(self) -> None:
        """Let go of connections. Never raises."""
        onlookers = [onlooker.close for onlooker in self._onlookers.values()]
        self._onlookers.clear()
        for step in (self._close_producer, self._close_reader, *onlookers, self._admin.close):
            try:
                step()
            except Exception as error:
                _log.warning("a connection to Kafka at %s did not close: %s", self._connection.servers, error)

    def __enter__(self) -> Self:
        """Return the log itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def _translated(self, doing: str) -> Any:
        return translated(self._connection, doing)

    def _place(self, partition: Partition) -> TopicPartition:
        there = self._admin.partitions(partition.topic)
        if partition.number not in range(there):
            raise TopicMissing(f"{partition.topic} has {there} partitions: there is no {partition}")
        return TopicPartition(partition.topic, partition.number)

    def _append(self, records: Sequence[Outgoing]) -> None:
        if self._producer is None:
            self._producer = kafka_clients.producer(self._connection)
        sent = [send(self._producer, one) for one in records]
        self._producer.flush(timeout=self._connection.timeout_s + 1)
        for one in sent:
            one.get(timeout=self._connection.timeout_s)

    def _again(self, place: TopicPartition, offset: int, limit: int) -> list[Record]:
        """Read, a second time with a fresh client where the first is confused by answers about what it read before."""
        try:
            return self._read(place, offset, limit)
        except IllegalStateError:
            self._close_reader()
            return self._read(place, offset, limit)

    def _read(self, place: TopicPartition, offset: int, limit: int) -> list[Record]:
        wait_ms = int(self._connection.timeout_s * 1000)
        if self._reader is None:
            self._reader = kafka_clients.consumer(self._connection)
        reader = self._reader
        end = reader.end_offsets([place], timeout_ms=wait_ms)[place]
        if offset >= end:
            return []
        if self._reader_at != (place, offset):
            reader.assign([place])
            reader.seek(place, offset)
        deadline = time.monotonic() + self._connection.timeout_s
        while time.monotonic() < deadline:
            if found := reader.poll(timeout_ms=_STEP_MS, max_records=limit).get(place):
                self._reader_at = (place, found[-1].offset + 1)
                return [record(one) for one in found]
            if reader.position(place, timeout_ms=wait_ms) >= end:  # what was left are marks of transactions
                return []
        raise Unavailable(f"Kafka at {self._connection.servers}: no records of {place} from {offset} on in time")

    def _close_producer(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.close()

    def _close_reader(self) -> None:
        reader, self._reader, self._reader_at = self._reader, None, None
        if reader is not None:
            reader.close()


def _listed(topics: Iterable[TopicSpec]) -> str:
    return ", ".join(topic.name for topic in topics)
