"""What every part of the contract of the port `EventLog` starts from: clients, topics and members."""

import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest

from relight.transports.port import EventLog, TopicSpec
from tests.contract.following import Follower

Open = Callable[[], EventLog]
Join = Callable[..., Follower]
PARTITIONS = 4


class LogFixtures(ABC):
    """The fixtures. Names are fresh in every test, so that all may share one log."""

    @pytest.fixture
    @abstractmethod
    def open_log(self) -> Open:
        """Open the log: each call gives another client, as if of another process. The caller closes it."""

    @pytest.fixture
    def log(self, open_log: Open) -> Iterator[EventLog]:
        with open_log() as log:
            yield log

    @pytest.fixture
    def other(self, open_log: Open) -> Iterator[EventLog]:
        """The same log, as another process sees it."""
        with open_log() as log:
            yield log

    @pytest.fixture
    def topic(self, log: EventLog) -> str:
        return made(log)

    @pytest.fixture
    def out(self, log: EventLog) -> str:
        return made(log)

    @pytest.fixture
    def join(self, open_log: Open, topic: str) -> Iterator[Join]:
        """Join a group, which is named after its topic, as a process of its own does. All leave when the test ends."""
        with ExitStack() as opened:

            def joined(name: str, *topics: str, beginning: bool = True) -> Follower:
                log = opened.enter_context(open_log())
                member = log.join(topic, topics or (topic,), name, beginning=beginning)
                return Follower(opened.enter_context(closing(member)))

            yield joined


def made(log: EventLog, partitions: int = PARTITIONS, **more: int | bool) -> str:
    """Create a topic that no other test has, return its name."""
    name = f"contract-{secrets.token_hex(6)}"
    log.create([TopicSpec(name, partitions, **more)])  # type: ignore[arg-type]
    return name
