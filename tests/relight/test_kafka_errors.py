"""What the Kafka adapter says when something is wrong: the port's errors, soon, with what a person can do."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from kafka import errors
from pydantic import ValidationError

from relight.transports.connection import KafkaConnection
from relight.transports.kafka import KafkaLog
from relight.transports.kafka_errors import meaning
from relight.transports.port import (
    Fenced,
    LogError,
    Member,
    Outgoing,
    Partition,
    Refused,
    TooLarge,
    TopicMissing,
    TopicSpec,
    Unavailable,
)
from tests.servers.kafka_server import KafkaServer
from tests.servers.plugin import PASSWORD, USER

PATIENCE_S = 1.0
NUMBERS = count()


def connection(address: str, **more: Any) -> KafkaConnection:
    return KafkaConnection(bootstrap=(address,), **({"timeout_s": PATIENCE_S} | more))


@contextmanager
def took_at_most(limit_s: float) -> Iterator[None]:
    begun = time.monotonic()
    yield
    assert time.monotonic() - begun < limit_s


def made(log: KafkaLog, **more: Any) -> str:
    """Create a topic that no other test has, return its name."""
    name = f"errors-{next(NUMBERS)}"
    log.create([TopicSpec(name, **({"partitions": 2} | more))])
    return name


def settled(member: Member) -> frozenset[Partition]:
    """Poll until the member has a share, return it."""
    deadline = time.monotonic() + 20
    while not member.assigned() and time.monotonic() < deadline:
        member.poll(0.05)
    return member.assigned()


def poll_until_it_raises(member: Member) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        member.poll(0.1)


@pytest.fixture(autouse=True)
def _no_thread_stays() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


# What errors mean


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (errors.ProducerFencedError(), Fenced),
        (errors.InvalidProducerEpochError(), Fenced),
        (errors.FencedInstanceIdError(), Fenced),
        (errors.IllegalGenerationError(), Fenced),
        (errors.RebalanceInProgressError(), Fenced),
        (errors.CommitFailedError(), Fenced),
        (errors.SaslAuthenticationFailedError(), Refused),
        (errors.TopicAuthorizationFailedError("t"), Refused),
        (errors.TransactionalIdAuthorizationFailedError(), Refused),
        (errors.InvalidReplicationFactorError(), Refused),
        (errors.MessageSizeTooLargeError(), TooLarge),
        (errors.UnknownTopicOrPartitionError(), TopicMissing),
        (errors.KafkaTimeoutError(), Unavailable),
        (errors.KafkaConnectionError(), Unavailable),
        (errors.NotEnoughReplicasError(), Unavailable),
        (errors.KafkaError("for unknown reasons: [Error 7] RequestTimedOutError: timed out"), Unavailable),
        (errors.CorruptRecordError(), LogError),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_an_error_of_kafka_is_one_of_the_ports(error: errors.KafkaError, expected: type[LogError]) -> None:
    found = meaning(error, connection("broker:9092"), "append to t")
    assert type(found) is expected
    assert str(found).startswith("Kafka at broker:9092: cannot append to t: ")


# Connections


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"security_protocol": "SASL_SSL", "username": "ann"}, "needs sasl_mechanism, username and password"),
        ({"username": "ann", "password": "x"}, "sends no password"),
        ({"ca_file": "ca.pem"}, "uses no certificates"),
        ({"security_protocol": "SSL", "key_file": "key.pem"}, "key_file needs cert_file"),
        ({"bootstrap": ()}, "at least 1 item"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_connection_that_cannot_work_is_refused_with_the_reason(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        KafkaConnection(**({"bootstrap": ("broker:9092",)} | wrong))


def test_a_password_is_not_shown() -> None:
    there = connection("b:1", security_protocol="SASL_SSL", sasl_mechanism="PLAIN", username="ann", password="hunter2")
    assert "hunter2" not in repr(there)
    assert there.options()["sasl_plain_password"] == "hunter2"


def test_where_nothing_listens_the_log_is_unavailable_and_the_address_is_said() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    said = pytest.raises(Unavailable, match=rf"{address}: cannot connect: .*refused.*Check that it runs")
    with KafkaLog(connection(address)) as log, took_at_most(3 * PATIENCE_S), said:
        log.topics()


def test_a_service_that_does_not_answer_makes_the_log_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        said = pytest.raises(Unavailable, match="accepts connections, but does not answer")
        with KafkaLog(connection(f"127.0.0.1:{mute.getsockname()[1]}")) as log, took_at_most(3 * PATIENCE_S), said:
            log.topics()


# With a real Kafka


@pytest.fixture
def log(own_kafka: KafkaServer) -> Iterator[KafkaLog]:
    with KafkaLog(connection(own_kafka.address), session_timeout_s=6) as log:
        yield log


def login(server: KafkaServer, mechanism: str, password: str) -> KafkaConnection:
    who = {"username": USER, "password": password, "sasl_mechanism": mechanism}
    return connection(server.sasl_address, security_protocol="SASL_PLAINTEXT", timeout_s=5, **who)


each_mechanism = pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])


@pytest.mark.kafka
@each_mechanism
def test_a_user_logs_in(own_kafka: KafkaServer, mechanism: str) -> None:
    with KafkaLog(login(own_kafka, mechanism, PASSWORD)) as log:
        assert log.topics() == {}  # its user may see none


@pytest.mark.kafka
@each_mechanism
def test_a_wrong_password_is_refused_at_once(own_kafka: KafkaServer, mechanism: str) -> None:
    said = pytest.raises(Refused, match=f"user '{USER}' is not let in")
    with KafkaLog(login(own_kafka, mechanism, "a guess")) as log, took_at_most(3 * PATIENCE_S), said as raised:
        log.topics()
    assert "a guess" not in str(raised.value)


@pytest.mark.kafka
def test_a_user_without_rights_is_refused(own_kafka: KafkaServer, log: KafkaLog) -> None:
    topic = made(log)
    with KafkaLog(login(own_kafka, "PLAIN", PASSWORD)) as stranger:
        with pytest.raises(Refused, match=f"user '{USER}' is not let in or not allowed"):
            stranger.append([Outgoing(topic, b"x")])
        with pytest.raises(Refused):
            stranger.create([TopicSpec("theirs", 1)])


@pytest.mark.kafka
def test_records_go_through_tls(own_kafka: KafkaServer, log: KafkaLog) -> None:
    topic = made(log)
    secure = connection(own_kafka.tls_address, security_protocol="SSL", ca_file=own_kafka.ca_file, timeout_s=10)
    with KafkaLog(secure) as encrypted:
        encrypted.append([Outgoing(topic, b"secret", partition=0)])
        assert [one.value for one in encrypted.read(Partition(topic, 0), 0)] == [b"secret"]


@pytest.mark.kafka
def test_a_broker_that_nobody_vouches_for_is_refused(own_kafka: KafkaServer) -> None:
    said = pytest.raises(Refused, match=r"TLS failed .*certificate verify failed.* Check ca_file")
    strict = connection(own_kafka.tls_address, security_protocol="SSL")
    with KafkaLog(strict) as log, took_at_most(3 * PATIENCE_S), said:
        log.topics()


@pytest.mark.kafka
def test_a_ca_file_that_is_no_certificate_is_refused(own_kafka: KafkaServer, tmp_path: Path) -> None:
    wrong = tmp_path / "ca.pem"
    wrong.write_text("no certificate", encoding="utf-8")
    secure = connection(own_kafka.tls_address, security_protocol="SSL", ca_file=wrong)
    with KafkaLog(secure) as log, pytest.raises(Refused, match="Check ca_file"):
        log.topics()


@pytest.mark.kafka
def test_a_missing_topic_is_named_with_the_command_that_creates_it(log: KafkaLog) -> None:
    for wish in (
        lambda: log.append([Outgoing("not.there", b"x")]),
        lambda: log.read(Partition("not.there", 0), 0),
        lambda: log.spans("not.there"),
        lambda: log.join("errors", ["not.there"], "a"),
    ):
        with took_at_most(PATIENCE_S), pytest.raises(TopicMissing, match=r"no topic not\.there\. `relight setup`"):
            wish()


@pytest.mark.kafka
def test_a_partition_that_is_not_there_is_named(log: KafkaLog) -> None:
    topic = made(log)
    with pytest.raises(TopicMissing, match=f"there is no {topic}/7"):
        log.read(Partition(topic, 7), 0)
    with pytest.raises(TopicMissing, match=f"{topic}/7"):
        log.append([Outgoing(topic, b"x", partition=7)])


@pytest.mark.kafka
def test_more_copies_than_brokers_are_refused_with_brokers_own_words(own_kafka: KafkaServer) -> None:
    said = pytest.raises(Refused, match="replication factor")
    with KafkaLog(connection(own_kafka.address), replication_factor=3) as log, said:
        log.create([TopicSpec("copied", 1)])


@pytest.mark.kafka
def test_a_killed_broker_makes_everything_unavailable_in_bounded_time_until_it_is_back(
    own_kafka: KafkaServer, log: KafkaLog
) -> None:
    topic = made(log)
    member = log.join("killed", [topic], "a")
    place = min(settled(member))
    log.append([Outgoing(topic, b"before", partition=0)])
    log.read(Partition(topic, 0), 0)
    own_kafka.kill()
    for wish in (
        log.topics,
        lambda: log.append([Outgoing(topic, b"x")]),
        lambda: log.read(Partition(topic, 0), 0),
        lambda: log.spans(topic),
        lambda: poll_until_it_raises(member),
        lambda: advance(member, place, 1),
        lambda: log.join("killed", [topic], "b"),
    ):
        with took_at_most(6 * PATIENCE_S), pytest.raises(Unavailable, match=own_kafka.address):
            wish()
    with took_at_most(12 * PATIENCE_S):
        member.close()
    own_kafka.start()
    until_it_answers(lambda: log.read(Partition(topic, 0), 0))
    log.append([Outgoing(topic, b"after", partition=0)])
    assert [one.value for one in log.read(Partition(topic, 0), 0)] == [b"before", b"after"]


def until_it_answers(wish: Callable[[], object]) -> None:
    """Wish until it is granted: a broker that has just started takes its time."""
    deadline = time.monotonic() + 30
    while True:
        try:
            wish()
            return
        except Unavailable:
            if time.monotonic() > deadline:
                raise


def advance(member: Member, place: Partition, offset: int) -> None:
    with member.transaction() as transaction:
        transaction.advance(place, offset)


@pytest.mark.kafka
def test_a_commit_that_is_not_answered_is_unavailable_and_the_member_is_done(
    own_kafka: KafkaServer, log: KafkaLog
) -> None:
    topic = made(log)
    member = log.join("frozen", [topic], "a")
    place = min(settled(member))
    own_kafka.freeze()
    with took_at_most(6 * PATIENCE_S), pytest.raises(Unavailable):
        advance(member, place, 1)
    own_kafka.thaw()
    with pytest.raises(Fenced, match="join again"):
        member.poll(0)
    with pytest.raises(Fenced, match="join again"), member.transaction():
        pass
    member.close()
    again = log.join("frozen", [topic], "a")
    assert settled(again) == {Partition(topic, 0), Partition(topic, 1)}
    again.close()


@pytest.mark.kafka
def test_a_member_whose_name_another_has_taken_is_told_by_a_poll_too(log: KafkaLog) -> None:
    topic = made(log)
    first = log.join("taken", [topic], "a")
    settled(first)
    second = log.join("taken", [topic], "a")
    settled(second)
    with took_at_most(5), pytest.raises(Fenced, match="has lost its name"):
        poll_until_it_raises(first)
    first.close()
    assert settled(second) == {Partition(topic, 0), Partition(topic, 1)}
    advance(second, Partition(topic, 0), 1)
    second.close()


@pytest.mark.kafka
def test_the_partitions_of_a_member_that_leaves_are_others_long_before_its_session_ends(log: KafkaLog) -> None:
    topic = made(log)
    stays, leaves = log.join("left", [topic], "a"), log.join("left", [topic], "b")
    deadline = time.monotonic() + 20
    while not (stays.assigned() and leaves.assigned()) and time.monotonic() < deadline:
        stays.poll(0.05)
        leaves.poll(0.05)
    leaves.close()
    with took_at_most(3):
        while len(stays.assigned()) < 2:
            stays.poll(0.05)
    stays.close()


@pytest.mark.kafka
def test_before_a_rebalance_takes_partitions_a_poll_brings_nothing_so_that_what_was_read_can_be_committed(
    log: KafkaLog,
) -> None:
    topic = made(log)
    log.append([Outgoing(topic, b"%d" % n, partition=n % 2) for n in range(2000)])
    first = log.join("grace", [topic], "a")
    settled(first)
    while not first.poll(0.1, limit=1).records:
        pass
    second = log.join("grace", [topic], "b")
    second.poll(0.1)
    read: dict[Partition, int] = {}
    while not (polled := first.poll(0, limit=1)).lost:
        read |= {one.place: one.offset + 1 for one in polled.records}
        if not polled.records:
            for place, offset in read.items():
                advance(first, place, offset)
            read.clear()
        time.sleep(0.005)
    assert read == {}
    for member in (first, second):
        member.close()


@pytest.mark.kafka
def test_a_topic_changes_to_what_it_should_be(log: KafkaLog) -> None:
    topic = made(log)
    log.append([Outgoing(topic, b"kept", partition=1)])
    wanted = TopicSpec(topic, 4, retention_ms=3_600_000, compacted=True, max_record_bytes=3_000_000)
    log.alter([wanted])
    assert log.topics()[topic] == wanted
    log.alter([TopicSpec(topic, 1)])
    assert log.topics()[topic] == TopicSpec(topic, 4)
    log.append([Outgoing(topic, b"new", partition=3)])
    assert [one.value for one in log.read(Partition(topic, 1), 0)] == [b"kept"]
    with pytest.raises(TopicMissing, match="not-there"):
        log.alter([TopicSpec("not-there", 1)])
