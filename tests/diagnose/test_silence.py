"""Silence: a run that makes no progress any more though it was heard is a hang; a log that ends is none."""

import pytest
from living import SETTLE_S, Living
from made import BEGIN_S, DONE, FELL_OFF, START, STEP, concluded, failure, read, said, timeout

from schemas.events import decoded
from schemas.history import IncidentResolved
from schemas.signal import Heard, Signal, SourceRead

TIME_LIMIT = "slurm.time-limit"
HANG = "detect.hang"


def stepping(until: float, source: str = "gpu-03:train.log", **told: object) -> list[Signal]:
    """Return a run that makes a step every ten seconds until some moment."""
    fields = {"source": source, "host": source.partition(":")[0]} | told
    count = int(until // 10)
    steps = said(STEP, 10, until=until, count=count, pace_s=10.0, pause_s=15.0, **fields)  # type: ignore[arg-type]
    return [said(START, 0, source=source, host=steps.host), steps]


def heard(living: Living, at: float, *sources: str) -> None:
    """Let shippers say that they have found nothing new."""
    living.learn(Heard(sources=dict.fromkeys(sources or ("gpu-03:train.log",), BEGIN_S + at)))


def causes(living: Living) -> list[str]:
    return [i.diagnosed.diagnosis.signature for i in living.incidents() if i.diagnosed]


def reason(living: Living) -> str:
    """Return why the incident is over of which that was said last."""
    ended = decoded(living.said[-1]).data
    assert isinstance(ended, IncidentResolved)
    return ended.reason


# A run that is watched


def test_a_run_that_was_heard_and_did_not_move_for_a_minute_hangs() -> None:
    living = Living()
    living.story(*stepping(200), at=200)
    heard(living, 255)
    assert living.tick(255) == []
    heard(living, 261)
    assert living.tick(261) == ["incident.opened", "evidence.added", "diagnosis.revised"]
    assert living.only.diagnosed is not None
    found = living.only.diagnosed
    assert (found.diagnosis.signature, found.diagnosis.fault, found.impact) == (HANG, "training.hang", "failed")
    assert "until then one came every 10 s" in found.diagnosis.first_cause.text  # type: ignore[union-attr]
    heard(living, 400)
    assert living.tick(261 + SETTLE_S) == ["diagnosis.settled"]


def test_the_next_tick_is_asked_for_when_the_silence_was_heard_for_long_enough() -> None:
    living = Living()
    living.story(*stepping(200), at=200)
    assert living.correlator.due_s(living.cluster) is None
    heard(living, 261)
    assert living.correlator.due_s(living.cluster) == BEGIN_S + 260
    living.tick(261)
    heard(living, 300)
    assert living.correlator.due_s(living.cluster) == BEGIN_S + 261 + SETTLE_S


def test_a_run_of_which_nothing_is_heard_is_not_said_to_hang() -> None:
    living = Living()
    living.story(*stepping(200), at=200)
    assert living.tick(900) == []


def test_a_run_is_given_three_times_its_own_pace() -> None:
    slow = said(STEP, 100, until=2000, count=20, pace_s=100.0, source="gpu-03:train.log", host="gpu-03")
    living = Living()
    living.story(said(START, 0, source="gpu-03:train.log", host="gpu-03"), slow, at=2000)
    heard(living, 2295)
    assert living.tick(2295) == []
    heard(living, 2301)
    assert living.tick(2301)[0] == "incident.opened"


def test_a_run_is_given_more_than_the_longest_pause_that_it_made_its_way_out_of() -> None:
    steps = stepping(200)[1].model_copy(update={"pause_s": 100.0})
    living = Living()
    living.story(stepping(200)[0], steps, at=200)
    heard(living, 345)
    assert living.tick(345) == []
    heard(living, 351)
    assert living.tick(351)[0] == "incident.opened"


def test_a_run_whose_program_speaks_of_other_things_is_given_ten_minutes() -> None:
    living = Living()
    own = stepping(200)
    living.learn(*own, read("gpu-03:train.log", own, lines=260, placed=False))
    living.tick(200)
    heard(living, 795)
    assert living.tick(795) == []
    heard(living, 801)
    assert living.tick(801)[0] == "incident.opened"


@pytest.mark.parametrize(
    "steps",
    [{"step": "1", "last_step": "20", "total_steps": "20"}, {"step": "10", "last_step": "200", "total_steps": "205"}],
)
def test_a_run_that_has_done_all_its_steps_is_over(steps: dict[str, str]) -> None:
    living = Living()
    living.story(*stepping(200, **steps), at=200)
    heard(living, 900)
    assert living.tick(900) == []


def test_a_run_that_has_succeeded_is_over() -> None:
    living = Living()
    living.story(*stepping(200), said(DONE, 210, source="gpu-03:train.log", host="gpu-03"), at=211)
    heard(living, 900)
    assert living.tick(900) == []
    assert living.correlator.due_s(living.cluster) is None


@pytest.mark.parametrize("off_s", [-8 * 3600, 8 * 3600])
def test_a_log_in_another_time_zone_and_one_of_last_week_do_not_hang(off_s: float) -> None:
    living = Living()
    living.story(*stepping(200), at=200 + off_s)
    for at in (300, 1000):
        heard(living, at + off_s)
        assert living.tick(at + off_s) == []
        assert living.correlator.due_s(living.cluster) is None


def test_a_backlog_is_no_silence() -> None:
    living = Living()
    living.story(*stepping(200), at=500)  # came in late: what comes after it is still on its way
    heard(living, 555)
    assert living.tick(555) == []
    heard(living, 561)
    assert living.tick(561)[0] == "incident.opened"


def test_progress_ends_the_incident() -> None:
    living = Living()
    living.story(*stepping(200), at=200)
    heard(living, 300)
    living.tick(300)
    assert living.story(*stepping(320), at=325) == ["incident.resolved"]
    assert reason(living) == "the run makes progress again"
    heard(living, 500)
    assert living.tick(500)[0] == "incident.opened"


def test_a_restart_ends_the_incident_as_soon_as_it_makes_progress() -> None:
    living = Living()
    first = stepping(200)
    living.story(*first, at=200)
    heard(living, 300)
    living.tick(300)
    again = said(START, 400, source="gpu-03:train.log", host="gpu-03")
    assert living.story(*first, again, at=401) == ["diagnosis.revised"]
    assert len(living.incidents()) == 1
    more = said(STEP, 410, until=420, count=2, pace_s=10.0, source="gpu-03:train.log", host="gpu-03")
    assert living.story(*first, again, more, at=421) == ["incident.resolved"]
    assert reason(living) == "attempt 2 made progress"


def test_what_is_said_later_of_the_same_standstill_belongs_to_the_same_incident() -> None:
    living = Living()
    own = [*stepping(200, job="7"), *stepping(200, "gpu-04:train.log", job="7")]
    living.story(*own, at=200)
    heard(living, 300, "gpu-03:train.log", "gpu-04:train.log")
    living.tick(300)
    assert causes(living) == [HANG]
    late = [
        timeout(801, rank, source=f"gpu-0{rank + 3}:train.log", host=f"gpu-0{rank + 3}", job="7") for rank in (0, 1)
    ]
    living.story(*own, *late, at=805)
    assert [i.diagnosed.diagnosis.fault for i in living.incidents() if i.diagnosed] == ["comm.collective_timeout"]
    lost = said(FELL_OFF, 199, source="gpu-04:kernel", host="gpu-04", pci="0000:3b:00")
    living.story(lost, at=900)
    assert causes(living) == [FELL_OFF]
    assert len(living.cluster.incidents) == 1


def test_the_rank_that_stopped_first_is_to_blame() -> None:
    living = Living()
    names = [f"gpu-0{number}:train.log" for number in range(4)]
    ranks = [
        stepping(190 if number == 2 else 200, name, rank=number, step="1", last_step=str(19 if number == 2 else 20))
        for number, name in enumerate(names)
    ]
    living.story(*(signal for own in ranks for signal in own), at=200)
    heard(living, 300, *names)
    living.tick(300)
    assert living.only.diagnosed is not None
    culprit = living.only.diagnosed.diagnosis.culprit
    assert (culprit.kind, culprit.rank, culprit.host) == ("rank", 2, "gpu-02")


def test_nobody_is_blamed_where_all_stopped_together_or_only_one_rank_logs() -> None:
    for count in (1, 3):
        living = Living()
        names = [f"gpu-0{number}:train.log" for number in range(count)]
        living.story(*(s for number, name in enumerate(names) for s in stepping(200, name, rank=number)), at=200)
        heard(living, 300, *names)
        living.tick(300)
        assert living.only.diagnosed is not None
        assert living.only.diagnosed.diagnosis.culprit.kind == "job"


# Logs that are read after the fact


def test_a_log_that_just_ends_is_no_hang() -> None:
    found = concluded(*stepping(200))
    assert [i.signature for i in found.incidents] == [""]


def test_a_run_whose_scheduler_ends_it_long_after_its_last_step_hung() -> None:
    end = said(TIME_LIMIT, 4000, source="gpu-03:train.log", host="gpu-03")
    found = failure(*stepping(200), end)
    assert found.signature == HANG
    assert [s.fault for s in found.symptoms] == ["scheduler.time_limit"]


def test_a_run_that_stepped_until_its_time_was_over_did_not_hang() -> None:
    end = said(TIME_LIMIT, 215, source="gpu-03:train.log", host="gpu-03")
    assert failure(*stepping(200), end).fault == "scheduler.time_limit"


def test_a_collectives_timeout_says_it_better() -> None:
    ranks = [timeout(801, rank, source="gpu-03:train.log", host="gpu-03") for rank in (0, 1, 2)]
    assert failure(*stepping(200), *ranks).fault == "comm.collective_timeout"


def test_a_source_that_is_not_known_to_have_been_read_changes_nothing() -> None:
    source = SourceRead(source="other.log", lines=0, bytes_read=0)
    found = concluded(*stepping(200), sources=[read("gpu-03:train.log", stepping(200)), source])
    assert [i.signature for i in found.incidents] == [""]
