"""What goes into one message, and when: groups without a clock."""

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from relight.notify.grouping import MOST, Batch, Groups

WAIT_S, INTERVAL_S = 30.0, 300.0
NEVER = float("inf")


def groups() -> Groups[str, int]:
    return Groups(WAIT_S, INTERVAL_S)


def test_the_first_waits_for_others_and_one_message_is_for_all() -> None:
    waiting = groups()
    waiting.add("a", 1, 0, NEVER)
    waiting.add("a", 2, 29, NEVER)
    assert waiting.next_s() == 30
    assert waiting.due(29.9) == []
    assert waiting.due(30) == [Batch("a", (1, 2))]
    assert waiting.due(1000) == []


def test_what_comes_later_goes_into_one_further_message_when_the_interval_has_passed() -> None:
    waiting = groups()
    waiting.add("a", 1, 0, NEVER)
    assert waiting.due(30) == [Batch("a", (1,))]
    waiting.count_told("a", 1)
    waiting.add("a", 2, 31, NEVER)
    waiting.add("a", 3, 200, NEVER)
    assert waiting.told("a") == 1
    assert waiting.due(329.9) == []
    assert waiting.due(330) == [Batch("a", (2, 3))]


def test_a_group_about_which_nothing_comes_is_forgotten_and_begins_anew() -> None:
    waiting = groups()
    waiting.add("a", 1, 0, NEVER)
    waiting.due(30)
    waiting.count_told("a", 1)
    assert waiting.due(330) == []
    assert waiting.next_s() is None
    waiting.add("a", 2, 331, NEVER)
    assert waiting.told("a") == 0
    assert waiting.due(361) == [Batch("a", (2,))]


def test_what_has_to_be_told_by_a_time_is_and_takes_its_group_along() -> None:
    waiting = groups()
    waiting.add("a", 1, 0, NEVER)
    waiting.add("a", 2, 1, 5)
    assert waiting.due(5) == [Batch("a", (1, 2))]
    waiting.add("a", 3, 6, 3)
    assert waiting.due(6) == [Batch("a", (3,))]


def test_with_as_many_as_a_message_holds_it_waits_no_longer() -> None:
    waiting = groups()
    for item in range(MOST + 1):
        waiting.add("a", item, 1, NEVER)
    assert [len(batch.items) for batch in waiting.due(1)] == [MOST, 1]


def test_when_it_ends_all_that_waits_is_told() -> None:
    waiting = groups()
    waiting.add("a", 1, 0, NEVER)
    waiting.add("b", 2, 0, NEVER)
    assert waiting.all() == [Batch("a", (1,)), Batch("b", (2,))]
    assert waiting.all() == []


@dataclass
class Sent:
    """What was sent, when; and what is still to be sent, by when."""

    batches: list[tuple[float, Batch[str, int]]] = field(default_factory=list)

    def until(self, waiting: Groups[str, int], now_s: float) -> None:
        """Send what becomes due up to a time, each at its own."""
        while (next_s := waiting.next_s()) is not None and next_s <= now_s:
            self.batches += [(next_s, batch) for batch in waiting.due(next_s)]


came = st.lists(
    st.tuples(
        st.floats(0, 200).map(lambda number: round(number, 1)),
        st.sampled_from("abc"),
        st.one_of(st.just(NEVER), st.floats(1, 400).map(lambda number: round(number, 1))),
    ),
    max_size=60,
)


@given(came)
def test_everything_is_in_exactly_one_message_in_order_and_in_time(came: list[tuple[float, str, float]]) -> None:
    waiting, sent, now_s = groups(), Sent(), 0.0
    at: dict[int, tuple[float, str, float]] = {}
    for item, (pause_s, key, within_s) in enumerate(came):
        now_s += pause_s
        sent.until(waiting, now_s)
        waiting.add(key, item, now_s, now_s + within_s)
        at[item] = now_s, key, now_s + within_s
    sent.until(waiting, NEVER)

    assert sorted(item for _, batch in sent.batches for item in batch.items) == sorted(at)
    assert waiting.next_s() is None
    last: dict[str, float] = {}
    for time_s, batch in sent.batches:
        assert list(batch.items) == sorted(batch.items)
        came_s = [at[item][0] for item in batch.items]
        by_s = min(at[item][2] for item in batch.items)
        assert {at[item][1] for item in batch.items} == {batch.key}
        assert max(came_s) <= time_s <= min(by_s, came_s[0] + INTERVAL_S)
        if batch.key in last and time_s != by_s:
            assert time_s - last[batch.key] >= INTERVAL_S - 1e-6
        last[batch.key] = time_s
    for key in "abc":
        order = [item for _, batch in sent.batches if batch.key == key for item in batch.items]
        assert order == sorted(order)
