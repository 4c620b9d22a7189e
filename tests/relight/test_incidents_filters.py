"""From what is typed to a query: times, durations, fault classes, and what is said of mistakes in them."""

import time
from datetime import UTC, datetime

import pytest

from relight.incidents.filters import STANDING, Filters, Unclear, moment_ms, nearest, query_of
from relight.stores.port import Query
from schemas.history import State
from schemas.vocabulary import Severity

NOW_MS = round(datetime(2026, 5, 19, 12, tzinfo=UTC).timestamp() * 1000)
HOUR_MS = 3_600_000


def at_ms(*when: int) -> int:
    return round(datetime(*when, tzinfo=UTC).timestamp() * 1000)  # type: ignore[misc,arg-type]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90s", NOW_MS - 90_000),
        ("2h", NOW_MS - 2 * HOUR_MS),
        ("7d", NOW_MS - 168 * HOUR_MS),
        ("2w", NOW_MS - 336 * HOUR_MS),
        ("2026-05-12", at_ms(2026, 5, 12)),
        ("2026-05-12T03:00Z", at_ms(2026, 5, 12, 3)),
        ("2026-05-12T03:00", at_ms(2026, 5, 12, 3)),
        ("2026-05-12 03:00:30", at_ms(2026, 5, 12, 3, 0, 30)),
        ("2026-05-12T03:00+02:00", at_ms(2026, 5, 12, 1)),
        ("999999999d", 0),
        ("0001-01-01T00:00+14:00", 0),
    ],
)
def test_a_time_is_a_duration_ago_or_a_date_in_utc(text: str, expected: int) -> None:
    assert moment_ms("--since", text, NOW_MS) == expected


@pytest.mark.parametrize(
    "text", ["", "3x", "yesterday", "2026-13-01", "-2h", "2 h", "9999999999d", "0001-01-01T00:00+14"]
)
def test_a_time_that_is_none_is_answered_with_how_to_write_it(text: str) -> None:
    if text == "0001-01-01T00:00+14":
        assert moment_ms("--since", text + ":00", NOW_MS) == 0
        return
    with pytest.raises(Unclear, match="write 45m, 2h or 7d"):
        moment_ms("--since", text, NOW_MS)


def test_a_time_without_a_zone_is_utc_wherever_it_is_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert moment_ms("--since", "2026-05-12T03:00", NOW_MS) == at_ms(2026, 5, 12, 3)
    finally:
        monkeypatch.undo()
        time.tzset()


def test_escapes_in_a_mistyped_time_do_not_reach_the_terminal() -> None:
    with pytest.raises(Unclear) as told:
        moment_ms("--since", "\x1b[2J\u202e3x", NOW_MS)
    assert "\x1b" not in str(told.value)
    assert "\u202e" not in str(told.value)


def test_without_filters_all_that_are_not_merged_into_others_are_wanted() -> None:
    assert query_of(Filters(), NOW_MS) == Query(states=STANDING)
    assert State.MERGED not in STANDING


def test_every_filter_goes_into_the_query() -> None:
    typed = Filters(
        since="2h", until="1h", faults=("gpu.*", "comm.ib_link"), hosts=("node1*",), jobs=("48?",), clusters=("lab",),
        states=("merged", "open"), severity="error",
    )  # fmt: skip
    assert query_of(typed, NOW_MS, text="nvlink") == Query(
        since_ms=NOW_MS - 2 * HOUR_MS, until_ms=NOW_MS - HOUR_MS, clusters=("lab",), faults=("gpu.*", "comm.ib_link"),
        hosts=("node1*",), jobs=("48?",), states=(State.MERGED, State.OPEN), severity=Severity.ERROR, text="nvlink",
    )  # fmt: skip


def test_a_span_that_ends_before_it_begins_is_a_mistake() -> None:
    with pytest.raises(Unclear, match="not before --until"):
        query_of(Filters(since="1h", until="2h"), NOW_MS)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("gpu.fallen_of_bus", "gpu.fallen_off_bus"),
        ("fallen_off_bus", "gpu.fallen_off_bus"),
        ("cuda.oom", None),
        ("gpu.ecc", None),
        ("qqqq", None),
    ],
)
def test_a_mistyped_fault_class_is_answered_with_the_nearest(typed: str, meant: str | None) -> None:
    with pytest.raises(Unclear) as told:
        query_of(Filters(faults=(typed,)), NOW_MS)
    if meant:
        assert str(told.value).endswith(f"did you mean {meant}?")
    assert typed in str(told.value)


def test_a_pattern_that_matches_no_fault_class_is_answered_without_a_guess() -> None:
    for pattern in ("gpx.*", "gpu.fallen_of_b?s"):
        with pytest.raises(Unclear, match="relight rules faults") as told:
            query_of(Filters(faults=(pattern,)), NOW_MS)
        assert "did you mean" not in str(told.value)


def test_a_bracket_in_a_pattern_stands_for_itself_as_it_does_in_stores() -> None:
    with pytest.raises(Unclear):
        query_of(Filters(faults=("gp[u].*",)), NOW_MS)


def test_what_is_like_nothing_has_no_nearest() -> None:
    assert nearest("zzzz", ["gpu.fallen_off_bus"]) is None
