"""`relight doctor`: what is seen, what to do about it, and that it changes nothing unless it is told to."""

import os
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from kafka import KafkaAdminClient
from kafka.admin import (
    ACL,
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ResourcePattern,
    ResourceType,
)

from relight.commands.operate import doctor as command
from relight.doctor import PROBE_KEY, Finding, Sign, examined
from relight.keys import renew
from relight.settings import models, settings
from relight.stores.elastic import ElasticStore
from relight.stores.elastic_setup import setup
from relight.topics import CONTROL, LOGS, SNAPSHOTS, specs
from relight.transports.embedded import EmbeddedLog
from relight.transports.opening import open_log
from relight.transports.port import Outgoing, Partition
from tests.servers.kafka_server import KafkaServer
from tests.servers.plugin import PASSWORD, USER


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder and working directory of our own."""
    for name in list(os.environ):
        if name.startswith(("RELIGHT_", "XDG_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RELIGHT_SHIP__SPOOL_BYTES", str(2**20))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def path(state: Path) -> Path:
    return state / "relight.db"


@pytest.fixture
def log(path: Path) -> Iterator[EmbeddedLog]:
    """A log that is set up, with the file that `examine` looks at."""
    with EmbeddedLog(path, durable=False) as log:
        log.create(specs(6, 3))
        yield log


def examine(path: Path, *, write: bool = False, later_s: float = 0, **more: object) -> dict[str, list[Finding]]:
    """Return the findings by check."""
    flags = {"embedded.path": path, **{key.replace("__", "."): value for key, value in more.items()}}
    found: dict[str, list[Finding]] = {}
    for finding in examined(flags, write=write, now=lambda: time.time() + later_s):
        found.setdefault(finding.check, []).append(finding)
    return found


def only(found: dict[str, list[Finding]], check: str) -> Finding:
    (finding,) = found[check]
    return finding


def relight_doctor(path: Path, *arguments: str) -> Result:
    return CliRunner().invoke(command, ["--embedded", str(path), *arguments], catch_exceptions=False)


def read_to_the_end(log: EmbeddedLog, group: str, topic: str) -> None:
    member = log.join(group, [topic], "one")
    try:
        member.poll(1)  # tells of the share
        records = member.poll(1).records
        with member.transaction() as transaction:
            for record in records:
                transaction.advance(record.place, record.offset + 1)
    finally:
        member.close()


def test_where_all_is_well_every_check_says_so(log: EmbeddedLog, path: Path) -> None:
    found = [finding for findings in examine(path).values() for finding in findings]
    assert {finding.sign for finding in found} <= {Sign.OK}
    assert len(found) >= 10


def test_the_command_prints_a_line_for_each_check_and_ends_with_status_0(log: EmbeddedLog, path: Path) -> None:
    result = relight_doctor(path)
    assert result.exit_code == 0
    assert "ok    topics: all 8 are there and as wanted" in result.stdout.splitlines()


def test_the_command_ends_with_status_1_if_a_check_fails(state: Path) -> None:
    result = relight_doctor(state / "none.db")
    assert result.exit_code == 1
    assert f"fail  log: {state}/none.db is not there: create it: relight setup" in result.stdout.splitlines()
    assert not (state / "none.db").exists()


def test_a_failure_among_what_is_well_counts(path: Path) -> None:
    with EmbeddedLog(path, durable=False) as log:
        log.create(spec for spec in specs(6, 3) if spec.name != CONTROL)
    result = relight_doctor(path)
    assert result.exit_code == 1
    assert result.stdout.splitlines()[-1].startswith("ok  ")


# Configuration


def test_the_file_with_the_settings_is_named(log: EmbeddedLog, path: Path, state: Path) -> None:
    (state / "relight.toml").write_text("[cluster]\nname = 'c'\n")
    assert only(examine(path), "configuration").seen.startswith(f"{state}/relight.toml; ")


def test_every_mistake_in_the_settings_is_a_failure(log: EmbeddedLog, path: Path, state: Path) -> None:
    (state / "relight.toml").write_text("[cluster]\nnam = 'c'\nmembr = 'x'\n")
    found = examine(path)
    assert [(f.sign, f.seen.split("; ")[1]) for f in found["configuration"]] == [
        (Sign.FAIL, "did you mean cluster.name?"),
        (Sign.FAIL, "did you mean cluster.member?"),
    ]
    assert list(found) == ["configuration"]


def test_a_file_with_a_password_that_others_may_read_is_a_warning(log: EmbeddedLog, path: Path, state: Path) -> None:
    file = state / "relight.toml"
    file.write_text("[kafka]\npassword = 'hunter2'\n")
    file.chmod(0o644)
    finding = only(examine(path), "configuration")
    assert (finding.sign, finding.advice) == (Sign.WARN, f"chmod 600 {file}")
    file.chmod(0o600)
    assert only(examine(path), "configuration").sign is Sign.OK


# The log


def test_a_file_that_is_no_log_is_a_failure(path: Path) -> None:
    path.write_text("this is no database, and long enough to be told from one\n" * 100)
    finding = only(examine(path), "log")
    assert finding.sign is Sign.FAIL
    assert str(path) in finding.seen


def test_the_version_is_told(log: EmbeddedLog, path: Path) -> None:
    assert only(examine(path), "version").seen.startswith("SQLite 3.")


def test_a_missing_topic_is_a_failure_with_the_command_that_creates_it(path: Path) -> None:
    with EmbeddedLog(path, durable=False) as log:
        log.create(spec for spec in specs(6, 3) if spec.name != CONTROL)
    assert only(examine(path), "topics") == Finding(
        Sign.FAIL, "topics", "relight.control is missing", "create it: relight setup"
    )


def test_where_no_topic_is_there_is_nothing_more_to_look_at(path: Path) -> None:
    EmbeddedLog(path, durable=False).close()
    found = examine(path)
    assert len(found["topics"]) == len(specs(6, 3))
    assert "permissions" not in found


def test_a_topic_that_differs_is_a_warning(path: Path) -> None:
    with EmbeddedLog(path, durable=False) as log:
        log.create(replace(spec, retention_ms=1000) if spec.name == LOGS else spec for spec in specs(6, 3))
    finding = only(examine(path), "topics")
    assert finding.sign is Sign.WARN
    assert finding.seen.startswith("relight.logs: has records kept")


def test_topics_of_clusters_with_unequal_partitions_are_a_failure(path: Path) -> None:
    with EmbeddedLog(path, durable=False) as log:
        log.create(replace(spec, partitions=4) if spec.name == CONTROL else spec for spec in specs(6, 3))
    finding = only(examine(path), "partitions")
    assert finding.sign is Sign.FAIL
    assert "relight.incidents 3" in finding.seen
    assert "relight.control 4" in finding.seen


def test_what_was_not_tried_is_not_said_to_work(log: EmbeddedLog, path: Path) -> None:
    assert only(examine(path), "permissions").seen == "all topics are empty: reading was not tried"
    log.append([Outgoing(LOGS, b"x", partition=4)])
    assert only(examine(path), "permissions").seen == "all 1 topics with records can be read"


# Groups


def test_a_group_that_has_not_begun_is_no_problem(log: EmbeddedLog, path: Path) -> None:
    finding = only(examine(path), "group relight.match")
    assert (finding.sign, finding.seen) == (Sign.OK, "has read nothing yet")


def test_a_group_that_keeps_up_is_well_however_much_later(log: EmbeddedLog, path: Path) -> None:
    log.append([Outgoing(LOGS, b"x", partition=0)])
    read_to_the_end(log, "relight.match", LOGS)
    finding = only(examine(path, later_s=1000), "group relight.match")
    assert (finding.sign, finding.seen) == (Sign.OK, "about 0 records behind")


def test_a_group_that_lags_is_told_with_how_long_its_oldest_record_waits(log: EmbeddedLog, path: Path) -> None:
    log.append([Outgoing(LOGS, b"x", partition=0)])
    read_to_the_end(log, "relight.match", LOGS)
    log.append([Outgoing(LOGS, b"x", partition=0), Outgoing(LOGS, b"x", partition=5)])
    assert only(examine(path), "group relight.match").sign is Sign.OK
    finding = only(examine(path, later_s=90), "group relight.match")
    assert finding.sign is Sign.WARN
    assert finding.seen == "about 2 records behind, the oldest waits 90 s"


def test_records_that_were_deleted_unread_are_a_failure(log: EmbeddedLog, path: Path) -> None:
    log.append([Outgoing(LOGS, b"x", partition=0)])
    read_to_the_end(log, "relight.match", LOGS)
    log.append([Outgoing(LOGS, b"x", partition=0)] * 3)
    with log.file.writing() as connection:
        connection.execute("delete from records where at in (select at from records order by at limit 3)")
    failure, _ = examine(path)["group relight.match"]
    assert failure.sign is Sign.FAIL
    assert failure.seen == "2 records of relight.logs/0 were deleted before they were read"


# The clock, and writing


def test_without_leave_to_write_nothing_is_written(log: EmbeddedLog, path: Path) -> None:
    assert "--write" in only(examine(path), "clock").seen
    assert not any(span.end for topic in log.topics() for span in log.spans(topic).values())


def test_the_newest_record_tells_a_clock_that_is_behind(log: EmbeddedLog, path: Path) -> None:
    log.append([Outgoing(LOGS, b"x", partition=3)])
    assert only(examine(path), "clock").sign is Sign.OK
    assert only(examine(path, later_s=5000), "clock").sign is Sign.OK
    finding = only(examine(path, later_s=-60), "clock")
    assert finding.sign is Sign.WARN
    assert finding.seen.endswith("ahead by this host's clock")


def test_with_leave_to_write_a_record_without_a_value_is_read_back(log: EmbeddedLog, path: Path) -> None:
    found = examine(path, write=True)
    assert only(found, "writing").sign is Sign.OK
    assert only(found, "clock").sign is Sign.OK
    records = [r for number in log.spans(SNAPSHOTS) for r in log.read(Partition(SNAPSHOTS, number), 0)]
    assert [(record.key, record.value) for record in records] == [(PROBE_KEY, None)]
    assert all(span.end == 0 for topic in log.topics() if topic != SNAPSHOTS for span in log.spans(topic).values())


@pytest.mark.parametrize("later_s", [-60, 60])
def test_a_record_appended_now_tells_a_clock_that_is_behind_or_ahead(
    log: EmbeddedLog, path: Path, later_s: float
) -> None:
    assert only(examine(path, write=True, later_s=later_s), "clock").sign is Sign.WARN


# Room


@pytest.mark.parametrize(("times", "sign"), [(2, Sign.WARN), (20, Sign.FAIL)])
def test_too_little_room_for_the_spool_is_said(log: EmbeddedLog, path: Path, times: int, sign: Sign) -> None:
    finding = only(examine(path, ship__spool_bytes=times * shutil.disk_usage(path).free), "room for the spool")
    assert finding.sign is sign
    assert "may be needed" in finding.seen


@pytest.mark.skipif(os.geteuid() == 0, reason="NOT TESTED: root may write everywhere")
def test_a_folder_that_this_user_may_not_write_to_is_a_failure(log: EmbeddedLog, path: Path) -> None:
    assert only(examine(path, ship__spool_path="/spool"), "room for the spool").sign is Sign.FAIL


def test_room_is_told_for_a_folder_that_is_not_there_yet(log: EmbeddedLog, path: Path, state: Path) -> None:
    finding = only(examine(path, ship__spool_path=state / "a/b/c"), "room for the spool")
    assert (finding.sign, finding.seen.endswith(f"free at {state}")) == (Sign.OK, True)


# Kafka


@pytest.mark.kafka
def test_kafka_is_examined_and_written_to(kafka_address: str, state: Path) -> None:
    flags = {"kafka.bootstrap": kafka_address}
    with open_log(settings(flags)) as log:
        log.create(specs(6, 3))
    found = {finding.check: finding for finding in examined(flags, write=True)}
    for check in ("log", "permissions", "writing", "clock"):
        assert found[check].sign is Sign.OK
    assert found["log"].seen.startswith(f"Kafka at {kafka_address} answers after ")
    assert found["version"].seen.startswith("Kafka ")
    assert "room for the embedded log" not in found


@pytest.mark.kafka
def test_a_topic_that_this_user_may_see_and_not_read_is_a_failure(own_kafka: KafkaServer, state: Path) -> None:
    with open_log(settings({"kafka.bootstrap": own_kafka.address})) as log:
        log.create(specs(6, 3))
        log.append([Outgoing(LOGS, b"x", partition=4)])
    login = {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "PLAIN", "username": USER, "password": PASSWORD}
    flags = {"kafka.bootstrap": own_kafka.sasl_address, **{f"kafka.{key}": value for key, value in login.items()}}
    with may_see_topics(own_kafka, USER):
        found = [finding for finding in examined(flags) if finding.check == "permissions"]
    assert [finding.sign for finding in found] == [Sign.FAIL]
    assert found[0].seen.startswith("relight.logs: ")
    assert f"user '{USER}'" in found[0].seen


@contextmanager
def may_see_topics(kafka: KafkaServer, user: str) -> Iterator[None]:
    """Let a user describe the topics of relight, and take it back."""
    topics = ResourcePattern(ResourceType.TOPIC, "relight.", ACLResourcePatternType.PREFIXED)
    wanted = (ACLOperation.DESCRIBE, ACLOperation.DESCRIBE_CONFIGS)
    allowed = [ACL(f"User:{user}", "*", operation, ACLPermissionType.ALLOW, topics) for operation in wanted]
    with closing(KafkaAdminClient(bootstrap_servers=kafka.address)) as admin:
        admin.create_acls(allowed)
        in_force = ACLFilter(f"User:{user}", "*", ACLOperation.ANY, ACLPermissionType.ANY, topics)
        deadline = time.monotonic() + 5
        while len(admin.describe_acls(in_force)[0]) < len(allowed):
            assert time.monotonic() < deadline, "the broker did not take the rights over"
            time.sleep(0.02)
        yield
        admin.delete_acls(allowed)


def test_a_kafka_that_is_not_there_is_a_failure_and_the_end(state: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = f"127.0.0.1:{closed.getsockname()[1]}"
    findings = list(examined({"kafka.bootstrap": address, "kafka.timeout_s": 0.3}))
    assert findings[-1].sign is Sign.FAIL
    assert findings[-1].check == "log"
    assert address in findings[-1].seen
    assert "room for the embedded log" not in [finding.check for finding in findings]


# The store


@pytest.mark.elasticsearch
def test_a_store_that_is_not_set_up_says_how_to(log: EmbeddedLog, path: Path, elasticsearch_url: str) -> None:
    found = only(examine(path, elasticsearch__hosts=elasticsearch_url, elasticsearch__prefix="doctor1"), "store")
    assert found.sign is Sign.FAIL
    assert "relight setup elasticsearch" in found.seen


@pytest.mark.elasticsearch
def test_a_store_that_is_set_up_is_well(log: EmbeddedLog, path: Path, elasticsearch_url: str) -> None:
    own = models.Elasticsearch(hosts=(elasticsearch_url,), prefix="doctor2", replicas=0)
    with ElasticStore(own) as store:
        setup(store.client, store.place, own, 30)
        found = examine(path, elasticsearch__hosts=elasticsearch_url, elasticsearch__prefix="doctor2")
        assert only(found, "store").sign is Sign.OK
        store.clear()


def test_keys_that_are_missing_or_open_to_others_are_told_of(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    flags = {"embedded.path": tmp_path / "relight.db", "keys.folder": folder}
    renew(folder / "commands.keys")
    renew(folder / "outcomes.keys")
    (folder / "outcomes.keys").chmod(0o644)
    found = {one.seen.partition(":")[0]: one for one in examined(flags) if one.check == "keys"}
    assert found["commands"].sign is Sign.OK
    assert found["outcomes"].sign is Sign.WARN
    assert "chmod 600" in found["outcomes"].seen
    assert "requests" not in found, "with the embedded log they are made when they are needed"
