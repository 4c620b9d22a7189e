"""kafka-python's clients as this adapter opens them: they close what they opened, and none waits without end."""

from collections.abc import Callable
from typing import Any, Final, TypeVar

from kafka import ConsumerGroupMetadata, KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.errors import KafkaError, KafkaTimeoutError
from kafka.net.compat import KafkaNetClient
from kafka.partitioner import StickyPartitioner
from kafka.structs import OffsetAndMetadata

from relight.transports import kafka_wires
from relight.transports.connection import KafkaConnection
from relight.transports.kafka_errors import unreachable
from relight.transports.port import Refused

Client = TypeVar("Client")
_MIB: Final = 1024 * 1024
LARGEST_RECORD_BYTES: Final = 16 * _MIB
_TRANSACTION_MS: Final = 10_000
_LINGER_MS: Final = 5
_METADATA_MS: Final = 30_000  # new partitions are found this soon
_CLOSE_S: Final = 5.0


def admin(connection: KafkaConnection, patience_s: float | None = None) -> KafkaAdminClient:
    """Open a client for topics and groups. Raises: LogError."""
    patience = {} if patience_s is None else {"bootstrap_timeout_ms": int(patience_s * 1000)}
    return _opened(KafkaAdminClient, connection, **patience)


def consumer(connection: KafkaConnection, **more: Any) -> KafkaConsumer:
    """Open a consumer of committed records, for speed in bulk and little delay at the end. Raises: LogError."""
    options = {
        "isolation_level": "read_committed",
        "enable_auto_commit": False,
        "auto_offset_reset": "earliest",
        "allow_auto_create_topics": False,
        "partition_assignment_strategy": (RangePartitionAssignor,),
        "fetch_max_bytes": 50 * _MIB,
        "max_partition_fetch_bytes": 8 * _MIB,  # a larger record comes all the same, alone
        "fetch_max_wait_ms": 50,
        "retry_backoff_ms": 50,
        "metadata_max_age_ms": _METADATA_MS,
        "metrics_enabled": False,
    }
    return _opened(KafkaConsumer, connection, **(options | more))


def producer(connection: KafkaConnection, **more: Any) -> "Producer":
    """Open an idempotent producer, or with `transactional_id` one for transactions. Raises: LogError."""
    wait_ms = int(connection.timeout_s * 1000)
    options = {
        "acks": "all",
        "enable_idempotence": True,
        "compression_type": "zstd",
        "linger_ms": _LINGER_MS,
        "batch_size": _MIB // 2,
        "max_request_size": LARGEST_RECORD_BYTES + _MIB,
        "partitioner": StickyPartitioner(),
        "allow_auto_create_topics": False,
        "max_block_ms": wait_ms,
        "delivery_timeout_ms": wait_ms + _LINGER_MS,
        "transaction_timeout_ms": _TRANSACTION_MS,
        "metadata_max_age_ms": _METADATA_MS,
        "retry_backoff_ms": 10,  # a transaction waits this long several times: 100, the default, costs 100 ms
        "metrics_enabled": False,
    }
    return _opened(Producer, connection, **(options | more))


class Producer(KafkaProducer):  # type: ignore[misc] # kafka-python has no types
    """KafkaProducer, but no step of a transaction waits without end for a broker, and a closed one has no thread."""

    @property
    def cause(self) -> KafkaError | None:
        """The error that its transaction failed with: what is raised later says only that there was one."""
        found = self._transaction_manager.last_error
        return found if isinstance(found, KafkaError) else None

    def send_offsets_to_transaction(
        self, offsets: dict[TopicPartition, OffsetAndMetadata], group_metadata: ConsumerGroupMetadata
    ) -> None:
        """Set the group's positions when the transaction commits. Raises: KafkaError."""
        self._await(self._transaction_manager.send_offsets_to_transaction(offsets, group_metadata))

    def commit_transaction(self) -> None:
        """Commit. Raises: KafkaError; after KafkaTimeoutError nobody knows whether it did."""
        self._await(self._transaction_manager.begin_commit())

    def abort_transaction(self) -> None:
        """Abort, unless the producer has been fenced: then another has aborted for it. Raises: KafkaError."""
        if not self._transaction_manager.has_fatal_error():
            self._await(self._transaction_manager.begin_abort())

    def close(self, timeout: float | None = None, null_logger: bool = False) -> None:
        """Drop what is not sent yet, and end the thread."""
        if getattr(self, "_closed", True):
            return
        self._sender.force_close()
        self._sender.join(_CLOSE_S if timeout is None else timeout)
        super().close(timeout=0, null_logger=null_logger)

    def _await(self, result: Any) -> None:
        self._sender.wakeup()
        if not result.wait(timeout_ms=self.config["max_block_ms"]):
            raise KafkaTimeoutError(f"the transaction coordinator took over {self.config['max_block_ms']} ms")


def _opened(client: Callable[..., Client], connection: KafkaConnection, **more: Any) -> Client:
    """Return a new client. One that fails while it is made leaves its sockets and thread: they are closed here."""
    try:
        options = connection.options() | kafka_wires.OPTIONS | more
    except OSError as error:
        raise Refused(f"Kafka at {connection.servers}: {error}. Check ca_file, cert_file and key_file") from error
    nets: list[KafkaNetClient] = []

    def net(**configs: Any) -> KafkaNetClient:
        nets.append(kafka_wires.net(**configs))
        return nets[-1]

    try:
        return client(kafka_client=net, **options)
    except BaseException as error:
        for one in nets:
            one.close()
        if isinstance(error, KafkaError):
            refusals = [refusal for one in nets if (refusal := kafka_wires.refusal(one))]
            raise unreachable(next(iter(refusals), error), connection) from error
        raise
