"""The dialect of patterns: the two engines held against each other, and what may not stand in a pattern."""

import re
from collections.abc import Callable

import hyperscan
import orjson
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from patterns import ALPHABET, Piece, nominator, patterns

from diagnose.matching.database import Plan
from diagnose.matching.dialect import PatternError, confirming, nominating, tokens_of
from diagnose.rulecheck import check
from diagnose.rules import Catalogue, Rule
from ingest.decode import decoder_for
from schemas.record import Source
from schemas.vocabulary import Kind

PREFIXES = (
    "Nov 24 03:12:01 gpu-01 kernel: [24113.912004] ",
    "[rank3]: ",
    "12: ",
    "2026-11-24T03:12:01.123456Z stderr F ",
    "(trainer pid=4711, ip=10.0.0.7) ",
)
WHOLE = pytest.mark.parametrize("whole", [True, False], ids=["as a whole", "by its telling piece"])
junk = st.one_of(st.just(""), st.text(alphabet=ALPHABET, max_size=6))
accepted = st.builds(lambda p, left, right: (p.pattern, left + p.text + right), patterns(), junk, junk)
messages = st.one_of(st.text(alphabet=ALPHABET, max_size=8), patterns().map(lambda piece: piece.text))


def scanning(pattern: str, whole: bool) -> Callable[[bytes], set[int]]:
    """Return Hyperscan's nominations for a pattern that both engines take; others are out of the question."""
    try:
        confirming(pattern)
        return nominator(pattern, whole=whole)
    except (PatternError, hyperscan.error):
        assume(False)
        raise AssertionError from None


def nominated(pattern: str, message: str, line: bytes, whole: bool) -> bool:
    """Tell whether Hyperscan nominates a line with a message that RE2 accepts."""
    segments = scanning(pattern, whole)
    assume(confirming(pattern).search(message.encode()))
    return segments(line + b"\n") == {0}


def survives_json(pattern: str, message: str) -> bool:
    """Tell whether no word border and no class of a pattern can meet a character that JSON writes as several."""
    classes = re.search(r"\\[dDsSwW]|(?<!\\)[.\[]", pattern)
    return r"\b" not in pattern and not (classes and set(message) & set('"\\\t\x1b'))


@WHOLE
@pytest.mark.parametrize("pattern", ["status['\"]: lost", 'status["]: lost', 'status": lost', r"status\": lost"])
def test_a_quote_may_wear_its_escape(pattern: str, whole: bool) -> None:
    assert nominator(pattern, whole=whole)(record('"status": lost'))


def record(*lines: str) -> bytes:
    return orjson.dumps({"time": "2026-11-24T03:12:01Z", "log": "".join(line + "\n" for line in lines)})


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
    assume(survives_json(pattern, message))
    assert nominated(pattern, message, record(message), whole)


@WHOLE
@given(accepted)
def test_whenever_re2_accepts_a_line_hyperscan_nominates_the_json_record_in_which_it_is_the_second(
    whole: bool, case: tuple[str, str]
) -> None:
    pattern, message = case
    assume(survives_json(pattern, message))
    assert nominated(pattern, message, record("first", message, "last"), whole)


@pytest.mark.parametrize("before", [b'{"log":"first\\n', b"\x1b[31m"])
def test_a_word_that_must_begin_a_pattern_may_follow_an_escape(before: bytes) -> None:
    assert nominator(r"\bKilled process \d+", whole=True)(before + b"Killed process 7\n")


