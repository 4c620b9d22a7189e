"""The linter and the tests of rules, each check a function from one rule to complaints.

What rules do to each other: `ruleconflicts`, `rulegraph`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Final

import hyperscan

from diagnose.detectors.trial import TrialError, fires
from diagnose.matching.database import VETOES, WHOLE
from diagnose.matching.dialect import PatternError, confirming, nominating, tokens_of
from diagnose.matching.pieces import fixed_characters
from diagnose.rules import Rule, RuleError
from schemas.captures import Capture
from schemas.detect import Detect
from schemas.faults import faults_matching
from schemas.metrics import conversions, number, reading
from schemas.record import Decoder
from schemas.signature import Signature
from schemas.vocabulary import Kind

FIXED_CHARACTERS: Final = 4
COUNTERS: Final = frozenset({"step", "total_steps", "epoch"})
"""What a pattern of `values` may capture beside metrics: where the run stands."""

_ALIKE: Final = 0.85
"""How alike (0 to 1) an unread name of a capture is to a read one to be taken for a slip of the pen."""


def check(rules: Iterable[Rule], known: Mapping[str, Rule]) -> list[RuleError]:
    """Return every complaint about the rules; `known` holds all rules that they may refer to."""
    return [rule.error(what) for rule in rules for lint in _LINTS for what in lint(rule, known)]


def refused(rules: Sequence[Rule]) -> list[RuleError]:
    """Return the patterns that the scanning engine does not take, though they are well formed."""
    if _taken(n for rule in rules for pattern in rule.signature.patterns for n in nominating(pattern)) is None:
        return []
    reasons = ((r, p, _taken(nominating(p))) for r in rules for p in r.signature.patterns)
    return [r.error(f"pattern `{p}`: the scanning engine refuses it: {why}") for r, p, why in reasons if why]


def test(rules: Iterable[Rule], decoder: Decoder) -> list[RuleError]:
    """Return the lines of `match` that do not match, and those of `not_match` that do, one complaint each.

    A rule whose patterns are none is told that instead.
    """
    return [
        rule.error(what) for rule in rules for what in list(_patterns_compile(rule, {})) or _own_lines(rule, decoder)
    ]


def accepts(rule: Rule, message: bytes) -> bool:
    """Tell whether a rule's own patterns accept a message, leaving provenance and other rules aside."""
    signature = rule.signature
    if not any(confirming(p).search(message) for p in signature.patterns):
        return False
    return not any(confirming(p).search(message) for p in signature.unless)


def _own_lines(rule: Rule, decoder: Decoder) -> Iterator[str]:
    if rule.signature.detect:
        yield from _own_series(rule.signature, rule.signature.detect)
        return
    nominated = _nominator(rule)
    for line in rule.signature.match:
        if not _any_line_accepted(rule, decoder, line):
            yield f"`match` line does not match: {line}"
        elif not nominated(line.encode()):
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


def _own_series(signature: Signature, detect: Detect) -> Iterator[str]:
    for wanted, series in (("match", signature.match), ("not_match", signature.not_match)):
        for one in series:
            try:
                fired = fires(detect, one)
            except TrialError as error:
                yield f"`{wanted}`: {error}"
                continue
            if fired != (wanted == "match"):
                yield f"`{wanted}` series {'fires' if fired else 'does not fire'}: {one}"


def _any_line_accepted(rule: Rule, decoder: Decoder, line: str) -> bool:
    return any(accepts(rule, part) for part in decoder(line.encode()).message.splitlines())


def _nominator(rule: Rule) -> Callable[[bytes], bool]:
    """Return what tells whether the scanning engine points a line out for a rule."""
    whole = rule.signature.kind in WHOLE
    database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
    database.compile(expressions=[n.encode() for p in rule.signature.patterns for n in nominating(p, whole=whole)])

    def nominated(line: bytes) -> bool:
        found: list[int] = []
        database.scan(line, match_event_handler=lambda number, *_: found.append(number))
        return bool(found)

    return nominated


def _taken(nominators: Iterable[str]) -> str | None:
    """Return why the scanning engine refuses expressions, `None` if it takes them."""
    if not (expressions := [nominator.encode() for nominator in nominators]):
        return None
    try:
        hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK).compile(expressions=expressions)
    except hyperscan.error as error:
        return str(error)
    return None


def _patterns_compile(rule: Rule, known: Mapping[str, Rule]) -> Iterator[str]:
    for pattern in (*rule.signature.patterns, *rule.signature.unless):
        try:
            confirming(pattern)
            nominating(pattern)
        except PatternError as error:
            yield f"pattern `{pattern}`: {error}"


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
    if (captured := _captured(rule.signature.patterns)) is None:
        return
    for name in rule.signature.identity:
        if name not in captured:
            yield f"`identity` names `{name}`, which no pattern captures"
    if rule.signature.table and rule.signature.table not in captured:
        yield f"`table: {rule.signature.table}` needs a capture of that name"


def _captures_are_used(rule: Rule, known: Mapping[str, Rule]) -> Iterator[str]:
    """Find what is captured in vain. A fault's captures are shown and those of the story told, whatever their names."""
    signature = rule.signature
    for pattern in (*signature.patterns, *signature.unless):
        if _groups_without_name(pattern):
            yield f"pattern `{pattern}`: a group without a name is never used; write `(?:` for `(`"
    unheard = signature.unless if signature.kind not in VETOES else (*signature.patterns, *signature.unless)
    for name in sorted(_captured(unheard) or ()):
        yield f"the capture `{name}` is never used: the line is no evidence; write `(?:` for `(?P<{name}>`"
    for name in sorted((_captured(signature.patterns) or set()) - set(Capture) - set(signature.identity)):
        if near := get_close_matches(name, list(Capture), 1, _ALIKE):
            yield f"nothing reads the capture `{name}`; did you mean `{near[0]}`?"


def _captured(patterns: Iterable[str]) -> set[str] | None:
    """Return the names that patterns capture, `None` if one of them is no pattern."""
    try:
        return {name.decode() for pattern in patterns for name in confirming(pattern).groupindex}
    except PatternError:
        return None


def _groups_without_name(pattern: str) -> bool:
    try:
        return bool(confirming(pattern).groups > len(confirming(pattern).groupindex))
    except PatternError:
        return False


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
    _captures_are_used,
    _explains_exist,
    _noise_is_unblamed,
    _own_lines_differ,
)
