"""Streaming: the same bytes as in the files, in a shipper's records, at the rate that was asked for."""

from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from relight.cli import main
from relight.sim.streaming import CHUNK_BYTES, Sending, send
from relight.sim.telling import write
from relight.sim.world import Options, World, simulated
from relight.sim.writing import Text, texts
from relight.topics import LOGS, specs
from relight.transports.embedded import EmbeddedLog
from relight.transports.port import Partition, Record
from schemas.shipped import Shipped

OPTIONS = Options(seed=5, hosts=2, days=0.03, scenario="gpu-off-bus", loss=0.05)


def lines(world: World) -> list[Text]:
    return list(texts(world.tape, world.layout, world.options.seed, world.options.loss))


def files(world: World) -> Sending:
    return Sending(lines(world), "c1", "sim-5")


def records(log: EmbeddedLog) -> list[tuple[Shipped, Record]]:
    found = []
    for number in log.spans(LOGS):
        offset = 0
        while batch := log.read(Partition(LOGS, number), offset):
            for record in batch:
                shipped = Shipped.from_headers(record.headers)
                assert shipped is not None
                found.append((shipped, record))
            offset = batch[-1].offset + 1
    return found


@pytest.fixture
def log(tmp_path: Path) -> EmbeddedLog:
    opened = EmbeddedLog(tmp_path / "log.db", durable=False)
    opened.create(specs(3, 1))
    return opened


class Clock:
    """A clock that goes on by what is waited for."""

    def __init__(self) -> None:
        self.now_s = 1_000_000.0

    def ms(self) -> int:
        return int(self.now_s * 1000)

    def wait(self, duration_s: float) -> None:
        self.now_s += duration_s


@pytest.mark.parametrize("rate", [2_000, 1e7])
def test_what_is_streamed_are_the_bytes_of_the_files(log: EmbeddedLog, tmp_path: Path, rate: float) -> None:
    clock, world = Clock(), simulated(OPTIONS)
    truth = write(world, tmp_path)
    with log:
        assert send(files(world), log, rate, clock.ms, clock.wait) == truth.lines
        streamed: dict[str, bytes] = defaultdict(bytes)
        for shipped, record in records(log):
            own, value = streamed[shipped.stream], record.value or b""
            assert shipped.offset_bytes == len(own)
            assert shipped.line == own.count(b"\n") + 1
            assert len(value) <= CHUNK_BYTES
            assert (shipped.cluster, shipped.at_end) == ("c1", not value)
            streamed[shipped.stream] += value
    logs = tmp_path / "logs"
    expected = {
        f"/var/log/sim/{path.relative_to(logs)}": path.read_bytes() for path in logs.rglob("*") if path.is_file()
    }
    assert streamed == expected


def test_a_chunk_is_cut_between_lines_before_it_is_too_long() -> None:
    text = Text("n1/syslog", "n1", [(float(number), "x" * 999) for number in range(200)])
    chunks = [chunk.value or b"" for chunk in Sending([text], "c1", "g").chunks([("n1/syslog", "x" * 999)] * 200, 1)]
    assert len(chunks) == 4
    assert all(len(chunk) <= CHUNK_BYTES and chunk.endswith(b"x\n") for chunk in chunks)


def test_it_takes_as_long_as_the_rate_says(log: EmbeddedLog) -> None:
    clock, sending = Clock(), files(simulated(OPTIONS))
    with log:
        sent = send(sending, log, 1000, clock.ms, clock.wait)
    assert clock.now_s - 1_000_000 == pytest.approx(sent / 1000, abs=0.5)


def test_a_silent_file_is_said_to_be_alive_every_few_seconds(log: EmbeddedLog) -> None:
    clock, sending = Clock(), files(simulated(OPTIONS))
    with log:
        send(sending, log, 20, clock.ms, clock.wait)
        beats = Counter(shipped.stream for shipped, record in records(log) if not record.value)
    assert clock.now_s - 1_000_000 > 15
    assert max(beats.values()) > 3  # one before its first line, one at the end, and those between


def test_lines_of_one_host_are_shipped_by_it_and_those_of_many_by_the_controller(log: EmbeddedLog) -> None:
    world = simulated(OPTIONS)
    names = {host.name for host in world.cluster.hosts}
    with log:
        send(files(world), log, 1e6, Clock().ms, lambda duration_s: None)
        hosts = {shipped.stream: shipped.host for shipped, _ in records(log)}
    assert set(hosts.values()) <= {*names, "ctl01"}
    assert names <= set(hosts.values())


def test_another_beginning_shifts_all_lines_and_changes_nothing_else() -> None:
    first = simulated(OPTIONS)
    other = simulated(replace(OPTIONS, start_s=first.start_s + 1_000_000))
    assert other.end_s - first.end_s == pytest.approx(1_000_000)
    assert [text.path for text in lines(other)] == [text.path for text in lines(first)]
    assert [len(text.lines) for text in lines(other)] == [len(text.lines) for text in lines(first)]


def relight(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments], catch_exceptions=False)


def test_the_command_streams_into_the_log_of_the_settings(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    assert relight("setup", "--embedded", path).exit_code == 0
    options = ("--seed", 5, "--hosts", 1, "--days", 0.02, "--rate", 1e6, "--recent")
    result = relight("sim", "stream", *options, "--embedded", path, "--cluster", "c9")
    assert result.exit_code == 0, result.output
    assert "for the cluster c9" in result.stdout
    with EmbeddedLog(path) as log:
        assert {shipped.cluster for shipped, _ in records(log)} == {"c9"}


def test_a_log_without_topics_is_one_line(tmp_path: Path) -> None:
    result = relight("sim", "stream", "--seed", 5, "--hosts", 1, "--embedded", tmp_path / "none.db", "--days", 0.02)
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert "relight setup" in line
