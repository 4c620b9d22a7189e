"""The dialect of patterns: the two engines held against each other, and what may not stand in a pattern."""

import hyperscan
import orjson
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from patterns import ALPHABET, Piece, nominator, patterns

from diagnose.matching.dialect import PatternError, confirming, nominating, tokens_of

PREFIXES = (
    "",
    "Nov 24 03:12:01 gpu-01 kernel: [24113.912004] ",
    "[rank3]: ",
    "12: ",
    "\x1b[31m",
    "2026-11-24T03:12:01.123456Z stderr F ",
    "(trainer pid=4711, ip=10.0.0.7) ",
)
WHOLE = pytest.mark.parametrize("whole", [True, False], ids=["as a whole", "by its telling piece"])
junk = st.one_of(st.just(""), st.text(alphabet=ALPHABET, max_size=6))
accepted = st.builds(lambda p, left, right: (p.pattern, left + p.text + right), patterns(), junk, junk)


def nominated(pattern: str, message: str, line: bytes, whole: bool) -> bool:
    """Tell whether Hyperscan nominates a line with a message that RE2 accepts, if both engines take the pattern."""
    try:
        assume(confirming(pattern).search(message.encode()))
        segments = nominator(pattern, whole=whole)
    except (PatternError, hyperscan.error):
        assume(False)
    return segments(line + b"\n") == {0}


@WHOLE
@given(accepted)
def test_whenever_re2_accepts_a_message_hyperscan_nominates_it(whole: bool, case: tuple[str, str]) -> None:
    pattern, message = case
    assert nominated(pattern, message, message.encode(), whole)


@WHOLE
@given(accepted, st.sampled_from(PREFIXES))
def test_whenever_re2_accepts_a_message_hyperscan_nominates_the_line_that_wears_a_prefix(
    whole: bool, case: tuple[str, str], prefix: str
) -> None:
    pattern, message = case
    assert nominated(pattern, message, (prefix + message).encode(), whole)


@WHOLE
@given(accepted)
def test_whenever_re2_accepts_a_message_hyperscan_nominates_the_json_record_that_holds_it(
    whole: bool, case: tuple[str, str]
) -> None:
    pattern, message = case
    record = orjson.dumps({"time": "2026-11-24T03:12:01Z", "log": message + "\n"})
    assert nominated(pattern, message, record, whole)


@WHOLE
@given(accepted)
def test_whenever_re2_accepts_a_line_hyperscan_nominates_the_json_record_in_which_it_is_the_second(
    whole: bool, case: tuple[str, str]
) -> None:
    pattern, message = case
    record = orjson.dumps({"time": "2026-11-24T03:12:01Z", "log": f"first line\n{message}\nlast line"})
    assert nominated(pattern, message, record, whole)
