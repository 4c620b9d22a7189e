"""Detectors: what a series is worth, when that is a fault, and that the way in which points came leaves no trace."""

from math import inf, isnan, nan
from statistics import median

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from diagnose.detectors.absence import patience_s, silent_too_long
from diagnose.detectors.peers import strangers
from diagnose.detectors.scores import SIGMA, reach, scored
from diagnose.detectors.series import Point, Series, kept, restored
from diagnose.detectors.trial import TrialError, fires, values
from schemas.detect import Detect, Score

NUMBERS = st.one_of(st.floats(-1e6, 1e6), st.sampled_from([nan, inf, -inf, 0.0]))
OF_A_SERIES = [score for score in Score if score not in (Score.ABSENCE, Score.PEERS)]


def detect(score: Score, **fields: object) -> Detect:
    plain = {"metric": "loss", "score": score, "above": 3.0, "window": 12, "least": 4, "recent": 3}
    return Detect.model_validate(plain | fields)


def points(numbers: list[float], apart_s: float = 10.0) -> list[Point]:
    return [Point(100 * at, at + 1, at * apart_s, number) for at, number in enumerate(numbers)]


def scores(found: Detect, numbers: list[float], apart_s: float = 10.0) -> list[float]:
    times = np.arange(len(numbers)) * apart_s
    told: list[float] = scored(found, times, np.array(numbers), len(numbers)).tolist()
    return told


def episodes(found: Detect, numbers: list[float], cuts: list[int] | None = None) -> list[tuple[object, ...]]:
    """Return what a detector finds in a series that comes in some pieces, its state kept and restored in between."""
    series, rest, told = Series(), points(numbers), {}
    for size in [*(cuts or []), len(rest)]:
        piece, rest = rest[:size], rest[size:]
        for name, episode in series.take("loss", piece, {"x": found}) if piece else ():
            told[name, episode.first.offset] = (episode.first.line, episode.last.line, episode.count, episode.said)
        series = restored(kept(series))
    return sorted(told.values())


# Scores


@given(st.lists(NUMBERS, min_size=1, max_size=60))
def test_a_deviation_is_the_distance_from_the_median_of_the_window_before_in_robust_deviations(
    numbers: list[float],
) -> None:
    found = detect(Score.DEVIATION)
    for at, score in enumerate(scores(found, numbers)):
        before = [n for n in numbers[max(0, at - 12) : at] if -inf < n < inf]
        if len(before) < 4 or isnan(numbers[at]):
            assert isnan(score)
            continue
        middle = median(before)
        sigma = max(SIGMA * median(abs(n - middle) for n in before), abs(middle) * 1e-3, 1e-12)
        assert score == pytest.approx((numbers[at] - middle) / sigma, rel=1e-6)


def test_a_ratio_is_taken_of_the_median_and_only_of_what_is_more_than_nothing() -> None:
    assert scores(detect(Score.RATIO), [2.0] * 6 + [5.0])[-1] == 2.5
    assert isnan(scores(detect(Score.RATIO), [0.0] * 6 + [5.0])[-1])


def test_a_rate_is_the_change_in_a_second_over_the_last_points() -> None:
    assert scores(detect(Score.RATE, recent=3), [0, 10, 20, 30, 40], apart_s=5)[-1] == 2.0
    assert isnan(scores(detect(Score.RATE, recent=3), [0, 10, 20])[-1])


def test_a_shift_asks_for_a_new_level_and_an_outlier_is_none() -> None:
    found = detect(Score.SHIFT, recent=5)
    steady = [2.0, 2.1, 1.9, 2.0, 2.1, 1.9, 2.0, 2.1]
    assert abs(scores(found, [*steady, 9.0, *steady[:4]])[-1]) < 1
    assert scores(found, [*steady, 4.0, 4.1, 3.9, 4.0, 4.1])[-1] > 10


def test_the_time_left_is_told_where_a_straight_line_leads_to_the_limit_and_nowhere_else() -> None:
    found = Detect(metric=("disk_free_bytes",), score=Score.TIME_LEFT, below=1e9, window=20, least=5)
    assert scores(found, [100.0 - n for n in range(20)])[-1] == pytest.approx(810, rel=1e-6)  # 81 left, 0.1 a second
    assert scores(found, [100.0 + n for n in range(20)])[-1] == inf
    assert isnan(scores(found, [100.0 + 10 * (-1) ** n for n in range(20)])[-1])
    assert isnan(scores(found, [50.0] * 20)[-1])


@given(
    st.sampled_from(OF_A_SERIES),
    st.lists(NUMBERS, min_size=1, max_size=80),
    st.integers(1, 80),
)
def test_a_score_depends_on_the_points_within_reach_and_on_no_others(
    score: Score, numbers: list[float], count: int
) -> None:
    found = detect(score)
    count = min(count, len(numbers))
    near = numbers[max(0, len(numbers) - count - reach(found)) :]
    times = np.arange(len(numbers)) * 10.0
    all_told = scored(found, times, np.array(numbers), count)
    told = scored(found, times[-len(near) :], np.array(near), count)
    np.testing.assert_allclose(told, all_told, rtol=1e-9)


# Episodes


