"""Fixtures that give the tests real servers, or say loudly that there is none.

`RELIGHT_TEST_KAFKA=host:port` names a Kafka that is there (one that does not create topics by itself). With
`RELIGHT_REQUIRE_SERVERS=1` a server that cannot be had fails the tests that need it, instead of skipping them.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import docker
import pytest
from docker.errors import DockerException
from testcontainers.community.kafka import KafkaContainer

from tests.servers.jars import NoJars
from tests.servers.kafka_server import KafkaServer
from tests.servers.process import NotStarted

USER, PASSWORD = "ann", "correct-horse"
_SETTINGS = {
    "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
    "KAFKA_GROUP_MIN_SESSION_TIMEOUT_MS": "1000",
    "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
    "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
}


@pytest.fixture(scope="session")
def kafka_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Kafka: from the environment, in a container, or as a local process."""
    if address := os.environ.get("RELIGHT_TEST_KAFKA"):
        yield address
    elif _docker_runs():
        container = KafkaContainer().with_kraft()
        for name, value in _SETTINGS.items():
            container.with_env(name, value)
        with container:
            yield container.get_bootstrap_server()
    else:
        with _process(tmp_path_factory.mktemp("kafka")) as server:
            yield server.address


@pytest.fixture(scope="session")
def kafka_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """A Kafka as a local process, with users and TLS. `own_kafka` lends it to tests that harm it."""
    with _process(tmp_path_factory.mktemp("kafka"), {USER: PASSWORD}) as server:
        yield server


@pytest.fixture
def fresh_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """A Kafka as a local process that one test has to itself, with nothing in it."""
    with _process(tmp_path_factory.mktemp("kafka")) as server:
        yield server


@pytest.fixture
def own_kafka(kafka_process: KafkaServer) -> Iterator[KafkaServer]:
    """A Kafka as a local process that a test may stop, kill or freeze: after the test it runs again."""
    yield kafka_process
    kafka_process.revive()


@contextmanager
def _process(folder: Path, users: Mapping[str, str] | None = None) -> Iterator[KafkaServer]:
    try:
        server = KafkaServer(folder, users)
        server.start()
    except (NoJars, NotStarted) as reason:
        _not_tested(f"no Kafka: {reason}")
    try:
        yield server
    finally:
        server.stop()


def _docker_runs() -> bool:
    if "DOCKER_HOST" not in os.environ and not Path("/var/run/docker.sock").exists():
        return False  # asking all the same would leave a socket open
    try:
        client = docker.from_env()
    except DockerException:
        return False
    try:
        return bool(client.ping())
    except DockerException:
        return False
    finally:
        client.close()


def _not_tested(reason: str) -> NoReturn:
    if os.environ.get("RELIGHT_REQUIRE_SERVERS") == "1":
        pytest.fail(f"RELIGHT_REQUIRE_SERVERS=1, but {reason}")
    pytest.skip(f"NOT TESTED: {reason}")
