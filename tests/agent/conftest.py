"""What the tests of the agent share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from relight.transports.connection import KafkaConnection
from relight.transports.embedded import EmbeddedLog
from relight.transports.kafka import KafkaLog
from tests.agent.lives import Lab, Notebook


@pytest.fixture(scope="session")
def shared_keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The keys of all tests on one Kafka: they share its topics, and each reads what others have left there."""
    return tmp_path_factory.mktemp("keys")


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
def lab(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lab]:
    """A cluster on a log, embedded or Kafka."""
    if request.param == "embedded":
        made = Lab(lambda: EmbeddedLog(tmp_path / "relight.db", durable=False), tmp_path / "keys")
    else:
        connection = KafkaConnection(bootstrap=(request.getfixturevalue("kafka_address"),))
        made = Lab(lambda: KafkaLog(connection, session_timeout_s=3), request.getfixturevalue("shared_keys"))
    yield made
    made.close()


@pytest.fixture
def notebook(tmp_path: Path) -> Notebook:
    """An executor that notes what it does."""
    return Notebook(tmp_path / "notebook")
