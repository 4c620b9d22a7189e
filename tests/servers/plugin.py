"""Fixtures that give the tests real servers, or say loudly that there is none.

`RELIGHT_TEST_KAFKA=host:port` names a Kafka that is there (one that does not create topics by itself), and
`RELIGHT_TEST_ELASTICSEARCH=http://host:port` an Elasticsearch. With `RELIGHT_REQUIRE_SERVERS=1` a server that cannot be
had fails the tests that need it, instead of skipping them.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TypeVar

import docker
import pytest
from docker.errors import DockerException
from testcontainers.community.elasticsearch import ElasticSearchContainer
from testcontainers.community.kafka import KafkaContainer

from tests.servers.elasticsearch_server import VERSION, ElasticsearchServer
from tests.servers.jars import NoJars
from tests.servers.kafka_server import KafkaServer
from tests.servers.kubernetes_server import KubernetesServer
from tests.servers.missing import not_tested
from tests.servers.other_search_servers import Elasticsearch7Server, OpenSearchServer
from tests.servers.process import NotStarted
from tests.servers.slurm_server import SlurmServer

USER, PASSWORD = "ann", "correct-horse"
_SETTINGS = {
    "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
    "KAFKA_GROUP_MIN_SESSION_TIMEOUT_MS": "1000",
    "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
    "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
}
_ELASTICSEARCH_SETTINGS = {
    "cluster.routing.allocation.disk.threshold_enabled": "false",
    "discovery.type": "single-node",
    "ES_JAVA_OPTS": "-Xms512m -Xmx512m",
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
        with _process("Kafka", lambda: KafkaServer(tmp_path_factory.mktemp("kafka"))) as server:
            yield server.address


@pytest.fixture(scope="session")
def kafka_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """A Kafka as a local process, with users and TLS. `own_kafka` lends it to tests that harm it."""
    with _process("Kafka", lambda: KafkaServer(tmp_path_factory.mktemp("kafka"), {USER: PASSWORD})) as server:
        yield server


@pytest.fixture
def fresh_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """A Kafka as a local process that one test has to itself, with nothing in it."""
    with _process("Kafka", lambda: KafkaServer(tmp_path_factory.mktemp("kafka"))) as server:
        yield server


@pytest.fixture
def own_kafka(kafka_process: KafkaServer) -> Iterator[KafkaServer]:
    """A Kafka as a local process that a test may stop, kill or freeze: after the test it runs again."""
    yield kafka_process
    kafka_process.revive()


@pytest.fixture(scope="session")
def elasticsearch_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an Elasticsearch: from the environment, in a container, or as a local process."""
    if url := os.environ.get("RELIGHT_TEST_ELASTICSEARCH"):
        yield url
    elif _docker_runs():
        container = ElasticSearchContainer(f"elasticsearch:{VERSION}")
        for name, value in _ELASTICSEARCH_SETTINGS.items():
            container.with_env(name, value)
        with container:
            yield f"http://{container.get_container_host_ip()}:{container.get_exposed_port(container.port)}"
    else:
        folder = tmp_path_factory.mktemp("elasticsearch")
        with _process("Elasticsearch", lambda: ElasticsearchServer(folder)) as server:
            yield server.url


@pytest.fixture(scope="session")
def elasticsearch_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ElasticsearchServer]:
    """An Elasticsearch as a local process. `own_elasticsearch` lends it to tests that harm it."""
    folder = tmp_path_factory.mktemp("elasticsearch")
    with _process("Elasticsearch", lambda: ElasticsearchServer(folder)) as server:
        yield server


@pytest.fixture
def fresh_elasticsearch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ElasticsearchServer]:
    """An Elasticsearch as a local process that one test has to itself, with nothing in it."""
    folder = tmp_path_factory.mktemp("elasticsearch")
    with _process("Elasticsearch", lambda: ElasticsearchServer(folder)) as server:
        yield server


@pytest.fixture
def own_elasticsearch(elasticsearch_process: ElasticsearchServer) -> Iterator[ElasticsearchServer]:
    """An Elasticsearch as a local process that a test may stop, kill or freeze: after the test it runs again."""
    yield elasticsearch_process
    elasticsearch_process.revive()


@pytest.fixture(scope="session")
def elasticsearch_7_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an Elasticsearch that is too old, as a local process."""
    folder = tmp_path_factory.mktemp("elasticsearch-7")
    with _process("Elasticsearch 7", lambda: Elasticsearch7Server(folder)) as server:
        yield server.url


@pytest.fixture(scope="session")
def opensearch_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an OpenSearch, as a local process."""
    folder = tmp_path_factory.mktemp("opensearch")
    with _process("OpenSearch", lambda: OpenSearchServer(folder)) as server:
        yield server.url


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlurmServer]:
    """A Slurm of three nodes, as local processes."""
    with _process("Slurm", lambda: SlurmServer(tmp_path_factory.mktemp("slurm"))) as server:
        yield server


@pytest.fixture(scope="session")
def kubernetes_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubernetesServer]:
    """A Kubernetes without machines: its API server and its controllers as local processes."""
    with _process("Kubernetes", lambda: KubernetesServer(tmp_path_factory.mktemp("kubernetes"))) as server:
        yield server


class _Server(Protocol):
    def start(self) -> None: ...

    def stop(self) -> None: ...


_S = TypeVar("_S", bound=_Server)


@contextmanager
def _process(name: str, prepare: Callable[[], _S]) -> Iterator[_S]:
    try:
        server = prepare()
        server.start()
    except (NoJars, NotStarted) as reason:
        not_tested(f"no {name}: {reason}")
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
