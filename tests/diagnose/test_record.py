"""The record of signatures: what verdicts say of them, how sure that is, and what it does to the next diagnosis."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from living import Living
from made import START, STEP, USER_ERROR, concluded, read, resolve, said

from diagnose.correlation.cluster import JUDGED, Cluster
from diagnose.correlation.conclusion import conclude
from diagnose.learning.record import Tally, record_of
from schemas.events import Event, decoded
from schemas.signal import SourceRead
from schemas.verdict import IncidentJudged, Judged, Judgement, Verdict, VerdictAdmitted, subject_of

ABOUT = Judged(fault="software.user_code", signature=USER_ERROR)
RIGHT, WRONG = Judgement.CORRECT, Judgement.WRONG


def verdict(name: str, judgement: Judgement, *, incident: str = "one", at_s: float = 1.0) -> VerdictAdmitted:
    return VerdictAdmitted(
        verdict=Verdict(
            id=name, cluster="c", incident=incident, judgement=judgement, about=ABOUT, by="ann", at_s=at_s, note="why"
        )
    )


def judged(incident: str, judgement: Judgement, at_s: float) -> IncidentJudged:
    return IncidentJudged(incident=incident, judgement=judgement, about=ABOUT, by="ann", at_s=at_s)


def failed_again(living: Living, number: int) -> float:
    """Let another job fail in the same way, and return how sure the diagnosis is."""
    source, at = f"job{number}.log", 1000.0 * number
    story = (
        said(START, at, source=source),
        said(STEP, at + 60, source=source),
        said(USER_ERROR, at + 70, source=source),
    )
    before = set(living.cluster.incidents)
    living.story(*story, at=at + 71)
    (new,) = living.cluster.incidents.keys() - before
    diagnosed = living.cluster.incidents[new].diagnosed
    assert diagnosed is not None
    return diagnosed.diagnosis.confidence


def test_a_verdict_that_was_admitted_is_said_of_its_incident_once_at_the_next_tick() -> None:
    living = Living()
    living.story(said(START, 0), said(STEP, 60), said(USER_ERROR, 70), at=71)
    incident = living.only.id
    living.learn(verdict("v", WRONG, incident=incident))
    assert living.cluster.fresh
    assert living.tick(72) == ["incident.judged"]
    told = decoded(living.said[-1])
    assert (told.subject, told.sequence) == (subject_of(incident, "v"), 1)
    assert isinstance(told.data, IncidentJudged)
    assert (told.data.judgement, told.data.by, told.data.note) == (WRONG, "ann", "why")
    living.learn(verdict("v", WRONG, incident=incident))
    assert living.tick(73) == []


def test_a_verdict_on_an_incident_that_is_forgotten_here_counts_all_the_same() -> None:
    living = Living()
    living.learn(verdict("v", WRONG, incident="long-forgotten"))
    assert living.tick(1) == ["incident.judged"]
    assert record_of(living.cluster.judged.items()) == {USER_ERROR: Tally(0, 1)}


def test_a_signature_that_is_often_wrong_is_believed_less_and_says_why() -> None:
    living = Living()
    first = failed_again(living, 1)
    for number in range(1, 11):
        living.learn(verdict(f"v{number}", WRONG, incident=f"i{number}"))
        living.tick(2000 + number)
        if number == 1:
            assert failed_again(living, 3) == pytest.approx(first * 10 / 11, abs=0.006)
    assert failed_again(living, 5) == pytest.approx(first / 2, abs=0.006)
    last = living.cluster.incidents[next(reversed(living.cluster.incidents))]
    assert last.diagnosed is not None
    assert "people found this diagnosis wrong in 10 of 10 incidents" in last.diagnosed.diagnosis.reasons


def test_correct_verdicts_make_nobody_surer_but_outweigh_wrong_ones() -> None:
    living = Living()
    first = failed_again(living, 1)
    for number in range(90):
        living.learn(verdict(f"v{number}", RIGHT, incident=f"i{number}"))
    living.tick(1500)
    assert failed_again(living, 2) == first
    living.learn(verdict("wrong", WRONG, incident="another"))
    living.tick(2500)
    assert failed_again(living, 3) == pytest.approx(first * 100 / 101, abs=0.006)


def test_a_scan_takes_the_record_that_it_is_given() -> None:
    story = (said(START, 0), said(STEP, 60), said(USER_ERROR, 70))
    sources: list[SourceRead] = [read("job.log", story)]
    (plain,) = concluded(*story).incidents
    (doubted,) = conclude(sources, story, resolve, record={USER_ERROR: Tally(0, 10)}).incidents
    assert doubted.confidence == pytest.approx(plain.confidence / 2, abs=0.006)


def test_the_last_verdict_on_an_incident_holds_in_whatever_order_they_come() -> None:
    told = [("a", judged("one", WRONG, 1)), ("b", judged("one", RIGHT, 2)), ("c", judged("two", WRONG, 0))]
    assert record_of(told) == record_of(reversed(told)) == {USER_ERROR: Tally(1, 1)}


def test_a_state_that_is_kept_and_restored_has_the_same_verdicts() -> None:
    living = Living().learn(verdict("a", WRONG), verdict("b", RIGHT, incident="two"))
    living.tick(1)
    living.learn(verdict("c", RIGHT, incident="three"))
    restored = Cluster.restored(living.cluster.kept())
    assert (restored.verdicts, restored.judged) == (living.cluster.verdicts, living.cluster.judged)
    old = {name: value for name, value in living.cluster.kept().items() if name not in ("verdicts", "judged")}
    assert Cluster.restored(old).judged == {}


def test_no_more_verdicts_are_kept_than_so_many_and_the_oldest_go_first() -> None:
    cluster = Cluster("c")
    for number in range(JUDGED + 5):
        data = judged(f"i{number}", WRONG, float(number))
        cluster.apply(Event("e", "c", subject_of(data.incident, f"v{number}"), 1.0, data, 1))
    assert len(cluster.judged) == JUDGED
    assert "v4" not in cluster.judged
    assert "v5" in cluster.judged


@pytest.mark.parametrize(
    ("correct", "wrong", "low", "high"),
    [(0, 0, 0.0, 1.0), (0, 1, 0.0, 0.7935), (1, 0, 0.2065, 1.0), (9, 1, 0.5958, 0.9821), (50, 50, 0.4038, 0.5962)],
)
def test_the_interval_is_wilsons(correct: int, wrong: int, low: float, high: float) -> None:
    assert Tally(correct, wrong).interval == pytest.approx((low, high), abs=0.0001)


@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_the_interval_holds_the_share_and_trust_is_a_share(correct: int, wrong: int) -> None:
    tally = Tally(correct, wrong)
    low, high = tally.interval
    assert 0 <= low <= high <= 1
    assert 0 < tally.trust <= 1
    if tally.precision is not None:
        assert low <= tally.precision <= high


def lived(cut: int | None = None) -> list[bytes]:
    """Return all that is said of two failures with verdicts between them; at a cut the state is kept and restored."""
    living = Living()
    for number in range(1, 5):
        if number == cut:
            living = Living(Cluster.restored(orjson.loads(orjson.dumps(living.cluster.kept()))), said=living.said)
        failed_again(living, 3 * number)
        for judgement in (WRONG, RIGHT) if number % 2 else (WRONG,):
            name = f"v{number}-{judgement}"
            living.learn(verdict(name, judgement, incident=f"i{number}", at_s=float(number)))
        living.tick(3000.0 * number + 500)
    return living.said


@pytest.mark.parametrize("cut", [None, 1, 2, 3, 4])
def test_a_replay_gives_the_same_bytes_also_from_a_state_that_was_kept(cut: int | None) -> None:
    assert lived(cut) == lived()
    assert sum(decoded(value).type.name == "incident.judged" for value in lived()) == 6
