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


def nominates(pattern: str, line: str, whole: bool) -> bool:
    """Tell whether Hyperscan nominates a line that RE2 accepts; what either engine refuses is out of the question."""
    try:
        assume(confirming(pattern).search(line.encode()))
        segments = nominator(pattern, whole=whole)
    except (PatternError, hyperscan.error):
        assume(False)
    return bool(segments(line.encode()))


def compiles(pattern: str, message: str, whole: bool):
    try:
        assume(confirming(pattern).search(message.encode()))
        return nominator(pattern, whole=whole)
    except (PatternError, hyperscan.error):
        assume(False)


@WHOLE
@given(accepted)
def test_whenever_re2_accepts_a_message_hyperscan_nominates_it(whole: bool, case: tuple[str, str]) -> None:
    pattern, message = case
    assert compiles(pattern, message, whole)(message.encode()) == {0}


@WHOLE
@given(accepted, st.sampled_from(PREFIXES))
def test_whenever_re2_accepts_a_message_hyperscan_nominates_the_line_with_its_prefix(whole: bool, case: tuple[str, str], prefix: str) -> None:
    pattern, message = case
    assert compiles(pattern, message, whole)((prefix + message).encode()) == {0}


@WHOLE
@given(accepted, st.sampled_from(["", "first line\n", "\t"]))
def test_whenever_re2_accepts_a_message_hyperscan_nominates_the_json_record_that_holds_it(whole: bool, case: tuple[str, str], before: str) -> None:
    pattern, message = case
    record = orjson.dumps({"time": "2026-11-24T03:12:01Z", "log": before + message + "\n"})
    assert compiles(pattern, message, whole)(record) == {0}
