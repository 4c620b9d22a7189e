"""Drafts of signatures: from what unexplained incidents have in common to a rule file that a person reviews.

A draft is checked as any rule is before it is shown, and matches no line that is known to be harmless.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import yaml
from pydantic import TypeAdapter, ValidationError

from diagnose import rulecheck
from diagnose.benign import benign_lines
from diagnose.learning.drafting import NoDraft, benign, near, pattern_of
from diagnose.learning.kinds import shape
from diagnose.matching.acceptance import accepted_by
from diagnose.matching.dialect import confirming
from diagnose.rules import Catalogue, Rule, RuleError, rules_in
from ingest.decode import decoder_for
from ingest.redaction import shown
from relight.learning.unknowns import Unknown
from schemas.incident import Surprise
from schemas.record import Source
from schemas.signature import SignatureId
from schemas.vocabulary import Provenance

_MATCHING: Final = 5
_SOURCE: Final = "https://example.com/say-where-this-message-is-printed"
_HEAD: Final = """\
# A draft, made of {count} that nothing explained. Review it before you use it:
# - `title`, `meaning`, `action` and `source` are yours to write; `fault` and `severity` are a guess.
# - `pattern`: is what is fixed the message itself, and is what varies skipped?
# - `match` and `not_match` are lines of your logs, secrets masked: write your own if you want to share the rule.
# Then: relight rules check FILE; relight rules test FILE; relight replay --rules FILE
"""
_ID: Final = TypeAdapter(SignatureId)
_DECODER: Final = decoder_for(Source("rules"), b"")


def drafted(name: str, unknown: Sequence[Unknown], known: Catalogue, *, fault: str | None, line: int = 1) -> str:
    """Return a rule file with the draft of a signature.

    Args:
        name: The id of the signature.
        unknown: Incidents of one kind, the one to begin with first.
        known: The catalogue in force.
        fault: The fault class; without it what people said that it was, else `unknown`.
        line: Which of the first incident's surprising lines it is made of, from 1.

    Raises:
        NoDraft: there is no such line, or no pattern fit to be used can be made of it.
    """
    _check_name(name, known)
    if not 1 <= line <= len(unknown[0].surprises):
        raise NoDraft(_no_such(line, len(unknown[0].surprises)))
    first = unknown[0].surprises[line - 1]
    pattern, matching = _pattern(first, unknown)
    _refuse_known(pattern, matching, known)
    healthy = near(pattern, _message(first.place.text), (_message(text) for one in unknown for text in one.healthy))
    fields = _fields(name, first, pattern, fault or _said(unknown) or "unknown", _writer(first, unknown))
    fields |= {"match": matching[:_MATCHING], "not_match": healthy or _other(unknown, known)}
    text = _HEAD.format(count="1 incident" if len(unknown) == 1 else f"{len(unknown)} incidents")
    text += yaml.safe_dump({"signatures": [fields]}, sort_keys=False, width=110, allow_unicode=True)
    _check(text, name, known)
    return text


def _pattern(first: Surprise, unknown: Sequence[Unknown]) -> tuple[str, list[str]]:
    """Return the pattern of a line and those that are like it, and which of these it matches, the line first."""
    examples = list(dict.fromkeys([first.place.text, *_alike(first, unknown)]))
    hosts = sorted({host for one in unknown for host in one.hosts})
    pattern = pattern_of([_message(text) for text in examples], hosts)
    matching = [text for text in examples if _matches(pattern, _message(text))]
    if matching[:1] != examples[:1]:
        raise NoDraft("the pattern that was made of the line does not match it; take another one with --line")
    return pattern, matching


def _check_name(name: str, known: Catalogue) -> None:
    try:
        _ID.validate_python(name)
    except ValidationError:
        raise NoDraft(
            f"{shown(name)!r} is no id: write it in lower case, dotted, such as storage.shard-mismatch"
        ) from None
    if name in known.by_id:
        raise NoDraft(f"there is a signature {name} already: `relight rules show {name}`")


def _no_such(line: int, there: int) -> str:
    if not there:
        return "the store keeps no line of it that stands out: with `index.lines = all` it would keep every line"
    return f"there is no line {line}: {there} {'line stands' if there == 1 else 'lines stand'} out"


def _alike(first: Surprise, unknown: Sequence[Unknown]) -> Iterator[str]:
    """Yield the lines of all incidents that have the same shape as one."""
    wanted = shape(first.place.text, unknown[0].hosts)
    for one in unknown:
        for surprise in one.surprises:
            if shape(surprise.place.text, one.hosts) == wanted:
                yield surprise.place.text


def _message(text: str) -> str:
    """Return a line's message as rules read it; of several lines in a record the first."""
    lines = _DECODER(text.encode()).message.splitlines()
    return lines[0].decode("utf-8", "replace") if lines else ""


