"""The embedded log is used by several processes at once, and any of them may be killed."""

import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from relight.transports.embedded import EmbeddedLog
from relight.transports.port import Outgoing, Partition, TopicSpec
from tests.contract.following import Follower, eventually, everything, poll_until, values

ROOT = Path(__file__).parents[2]
Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "relight.db"


@pytest.fixture
def start(path: Path) -> Iterator[Start]:
    """Start a process that uses the log; those that still run are killed when the test ends."""
    started: list[subprocess.Popen[bytes]] = []

    def run(job: str, *arguments: object) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "tests.contract.embedded_process", job, str(path), *map(str, arguments)]
        started.append(subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE))
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.communicate()


def test_processes_that_open_a_new_file_at_once_all_append_to_it(path: Path, start: Start) -> None:
    writers = [start("append", "t", name, 100) for name in "abcd"]
    assert [process.wait(60) for process in writers] == [0] * 4
    with EmbeddedLog(path) as log:
        found = everything(log, "t")
        for name in (b"a", b"b", b"c", b"d"):
            assert [r.value for r in found if r.key == name] == [b"%s %d" % (name, n) for n in range(100)]
        assert sum(span.end for span in log.spans("t").values()) == 400


def test_processes_that_share_a_group_and_are_killed_lose_and_double_nothing(path: Path, start: Start) -> None:
    dice = random.Random(7)
    with EmbeddedLog(path, durable=False) as log:
        log.create([TopicSpec("in", 4), TopicSpec("out", 2)])
        log.append([Outgoing("in", b"%d" % n, partition=n % 4) for n in range(3000)])
        copiers = {name: start("copy", "in", "out", name, 3000) for name in "abc"}
        for step in range(1, 7):
            eventually(lambda step=step: sum(log.positions("copiers", "in").values()) > step * 400)  # type: ignore[misc]
            name = dice.choice(sorted(copiers))
            copiers[name].kill()
            copiers[name].wait()
            copiers[name] = start("copy", "in", "out", name, 3000)
        assert [process.wait(60) for process in copiers.values()] == [0] * 3
        assert Counter(values(log, "out")) == Counter(b"%d" % n for n in range(3000))


def test_a_process_killed_while_it_writes_leaves_nothing_and_its_partitions_pass_to_others_at_once(
    path: Path, start: Start
) -> None:
    with EmbeddedLog(path, durable=False) as log:
        log.create([TopicSpec("in", 2), TopicSpec("out", 1)])
        log.append([Outgoing("in", b"%d" % n, partition=n % 2) for n in range(10)])
        heir = Follower(log.join("copiers", ["in"], "a"))
        poll_until(lambda: len(heir.records) == 10, heir)
        victim = start("hang", "in", "out", "b")
        assert victim.stdout is not None
        assert victim.stdout.readline() == b"hangs\n"
        poll_until(lambda: heir.share == {Partition("in", 0)}, heir)
        assert log.spans("out")[0].end == 0
        victim.kill()
        victim.wait()
        begun = time.monotonic()
        assert heir.member.poll(20).gained == {Partition("in", 1)}
        assert time.monotonic() - begun < 3
        assert len(heir.member.poll(1).records) == 5
        assert values(log, "out") == []
        heir.member.close()
        assert list((path.parent / "relight.db-members").iterdir()) == []


def test_what_another_process_appends_is_polled_within_50_ms(path: Path, start: Start) -> None:
    with EmbeddedLog(path, durable=False) as log:
        log.create([TopicSpec("t", 1)])
        member = log.join("g", ["t"], "a")
        assert member.poll(5).gained == {Partition("t", 0)}
        teller = start("tell", "t", 21)
        late: list[float] = []
        while len(late) < 21:
            records = member.poll(30).records
            assert records, "nothing was appended"
            late += [time.time() - float(record.value or b"nan") for record in records]
        member.close()
        assert teller.wait(60) == 0
        assert sorted(late)[10] < 0.05
