"""Snapshots: what was written last and whole is what is read back."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from relight.stages.snapshots import PART_BYTES, Snapshot, forgotten, newest, written
from relight.topics import SNAPSHOTS, specs
from relight.transports.embedded import EmbeddedLog
from relight.transports.port import Outgoing


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EmbeddedLog]:
    with EmbeddedLog(tmp_path / "relight.db") as log:
        log.create(specs(2, 2))
        yield log


def noise(size: int) -> str:
    return random.Random(size).randbytes(size).hex()


def keep(log: EmbeddedLog, key: str, state: object, covers: int = 1, version: int = 1, partition: int = 0) -> None:
    log.append(list(written(Snapshot("match", key, version, covers, state), "c", partition)))


def test_the_newest_state_of_each_key_is_read_with_what_it_covers(log: EmbeddedLog) -> None:
    keep(log, "a", {"n": 1}, covers=5)
    keep(log, "b", [1, 2])
    keep(log, "a", {"n": 2}, covers=9)
    found = newest(log, "match", 0, 1)
    assert {key: (one.state, one.covers) for key, one in found.items()} == {"a": ({"n": 2}, 9), "b": ([1, 2], 1)}


def test_a_large_state_is_kept_in_parts_that_fit_a_record(log: EmbeddedLog) -> None:
    state = noise(2 * PART_BYTES)
    parts = list(written(Snapshot("match", "a", 1, 1, state), "c", 0))
    assert len(parts) > 2
    assert max(len(part.value or b"") for part in parts) < 1024 * 1024
    log.append(parts)
    assert newest(log, "match", 0, 1)["a"].state == state


def test_what_a_shorter_snapshot_leaves_of_a_longer_one_is_not_taken_for_a_part_of_it(log: EmbeddedLog) -> None:
    keep(log, "a", noise(2 * PART_BYTES))
    keep(log, "a", "short")
    assert newest(log, "match", 0, 1)["a"].state == "short"


def test_half_a_snapshot_is_none_and_the_one_before_still_holds(log: EmbeddedLog) -> None:
    keep(log, "b", "whole")
    log.append(list(written(Snapshot("match", "a", 1, 1, noise(2 * PART_BYTES)), "c", 0))[:-1])
    assert newest(log, "match", 0, 1).keys() == {"b"}


def test_stages_partitions_and_versions_are_kept_apart(log: EmbeddedLog) -> None:
    keep(log, "a", "here")
    keep(log, "a", "there", partition=1)
    keep(log, "old", "of another version", version=7)
    assert {key: one.state for key, one in newest(log, "match", 0, 1).items()} == {"a": "here"}
    assert newest(log, "correlate", 0, 1) == {}


def test_what_is_forgotten_is_gone(log: EmbeddedLog) -> None:
    keep(log, "a", "here")
    log.append([forgotten("match", "a", 0)])
    assert newest(log, "match", 0, 1) == {}


def test_records_of_others_in_the_topic_are_passed_over(log: EmbeddedLog) -> None:
    keep(log, "a", "here")
    others = [(b"relight doctor", None), (None, b"?"), (b"match\0a\0x", b"{}"), (b"\xff", b"\xff")]
    log.append([Outgoing(SNAPSHOTS, value, key, partition=0) for key, value in others])
    assert newest(log, "match", 0, 1)["a"].state == "here"
