"""Topics in Kafka as the port specifies them: created, changed and described, with the three settings that matter."""

import re
from collections.abc import Sequence
from typing import Any, Final

from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import NoError, TopicAlreadyExistsError, for_code

from relight.transports.port import TopicSpec

_SETTINGS: Final = ("retention.ms", "cleanup.policy", "max.message.bytes")
_FAILED: Final = re.compile(r"\[Error (-?\d+)\]")


def create(client: KafkaAdminClient, topics: Sequence[TopicSpec], replication_factor: int) -> None:
    """Create the topics that are not there, wait until they have leaders. Raises: KafkaError."""
    wanted = {
        topic.name: {
            "num_partitions": topic.partitions,
            "replication_factor": replication_factor,
            "configs": _settings(topic),
        }
        for topic in topics
    }
    answer = client.create_topics(wanted, raise_errors=False)
    for topic in answer["topics"]:
        error = for_code(topic["error_code"])
        if error not in (NoError, TopicAlreadyExistsError):
            raise error(f"{topic['name']}: {topic['error_message']}")
    client.wait_for_topics(list(wanted))


def alter(client: KafkaAdminClient, topics: Sequence[TopicSpec]) -> None:
    """Give topics their settings, and more partitions where they have fewer. Raises: KafkaError."""
    changes = [ConfigResource(ConfigResourceType.TOPIC, topic.name, _settings(topic)) for topic in topics]
    for name, result in client.alter_configs(changes, raise_on_unknown=False)["topic"].items():
        if failed := _FAILED.match(result):
            raise for_code(int(failed[1]))(f"{name}: {result}")
    there = {one["name"]: len(one["partitions"]) for one in client.describe_topics([topic.name for topic in topics])}
    if more := {topic.name: topic.partitions for topic in topics if topic.partitions > there[topic.name]}:
        client.create_partitions(more)
        client.wait_for_topics(list(more))


def describe(client: KafkaAdminClient) -> dict[str, TopicSpec]:
    """Return the topics that are there, Kafka's own ones left out. Raises: KafkaError."""
    partitions = {one["name"]: len(one["partitions"]) for one in client.describe_topics() if not one["is_internal"]}
    asked = [ConfigResource(ConfigResourceType.TOPIC, name, dict.fromkeys(_SETTINGS)) for name in partitions]
    settings = client.describe_configs(asked, config_filter="all")["topic"] if asked else {}
    return {name: _spec(name, partitions[name], settings[name]) for name in sorted(partitions)}


def _settings(topic: TopicSpec) -> dict[str, str]:
    values = (topic.retention_ms, "compact" if topic.compacted else "delete", topic.max_record_bytes)
    return dict(zip(_SETTINGS, map(str, values), strict=True))


def _spec(name: str, partitions: int, settings: dict[str, dict[str, Any]]) -> TopicSpec:
    retention, policy, largest = (settings[one]["value"] for one in _SETTINGS)
    return TopicSpec(name, partitions, int(retention), "compact" in policy, int(largest))
