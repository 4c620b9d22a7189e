"""`relight setup`: what is missing is created, what differs is changed only when asked, and twice changes nothing."""

import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from relight.commands.operate import setup as command
from relight.settings import settings
from relight.setup import compared, setup
from relight.topics import DEADLETTERS, INCIDENTS, LOGS, SIGNALS, SNAPSHOTS, specs
from relight.transports.embedded import EmbeddedLog
from relight.transports.opening import open_log
from relight.transports.port import TopicSpec

WANTED = specs(log_partitions=6, cluster_partitions=3)
THERE = {spec.name: spec for spec in WANTED}


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EmbeddedLog]:
    with EmbeddedLog(tmp_path / "relight.db", durable=False) as log:
        yield log


def differing(**change: object) -> list[TopicSpec]:
    """Return the wanted topics with a change to that of signals."""
    return [replace(spec, **change) if spec.name == SIGNALS else spec for spec in WANTED]  # type: ignore[arg-type]


def relight_setup(path: Path, *arguments: str) -> Result:
    return CliRunner().invoke(command, ["--embedded", str(path), *arguments], catch_exceptions=False)


# What is compared


def test_what_is_as_wanted_has_no_differences() -> None:
    assert compared(WANTED, THERE).as_wanted


def test_topics_of_others_are_nobodys_concern() -> None:
    assert compared(WANTED, THERE | {"orders": TopicSpec("orders", 1)}).as_wanted


def test_a_missing_topic_is_named() -> None:
    found = compared(WANTED, {name: spec for name, spec in THERE.items() if name != LOGS})
    assert [spec.name for spec in found.missing] == [LOGS]
    assert not found.as_wanted


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"partitions": 2}, "has 2 partitions, wanted is 3 partitions (moves keys: what belongs to one key will lie"),
        (
            {"partitions": 9},
            "has 9 partitions, wanted is 3 partitions (partitions cannot be taken away: set topics.clu",
        ),
        ({"retention_ms": -1}, "has records kept for ever, wanted is records kept 7 days (older records are deleted"),
        ({"retention_ms": 3_600_000}, "has records kept 1 hours, wanted is records kept 7 days"),
        ({"compacted": True}, "has the last record of each key kept, wanted is all records kept until they are old"),
        ({"max_record_bytes": 5}, "has records up to 5 bytes, wanted is up to 1048576 bytes"),
    ],
)
def test_every_difference_is_said_in_words(change: dict[str, object], said: str) -> None:
    (difference,) = compared(WANTED, {spec.name: spec for spec in differing(**change)}).differences
    assert str(difference).startswith(f"relight.signals: {said}")


def test_growing_the_topic_of_logs_moves_the_lines_of_sources() -> None:
    (difference,) = compared([THERE[LOGS]], {LOGS: replace(THERE[LOGS], partitions=1)}).differences
    assert "a source's lines will lie in two partitions" in difference.caution


@pytest.mark.parametrize(
    ("name", "setting"), [(LOGS, "topics.log_partitions"), (INCIDENTS, "topics.cluster_partitions")]
)
def test_too_many_partitions_name_the_setting_that_takes_them(name: str, setting: str) -> None:
    (difference,) = compared([THERE[name]], {name: replace(THERE[name], partitions=64)}).differences
    assert f"set {setting} to what is there, or delete" in difference.caution


@pytest.mark.parametrize("name", [SNAPSHOTS, DEADLETTERS])
def test_where_no_setting_helps_none_is_named(name: str) -> None:
    (difference,) = compared([THERE[name]], {name: replace(THERE[name], partitions=64)}).differences
    assert "topics." not in difference.caution
    assert "delete the topic" in difference.caution


# What is done


def test_the_first_time_all_topics_are_created(log: EmbeddedLog) -> None:
    outcome = setup(log, WANTED)
    assert dict(log.topics()) == THERE
    assert outcome.as_wanted
    assert outcome.lines[0] == "relight.logs: created, 6 partitions, records kept 3 days"
    assert len(outcome.lines) == len(WANTED)


