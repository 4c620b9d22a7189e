"""Readings: numbers and pace taken from lines of progress, and what detectors make of them, signal by signal."""

import io

import numpy as np
import pytest
from following import Follower, matcher
from reading import SOURCE, clean, folded, signals

from diagnose.matching.readings import LIVE, WHOLE
from diagnose.matching.scanner import Scanner
from diagnose.matching.signals import SourceFold
from ingest.chunks import chunks
from ingest.decode import decoder_for
from schemas.signal import Signal


def line(step: int, loss: float, every_s: float = 5, pause_s: float = 0) -> str:
    """Return what Megatron prints of a step, `pause_s` later than its pace has it."""
    second = step * every_s + pause_s
    clock = f"{int(second // 3600):02d}:{int(second // 60 % 60):02d}:{int(second % 60):02d}"
    return (
        f" [2026-05-12 {clock}] iteration {step:8d}/  500000 | consumed samples: {step * 1024:12d} | "
        f"elapsed time per iteration (ms): {every_s * 1000:.1f} | learning rate: 3.0E-05 | global batch size:  1024 | "
        f"lm loss: {loss:.6E} | loss scale: 1.0 | grad norm: 1.234 | number of skipped iterations:   0 |"
    )


def training(losses: list[float]) -> bytes:
    return "".join(f"{line(step, loss)}\n" for step, loss in enumerate(losses, 1)).encode()


DIVERGED = [2.0 + 0.01 * (n % 7) for n in range(1200)] + [6.0 + 0.01 * (n % 7) for n in range(900)]
DONE = b"[after training is done] datetime: 2026-05-12 09:00:00\n"


def told(found: list[Signal]) -> dict[str, tuple[int, int]]:
    return {s.signature: (s.first.line, s.last.line) for s in found if s.signature.startswith("detect.")}


def test_a_loss_that_goes_up_and_stays_up_is_a_fault_at_the_line_where_it_does(scanner: Scanner) -> None:
    found = told(signals(scanner, training(DIVERGED)))
    assert "detect.loss-divergence" in found
    first, last = found["detect.loss-divergence"]
    assert 1200 <= first < 1500
    assert last > first


def test_the_line_and_the_words_say_what_was_seen(scanner: Scanner) -> None:
    (signal,) = [s for s in signals(scanner, training(DIVERGED)) if s.signature == "detect.loss-divergence"]
    assert "loss is 6" in signal.first.text
    assert signal.captures["metric"] == "loss"
    assert signal.first.time_s is not None


def test_healthy_numbers_are_no_fault(scanner: Scanner) -> None:
    falling = [8.0 * 0.999**n + 1.5 + 0.02 * (n % 5) for n in range(2000)]
    assert told(signals(scanner, training(falling))) == {}


def test_progress_tells_its_pace(scanner: Scanner) -> None:
    (signal,) = [s for s in signals(scanner, training([2.0] * 400)) if s.kind == "progress"]
    assert signal.pace_s == pytest.approx(5.0)
    assert signal.captures["total_steps"] == "500000"
    assert signal.captures["last_step"] == "400"


def test_a_line_is_counted_once_on_however_many_of_its_words_its_pattern_may_end(scanner: Scanner) -> None:
    data = "".join(
        f"2026-05-12T03:{step // 6:02}:{step % 6}0Z INFO step {step}/999 | loss 2.0 | lr 1.0e-04 | step_time 9.1 s\n"
        for step in range(1, 200)
    ).encode()
    (signal,) = [s for s in signals(scanner, data) if s.kind == "progress"]
    assert (signal.count, signal.pace_s) == (199, pytest.approx(10.0))


def test_the_longest_pause_is_told_however_many_lines_lie_between_two_readings(scanner: Scanner) -> None:
    lines = [line(step, 2.0, pause_s=300 if step > 250 else 0) for step in range(1, 501)]
    data = "".join(f"{one}\n" for one in lines).encode()
    (signal,) = [s for s in signals(scanner, data) if s.kind == "progress"]
    assert signal.pace_s == pytest.approx(5.0)
    assert signal.pause_s == pytest.approx(305.0, abs=10)


def test_what_a_run_measured_that_has_succeeded_is_of_no_concern(scanner: Scanner) -> None:
    assert told(signals(scanner, training(DIVERGED) + DONE)) == {}
    again = training(DIVERGED) + DONE + training(DIVERGED)
    assert told(signals(scanner, again))["detect.loss-divergence"][0] > len(DIVERGED)


