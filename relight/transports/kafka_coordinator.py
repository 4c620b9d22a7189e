"""A client's part in a consumer group as kafka-python plays it, but a rebalance that ends between two polls counts."""

from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.coordinator.consumer import ConsumerCoordinator


class Coordinator(ConsumerCoordinator):  # type: ignore[misc] # kafka-python has no types
    """Brings a rebalance that has begun to its end, however short the polls are.

    kafka-python's own forgets what a rebalance brought if no poll was waiting for it when it ended: it begins another,
    or, if the rebalance was its own wish because a topic has changed, none, and the member stands still for ever.
    """

    holds = False
    """Whether polls leave a rebalance alone that has not begun yet."""

    _brought: bytes | None = None

    def need_rejoin(self) -> bool:
        """Whether a poll has to take part in a rebalance."""
        return self.rejoining or (not self.holds and self.rebalance_waits())

    def rebalance_waits(self) -> bool:
        """Whether a rebalance waits for this member."""
        return bool(super().need_rejoin())

    async def _do_join_and_sync_async(self) -> bytes | None:
        if self._brought is None:
            self._brought = await super()._do_join_and_sync_async()
        return self._brought

    async def _on_join_complete_async(self, *how: Any) -> None:
        self._brought = None
        await super()._on_join_complete_async(*how)


def coordinator(consumer: KafkaConsumer) -> Coordinator:
    """Return a consumer's coordinator, made one of the above: kafka-python has no option for it."""
    found: Coordinator = consumer._coordinator
    found.__class__ = Coordinator
    return found


def committed(consumer: KafkaConsumer, places: list[TopicPartition], timeout_s: float) -> dict[TopicPartition, int]:
    """Return the positions of a consumer's group where it has one, all in one question.

    It waits for transactions that are not complete yet: what they set would be missing. Raises: KafkaError.
    """
    found = consumer._coordinator.fetch_committed_offsets(set(places), timeout_ms=timeout_s * 1000)
    return {place: at.offset for place, at in found.items()}