@WHOLE
@given(patterns(), st.lists(st.tuples(messages, st.sampled_from(["\n", "\r", "\r\n"])), min_size=2, max_size=6))
def test_what_is_nominated_of_several_lines_is_what_is_nominated_of_each_alone(
    whole: bool, piece: Piece, lines: list[tuple[str, str]]
) -> None:
    assume(r"\b" not in piece.pattern)  # a pattern that may match nothing at all is not nominated by its lines
    segments = scanning(piece.pattern, whole)
    expected: set[int] = set()
    chunk = b""
    for text, end in [(piece.text, "\n"), *lines]:
        alone = text.encode() + end.encode()
        expected |= {len(chunk) + start for start in segments(alone)}
        chunk += alone
    assert segments(chunk) == expected


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(
    "pattern",
    [r"lost\s+the bus", r"lost[^x]*the bus", r"lost.*the bus", r"lost\D+the bus", r"lost\W+the", r"lost\S*the"],
)
@pytest.mark.parametrize("end", [b"\n", b"\r"])
def test_no_class_crosses_a_line_end(pattern: str, end: bytes, whole: bool) -> None:
    assert nominator(pattern, whole=whole)(b"the GPU has lost" + end + b"the bus\n") == set()


FORBIDDEN = (
    *(r"a\nb", "a\nb", r"a\rb", "a\rb", r"a\x0ab", r"a\x0Db", r"[\n]", r"\Ra", r"\Ca", r"\vab", r"\Qa\E", "caf\xe9"),
    *(r"(a)\1", r"a(?=b)", r"a(?!b)", r"(?<=a)b", r"(?<!a)b", r"(?i:a)", r"(?>a)", r"a\B", r"a\Z", r"[\D]", r"[^\W]"),
)


@pytest.mark.parametrize("pattern", FORBIDDEN)
def test_a_pattern_may_not_hold(pattern: str) -> None:
    with pytest.raises(PatternError):
        nominating(pattern)
    with pytest.raises(PatternError):
        confirming(pattern)


@pytest.mark.parametrize("pattern", ["a(", "a)", "[a", "a**", "*a"])
def test_what_re2_cannot_read_is_an_error_that_says_so(pattern: str) -> None:
    with pytest.raises(PatternError, match=r"\w"):
        confirming(pattern)


def test_rules_check_names_the_pattern_that_is_outside_the_dialect(known: Catalogue) -> None:
    signature = known.by_id["c10d.not-destroyed"].model_copy(update={"patterns": (r"lost(?=bus)",), "identity": ()})
    (complaint,) = check([Rule(signature, "own.yaml", 7)], {})
    assert str(complaint).startswith("own.yaml:7: rule c10d.not-destroyed: pattern `lost(?=bus)`")


@pytest.mark.parametrize(
    ("pattern", "tokens"),
    [
        (r"a\.b", ["a", r"\.", "b"]),
        ("[]x]+y", ["[]x]", "+", "y"]),
        ("[^]x]", ["[^]x]"]),
        (r"[\]x]", [r"[\]x]"]),
        ("[[:digit:]x]{2,3}?", ["[[:digit:]x]", "{2,3}?"]),
        ("(?i)(?:a|(?P<n>b))", ["(?i)", "(?:", "a", "|", "(?P<n>", "b", ")", ")"]),
    ],
)
def test_a_pattern_is_split_into(pattern: str, tokens: list[str]) -> None:
    assert tokens_of(pattern) == tokens


def test_every_match_line_of_the_catalogue_is_nominated_plain_prefixed_and_in_json(
    compiled: tuple[Plan, hyperscan.Database],
) -> None:
    order, database = compiled
    decode = decoder_for(Source("rules"), b"")
    silent = []
    for owner, signature in enumerate(order.signatures):
        for line in signature.match:
            if signature.kind is Kind.PROGRESS and "\t" in line:
                continue
            message = decode(line.encode()).message.decode()
            wearing = [line.encode(), *((prefix + message).encode() for prefix in PREFIXES)]
            wearing += [f"\x1b[31m{message}".encode(), record(line), record("first", message, "last")]
            for text in wearing:
                if owner not in _owners(order, database, text):
                    silent.append((signature.id, text))
    assert silent == []


def _owners(order: Plan, database: hyperscan.Database, text: bytes) -> set[int]:
    found: set[int] = set()
    database.scan(text, match_event_handler=lambda number, *_: found.add(order.expressions[number].owner))
    return found