@pytest.mark.parametrize("size", [700, 5000, 1 << 20])
def test_the_size_of_the_chunks_leaves_no_trace_in_numbers(scanner: Scanner, size: int) -> None:
    data = training(DIVERGED) + DONE + training(DIVERGED[:300])
    assert signals(scanner, data, size) == signals(scanner, data)


@pytest.mark.parametrize("parts", [2, 3, 7])
def test_ranges_that_are_joined_give_the_numbers_of_one_pass(scanner: Scanner, parts: int) -> None:
    for data in (training(DIVERGED), training(DIVERGED[:900]) + DONE + training(DIVERGED)):
        ends = [data.find(b"\n", len(data) * part // parts) + 1 for part in range(1, parts)] + [len(data)]
        decoder = decoder_for(SOURCE, data[:65536])
        whole, lines, begin = SourceFold(), 0, 0
        for end in ends:
            own = chunks(io.BytesIO(data[:end]), begin=begin)
            fold, count = folded(scanner, own, decoder)
            whole.extend(fold, lines)
            lines, begin = lines + count, end
        assert whole.signals(SOURCE, clean) == signals(scanner, data)


def test_a_source_that_is_followed_tells_of_it_while_it_grows(scanner: Scanner) -> None:
    follower = Follower(matcher(scanner))
    data = training(DIVERGED)
    follower.cut(data[: len(data) * 3 // 4], range(0, len(data), 30_000))
    assert "detect.loss-divergence" in told(follower.signals)


def test_a_source_that_is_followed_tells_its_levels(scanner: Scanner) -> None:
    follower = Follower(matcher(scanner))
    follower.cut(training([2.0] * 400), range(0, 100_000, 9000))
    assert follower.read is not None
    (level,) = follower.read.levels
    assert (level.metric, level.value, level.points) == ("step_time_s", 5.0, 16)


def test_how_a_source_came_and_who_followed_it_leaves_no_trace_in_numbers(scanner: Scanner) -> None:
    data = training(DIVERGED)
    for every in (7_001, 30_000, 200_000):
        follower = Follower(matcher(scanner))
        places = range(0, len(data), every)
        follower.cut(data, places, frozenset(places[:: 3 if every > 20_000 else 9]))
        assert follower.signals == signals(scanner, data, source=follower.source)


def test_a_line_that_may_go_on_tells_no_numbers(scanner: Scanner) -> None:
    whole = training([2.0] * 3)
    cut = whole[: whole.rfind(b"lm loss: ") + len(b"lm loss: 9")]
    fold, _ = folded(scanner, chunks(io.BytesIO(cut)), decoder_for(SOURCE, cut))
    values = [reading.values for one in fold.measuring.pending for reading in one.taken]
    assert all(dict(own).get("loss") == 2.0 for own in values)


def test_less_and_less_of_a_source_that_is_read_as_a_whole_is_looked_at() -> None:
    offsets = np.arange(0, 1 << 30, 200, dtype=np.int64)
    assert WHOLE.takes(offsets).sum() < 30_000
    assert WHOLE.takes(offsets[: (1 << 20) // 200]).sum() > 600
    assert LIVE.takes(offsets).all()


def test_writers_who_take_turns_are_all_heard(scanner: Scanner) -> None:
    lines = [f"[rank{rank}]:{line(step, 2.0 + rank)}\n" for step in range(1, 400) for rank in range(4)]
    fold, _ = folded(scanner, chunks(io.BytesIO("".join(lines).encode())), decoder_for(SOURCE, b""))
    fold.measure()
    assert {key[2] for key in fold.measuring.series if key[0] == "loss"} == {0, 1, 2, 3}


def test_few_steps_behind_a_long_start_are_all_looked_at_however_the_source_is_cut(scanner: Scanner) -> None:
    start = b"".join(b"rank %d of 4096: registered, waiting for the others\n" % rank for rank in range(4096))
    data = start + training(DIVERGED[1140:1260])
    whole = signals(scanner, data)
    assert len(start) > 3 * 65_536
    assert any(signal.signature == "detect.loss-divergence" for signal in whole)
    decoder = decoder_for(SOURCE, data[:65_536])
    for parts in (2, 9, 40):
        ends = [data.find(b"\n", len(data) * part // parts) + 1 for part in range(1, parts)] + [len(data)]
        joined, lines, begin = SourceFold(), 0, 0
        for end in ends:
            fold, count = folded(scanner, chunks(io.BytesIO(data[:end]), begin=begin), decoder)
            joined.extend(fold, lines)
            lines, begin = lines + count, end
        assert joined.signals(SOURCE, clean) == whole
