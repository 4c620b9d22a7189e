"""The journal: entries of a real process that speaks as `journalctl --follow --output=json` does, and its end."""

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import pytest

from ingest.follow.cutting import CHUNK_BYTES
from ingest.follow.journal import Journal
from ingest.follow.pieces import Piece
from ingest.follow.positions import Positions
from ingest.sources import Problem
from schemas.vocabulary import Provenance

JOURNALCTL = """
import json, pathlib, sys, time
options = dict(word.partition("=")[::2] for word in sys.argv[2:])
assert {"--follow", "--no-tail", "--output"} <= options.keys() and options["--output"] == "json"
assert ("--boot" in options) != ("--after-cursor" in options)
entries = pathlib.Path(sys.argv[1]).read_text().splitlines(keepends=True)
cursors = [json.loads(entry).get("__CURSOR") for entry in entries]
begin = cursors.index(options["--after-cursor"]) + 1 if "--after-cursor" in options else 0
sys.stdout.write("".join(entries[begin:]))
sys.stdout.flush()
if pathlib.Path(sys.argv[1] + ".broken").exists():
    sys.exit("No journal files were found.")
time.sleep(60)
"""


def entry(number: int, message: str = "hello") -> bytes:
    return orjson.dumps({"__CURSOR": f"s=1;i={number}", "_TRANSPORT": "kernel", "MESSAGE": message}) + b"\n"


class Machine:
    """A journal, and who follows it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.entries = folder / "entries"
        self.script = folder / "journalctl.py"
        self.script.write_text(JOURNALCTL)
        self.now_ms = 0
        self.journal: Journal | None = None

    def start(self) -> Journal:
        self.stop()
        self.positions = Positions(self.folder / "positions.json")
        command = (sys.executable, "-S", str(self.script), str(self.entries))
        self.journal = Journal("c1", "node1", self.positions, command=command)
        return self.journal

    def stop(self) -> None:
        if self.journal is not None:
            self.journal.close()
            self.positions.save()

    def until(self, done: Callable[[list[Piece]], bool]) -> list[Piece]:
        """Read until enough has come; the process takes its time."""
        assert self.journal is not None
        pieces: list[Piece] = []
        deadline = time.monotonic() + 20
        while not done(pieces):
            assert time.monotonic() < deadline, "the process has said too little"
            pieces += self.journal.read(self.now_ms, 1 << 20)
            time.sleep(0.01)
        return pieces


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path)
    yield machine
    machine.stop()


def joined(pieces: list[Piece]) -> bytes:
    return b"".join(piece.value for piece in pieces)


def test_entries_are_shipped_as_they_are_and_a_restart_goes_on_behind_the_confirmed_ones(machine: Machine) -> None:
    first, rest = entry(1) + entry(2), entry(3) + entry(4)
    machine.entries.write_bytes(first)
    journal = machine.start()
    pieces = machine.until(lambda pieces: len(joined(pieces)) == len(first))
    assert joined(pieces) == first
    header = pieces[0].header
    assert (header.stream, header.provenance, header.offset_bytes, header.line) == ("journal", Provenance.UNKNOWN, 0, 1)
    journal.confirm(pieces)
    machine.entries.write_bytes(first + rest)
    machine.start()
    after = machine.until(lambda pieces: len(joined(pieces)) == len(rest))
    assert joined(after) == rest
    assert (after[0].header.offset_bytes, after[0].header.line) == (len(first), 3)
    assert after[0].header.generation == header.generation


def test_without_its_positions_it_says_the_same_again(machine: Machine) -> None:
    machine.entries.write_bytes(entry(1) + entry(2))
    machine.start()
    before = machine.until(bool)
    machine.start()
    assert machine.until(bool)[0].header == before[0].header


def test_chunks_end_between_entries_however_long_these_are(machine: Machine) -> None:
    long = entry(50, "x" * 100_000)
    data = b"".join(entry(n, "y" * 1000) for n in range(99)) + long + entry(100)
    machine.entries.write_bytes(data)
    machine.start()
    pieces = machine.until(lambda pieces: len(joined(pieces)) == len(data))
    assert joined(pieces) == data
    assert all(piece.value.endswith(b"}\n") for piece in pieces)
    assert all(len(piece.value) <= CHUNK_BYTES or piece.value == long for piece in pieces)


def test_an_entry_of_monstrous_size_is_passed_over_and_said(machine: Machine) -> None:
    machine.entries.write_bytes(entry(1) + entry(2, "x" * 2_000_000) + entry(3))
    journal = machine.start()
    pieces = machine.until(lambda pieces: joined(pieces).endswith(entry(3)))
    assert joined(pieces) == entry(1) + entry(3)
    (problem,) = journal.news()
    assert isinstance(problem, Problem)
    assert "passed over" in problem.what


def test_an_end_of_the_process_is_said_and_it_is_started_again_later(machine: Machine) -> None:
    broken = Path(f"{machine.entries}.broken")
    broken.touch()
    machine.entries.write_bytes(entry(1))
    journal = machine.start()
    machine.until(lambda pieces: bool(journal._news))
    (problem,) = journal.news()
    assert isinstance(problem, Problem)
    assert "ended with code 1: No journal files were found." in problem.what
    broken.unlink()
    machine.entries.write_bytes(entry(1) + entry(2))
    machine.now_ms += 10_000
    assert joined(machine.until(bool)) == entry(2)


def test_a_machine_without_journalctl_is_a_problem_once(tmp_path: Path) -> None:
    journal = Journal("c1", "node1", Positions(tmp_path / "p.json"), command=("no-such-journalctl",))
    assert [journal.read(now_ms, 1000) for now_ms in (0, 20_000, 40_000)] == [[], [], []]
    (problem,) = journal.news()
    assert isinstance(problem, Problem)
    assert problem.what == "no-such-journalctl is not installed"
    journal.close()


def test_a_silent_journal_gives_heartbeats(machine: Machine) -> None:
    machine.entries.write_bytes(entry(1))
    journal = machine.start()
    machine.until(bool)
    (beat,) = journal.read(5000, 1000)
    assert (beat.value, beat.header.at_end, beat.header.offset_bytes) == (b"", True, len(entry(1)))
