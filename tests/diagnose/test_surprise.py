"""Surprise: which lines stand out when nothing explains a failure, and why."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from diagnose.correlation.surprise import MOST, Sample, surprises
from ingest.redaction import shown

STEPS = tuple(f"step {n} loss 2.{n} lr 0.001" for n in range(40, 60))
ODD = "prefetch: shard 118 has another checksum than its index"


def sample(host: str, *end: str, beginning: tuple[str, ...] = STEPS, **told: Any) -> Sample:
    lines = tuple((number, 100 * number, text) for number, text in enumerate((*STEPS[:5], *end), 1))
    return Sample(f"{host}.log", host, beginning, lines, **told)


def found(*samples: Sample, **more: Any) -> dict[str, str]:
    """Return the surprising lines, the most surprising first, with why."""
    return {one.place.text: one.why for one in surprises(samples, shown, **more)}


def test_a_line_that_one_host_of_many_says_at_the_end_stands_out() -> None:
    run = [sample(f"node{n:02}", "closing the log") for n in range(63)]
    assert next(iter(found(*run, sample("node99", "closing the log", ODD)).items())) == (
        ODD,
        "new in this run; only on node99, of 64 hosts",
    )


def test_what_was_said_at_the_beginning_as_well_is_not_new() -> None:
    assert found(sample("a", ODD, beginning=(*STEPS, ODD))) == {}


def test_a_rank_that_alone_says_something_is_named() -> None:
    told = [sample(f"r{rank}", *([ODD] if rank == 3 else []), rank=rank) for rank in range(8)]
    one_host = [Sample(s.source, "node01", s.beginning, s.end, s.rank) for s in told]
    assert found(*one_host)[ODD] == "new in this run; only on rank 3, of 8 ranks"


def test_the_last_line_before_a_source_fell_silent_says_so() -> None:
    why = found(sample("a", "waiting for the others", silent=True, rank=3), sample("b", "saving", rank=4))
    assert why["waiting for the others"].endswith("last line before rank 3 fell silent")
    assert "silent" not in why["saving"]


def test_earlier_runs_tell_what_is_new_to_all_of_them_and_what_is_usual() -> None:
    usual, rare = "WARNING: could not pin the pages of 3 workers", "cache is cold after 4 tries"
    earlier = [[*STEPS, usual]] * 9 + [[*STEPS, usual, rare]] * 3
    why = found(sample("a", usual, rare, ODD), earlier=earlier)
    assert why[ODD] == "new in this run; never in 12 earlier runs"
    assert why[rare] == "new in this run; in 3 of 12 earlier runs"
    assert usual not in why
    assert usual in found(sample("a", usual, rare, ODD))


def test_what_is_evidence_already_surprises_nobody() -> None:
    assert found(sample("a", "worker 7 exited with code 1"), explained=["worker 3 exited with code 1"]) == {}


def test_words_of_failure_weigh_more_than_being_new() -> None:
    first, *_ = found(sample("a", "profile written", "cannot map the ring: permission denied"))
    assert first == "cannot map the ring: permission denied"


def test_there_are_ten_at_most_and_the_same_ones_each_time() -> None:
    words = ["amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "heath", "islet", "jetty", "knoll", "ledge"]
    run = sample("a", *(f"{word} {word}ing of the {word} failed" for word in words))
    assert len(found(run)) == MOST
    assert found(run) == found(run)


def test_nothing_of_a_line_reaches_a_person_as_it_was() -> None:
    hostile = "\x1b]0;owned\x07\x1b[31m failed: api_key=sk-abcdefghijklmnop12345678 \u202e" + "x" * 100_000
    (one,) = surprises([sample("\x1b[2Ja", hostile), sample("b")], shown)
    told = one.template + one.why + one.place.text
    assert "\x1b" not in told
    assert "\u202e" not in told
    assert "sk-abcdefghijklmnop" not in told
    assert len(told) < 5000


@given(st.lists(st.text(max_size=60), max_size=30))
def test_any_lines_can_be_compared(lines: list[str]) -> None:
    assert len(found(sample("a", *lines), sample("b", silent=True), earlier=[lines[:3]], explained=lines[:1])) <= MOST