@given(
    st.sampled_from(OF_A_SERIES),
    st.lists(st.one_of(st.floats(0, 10), st.sampled_from([nan, inf, 50.0, 50.0])), max_size=80),
    st.lists(st.integers(1, 20), max_size=12),
)
def test_how_the_points_came_leaves_no_trace(score: Score, numbers: list[float], cuts: list[int]) -> None:
    found = detect(score, points=2, until=1.0)
    assert episodes(found, numbers, cuts) == episodes(found, numbers)


def test_a_fault_begins_where_the_score_went_out_of_bounds_and_ends_where_it_is_well_back() -> None:
    found = Detect(metric=("loss",), above=5, until=3, points=2)
    assert [one[:3] for one in episodes(found, [1, 6, 1, 6, 7, 4, 4, 2, 4, 6, 6])] == [(4, 7, 4), (10, 11, 2)]


@pytest.mark.parametrize("score", [Score.RATIO, Score.DEVIATION, Score.SHIFT])
def test_what_stays_otherwise_than_it_was_before_stays_a_fault(score: Score) -> None:
    found = detect(score, above=1.8, until=1.2, change=0.3)
    series = [2.0, 2.1, 1.9, 2.0, 2.1] * 4
    ((first, last, _, _),) = episodes(found, [*series, *([4.2] * 200)])
    assert first <= 24
    assert last == 220
    ((_, last, _, _),) = episodes(found, [*series, *([4.2] * 50), *series])
    assert last == 70


def test_a_fault_has_to_last_where_the_detector_says_so() -> None:
    found = Detect(metric=("loss",), above=5, for_s=25)
    assert episodes(found, [6, 6, 6]) == []
    assert [one[:3] for one in episodes(found, [6, 6, 6, 6])] == [(1, 4, 4)]


def test_where_lines_tell_no_times_the_points_in_a_row_have_to_do() -> None:
    found = {"x": Detect(metric=("loss",), above=5, for_s=25, points=3)}
    undated = [Point(at, at, None, 9.0) for at in range(6)]
    assert list(Series().take("loss", undated[:2], found)) == []
    assert len(list(Series().take("loss", undated, found))) == 1


def test_both_bounds_can_be_given_and_between_them_all_is_well() -> None:
    found = Detect(metric=("loss",), above=5, below=1)
    assert [one[:2] for one in episodes(found, [3, 6, 3, 0, 3])] == [(2, 2), (4, 4)]


def test_what_is_said_names_the_metric_and_by_how_much() -> None:
    found = detect(Score.DEVIATION)
    (episode,) = episodes(found, [2.0, 2.1, 1.9, 2.0, 2.1, 9.0])
    assert str(episode[3]).startswith("loss is 9, ")
    assert "deviations above the median" in str(episode[3])


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"above": None}, "needs a bound"),
        ({"above": 1, "below": 2}, "is less than"),
        ({"above": 1, "until": 2}, "good side"),
        ({"above": 3, "below": 1, "until": 2}, "goes with one bound"),
        ({"least": 20, "window": 10}, "at most"),
        ({"metric": []}, "at least 1"),
    ],
)
def test_a_detector_that_makes_no_sense_is_refused(fields: dict[str, object], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        detect(Score.VALUE, **fields)


# Absence and peers


def test_nothing_may_come_for_some_times_the_pace_and_for_a_minute_at_least() -> None:
    found = Detect(metric=("progress",), score=Score.ABSENCE, above=3, for_s=60, least=3)
    assert [patience_s(found, pace) for pace in (1, 20, 100)] == [60, 60, 300]
    assert silent_too_long(found, [100, 90, 110], 290) is None
    assert silent_too_long(found, [100, 90, 110], 310) == pytest.approx(3.1)
    assert silent_too_long(found, [100, 90], 9999) is None, "the pace is not known"


@given(st.dictionaries(st.integers(0, 40), st.floats(0.9, 1.1), min_size=6, max_size=40))
def test_one_that_takes_twice_as_long_as_its_peers_is_the_stranger(levels: dict[int, float]) -> None:
    found = Detect(metric=("step_time_s",), score=Score.PEERS, above=6, change=0.5, least=4)
    slow = min(levels)
    assert set(strangers(found, levels | {slow: 2.5})) == {slow}
    assert strangers(found, levels) == {}
    assert strangers(found, dict.fromkeys(levels, 2.5) | {slow: nan}) == {}


# The notation of trials


def test_a_series_is_written_in_one_line() -> None:
    assert list(values("2 x3, 9")) == [2, 2, 2, 9]
    assert list(values("8..0 x5")) == [8, 6, 4, 2, 0]
    around = list(values("2.0~0.1 x50"))
    assert all(1.9 <= value <= 2.1 for value in around)
    assert len(set(around)) == 50
    assert isnan(next(iter(values("nan"))))


@pytest.mark.parametrize("series", ["", "2 x", "2~", "two", "1 x99999", "2.0 x3; 4"])
def test_what_is_no_series_is_refused_with_the_notation(series: str) -> None:
    with pytest.raises(TrialError):
        fires(detect(Score.VALUE), series)


def test_an_episode_can_go_on_in_a_copy_without_changing_the_first() -> None:
    found = {"x": Detect(metric=("loss",), above=5)}
    series = Series()
    (_, episode), *_ = series.take("loss", points([6.0]), found)
    list(series.copy().take("loss", points([7.0]), found))
    assert (episode.last, episode.count) == (episode.first, 1)