def test_the_second_time_nothing_is_done(log: EmbeddedLog) -> None:
    setup(log, WANTED)
    outcome = setup(log, WANTED, apply=True)
    assert (outcome.lines, outcome.as_wanted) == (("all topics are as wanted",), True)


def test_a_dry_run_only_tells(log: EmbeddedLog) -> None:
    outcome = setup(log, WANTED, dry_run=True)
    assert log.topics() == {}
    assert not outcome.as_wanted
    assert outcome.lines[0] == "relight.logs: would be created, 6 partitions, records kept 3 days"


def test_a_topic_that_differs_is_left_as_it_is(log: EmbeddedLog) -> None:
    log.create(differing(retention_ms=1000))
    outcome = setup(log, WANTED)
    assert log.topics()[SIGNALS].retention_ms == 1000
    assert not outcome.as_wanted
    assert outcome.lines[-1] == "topics that are there are changed with --apply only"


def test_a_topic_that_differs_is_changed_when_that_is_asked_for(log: EmbeddedLog) -> None:
    log.create(differing(retention_ms=1000, partitions=1))
    outcome = setup(log, WANTED, apply=True)
    assert dict(log.topics()) == THERE
    assert outcome.as_wanted
    assert [line.rpartition(": ")[2] for line in outcome.lines if line.startswith("relight.signals: has")] == [
        "changed",
        "changed",
    ]


def test_a_dry_run_of_a_change_only_tells(log: EmbeddedLog) -> None:
    log.create(differing(retention_ms=1000))
    outcome = setup(log, WANTED, apply=True, dry_run=True)
    assert log.topics()[SIGNALS].retention_ms == 1000
    assert not outcome.as_wanted
    assert any(line.startswith("relight.signals: ") and line.endswith(": would be changed") for line in outcome.lines)


def test_partitions_that_are_too_many_stay_while_the_rest_is_changed(log: EmbeddedLog) -> None:
    log.create(differing(retention_ms=1000, partitions=9))
    outcome = setup(log, WANTED, apply=True)
    assert log.topics()[SIGNALS] == replace(THERE[SIGNALS], partitions=9)
    assert not outcome.as_wanted
    assert [line.endswith(": changed") for line in outcome.lines if SIGNALS in line] == [False, True]


def test_what_cannot_be_changed_is_not_said_to_be_changed_with_apply(log: EmbeddedLog) -> None:
    log.create(differing(partitions=9))
    assert not any("--apply" in line for line in setup(log, WANTED).lines)
    assert all("left as it is" not in line for line in setup(log, WANTED, apply=True).lines)


@pytest.mark.kafka
def test_on_kafka_topics_are_created_and_changed_too(kafka_address: str) -> None:
    wanted = [replace(spec, name=f"{secrets.token_hex(4)}.{spec.name}") for spec in WANTED]
    with open_log(settings({"kafka.bootstrap": kafka_address})) as log:
        assert not setup(log, wanted, dry_run=True).as_wanted
        assert setup(log, wanted).as_wanted
        assert setup(log, wanted).lines == ("all topics are as wanted",)
        less = [replace(wanted[0], partitions=1, retention_ms=1000), *wanted[1:]]
        assert not setup(log, less, apply=True).as_wanted
        assert log.topics()[wanted[0].name] == replace(wanted[0], retention_ms=1000)
        more = [replace(wanted[0], partitions=7), *wanted[1:]]
        assert setup(log, more, apply=True).as_wanted


# The command


def test_the_command_ends_with_status_0_when_all_is_as_wanted(tmp_path: Path) -> None:
    first, second = relight_setup(tmp_path / "new/relight.db"), relight_setup(tmp_path / "new/relight.db")
    assert (first.exit_code, second.exit_code) == (0, 0)
    assert second.stdout == "all topics are as wanted\n"


def test_the_command_ends_with_status_1_when_differences_remain(tmp_path: Path) -> None:
    with EmbeddedLog(tmp_path / "relight.db", durable=False) as log:
        log.create(differing(partitions=9))
    result = relight_setup(tmp_path / "relight.db")
    assert result.exit_code == 1
    assert "relight.signals: has 9 partitions" in result.stdout
