"""Order: a stream's lines are in order for certain, clocks of hosts differ, and the order of inputs means nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made import (
    DONE,
    FELL_OFF,
    START,
    STEP,
    TIMEOUT,
    USER_ERROR,
    WORKER_FAILED,
    concluded,
    failure,
    outcomes,
    read,
    resolve,
    said,
    timeout,
)

from diagnose.correlation.conclusion import conclude
from diagnose.correlation.moments import SKEW_S, Moment, in_order
from schemas.signal import Signal


def moment(line: int, since: float | None = None, until: float | None = None, stream: str = "a") -> Moment:
    return Moment(stream, 0, line, line, since, since if until is None else until)


def test_in_one_stream_the_later_line_is_later_whatever_its_clock_says() -> None:
    assert moment(9, since=100).after(moment(5, since=200))
    assert not moment(5, since=200).after(moment(9, since=100))


def test_between_streams_only_times_tell() -> None:
    assert moment(1, since=200, stream="b").after(moment(9, since=100))
    assert not moment(9, stream="b").after(moment(1, since=100))


def test_a_difference_within_the_skew_of_clocks_tells_nothing_between_streams() -> None:
    assert not moment(1, since=100 + SKEW_S, stream="b").after(moment(1, since=100), SKEW_S)
    assert moment(1, since=101 + SKEW_S, stream="b").after(moment(1, since=100), SKEW_S)


def test_no_moment_is_after_itself() -> None:
    for one in (moment(1), moment(1, since=1), moment(1, since=1, until=9)):
        assert not one.after(one)
        assert not one.well_after(one)


def test_a_line_without_a_time_lies_between_those_around_it_that_have_one() -> None:
    entries = in_order([said(START, 0), said(USER_ERROR, 0, line=50, timed=False), said(STEP, 100)])
    bare = entries[1].first if entries[1].signal.signature == USER_ERROR else entries[2].first
    assert bare.until_s - bare.since_s == 100


def test_the_story_of_many_streams_is_told_in_the_order_of_time() -> None:
    told = in_order([said(STEP, 30, source="a.log"), said(STEP, 20, source="b.log"), said(STEP, 10, source="c.log")])
    assert [entry.signal.source for entry in told] == ["c.log", "b.log", "a.log"]


def test_a_story_is_the_same_in_whatever_order_its_signals_come() -> None:
    signals = [
        said(START, 0),
        said(USER_ERROR, 0, line=50, timed=False),
        said(STEP, 100),
        said(STEP, 70, source="b.log"),
    ]
    assert in_order(signals) == in_order(signals[::-1]) == in_order(signals[1::2] + signals[::2])


@pytest.mark.parametrize(
    ("late", "cause"), [(0.5, "storage.disk-full"), (4.5, "storage.disk-full"), (20, "storage.worker-killed")]
)
def test_a_cause_on_a_clock_that_is_fast_by_seconds_is_still_the_cause(late: float, cause: str) -> None:
    full = said("storage.disk-full", 910 + late, source="rank9.log", host="gpu-02")
    assert (
        failure(said(START, 0), said(STEP, 60, until=900), said("storage.worker-killed", 910), full).signature == cause
    )


GPU = {"source": "gpu-02.kern", "host": "gpu-02"}
STORY = (
    said(START, 0),
    said(STEP, 60, until=400, count=30),
    said(USER_ERROR, 410, rank=0),
    said(START, 500),
    said(STEP, 560, until=900, count=30),
    said("gpu.thermal-slowdown", 880, gpu="3", **GPU),
    said(FELL_OFF, 910, pci="3b", **GPU),
    said("nvrm.xid.45", 911, line=940, pci="3b", **GPU),
    *(timeout(1510 + rank, rank, source=f"rank{rank}.log", host=f"gpu-0{rank}") for rank in range(4)),
    said("python.runtime-error", 1511, source="rank2.log", rank=2),
    said("storage.disk-full", 1200, source="rank3.log", rank=3),
    said(WORKER_FAILED, 1520, exitcode="1"),
    said(USER_ERROR, 60, line=415, timed=False),
    said(STEP, None, source="no-times.log", line=7),
    said(USER_ERROR, None, source="no-times.log", line=99),
)
SOURCES = tuple(read(name, STORY) for name in dict.fromkeys(s.source for s in STORY))


@given(st.permutations(STORY), st.permutations(SOURCES))
def test_the_order_of_signals_and_sources_does_not_matter(signals: list[Signal], sources: list) -> None:
    assert conclude(sources, signals, resolve) == conclude(SOURCES, STORY, resolve)


TOLD = st.tuples(
    st.sampled_from(
        [START, STEP, DONE, USER_ERROR, FELL_OFF, TIMEOUT, WORKER_FAILED, "gpu.thermal-slowdown", "nvrm.xid.45"]
    ),
    st.one_of(st.none(), st.integers(0, 3000)),
    st.integers(1, 3000),
    st.sampled_from(["job.log", "rank1.log", "gpu-02.kern"]),
    st.one_of(st.none(), st.integers(0, 3)),
)


def told(signature: str, at: int | None, line: int, source: str, rank: int | None) -> Signal:
    return said(signature, at, line=line, source=source, rank=rank, timeout_ms="600000")


@given(st.lists(TOLD, max_size=12, unique_by=lambda t: (t[0], t[2], t[3])), st.randoms(use_true_random=False))
def test_any_signals_are_concluded_from_and_in_any_order_alike(stories: list[tuple], random: object) -> None:
    signals = [told(*story) for story in stories]
    sources = [read(name, signals) for name in dict.fromkeys(s.source for s in signals)]
    found = conclude(sources, signals, resolve)
    shuffled = random.sample(signals, len(signals))
    assert conclude(sources[::-1], shuffled, resolve) == found
    assert all(i.confidence <= 0.98 for i in found.incidents)
    assert all(
        run.outcome != "failed" or any(i.run == run.name and i.impact == "failed" for i in found.incidents)
        for run in found.runs
    )


def test_a_run_without_any_time_is_judged_by_its_lines() -> None:
    story = [said(START, None, line=1), said(STEP, None, line=50), said(USER_ERROR, None, line=60)]
    assert outcomes(*story) == ["failed"]
    assert outcomes(*story, said(STEP, None, line=200), said(DONE, None, line=900)) == ["succeeded"]


def test_the_same_fault_on_two_hosts_with_clocks_apart_is_told_with_the_earlier_first() -> None:
    first = said(FELL_OFF, 905, source="gpu-07.kern", host="gpu-07", pci="3b")
    second = said(FELL_OFF, 950, source="gpu-01.kern", host="gpu-01", pci="3b")
    assert failure(said(START, 0), said(STEP, 60, until=900), second, first).culprit.host == "gpu-07"
    assert concluded(second, first).incidents[0].culprit.host == "gpu-07"
