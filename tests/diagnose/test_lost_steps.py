"""How many steps a failure has cost: those that a later attempt did again, as far as both have logged them."""

import pytest
from living import Living
from made import START, STEP, USER_ERROR, said

from schemas.signal import Signal

EPOCHS = "marker.progress.lightning"


def resolved(*signals: Signal) -> int | None:
    """Return what the resolution of the first attempt's incident says, after an attempt failed and these follow."""
    living = Living()
    living.story(said(START, 0), said(STEP, 10, until=60, step="1", last_step="23"), said(USER_ERROR, 70), at=71)
    assert living.only.lost_steps is None
    living.story(said(START, 300, line=301), *signals, at=501)
    (incident, *_) = [i for i in living.incidents("resolved") if i.opened and i.opened.attempt == 1]
    return incident.lost_steps


def test_lost_are_the_steps_after_the_one_from_which_the_next_attempt_goes_on() -> None:
    assert resolved(said(STEP, 400, until=500, step="16", last_step="40")) == 8


def test_nothing_is_lost_where_it_goes_on_after_the_last_step() -> None:
    assert resolved(said(STEP, 400, step="24")) == 0


def test_steps_that_were_not_logged_are_never_counted_as_gained() -> None:
    assert resolved(said(STEP, 400, step="30")) == 0


@pytest.mark.parametrize("step", ["", "x", "-3", "9" * 30])
def test_what_is_no_number_of_a_step_tells_nothing(step: str) -> None:
    assert resolved(said(STEP, 400, step=step)) is None


def test_steps_of_another_signature_are_not_compared() -> None:
    assert resolved(said("marker.progress.megatron", 400, step="16")) is None


def test_the_first_steps_that_can_be_compared_count() -> None:
    other = said("marker.progress.checkpoint", 390, step="15")
    assert resolved(other, said(STEP, 400, step="16")) == 8


def test_steps_that_begin_anew_in_each_epoch_tell_nothing() -> None:
    living = Living()
    living.story(
        said(START, 0), said(EPOCHS, 10, until=60, step="1", last_step="90", epoch="0"), said(USER_ERROR, 70), at=71
    )
    living.story(said(START, 300, line=301), said(EPOCHS, 400, step="5", epoch="1"), at=501)
    assert (living.only.state, living.only.lost_steps) == ("resolved", None)


def test_nothing_is_lost_by_what_an_attempt_survived() -> None:
    living = Living()
    living.story(said(START, 0), said(STEP, 10, step="1", last_step="23"), said(USER_ERROR, 70), at=71)
    living.story(said(STEP, 200, until=900, step="20", last_step="40"), at=901)
    assert (living.only.state, living.only.lost_steps) == ("resolved", None)


def test_an_incident_that_is_reopened_has_lost_nothing_for_certain() -> None:
    living = Living()
    living.story(said(START, 0), said(STEP, 10, until=60, step="1", last_step="23"), said(USER_ERROR, 70), at=71)
    again = said(STEP, 400, step="16")
    living.story(said(START, 300, line=301), again, at=501)
    assert living.only.lost_steps == 8
    living.cluster.signals["job.log"].pop(again.id)
    assert "incident.reopened" in living.tick(502)
    assert living.only.lost_steps is None
