"""TensorBoard's event files: scalars of either form become lines, and a damaged file is told as far as it goes."""

import struct
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rendered import File, double, framed, number, peak_bytes, rendered, single, within

from ingest.errors import Unreadable
from ingest.renderings.table import rendering_of
from ingest.renderings.tensorboard import TensorBoard

VERSION = framed(double(1, 1738555500.0) + within(3, "brain.Event:2"))


def event(step: int, *values: bytes, time_s: float = 1738555506.125) -> bytes:
    return framed(double(1, time_s) + number(2, step) + within(5, b"".join(within(1, value) for value in values)))


def simple(tag: str, value: float) -> bytes:
    return within(1, tag) + single(2, value)


def tensor(tag: str, *fields: bytes) -> bytes:
    plugin = within(9, within(1, within(1, "scalars")))
    return within(1, tag) + within(8, b"".join(fields)) + plugin


def test_a_steps_scalars_that_stand_together_are_one_line_under_the_metrics_names() -> None:
    data = VERSION + event(1200, simple("train/loss", 2.5)) + event(1200, simple("train/grad_norm", 0.75))
    data += event(1210, simple("train/loss", float("nan")), simple("my tag=é", 3.0))
    assert rendered(data) == (
        [
            "2025-02-03T04:05:06.125Z metric of=training step=1200 loss=2.5 grad_norm=0.75",
            "2025-02-03T04:05:06.125Z metric of=training step=1210 loss=nan my%20tag%3D%C3%A9=3",
        ],
        "",
    )


def test_a_file_that_a_writer_of_others_wrote_is_read() -> None:
    written = Path(__file__).parent / "data" / "events.out.tfevents.1738555506.node07"
    assert rendered(written.read_bytes()) == (
        [
            "2025-02-03T04:06:46.250Z metric of=training step=100 loss=3 grad_norm=0.75",
            "2025-02-03T04:08:26.250Z metric of=training step=200 loss=1.5 grad_norm=0.75",
        ],
        "",
    )


@pytest.mark.parametrize(
    "fields",
    [
        (number(1, 1), within(2, b""), within(4, struct.pack("<f", 2.5))),
        (number(1, 1), within(2, b""), within(5, struct.pack("<f", 2.5))),
        (number(1, 1), single(5, 2.5)),
        (number(1, 2), within(6, struct.pack("<d", 2.5))),
        (number(1, 19), within(4, struct.pack("<e", 2.5))),
        (number(1, 2), within(2, within(2, number(1, 1))), within(4, struct.pack("<d", 2.5))),
    ],
)
def test_a_scalar_may_be_a_tensor(fields: tuple[bytes, ...]) -> None:
    lines, _ = rendered(VERSION + event(7, tensor("train/loss", *fields)))
    assert [line.partition("step=7 ")[2] for line in lines] == ["loss=2.5"]


def test_whole_numbers_may_be_a_tensor_too() -> None:
    values = [tensor("a", number(1, 9), within(10, b"\x07")), tensor("b", number(1, 3), number(7, -7))]
    lines, _ = rendered(VERSION + event(7, *values))
    assert [line.partition("step=7 ")[2] for line in lines] == ["a=7 b=-7"]


@pytest.mark.parametrize(
    "fields",
    [
        (number(1, 7), within(8, "words")),
        (number(1, 1), within(2, within(2, number(1, 2))), within(4, struct.pack("<ff", 1, 2))),
        (number(1, 9), within(10, b"\x07\x08")),
        (number(1, 1), within(2, within(2, number(1, 0)))),
    ],
)
def test_what_is_no_scalar_is_passed_over(fields: tuple[bytes, ...]) -> None:
    assert rendered(VERSION + event(7, tensor("t", *fields))) == ([], "")


def test_an_image_of_megabytes_is_passed_over_in_pieces() -> None:
    data = VERSION + framed(double(1, 1.0) + within(4, bytes(10 << 20))) + event(3, simple("loss", 1.0))
    (line,), peak = peak_bytes(TensorBoard(), data)
    assert line.endswith(b"step=3 loss=1\n")
    assert peak < 4 << 20


def test_an_event_with_a_wrong_checksum_is_left_out_and_said() -> None:
    broken = bytearray(event(2, simple("loss", 2.0)))
    broken[20] ^= 1
    lines, reason = rendered(VERSION + event(1, simple("loss", 1.0)) + bytes(broken) + event(3, simple("loss", 3.0)))
    assert [line[-6:] for line in lines] == ["loss=1", "loss=3"]
    assert reason.startswith("the event at byte ")
    assert reason.endswith(" has a wrong checksum")


def test_a_file_that_was_cut_off_is_told_up_to_there() -> None:
    whole = VERSION + event(1, simple("loss", 1.0))
    lines, reason = rendered((whole + event(2, simple("loss", 2.0)))[:-5])
    assert [line[-6:] for line in lines] == ["loss=1"]
    assert reason == f"it ends in the middle of an event, at byte {len(whole)}"


def test_a_length_that_nobody_wrote_ends_the_file_without_being_believed() -> None:
    huge = struct.pack("<QI", 1 << 62, 0)
    tracemalloc.start()
    lines, reason = rendered(VERSION + event(1, simple("loss", 1.0)) + huge + bytes(100))
    assert tracemalloc.get_traced_memory()[1] < 10 << 20
    tracemalloc.stop()
    assert len(lines) == 1
    assert "the length at byte" in reason


def test_an_event_that_lies_about_its_fields_is_left_out_and_said() -> None:
    lies = framed(double(1, 1.0) + within(5, within(1, b"\x0a\xff\xff\xff\xff\x0f")))
    lines, reason = rendered(VERSION + lies + event(3, simple("loss", 3.0)))
    assert [line[-6:] for line in lines] == ["loss=3"]
    assert reason.startswith("an event that cannot be read: ")


def test_scalars_that_are_read_count_when_the_disk_fails_below_them() -> None:
    class Failing(File):
        def read(self, size: int | None = -1, /) -> bytes:
            if data := super().read(size):
                return data
            raise Unreadable(self.label, "Input/output error")

    found = []
    with pytest.raises(Unreadable, match="Input/output error"):
        found += TensorBoard().render(Failing(VERSION))
    told = TensorBoard().render(Failing(VERSION + event(1, simple("loss", 1.0))))
    assert next(told).endswith(b"loss=1\n")
    with pytest.raises(Unreadable, match="Input/output error"):
        next(told)


@given(st.binary(max_size=300), st.integers(0, 400), st.integers(0, 255))
def test_damage_never_raises_anything_else(tail: bytes, at: int, byte: int) -> None:
    data = bytearray(VERSION + event(1, simple("loss", 1.0), tensor("t", number(1, 1), single(5, 2.0))) + tail)
    place = len(VERSION) + at % (len(data) - len(VERSION))
    data[place] = byte
    rendered(bytes(data))
    rendered(VERSION + framed(tail))


def test_other_records_are_no_events() -> None:
    assert rendering_of("x", framed(b"\x0a\x04data")) is None
    assert rendering_of("events.out.tfevents.1", b"") is None
