"""The watermark: a backlog is not a silence, a lost source stops nothing, a silent one that is heard lets time pass."""

from dataclasses import dataclass

from relight.stages.watermark import LOST_S, Watermark
from schemas.signal import Heard, SourceRead


@dataclass
class Clock:
    now_s: float = 0.0

    def __call__(self) -> float:
        return self.now_s


def read(source: str, last_s: float | None, heard_s: float | None = None) -> SourceRead:
    return SourceRead(source=source, lines=1, bytes_read=1, last_s=last_s, heard_s=heard_s)


def watermark() -> tuple[Watermark, Clock]:
    clock = Clock()
    return Watermark(clock), clock


def test_without_a_source_no_time_is_known() -> None:
    mark, _ = watermark()
    assert mark.time_s() is None


def test_it_is_that_of_the_source_that_is_furthest_behind() -> None:
    mark, _ = watermark()
    mark.note(read("a", 100, heard_s=1000))
    mark.note(Heard(sources={"a": 1000}))
    mark.note(read("b", 900, heard_s=1000))
    mark.note(Heard(sources={"b": 990}))
    assert mark.time_s() == 990


def test_a_source_in_a_backlog_has_been_heard_up_to_its_last_line() -> None:
    mark, _ = watermark()
    mark.note(read("a", 900, heard_s=1000))
    mark.note(read("b", 50, heard_s=None))
    mark.note(Heard(sources={"a": 1005}))
    assert mark.time_s() == 50
    mark.note(read("b", 980, heard_s=1005))
    assert mark.time_s() == 1005


def test_a_source_that_was_at_its_end_and_has_new_lines_is_in_a_backlog_until_its_end_is_reached_again() -> None:
    mark, _ = watermark()
    mark.note(read("a", 900, heard_s=1000))
    mark.note(read("a", 1100, heard_s=1000))
    assert mark.time_s() == 1100
    mark.note(Heard(sources={"a": 1200}))
    assert mark.time_s() == 1200


def test_a_lost_source_does_not_stop_the_time_of_the_others() -> None:
    mark, clock = watermark()
    mark.note(Heard(sources={"gone": 1000}))
    clock.now_s = LOST_S + 1
    mark.note(Heard(sources={"there": 1050}))
    assert mark.time_s() == 1050


def test_when_all_are_lost_no_time_passes() -> None:
    mark, clock = watermark()
    mark.note(Heard(sources={"gone": 1000}))
    clock.now_s = LOST_S + 1
    assert mark.time_s() is None


def test_a_foreign_source_is_silent_as_long_as_nothing_comes_of_it() -> None:
    mark, clock = watermark()
    mark.note(read("foreign", 1000))
    clock.now_s = 40
    assert mark.time_s() == 1040


def test_a_source_that_is_complete_is_not_waited_for_however_old_its_lines_are() -> None:
    mark, _ = watermark()
    mark.note(read("a", 900, heard_s=1000))
    mark.note(read("alert", 100).model_copy(update={"complete": True}))
    assert mark.time_s() == 1000
