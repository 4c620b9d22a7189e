"""A real rsyslog, configured as docs/shippers.md says, sends lines into a real Kafka and they are read as they were."""

import socket
from calendar import timegm
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest
from kafka import KafkaConsumer
from kafka.admin import KafkaAdminClient, NewTopic

from ingest.decode import decoder_for
from ingest.foreign import ForeignLine, foreign_line
from schemas.record import Decoded, Source
from tests.servers.process import free_ports
from tests.servers.rsyslog import documented, require, rsyslog

pytestmark = pytest.mark.kafka

DOCUMENT = Path(__file__).parents[2] / "docs" / "shippers.md"
PATIENCE_MS = 20_000
XID = "NVRM: Xid (PCI:0000:3b:00): 79, GPU has fallen off the bus, see /proc/driver"
AT_S = timegm((2024, 5, 1, 4, 11, 25)) + 0.5
KERNEL_LINE = f"2024-05-01T04:11:25.500000+00:00 gpu-17 kernel: [12345.678901] {XID}"


@pytest.fixture
def topic(kafka_address: str) -> str:
    """A new topic, if there is a real rsyslog to write to it."""
    require()
    name = f"relight.logs.{uuid4().hex}"
    with closing(KafkaAdminClient(bootstrap_servers=kafka_address)) as admin:
        admin.create_topics([NewTopic(name, num_partitions=1, replication_factor=1)])
    return name


def received(address: str, topic: str, number: int) -> list[ForeignLine]:
    """Return the first records of a topic, read as lines."""
    lines: list[ForeignLine] = []
    consumer = KafkaConsumer(
        topic, bootstrap_servers=address, auto_offset_reset="earliest", consumer_timeout_ms=PATIENCE_MS
    )
    with closing(consumer):
        for record in consumer:
            lines.append(foreign_line(record.value, record.key, record.timestamp))
            if len(lines) == number:
                return lines
    pytest.fail(f"of {number} lines {len(lines)} came within {PATIENCE_MS // 1000} s: {lines}")


def decoded(line: ForeignLine) -> Decoded:
    return decoder_for(Source(line.stream), line.segment)(line.segment)


def send(port: int, *lines: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as wire:
        wire.sendall(b"".join(line + b"\n" for line in lines))


def test_what_is_appended_to_a_file_arrives_as_it_was(kafka_address: str, topic: str, tmp_path: Path) -> None:
    log, (port,) = tmp_path / "kern.log", free_ports(1)
    log.touch()
    configuration = documented().replace("kafka:9092", kafka_address).replace('"relight.logs"', f'"{topic}"')
    with rsyslog(tmp_path, configuration.replace("/var/log/kern.log", str(log)), port):
        log.write_bytes(f'{KERNEL_LINE}\n  File "train.py", line 3 \xe9\n'.encode("latin-1"))
        kernel, other = received(kafka_address, topic, 2)
    assert (kernel.host, kernel.stream, kernel.time_s) == ("gpu-17", "syslog", AT_S)
    assert kernel.segment == KERNEL_LINE.encode()
    assert decoded(kernel).message == XID.encode()
    assert decoded(kernel).origin.time_s == AT_S
    assert other.segment == b'  File "train.py", line 3 \xe9'


FORWARDED = 'action(type="omkafka" broker="BROKER" topic="TOPIC" template="RSYSLOG_ForwardFormat")'
JSON = """
template(name="json" type="list" option.jsonf="on") {
  property(outname="@timestamp" name="timereported" dateFormat="rfc3339" format="jsonf")
  property(outname="host" name="hostname" format="jsonf")
  property(outname="syslogtag" name="syslogtag" format="jsonf")
  property(outname="message" name="msg" format="jsonf")
}
action(type="omkafka" broker="BROKER" topic="TOPIC" template="json")
"""
WHOLE = """
template(name="whole" type="string" string="%jsonmesg%")
action(type="omkafka" broker="BROKER" topic="TOPIC" template="whole")
"""


@pytest.mark.parametrize("action", [FORWARDED, JSON, WHOLE], ids=["forwarded", "json", "whole"])
def test_what_comes_by_the_network_is_read_in_every_template(
    kafka_address: str, topic: str, tmp_path: Path, action: str
) -> None:
    (port,) = free_ports(1)
    configuration = f'module(load="omkafka")\n{action}'.replace("BROKER", kafka_address).replace("TOPIC", topic)
    with rsyslog(tmp_path, configuration, port):
        send(port, f"<3>{KERNEL_LINE}".encode(), f"<3>{KERNEL_LINE} \xe9".encode("latin-1"))
        clean, broken = received(kafka_address, topic, 2)
    for line, message in ((clean, XID), (broken, f"{XID} \xe9")):
        assert (line.host, line.stream, line.time_s) == ("gpu-17", "syslog", AT_S)
        found = decoded(line)
        assert found.message.decode("latin-1").replace("ï¿½", "\xe9") == message
        assert (found.origin.host, found.origin.time_s) == ("gpu-17", AT_S)
