"""What an incident is found and counted by, where it takes a rule: times that cannot be, and how much of it."""

import pytest

from relight.stores.facets import facets
from schemas.history import State
from tests.contract.store_stories import START_S, document, resolved

DAY_S = 86_400


@pytest.mark.parametrize("ago_s", [0, 27, DAY_S])
def test_an_incident_began_with_the_first_line_of_its_cause(ago_s: int) -> None:
    found = facets(document(1, began_s=START_S - ago_s, ranks=8, more=(resolved(START_S + 100),)))
    assert found.began_ms == round((START_S - ago_s) * 1000)
    assert found.detection_ms == ago_s * 1000
    assert found.recovery_ms == (ago_s + 100) * 1000
    assert found.lost_gpu_ms == 8 * (ago_s + 100) * 1000


@pytest.mark.parametrize("ago_s", [None, -1, DAY_S + 1, 700 * DAY_S])
def test_where_the_cause_has_no_time_that_can_be_the_opening_counts(ago_s: int | None) -> None:
    began_s = None if ago_s is None else START_S - ago_s
    found = facets(document(1, began_s=began_s, ranks=8, more=(resolved(START_S + 100),)))
    assert found.state == State.RESOLVED
    assert (found.began_ms, found.detection_ms) == (None, None)
    assert found.recovery_ms == 100_000
    assert found.lost_gpu_ms == 8 * 100_000


def test_an_incident_is_found_by_a_bounded_number_of_words() -> None:
    assert len(facets(document(1, text=" ".join(f"w{n}" for n in range(9000)))).words.split()) == 4000


def test_a_name_of_half_a_character_does_not_stop_it() -> None:
    assert facets(document(1, host="\ud800" * 2000)).blamed == ""
