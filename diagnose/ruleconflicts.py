"""Conflicts of rules over lines: what a scan of one line finds, with every rule in force, is not what was meant.

Every `match` line of every rule and every benign line goes through the whole matching path, one by one.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations

from diagnose.benign import benign_lines
from diagnose.correlation.causes import cause_graph
from diagnose.matching.acceptance import accepted_by
from diagnose.matching.database import VETOES
from diagnose.matching.lines import Hit
from diagnose.matching.scanner import Scanner
from diagnose.rules import Rule, RuleError
from schemas.record import Chunk, Decoder
from schemas.signature import Signature
from schemas.vocabulary import Kind

Find = Callable[[str], Sequence[Signature]]
"""Returns the signatures of faults that a log has which holds this line alone, codes of tables resolved."""


def finding(scanner: Scanner, decoder: Decoder) -> Find:
    """Return what finds the faults on a line: all of matching, from the line's bytes on."""

    def find(line: str) -> list[Signature]:
        data = line.encode() + b"\n"
        found = scanner.findings(Chunk(data, 0, len(data), offset=0, line=1, lines=1), decoder)
        hits = [hit.signature for hit in found if isinstance(hit, Hit)]
        return [signature for signature in hits if signature.kind is Kind.FAULT]

    return find


def conflicts(rules: Sequence[Rule], known: Mapping[str, Rule], find: Find, decoder: Decoder) -> Iterator[RuleError]:
    """Yield the conflicts of some rules with each other and with all known ones.

    Args:
        rules: Those that are complained about.
        known: All rules in force by their ids, `rules` among them.
        find: Finds the faults on a line, with all rules in force.
        decoder: The one that `find` uses.
    """
    named = {rule.signature.id for rule in rules}
    told: set[tuple[str, str]] = set()
    for owner in known.values():
        for line in owner.signature.match:
            found = find(line)
            for one, other in _apart(found):
                blamed = [rule for rule in (_rule(one, known), _rule(other, known)) if rule.signature.id in named]
                if blamed and (one.id, other.id) not in told:
                    told.add((one.id, other.id))
                    yield blamed[0].error(_overlap(one, other, owner, line))
            if (
                owner.signature.id in named
                and _unfound(owner, found, known)
                and (why := _why(owner, line, known, decoder))
            ):
                yield owner.error(f"`match` line is not found in a log, for {why}: {line}")
    for benign in benign_lines():
        for rule in (_rule(signature, known) for signature in find(benign.text)):
            if rule.signature.id in named:
                what = f"accepts the benign line {benign.place}; narrow `pattern` or add `unless`: {benign.text}"
                yield rule.error(what)


def _apart(found: Sequence[Signature]) -> Iterator[tuple[Signature, Signature]]:
    """Yield the pairs of different faults of which neither can lead to the other."""
    explains = cause_graph().explains
    for one, other in combinations(found, 2):
        if one.fault != other.fault and not explains(one, other) and not explains(other, one):
            yield one, other


def _overlap(one: Signature, other: Signature, owner: Rule, line: str) -> str:
    return (
        f"overlap: a line is {one.fault} to `{one.id}` and {other.fault} to `{other.id}`; narrow one of the two, or"
        f" let one name the other in `explains`. The line, a `match` of `{owner.signature.id}`: {line}"
    )


def _unfound(owner: Rule, found: Sequence[Signature], known: Mapping[str, Rule]) -> bool:
    """Tell whether a fault is not found on a line of its own. A catch-all may give way to what is specific."""
    signature = owner.signature
    if signature.kind is not Kind.FAULT or signature.table or (signature.generic and found):
        return False
    return all(_rule(other, known) is not owner for other in found)


def _why(owner: Rule, line: str, known: Mapping[str, Rule], decoder: Decoder) -> str | None:
    """Return why a fault is not found on a line that its own pattern accepts, `None` if it does not accept it."""
    decoded = decoder(line.encode())
    messages = [m for m in decoded.message.splitlines() if accepted_by(owner.signature, m) is not None]
    vetoes = (rule.signature for rule in known.values() if rule.signature.kind in VETOES)
    taken = next((v.id for v in vetoes for m in messages if accepted_by(v, m, decoded.origin) is not None), None)
    if not messages or taken:
        return f"`{taken}` says that it is no evidence" if taken else None
    return f"its prefix says that `{decoded.origin.provenance}` wrote it"


def _rule(signature: Signature, known: Mapping[str, Rule]) -> Rule:
    """Return the rule of a signature, or of a code of its table."""
    return known.get(signature.id) or known[signature.id.rpartition(".")[0]]
