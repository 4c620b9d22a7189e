"""W&B's run files: what was logged and what the machine was like become lines, block by block."""

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rendered import double, number, peak_bytes, rendered, varint, within

from ingest.renderings.table import rendering_of
from ingest.renderings.wandb import WandbRun

HEADING = b":W&B" + struct.pack("<HB", 0xBEE1, 0)
BLOCK = 32 * 1024


def log(*records: bytes) -> bytes:
    """Write records as LevelDB's log does: in pieces that no block's end parts."""
    out = bytearray(HEADING)
    for record in records:
        first, rest = True, record
        while first or rest:
            room = BLOCK - len(out) % BLOCK
            if room < 7:
                out += bytes(room)
                continue
            piece, rest = rest[: room - 7], rest[room - 7 :]
            kind = {(True, True): 1, (True, False): 2, (False, False): 3, (False, True): 4}[first, not rest]
            out += struct.pack("<IHB", zlib.crc32(piece, zlib.crc32(bytes([kind]))), len(piece), kind) + piece
            first = False
    return bytes(out)


def item(key: str, value: str) -> bytes:
    return within(1, within(1, key) + within(16, value))


def history(*items: bytes) -> bytes:
    return within(2, b"".join(items))


STEP = history(item("_step", "1200"), item("_timestamp", "1738555506.123"), item("_runtime", "9"), item("loss", "2.31"))
LINE = "2025-02-03T04:05:06.123Z metric of=training step=1200 loss=2.31"


def test_a_step_is_a_line() -> None:
    assert rendered(log(STEP)) == ([LINE], "")


def test_names_are_the_metrics_and_words_are_passed_over() -> None:
    nested = within(1, within(2, "optim") + within(2, "beta 1") + within(16, "0.9"))
    record = history(item("_step", "3"), item("train/loss", "NaN"), item("epoch", "1.5"), item("note", '"a"'), nested)
    lines, _ = rendered(log(record))
    assert lines == ["metric of=training step=3 epoch=1.5 loss=nan optim.beta%201=0.9"]


def test_values_may_be_typed() -> None:
    whole = within(1, within(1, "_step") + varint(5 << 3) + varint(24))
    record = history(
        whole, within(1, within(1, "loss") + double(6, 0.5)), within(1, within(1, "s") + within(7, "words"))
    )
    assert rendered(log(record)) == (["metric of=training step=12 loss=0.5"], "")


def test_the_step_may_stand_beside_the_items() -> None:
    record = within(2, within(1, within(1, "loss") + within(16, "1")) + within(2, number(1, 77)))
    assert rendered(log(record)) == (["metric of=training step=77 loss=1"], "")


def stat(key: str, value: str) -> bytes:
    return within(3, within(1, key) + within(16, value))


def test_readings_of_the_machine_are_lines_of_the_host_and_of_each_gpu() -> None:
    run = within(17, within(1, "abc") + within(13, "node07"))
    stamp = within(2, number(1, 1738555506) + number(2, 500_000_000))
    stats = stamp + stat("gpu.1.temp", "61") + stat("gpu.0.temp", "60") + stat("gpu.1.powerWatts", "612.5")
    stats += stat("gpu.process.0.temp", "99") + stat("proc.memory.availableMB", "1000") + stat("cpu", "25")
    time = "2025-02-03T04:05:06.500Z metric of="
    assert rendered(log(run, within(7, stats))) == (
        [
            f"{time}host host=node07 host_memory_available_bytes=1000000000 host_cpu_utilization=0.25",
            f"{time}gpu host=node07 gpu=0 gpu_temperature_c=60",
            f"{time}gpu host=node07 gpu=1 gpu_temperature_c=61 gpu_power_w=612.5",
        ],
        "",
    )


@pytest.mark.parametrize("size", [BLOCK, 3 * BLOCK])
def test_records_go_on_over_blocks(size: int) -> None:
    assert rendered(log(STEP, within(5, bytes(size)), STEP)) == ([LINE, LINE], "")


@pytest.mark.parametrize("room", range(10))
def test_what_is_left_of_a_block_is_passed_over_if_no_piece_begins_in_it(room: int) -> None:
    before = log(STEP, within(5, bytes(20_000)))
    data = log(STEP, within(5, bytes(20_000 + BLOCK - room - len(before))), STEP)
    assert len(data) > BLOCK
    assert rendered(data) == ([LINE, LINE], "")


def test_a_record_of_many_megabytes_is_passed_over_in_bounded_memory() -> None:
    lines, peak = peak_bytes(WandbRun(), log(within(5, bytes(20 << 20)), STEP))
    assert lines == [LINE.encode() + b"\n"]
    assert peak < 18 << 20


def test_a_file_that_was_cut_off_is_told_up_to_there() -> None:
    whole = log(STEP)
    lines, reason = rendered(log(STEP, STEP)[:-3])
    assert lines == [LINE]
    assert reason == f"damaged: it ends in the middle of a record, at byte {len(whole)}"


def test_a_wrong_checksum_ends_the_file_and_is_said() -> None:
    data = bytearray(log(STEP, STEP, STEP))
    data[len(log(STEP)) + 10] ^= 1
    lines, reason = rendered(bytes(data))
    assert lines == [LINE]
    assert reason == f"damaged: the record at byte {len(log(STEP))} has a wrong checksum"


def test_room_that_was_never_written_is_no_damage() -> None:
    assert rendered(log(STEP) + bytes(100)) == ([LINE], "")


@given(st.binary(max_size=200), st.integers(7, 200), st.integers(0, 255))
def test_damage_never_raises_anything_else(content: bytes, at: int, byte: int) -> None:
    data = bytearray(log(STEP, within(7, content), within(2, content), content))
    data[at % len(data)] = byte
    if data.startswith(HEADING):
        rendered(bytes(data))
    rendered(log(STEP, within(7, content), within(2, content), content))


def test_another_file_is_no_run() -> None:
    assert rendering_of("run-1.wandb", b":W&C\xe1\xbe\0") is None
