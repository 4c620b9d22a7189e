"""Opens the log that the settings name: Kafka where brokers are set, else the embedded one. And says what it is."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kafka import KafkaAdminClient

    from relight.settings import Settings
    from relight.transports.port import EventLog


def open_log(settings: "Settings") -> "EventLog":
    """Open the log. An adapter is imported only where it is used: Kafka's client takes a quarter of a second.

    Raises: LogError.
    """
    if settings.kafka.bootstrap:
        from relight.transports.kafka import KafkaLog

        return KafkaLog(settings.kafka.connection, replication_factor=settings.kafka.replication_factor)
    from relight.transports.embedded import EmbeddedLog

    return EmbeddedLog(settings.embedded.path, durable=settings.embedded.durable)


def place(settings: "Settings") -> str:
    """Return where the log is, as people are told."""
    brokers = settings.kafka.bootstrap
    return f"Kafka at {', '.join(brokers)}" if brokers else f"the embedded log {settings.embedded.path}"


def software(settings: "Settings") -> str:
    """Return what keeps the log, with its version. Raises: LogError."""
    if not settings.kafka.bootstrap:
        import sqlite3

        return f"SQLite {sqlite3.sqlite_version}"
    from contextlib import closing

    from relight.transports.kafka_admin import Admin

    with closing(Admin(settings.kafka.connection)) as admin:
        version: tuple[int, ...] = admin.ask("tell its version", _version)
    return f"Kafka {'.'.join(map(str, version))}, or newer than this client knows"


def _version(client: "KafkaAdminClient") -> Any:
    (broker, *_) = client.describe_cluster()["brokers"]
    return client.get_broker_version_data(broker["broker_id"]).broker_version
