"""The kernel's log: records of /dev/kmsg in the kernel's documented form, and who wrote them."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.follow.cutting import CHUNK_BYTES
from ingest.follow.kernel import KMSG, KernelLog
from ingest.follow.pieces import Piece
from ingest.follow.positions import Positions
from ingest.sources import Problem
from schemas.vocabulary import Provenance

RECORDS = (
    b"6,339,5140900,-;NET: Registered protocol family 10\n"
    b" SUBSYSTEM=net\n"
    b"4,340,5690716123,-;NVRM: Xid (PCI:0000:3b:00): 79, GPU has fallen off the bus.\n"
    b"12,341,5690717000,-;forged: NVRM: Xid (PCI:0000:3b:00): 79\n"
    b"6,342,5690718000,-,caller=T1;evil\\x0aname\n"
)


class Machine:
    """A ring buffer as a file, and who follows it."""

    def __init__(self, folder: Path) -> None:
        self.path, self.boot, self.state = folder / "kmsg", folder / "boot_id", folder / "positions.json"
        self.path.write_bytes(RECORDS)
        self.boot.write_text("b1\n")
        self.log: KernelLog | None = None
        self.start()

    def start(self) -> None:
        self.stop()
        self.positions = Positions(self.state)
        self.log = KernelLog("c1", "node1", self.positions, path=self.path, boot_id=self.boot)

    def stop(self) -> None:
        if self.log is not None:
            self.log.close()
            self.positions.save()

    def read(self, now_ms: int = 0, *, confirm: bool = True) -> list[Piece]:
        """Return what has come, without heartbeats."""
        assert self.log is not None
        pieces = [piece for piece in self.log.read(now_ms, 1 << 30) if piece.value]
        if confirm:
            self.log.confirm(pieces)
        return pieces

    def news(self) -> list[str]:
        assert self.log is not None
        return [one.what for one in self.log.news() if isinstance(one, Problem)]


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path)
    yield machine
    machine.stop()


def test_what_the_kernel_says_and_what_programs_write_are_two_streams(machine: Machine) -> None:
    kernel, kmsg = machine.read()
    assert (kernel.header.stream, kernel.header.provenance) == ("kernel", Provenance.KERNEL)
    assert kernel.value == (
        b"[    5.140900] NET: Registered protocol family 10\n"
        b"[ 5690.716123] NVRM: Xid (PCI:0000:3b:00): 79, GPU has fallen off the bus.\n"
        b"[ 5690.718000] evil\\x0aname\n"
    )
    assert (kmsg.header.stream, kmsg.header.provenance) == ("kmsg", Provenance.APP)
    assert kmsg.value == b"[ 5690.717000] forged: NVRM: Xid (PCI:0000:3b:00): 79\n"
    assert kernel.header.at_end
    assert kmsg.header.at_end


def test_new_records_come_behind_the_old_ones_and_a_restart_repeats_none(machine: Machine) -> None:
    kernel, _ = machine.read()
    for count, restarts in enumerate((False, True)):
        if restarts:
            machine.start()
        with machine.path.open("ab") as file:
            file.write(b"6,%d,7000000000,-;new\n" % (343 + count))
        (new,) = machine.read()
        assert new.value == b"[ 7000.000000] new\n"
        assert new.header.offset_bytes == len(kernel.value) + count * len(new.value)
        assert new.header.line == 4 + count
        assert new.header.generation == kernel.header.generation


def test_without_its_positions_it_says_the_same_again(machine: Machine) -> None:
    before = machine.read(confirm=False)
    machine.start()
    assert machine.read() == before


def test_another_boot_and_a_ring_that_was_overwritten_are_other_generations(machine: Machine) -> None:
    generations = {machine.read()[0].header.generation}
    machine.boot.write_text("b2\n")
    machine.start()
    generations.add(machine.read()[0].header.generation)
    machine.path.write_bytes(RECORDS[RECORDS.index(b"4,340") :])
    machine.stop()
    machine.state.unlink()
    machine.start()
    generations.add(machine.read()[0].header.generation)
    assert len(generations) == 3


def test_records_that_were_overwritten_are_counted(machine: Machine) -> None:
    machine.read()
    with machine.path.open("ab") as file:
        file.write(b"6,350,7000000000,-;later\n")
    machine.read()
    assert machine.news() == ["7 records were overwritten before they were read, behind number 342"]


def test_what_is_no_record_is_said_and_passed_over(machine: Machine) -> None:
    machine.path.write_bytes(b"[    0.1] dmesg, not kmsg\n" + RECORDS)
    assert len(machine.read()) == 2
    assert "dmesg, not kmsg" in machine.news()[0]


def test_a_flood_comes_in_chunks(machine: Machine) -> None:
    machine.path.write_bytes(b"".join(b"6,%d,%d,-;line %d\n" % (n, n, n) for n in range(10_000)))
    pieces = machine.read()
    assert len(pieces) > 3
    assert all(len(piece.value) <= CHUNK_BYTES for piece in pieces)
    lines = b"".join(piece.value for piece in pieces).splitlines()
    assert [line.rpartition(b" ")[2] for line in lines] == [b"%d" % n for n in range(10_000)]


def test_a_missing_device_is_a_problem_once_and_tried_again(machine: Machine) -> None:
    hidden = machine.path.rename(f"{machine.path}.hidden")
    assert [machine.read(now_ms) for now_ms in (0, 60_000, 120_000)] == [[], [], []]
    assert machine.news() == ["cannot be opened: No such file or directory"]
    hidden.rename(machine.path)
    assert len(machine.read(180_000)) == 2


def test_a_silent_kernel_gives_heartbeats(machine: Machine) -> None:
    machine.read()
    assert machine.log is not None
    beats = machine.log.read(5000, 1000)
    assert [(beat.value, beat.header.stream, beat.header.at_end) for beat in beats] == [
        (b"", "kernel", True),
        (b"", "kmsg", True),
    ]


@pytest.mark.skipif(not os.access(KMSG, os.R_OK), reason="/dev/kmsg cannot be read here")
def test_the_log_of_the_kernel_that_runs_is_read(tmp_path: Path) -> None:
    log = KernelLog("c1", "node1", Positions(tmp_path / "p.json"))
    read = log.read(0, 1 << 30)
    log.close()
    if log.news():
        pytest.skip("/dev/kmsg is forbidden here")
    assert all(piece.value.startswith(b"[") or not piece.value for piece in read)
