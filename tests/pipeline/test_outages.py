"""What goes wrong around the pipeline is named clearly, and nothing is lost by it."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fleet import Fleet, events, records, until

from relight.stages.spool import Spool
from relight.topics import LOGS, SIGNALS
from relight.transports.opening import open_log
from relight.transports.port import Full, Outgoing
from schemas.shipped import Shipped
from schemas.signal import Signal
from tests.servers.kafka_server import KafkaServer
from tests.servers.plugin import PASSWORD, USER

on_kafka = pytest.mark.parametrize("fleet", [pytest.param("kafka", marks=pytest.mark.kafka)], indirect=True)


def numbered(begin: int, end: int) -> str:
    return "".join(f"ValueError: number {n} of many is not what it should be {'.' * 100}\n" for n in range(begin, end))


def shipped(fleet: Fleet) -> bytes:
    """Return the bytes of the only source as they can be put together from its chunks; what came twice is dropped."""
    found = bytearray()
    with open_log(fleet.settings) as log:
        for record in records(log, LOGS):
            header = Shipped.from_headers(record.headers)
            assert header is not None
            assert header.offset_bytes <= len(found), "there is a gap"
            found += (record.value or b"")[len(found) - header.offset_bytes :]
    return bytes(found)


@on_kafka
def test_lines_that_are_written_while_the_broker_is_down_wait_and_arrive(
    fleet: Fleet, fresh_kafka: KafkaServer, tmp_path: Path
) -> None:
    log = tmp_path / "slurm-7.out"
    log.write_text(numbered(0, 10))
    fleet.start("ship", "ship", log)
    fleet.start("match", "diagnose", "match")
    until(lambda: b"number 9 " in shipped(fleet))
    fresh_kafka.kill()
    for begin in range(10, 100, 10):
        with log.open("a") as file:
            file.write(numbered(begin, begin + 10))
        time.sleep(0.3)
    until(lambda: "lines are kept in" in fleet.said("ship"))
    assert fleet.running["ship"].poll() is None
    fresh_kafka.start()
    until(lambda: b"number 99 " in shipped(fleet))
    assert shipped(fleet).decode() == numbered(0, 100)
    assert "the log is back" in fleet.said("ship")

    def counted() -> int:
        with open_log(fleet.settings) as kafka:
            said = [event.data for event in events(kafka, SIGNALS)]
        held = {one.id: one for one in said if isinstance(one, Signal)}
        return sum(one.count for one in held.values())

    until(lambda: counted() == 100)
    assert counted() == 100, "after the outage the same lines are matched, each once"


@on_kafka
def test_a_full_spool_stops_the_reading_and_says_so_and_nothing_is_lost(
    fleet: Fleet, fresh_kafka: KafkaServer, tmp_path: Path
) -> None:
    fleet.more = {"RELIGHT_SHIP__SPOOL_BYTES": str(1024 * 1024), "RELIGHT_KAFKA__TIMEOUT_S": "1"}
    log = tmp_path / "slurm-7.out"
    log.write_text(numbered(0, 10))
    fleet.start("ship", "ship", log)
    until(lambda: b"number 9 " in shipped(fleet))
    fresh_kafka.kill()
    with log.open("a") as file:
        file.write(numbered(10, 20_000))
    until(lambda: "nothing more is read until the log is back" in fleet.said("ship"))
    assert "ship.spool_bytes" in fleet.said("ship")
    fresh_kafka.start()
    until(lambda: b"number 19999 " in shipped(fleet))
    assert shipped(fleet).decode() == numbered(0, 20_000)


@on_kafka
def test_what_waits_in_the_spool_is_sent_by_the_next_shipper(
    fleet: Fleet, fresh_kafka: KafkaServer, tmp_path: Path
) -> None:
    fleet.more = {"RELIGHT_KAFKA__TIMEOUT_S": "1"}
    log = tmp_path / "slurm-7.out"
    log.write_text(numbered(0, 10))
    fresh_kafka.kill()
    fleet.start("ship", "ship", log)
    until(lambda: "lines are kept in" in fleet.said("ship"))
    until(lambda: (fleet.state / "relight" / "ship.json").exists())
    status, took_s = fleet.stop("ship")
    assert (status, took_s < 5) == (0, True)
    log.unlink()
    fresh_kafka.start()
    fleet.start("ship", "ship", log)
    until(lambda: b"number 9 " in shipped(fleet))
    assert shipped(fleet).decode() == numbered(0, 10)


@pytest.mark.kafka
def test_a_wrong_password_ends_a_stage_with_one_line_that_does_not_show_it(
    own_kafka: KafkaServer, tmp_path: Path
) -> None:
    fleet = Fleet(("--bootstrap", own_kafka.sasl_address), tmp_path)
    fleet.more = {
        "RELIGHT_KAFKA__SECURITY_PROTOCOL": "SASL_PLAINTEXT",
        "RELIGHT_KAFKA__SASL_MECHANISM": "SCRAM-SHA-512",
        "RELIGHT_KAFKA__USERNAME": USER,
        "RELIGHT_KAFKA__PASSWORD": f"not {PASSWORD}",
    }
    for command in (("diagnose", "match"), ("ship", tmp_path), ("setup",)):
        ended = fleet.call(*command)
        assert ended.returncode == 2, ended.stderr
        assert PASSWORD not in ended.stderr + ended.stdout
        assert "Traceback" not in ended.stderr
        assert "assword" in ended.stderr


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    spool = Spool(tmp_path / "spool.db", limit_bytes=10_000)
    yield spool
    spool.close()


def some(count: int, size: int = 100) -> list[Outgoing]:
    return [Outgoing(LOGS, bytes([n % 256]) * size, b"key", (("a", b"\xff"), ("a", b""))) for n in range(count)]


def test_a_spool_gives_back_in_order_what_it_was_given(spool: Spool) -> None:
    spool.append(some(3))
    spool.append(some(2))
    last, first = spool.first(limit_bytes=150)
    assert first == some(2)
    spool.drop(last)
    assert spool.first(limit_bytes=10_000)[1] == [*some(3)[2:], *some(2)]
    assert spool.records == 3


def test_a_spool_takes_all_of_what_it_is_given_or_nothing(spool: Spool) -> None:
    spool.append(some(20))
    with pytest.raises(Full, match=r"ship\.spool_bytes"):
        spool.append(some(20))
    assert spool.records == 20


def test_a_spool_is_what_it_was_when_it_is_opened_again(spool: Spool) -> None:
    spool.append(some(5))
    again = Spool(spool.path, limit_bytes=10_000)
    assert (again.records, again.size_bytes) == (spool.records, spool.size_bytes)
    again.close()


def test_a_full_disk_is_told_from_a_full_spool(spool: Spool) -> None:
    pages = spool._file.execute("pragma page_count").fetchone()[0]
    spool._file.execute(f"pragma max_page_count={pages + 1}")
    with pytest.raises(Full, match="Make room on its disk"):
        spool.append(some(20, size=290))
    assert spool.records == 0


def test_a_spool_that_cannot_be_made_says_which_setting_to_change(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Full, match=r"ship\.spool_path"):
        Spool(tmp_path / "file" / "spool.db", limit_bytes=1)
    broken = tmp_path / "broken.db"
    broken.write_bytes(b"no database, but long enough to look like one" * 100)
    with pytest.raises(Full, match="cannot be opened"):
        Spool(broken, limit_bytes=1)
