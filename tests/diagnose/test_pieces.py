"""The most telling piece of a pattern: every line that the pattern accepts holds it, and it is worth looking for."""

import re

import pytest
from hypothesis import assume, given
from patterns import Piece, patterns

from diagnose.matching.dialect import PatternError, confirming, tokens_of
from diagnose.matching.pieces import ENOUGH, telling


def piece(pattern: str) -> str:
    return "".join(telling(tokens_of(pattern)))


@given(patterns())
def test_what_a_pattern_accepts_holds_its_telling_piece(case: Piece) -> None:
    pattern = case.pattern.removeprefix("(?i)")
    try:
        found = confirming(piece(pattern)).search(case.text.encode())
        assume(confirming(pattern).search(case.text.encode()))
    except PatternError:
        assume(False)
    assert found


@given(patterns())
def test_a_piece_is_the_whole_pattern_or_holds_enough_fixed_characters_in_every_branch(case: Piece) -> None:
    pattern = case.pattern.removeprefix("(?i)")
    try:
        confirming(pattern)
    except PatternError:
        assume(False)
    if (found := piece(pattern)) != pattern:
        assert all(
            len(re.sub(r"\\(.)", r"\1", branch)) >= ENOUGH for branch in re.split(r"(?<!\\)[|()]+", found) if branch
        )


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (r"mount\.nfs: .*access denied by", "access denied by"),
        (r"Xid \(PCI:(?P<pci>[0-9a-f:.]+)\): GPU has fallen off", r"\): GPU has fallen off"),
        (r"(?:cannot allocate|no memory left) x", "(cannot allocate|no memory left)"),
        (r"long enough alone(?:s)? and more of it", "long enough alone"),
        (r"first alternative \d|second alternative \d", "first alternative |second alternative "),
        (r"(?:a very long first alternative|no) but long enough", " but long enough"),
        (r"(?:connection refused)+", "(connection refused)"),
        (r"connection refuse?d too", "connection refus"),
    ],
)
def test_the_telling_piece_of(pattern: str, expected: str) -> None:
    assert piece(pattern) == expected


@pytest.mark.parametrize(
    "pattern",
    [
        r"a\d+b",
        r"short \w+ words",
        r"first alternative \d|no",
        r"(?:the first alternative|two) \d",
        r"(?:the second)?x\d",
    ],
)
def test_a_pattern_is_left_whole_if_a_branch_of_it_says_too_little(pattern: str) -> None:
    assert piece(pattern) == pattern


def test_what_may_be_missing_is_no_piece() -> None:
    assert "optional words" not in piece(r"(?:optional words that are long)? always there")
    assert "repeated words" not in piece(r"(?:repeated words){0,3} always there")
