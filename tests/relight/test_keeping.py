"""For how long log lines are kept: what the days are counted from, and the daily indices that follow from it."""

import pytest

from relight.stores.elastic_documents import day_of
from relight.stores.keeping import DAY_MS, counted_ms
from tests.contract.store_stories import START_S, line

READ_MS = round(START_S * 1000)


@pytest.mark.parametrize(
    ("days", "counts"),
    [(0, True), (-1, True), (-30, True), (-31, False), (-20_000, False), (1, True), (2, False), (90_000, False)],
)
def test_the_days_are_counted_from_a_lines_own_time_if_that_can_be(days: int, counts: bool) -> None:
    told = line("text", time_ms=READ_MS + days * DAY_MS, observed_ms=READ_MS)
    assert counted_ms(told, 30) == (told.time_ms if counts else READ_MS)


def test_of_a_line_without_a_time_they_are_counted_from_when_it_was_read() -> None:
    assert counted_ms(line("text", time_ms=None, observed_ms=READ_MS), 30) == READ_MS


@pytest.mark.parametrize(("days", "day"), [(-3, "2026.05.09"), (-31, "2026.05.12"), (40, "2026.05.12")])
def test_a_line_lies_in_the_index_of_the_day_that_it_counts_from(days: int, day: str) -> None:
    assert day_of(line("text", time_ms=READ_MS + days * DAY_MS, observed_ms=READ_MS), 30) == day
