"""What the tests of the pipeline share: a fleet of processes on a log of its own, embedded or Kafka."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "cases"))

from fleet import Fleet

from tests.servers.kafka_server import KafkaServer


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
def fleet(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Fleet]:
    """A fleet on a fresh log, its topics set up."""
    state = tmp_path / "state"
    state.mkdir()
    if request.param == "embedded":
        flags = ("--embedded", str(tmp_path / "relight.db"))
    else:
        server: KafkaServer = request.getfixturevalue("fresh_kafka")
        flags = ("--bootstrap", server.address)
    fleet = Fleet(flags, state)
    assert fleet.call("setup").returncode == 0
    yield fleet
    fleet.close()
