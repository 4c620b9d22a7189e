"""What is said of a living cluster: incidents open, change, settle and end; the way of the facts leaves no trace."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from living import SETTLE_S, Living, gist
from made import DONE, FELL_OFF, START, STEP, USER_ERROR, WORKER_FAILED, read, said, timeout

from diagnose.correlation.cluster import FORGET_S, FORGET_TICKS, Cluster
from schemas.events import Event, decoded, encoded
from schemas.history import IncidentHistory
from schemas.signal import Heard, Placement, Signal, Withdrawn

KERNEL = "gpu-03:kernel"


def xid(at: float, **told: object) -> Signal:
    fields = {"source": KERNEL, "host": "gpu-03", "pci": "0000:3b:00"} | told
    return said(FELL_OFF, at, **fields)  # type: ignore[arg-type]


def training(at: float, until: float, **told: object) -> list[Signal]:
    fields = {"source": "gpu-03:train.log", "host": "gpu-03"} | told
    return [said(START, at, **fields), said(STEP, at + 10, until=until, **fields)]  # type: ignore[arg-type]


def test_an_error_opens_an_incident_at_the_next_tick_with_all_that_is_known() -> None:
    living = Living()
    types = living.story(said(START, 0), said(STEP, 60), said(USER_ERROR, 70), at=71)
    assert types == ["incident.opened", "evidence.added", "diagnosis.revised"]
    assert living.only.diagnosed.diagnosis.signature == USER_ERROR


def test_nothing_new_gives_nothing_to_say() -> None:
    living = Living()
    living.story(said(START, 0), said(USER_ERROR, 70), at=71)
    assert living.tick(72) == []


def test_a_diagnosis_settles_when_it_has_been_quiet_and_only_once() -> None:
    living = Living()
    living.story(said(START, 0), said(USER_ERROR, 70), at=71)
    assert living.tick(71 + SETTLE_S - 1) == []
    assert living.tick(71 + SETTLE_S) == ["diagnosis.settled"]
    assert living.tick(71 + 2 * SETTLE_S) == []


def test_decisive_evidence_settles_it_at_once() -> None:
    living = Living()
    assert living.story(*training(0, 60), xid(70), at=71)[-1] == "diagnosis.settled"


def test_a_deeper_cause_that_comes_late_revises_a_settled_diagnosis() -> None:
    living = Living()
    ranks = [timeout(700, rank, source=f"gpu-0{rank}:train.log", host=f"gpu-0{rank}", job="7") for rank in (1, 2)]
    living.story(*training(0, 90, job="7"), *ranks, at=701)
    living.tick(740)
    before = living.only
    assert before.settled
    types = living.story(xid(101), at=741)
    assert types[-2:] == ["diagnosis.revised", "diagnosis.settled"]
    assert (living.only.id, living.only.diagnosed.diagnosis.signature) == (before.id, FELL_OFF)


def test_an_incident_is_resolved_when_the_run_goes_on() -> None:
    living = Living()
    living.story(said(START, 0), said(STEP, 60), said(USER_ERROR, 70), at=71)
    assert living.story(said(STEP, 200, until=900), at=901)[-1] == "incident.resolved"
    assert living.incidents() == []
    assert living.only.state == "resolved"


def test_an_incident_is_resolved_when_the_next_attempt_makes_progress_and_not_before() -> None:
    living = Living()
    living.story(said(START, 0), said(STEP, 60), said(USER_ERROR, 70), at=71)
    assert "incident.resolved" not in living.story(said(START, 300, line=301), at=301)
    assert "incident.resolved" in living.story(said(STEP, 400, until=500), at=501)


def test_the_next_failure_of_the_same_job_is_another_incident() -> None:
    living = Living()
    living.story(said(START, 0), said(STEP, 60), said(USER_ERROR, 70), at=71)
    living.story(said(START, 300, line=301), said(STEP, 400, until=500), said(USER_ERROR, 600), at=601)
    assert [len(living.incidents("resolved")), len(living.incidents("open"))] == [1, 1]


def test_more_of_the_same_is_not_worth_an_event_until_it_has_doubled() -> None:
    living = Living()
    living.story(said(START, 0), said(USER_ERROR, 70, count=4), at=71)
    assert living.story(said(USER_ERROR, 70, count=5).model_copy(update={"read_to": 1}), at=72) == []
    more = said(USER_ERROR, 70, count=8).model_copy(update={"read_to": 2})
    assert living.story(more, at=73) == ["evidence.added"]


def test_when_it_settles_everything_is_said_exactly() -> None:
    living = Living()
    living.story(said(START, 0), said(USER_ERROR, 70, count=4), at=71)
    living.story(said(USER_ERROR, 70, count=7).model_copy(update={"read_to": 1}), at=72)
    living.tick(120)
    assert [evidence.count for evidence in living.only.evidence.values()] == [7]


def test_a_signal_that_is_withdrawn_ends_its_incident() -> None:
    living = Living()
    error = said(USER_ERROR, 70)
    living.story(said(START, 0), error, at=71)
    living.learn(Withdrawn(id=error.id, source=error.source, read_to=10))
    assert living.tick(72) == ["incident.resolved"]
    living.learn(error)
    assert living.tick(73) == [], "a redelivered signal brought it back"


def test_the_log_of_a_host_tells_of_the_job_that_ran_there_then() -> None:
    living = Living()
    first = training(0, 900, source="gpu-03:a.log", job="1")
    second = training(5000, 5900, source="gpu-03:b.log", job="2")
    living.story(*first, *second, xid(901), xid(5901, pci="0000:5e:00"), at=5902)
    jobs = {i.opened.job: i.diagnosed.diagnosis.culprit.name for i in living.cluster.incidents.values()}
    assert jobs == {"1": "GPU 0000:3b:00 on gpu-03", "2": "GPU 0000:5e:00 on gpu-03"}


def test_what_another_host_says_is_not_put_on_a_job() -> None:
    living = Living()
    living.story(*training(0, 900, job="1"), xid(901, host="gpu-99", source="gpu-99:kernel"), at=902)
    assert living.only.opened.job is None


def test_a_placement_tells_which_hosts_a_job_runs_on() -> None:
    living = Living().learn(Placement(job="1", hosts=("gpu-99",), from_s=None))
    living.story(*training(0, 900, job="1"), xid(901, host="gpu-99", source="gpu-99:kernel"), at=902)
    assert living.only.opened.job == "1"


def test_two_runs_without_a_job_on_one_host_at_one_time_stay_apart() -> None:
    living = Living()
    a = [*training(0, 900, source="gpu-03:alpha.log"), said(USER_ERROR, 950, source="gpu-03:alpha.log", host="gpu-03")]
    b = training(5, 1900, source="gpu-03:beta.log")
    living.story(*a, *b, at=2000)
    assert living.only.opened.run == "gpu-03:alpha.log"


def test_sources_that_are_only_heard_are_nothing_new() -> None:
    living = Living()
    living.story(said(START, 0), at=1)
    living.learn(Heard(sources={"job.log": 1.0}))
    assert not living.cluster.fresh


def test_an_incident_is_the_fold_of_its_events() -> None:
    living = Living()
    living.story(said(START, 0), said(STEP, 60), said(USER_ERROR, 70), at=71)
    living.tick(120)
    events = [decoded(value) for value in living.said]
    folded = IncidentHistory.of(living.only.id, [(e.data, e.time_s) for e in events])  # type: ignore[misc]
    assert folded == living.only
    assert [e.sequence for e in events] == [*range(1, len(events) + 1)]


def story() -> list[Signal]:
    """A job whose GPU is lost: the ranks of other hosts time out ten minutes later and torchrun gives up."""
    hosts = range(4)
    log = [s for h in hosts for s in training(0, 95, source=f"gpu-0{h}:train.log", host=f"gpu-0{h}", job="7", rank=h)]
    late = [timeout(700 + h, h, source=f"gpu-0{h}:train.log", host=f"gpu-0{h}", job="7") for h in hosts if h != 3]
    ends = [said(WORKER_FAILED, 710, source=f"gpu-0{h}:train.log", host=f"gpu-0{h}", job="7") for h in hosts]
    return [*log, xid(100), *late, *ends]


STORY = story()


@given(order=st.permutations(range(len(STORY))), ticks=st.lists(st.integers(0, len(STORY)), max_size=6))
def test_another_interleaving_gives_the_same_settled_incidents(order: list[int], ticks: list[int]) -> None:
    straight, mixed = Living(), Living()
    straight.story(*STORY, at=711)
    cuts = sorted({0, *ticks, len(STORY)})
    for begin, end in pairwise(cuts):
        mixed.story(*(STORY[at] for at in order[begin:end]), at=711)
    for living in (straight, mixed):
        living.tick(800)
    assert gist(mixed.incidents()) == gist(straight.incidents())
    assert all(incident.settled for incident in mixed.incidents())
    assert len(mixed.incidents()) == 1


@given(order=st.permutations(range(len(STORY))), ticks=st.lists(st.integers(0, len(STORY)), max_size=6))
def test_a_replay_gives_the_same_bytes_and_a_crash_leaves_no_trace(order: list[int], ticks: list[int]) -> None:
    def told(crashes: frozenset[int] = frozenset()) -> list[bytes]:
        living = Living()
        for at, number in enumerate(order):
            living.story(STORY[number], STORY[number], at=711 + at)
            if at in crashes:
                living = Living(Cluster.restored(living.cluster.kept()), said=living.said)
        living.tick(900)
        return living.said

    assert told(frozenset(ticks)) == told()


@given(cut=st.integers(0, 12))
def test_a_half_written_batch_is_completed_at_the_next_reaction(cut: int) -> None:
    whole, half = Living(), Living()
    whole.story(*STORY, at=711)
    known = [read(name, STORY) for name in dict.fromkeys(s.source for s in STORY)]
    half.learn(*STORY, *known)
    half.cluster.time_s = whole.cluster.time_s
    for event in half.correlator.react(half.cluster)[:cut]:
        half.cluster.apply(decoded(encoded(event)))
    half.react()
    assert gist(half.incidents()) == gist(whole.incidents())


def test_an_event_that_comes_twice_or_out_of_turn_changes_nothing() -> None:
    living = Living()
    living.story(said(START, 0), said(USER_ERROR, 70), at=71)
    before = living.only
    for value in living.said:
        living.cluster.apply(decoded(value))
    last = decoded(living.said[-1])
    living.cluster.apply(Event("y", "c", before.id, last.time_s, last.data, sequence=before.sequence + 2))
    assert living.only == before


@pytest.mark.parametrize("order", [0, 1])
def test_of_two_statements_the_one_that_knew_more_of_its_source_holds(order: int) -> None:
    few, many = (said(USER_ERROR, 70, count=n).model_copy(update={"read_to": n}) for n in (1, 9))
    living = Living().learn(*([few, many] if order else [many, few]))
    (held,) = living.cluster.signals["job.log"].values()
    assert held.count == 9


def test_a_run_that_succeeds_has_no_open_incident() -> None:
    living = Living()
    living.story(said(START, 0), said(STEP, 60), said(USER_ERROR, 70), at=71)
    living.story(said(STEP, 200, until=900), said(DONE, 1000), at=1001)
    assert living.incidents() == []


def test_what_has_been_silent_for_a_week_is_forgotten_without_a_word() -> None:
    living = Living()
    living.story(said(START, 0, source="old.log"), said(USER_ERROR, 70, source="old.log"), at=71)
    living.story(said(START, 0, source="new.log"), at=72)
    week_s = FORGET_S + 100
    living.cluster.tick = FORGET_TICKS - 2
    living.learn(Heard(sources={"new.log": 1.0}))
    living.tick(week_s)
    living.learn(read("new.log"), Heard(sources={"new.log": 2.0}))
    for at in range(FORGET_TICKS):
        assert living.tick(week_s + at) in ([], ["diagnosis.settled"])
    assert living.cluster.sources.keys() == {"new.log"}
    assert living.cluster.incidents == {}


def ticks(living: Living, from_s: float) -> None:
    """Let so many ticks pass, a tenth of a second apart, that what is old is forgotten."""
    for number in range(FORGET_TICKS + 1):
        living.tick(from_s + number / 10)


def test_what_was_read_before_the_first_tick_is_not_taken_for_old() -> None:
    living = Living().learn(read("early.log"))
    ticks(living, 1)
    assert living.cluster.sources.keys() == {"early.log"}


@pytest.mark.parametrize("shared", [{"stream": "gpu-03:train.log"}, {"job": "7"}])
def test_the_first_part_of_what_still_goes_on_is_not_forgotten(shared: dict[str, str]) -> None:
    living = Living()
    living.tick(1)
    living.learn(read("first.log", **shared))
    living.tick(FORGET_S + 100)
    living.learn(read("last.log", **shared))
    ticks(living, FORGET_S + 101)
    assert living.cluster.sources.keys() == {"first.log", "last.log"}
