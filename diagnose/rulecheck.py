"""The linter and the tests of rules: what loading cannot see, each check a function from a rule to complaints."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

import hyperscan

from diagnose.matching.database import VETOES, WHOLE
from diagnose.matching.dialect import PatternError, confirming, nominating, tokens_of
from diagnose.matching.pieces import fixed_characters
from diagnose.rules import Rule, RuleError
from schemas.faults import faults_matching
from schemas.metrics import conversions, number, reading
from schemas.record import Decoder
from schemas.vocabulary import Kind

FIXED_CHARACTERS: Final = 4
COUNTERS: Final = frozenset({"step", "total_steps", "epoch"})
"""What a pattern of `values` may capture beside metrics: where the run stands."""


def check(rules: Iterable[Rule], known: Mapping[str, Rule]) -> list[RuleError]:
    """Return every complaint about the rules; `known` holds all rules that they may refer to."""
    return [rule.error(what) for rule in rules for lint in _LINTS for what in lint(rule, known)]


def test(rules: Iterable[Rule], decoder: Decoder) -> list[RuleError]:
    """Return the lines of `match` that do not match, and those of `not_match` that do, one complaint each."""
    return [rule.error(what) for rule in rules for what in _own_lines(rule, decoder)]


def accepts(rule: Rule, message: bytes) -> bool:
    """Tell whether a rule's own patterns accept a message, leaving provenance and other rules aside."""
    signature = rule.signature
    if not any(confirming(p).search(message) for p in signature.patterns):
        return False
    return not any(confirming(p).search(message) for p in signature.unless)


def _own_lines(rule: Rule, decoder: Decoder) -> Iterator[str]:
    for line in rule.signature.match:
        if not _any_line_accepted(rule, decoder, line):
            yield f"`match` line does not match: {line}"
        elif not _nominated(rule, line.encode()):
            yield f"`match` line is not nominated by the scanning engine: {line}"
    for line in rule.signature.not_match:
        if _any_line_accepted(rule, decoder, line):
            yield f"`not_match` line matches: {line}"
    for pattern in rule.signature.values:
        if not any(_reads(pattern, decoder(line.encode()).message) for line in rule.signature.match):
            yield f"`values` pattern reads no number from any `match` line: {pattern}"


def _reads(pattern: str, message: bytes) -> bool:
    """Tell whether a pattern of `values` captures something, and everything that it captures is a number."""
    found = confirming(pattern).search(message)
    told = {k.decode(): v.decode("latin-1") for k, v in found.groupdict().items() if v} if found else {}
    return bool(told) and all((number(v) if k in COUNTERS else reading(k, v)) is not None for k, v in told.items())


def _any_line_accepted(rule: Rule, decoder: Decoder, line: str) -> bool:
    return any(accepts(rule, part) for part in decoder(line.encode()).message.splitlines())


def _nominated(rule: Rule, line: bytes) -> bool:
    database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
    database.compile(
        expressions=[
            n.encode() for p in rule.signature.patterns for n in nominating(p, whole=rule.signature.kind in WHOLE)
        ]
    )
    found: list[int] = []
    database.scan(line, match_event_handler=lambda number, *_: found.append(number))
    return bool(found)


def _patterns_compile(rule: Rule, known: Mapping[str, Rule]) -> Iterator[str]:
    for pattern in (*rule.signature.patterns, *rule.signature.unless):
        try:
            confirming(pattern)
            hyperscan.Database().compile(expressions=[n.encode() for n in nominating(pattern)])
        except PatternError as error:
            yield f"pattern `{pattern}`: {error}"
        except hyperscan.error as error:
            yield f"pattern `{pattern}`: the scanning engine refuses it: {error}"


def _values_are_metrics(rule: Rule, known: Mapping[str, Rule]) -> Iterator[str]:
    for pattern in rule.signature.values:
        try:
            captured = {g.decode() for g in confirming(pattern).groupindex}
        except PatternError as error:
            yield f"`values` pattern `{pattern}`: {error}"
            continue
        if not captured:
            yield f"`values` pattern `{pattern}` captures nothing"
        for name in sorted(captured - COUNTERS - set(conversions())):
            yield f"`values` captures `{name}`, which is no metric (schemas/metrics.yaml), `step` or `epoch`"


def _something_is_fixed(rule: Rule, known: Mapping[str, Rule]) -> Iterator[str]:
    """Find patterns that any line could match: what is scanned for without fixed characters makes every scan slow."""
    if rule.signature.kind in VETOES:
        return
    for pattern in rule.signature.patterns:
        try:
            if fixed_characters(tokens_of(pattern)) < FIXED_CHARACTERS:
                yield f"pattern `{pattern}`: has no {FIXED_CHARACTERS} fixed characters in a row"
        except PatternError:
            continue


def _identity_is_captured(rule: Rule, known: Mapping[str, Rule]) -> Iterator[str]:
    try:
        captured = {g.decode() for p in rule.signature.patterns for g in confirming(p).groupindex}
    except PatternError:
        return
    for name in rule.signature.identity:
        if name not in captured:
            yield f"`identity` names `{name}`, which no pattern captures"
    if rule.signature.table and rule.signature.table not in captured:
        yield f"`table: {rule.signature.table}` needs a capture of that name"


def _explains_exist(rule: Rule, known: Mapping[str, Rule]) -> Iterator[str]:
    for name in rule.signature.explains:
        if not faults_matching(name) and name not in known:
            yield f"`explains` names `{name}`, which is neither a fault class nor a signature"


def _noise_is_unblamed(rule: Rule, known: Mapping[str, Rule]) -> Iterator[str]:
    kind = rule.signature.kind
    if kind is not Kind.FAULT and rule.signature.explains:
        yield f"a signature of kind `{kind}` explains nothing"
    if kind not in (Kind.FAULT, Kind.SUCCESS) and rule.signature.decisive:
        yield f"a signature of kind `{kind}` decides nothing"


def _own_lines_differ(rule: Rule, known: Mapping[str, Rule]) -> Iterator[str]:
    if twice := sorted(set(rule.signature.match) & set(rule.signature.not_match)):
        yield f"a line stands in `match` and in `not_match`: {twice[0]}"


_Lint = Callable[[Rule, Mapping[str, Rule]], Iterator[str]]
_LINTS: Final[tuple[_Lint, ...]] = (
    _patterns_compile,
    _values_are_metrics,
    _something_is_fixed,
    _identity_is_captured,
    _explains_exist,
    _noise_is_unblamed,
    _own_lines_differ,
)
