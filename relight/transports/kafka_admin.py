"""Questions to Kafka about topics and groups, asked again while a broker is moving, for a bounded time."""

import time
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar

from kafka import KafkaAdminClient
from kafka.errors import KafkaError, NoError, UnknownTopicOrPartitionError, for_code

from relight.transports import kafka_clients
from relight.transports.connection import KafkaConnection
from relight.transports.kafka_errors import meaning
from relight.transports.port import TopicMissing, Unavailable

Answer = TypeVar("Answer")
_AGAIN_S: Final = 0.1
_SOON_S: Final = 0.01
_COMPLETING: Final = ("PrepareCommit", "PrepareAbort")


class Admin:
    """An administrative client that is opened when it is needed. Used by one thread."""

    def __init__(self, connection: KafkaConnection) -> None:
        """Open nothing yet."""
        self._connection = connection
        self._client: KafkaAdminClient | None = None
        self._partitions: dict[str, int] = {}

    def ask(
        self, doing: str, question: Callable[[KafkaAdminClient], Answer], patience_s: float | None = None
    ) -> Answer:
        """Return the answer to a question. Errors that pass are waited out. Raises: LogError."""
        deadline = time.monotonic() + (self._connection.timeout_s if patience_s is None else patience_s)
        while True:
            try:
                if self._client is None:
                    self._client = kafka_clients.admin(self._connection, patience_s)
                return question(self._client)
            except KafkaError as error:
                self.close()  # it may hold the address of a coordinator that has moved
                passes = error.retriable and not isinstance(error, UnknownTopicOrPartitionError)
                if not passes or time.monotonic() > deadline:
                    raise meaning(error, self._connection, doing) from error
                time.sleep(_AGAIN_S)

    def partitions(self, topic: str) -> int:
        """Return how many partitions a topic has. Raises: LogError."""
        return self.require([topic])[topic]

    def require(self, topics: Iterable[str]) -> dict[str, int]:
        """Return how many partitions topics have; what is known is not asked again.

        Raises:
            TopicMissing: one is not there.
            LogError: Kafka does not say.
        """
        wanted = set(topics)
        if unknown := sorted(wanted - self._partitions.keys()):
            told = self.ask(f"look up {', '.join(unknown)}", lambda client: _found(client.describe_topics(unknown)))
            if missing := [topic for topic in unknown if topic not in told]:
                where = f"Kafka at {self._connection.servers}"
                raise TopicMissing(f"{where} has no topic {', '.join(missing)}. `relight setup` creates the topics")
            self._partitions |= told
        return {topic: self._partitions[topic] for topic in wanted}

    def settle(self, group: str) -> None:
        """Wait until what the members of a group have committed can be read: Kafka says so before it shows.

        Raises: LogError.
        """
        deadline = time.monotonic() + self._connection.timeout_s
        unsettled = self._completing(group)
        while unsettled:
            if time.monotonic() > deadline:
                where = f"Kafka at {self._connection.servers}"
                raise Unavailable(f"{where}: transactions of {', '.join(sorted(unsettled))} do not complete")
            time.sleep(_SOON_S)
            unsettled &= self._completing(group)

    def _completing(self, group: str) -> set[str]:
        told = self.ask("list transactions", lambda client: client.list_transactions(state_filters=_COMPLETING))
        names = {one.transactional_id for some in told.values() for one in some}
        return {name for name in names if name.startswith(f"{group}/")}

    def forget(self) -> None:
        """Forget which topics there are: one may have been deleted."""
        self._partitions.clear()

    def close(self) -> None:
        """Close the client; the next question opens another."""
        client, self._client = self._client, None
        if client is not None:
            client.close()


def _found(topics: list[dict[str, Any]]) -> dict[str, int]:
    """Return the partitions of the topics that are there. Raises: KafkaError."""
    for topic in topics:
        error = for_code(topic["error_code"])
        if error not in (NoError, UnknownTopicOrPartitionError):
            raise error(topic["name"])
    return {topic["name"]: len(topic["partitions"]) for topic in topics if topic["error_code"] == NoError.errno}