def _matches(pattern: str, message: str) -> bool:
    return confirming(pattern).search(message.encode()) is not None


def _refuse_known(pattern: str, matching: Sequence[str], known: Catalogue) -> None:
    """Refuse a pattern for what is known: to be harmless, or to be another signature's. Raises: NoDraft."""
    for text in (*benign(known), *(line.text for line in benign_lines())):
        if any(_matches(pattern, part) for part in (text, _message(text))):
            raise NoDraft(f"the pattern would match a line that is known to be harmless: {text[:200]}")
    messages = [_message(text).encode() for text in matching]
    for signature in known.signatures:
        if any(accepted_by(signature, message) is not None for message in messages):
            raise NoDraft(f"the line is known to {signature.id} already: `relight rules show {signature.id}`")
        for text in signature.match:
            if _matches(pattern, _message(text)):
                raise NoDraft(f"the pattern would match a line of {signature.id}: {text[:200]}")


def _fields(name: str, first: Surprise, pattern: str, fault: str, writer: Provenance) -> dict[str, Any]:
    title = " ".join(_message(first.place.text).split())
    return {
        "id": name,
        "title": title if 4 <= len(title) <= 90 else f"{title[:86]}...",
        "from": [writer.value],
        "severity": "error",
        "fault": fault,
        "pattern": [pattern],
        "meaning": f"To be written: this line was {first.why} when a run failed and nothing explained it.",
        "action": "To be written: what a person should do about it at 3 a.m.",
        "source": _SOURCE,
    }


def _said(unknown: Sequence[Unknown]) -> str | None:
    """Return what people said that the incidents were, most of them and the latest ones first."""
    verdicts = [one.document.verdict for one in unknown]
    said = [(v.at_s, v.actual) for v in verdicts if v is not None and v.actual is not None]
    faults = [fault for _, fault in said]
    return max(said, key=lambda one: (faults.count(one[1]), one[0]))[1] if said else None


def _writer(first: Surprise, unknown: Sequence[Unknown]) -> Provenance:
    """Return who wrote the line, as its prefix or the store tells; an application where neither does."""
    by_prefix = _DECODER(first.place.text.encode()).origin.provenance
    told = (by_prefix, unknown[0].writers.get(first.place.source, Provenance.UNKNOWN))
    return next((one for one in told if one is not Provenance.UNKNOWN), Provenance.APP)


def _other(unknown: Sequence[Unknown], known: Catalogue) -> list[str]:
    """Return a line that the draft must not match where no healthy one is near: what the incident was seen by."""
    diagnosed = unknown[0].document.history.diagnosed
    seen_by = known.by_id.get(diagnosed.diagnosis.signature) if diagnosed else None
    return [seen_by.match[0] if seen_by else "training finished after 40820 steps"]


def _check(text: str, name: str, known: Catalogue) -> None:
    """Refuse a draft that is not fit to be used as it is. Raises: NoDraft."""
    try:
        rules = rules_in(f"the draft of {name}", text)
        every = {one.id: Rule(one, "", 0) for one in known.signatures} | {name: rules[0]}
        complaints = [*rulecheck.check(rules, every), *rulecheck.test(rules, _DECODER)]
    except RuleError as error:
        complaints = [error]
    if complaints:
        raise NoDraft(f"{complaints[0]}; take another line with --line")
