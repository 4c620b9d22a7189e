"""What a member of a group has of its topics: rebalances change it, and the next poll tells."""

from collections.abc import Iterable

from kafka import ConsumerGroupMetadata, ConsumerRebalanceListener, KafkaConsumer, TopicPartition

from relight.transports.port import Partition, Polled

Share = frozenset[Partition]


class KafkaShare(ConsumerRebalanceListener):  # type: ignore[misc] # kafka-python has no types
    """The partitions as Kafka has told them (`now`) and as the last poll has told its caller (`told`).

    kafka-python calls it in its own thread, but only while the member's thread waits in a poll.
    """

    def __init__(self, consumer: KafkaConsumer) -> None:
        """Begin with nothing."""
        self.now: Share = frozenset()
        self.told: Share = frozenset()
        self.changed = False
        self.stale: Share = frozenset()
        self.membership: ConsumerGroupMetadata | None = None
        self._consumer = consumer

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Give everything up: a rebalance begins, and whether something comes back is known when it ends."""
        self._become(frozenset(), bool(revoked))

    def on_partitions_lost(self, lost: Iterable[TopicPartition]) -> None:
        """Give everything up: the group has gone on without this member."""
        self._become(frozenset(), True)

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Take what the rebalance gave, with the generation of the group that it belongs to.

        Kafka holds commits against that generation. It must not be asked for later: a member that has been thrown out
        has none, and commits without one are not checked.
        """
        self.membership = self._consumer.group_metadata()
        self._become(frozenset(Partition(*place) for place in assigned), True)

    def tell(self) -> Polled:
        """Return how the share has changed since this was told last.

        What was lost and came back is `stale` until the next poll: what the caller still has of it is from before.
        """
        change = Polled(gained=self.now, lost=self.told)
        self.told, self.stale, self.changed = self.now, self.now & self.told, False
        return change

    def strangers(self, partitions: Iterable[Partition]) -> list[Partition]:
        """Return those of some partitions whose position this member may not set now."""
        return sorted(set(partitions) - (self.told - self.stale))

    def _become(self, share: Share, changed: bool) -> None:
        self.now = share
        self.changed = self.changed or (changed and bool(self.told or share))
