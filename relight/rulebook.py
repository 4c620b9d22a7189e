"""What `relight rules` says: the signatures in force, one in full, and what is wrong with rule files."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import hyperscan
import yaml

from diagnose import rulecheck, ruleconflicts, rulegraph
from diagnose.matching.scanner import Scanner
from diagnose.rules import Rule, RuleError, catalogue_of
from ingest.decode import decoder_for
from relight.catalogue import automaton, catalogue, own_of, resolver, rules
from schemas.faults import fault_classes
from schemas.record import Source


def listed(own: Sequence[Path], wanted: Callable[[str], bool]) -> str:
    """Return one line for each signature of a wanted fault class; markers and noise count as the class ``."""
    chosen = [s for s in catalogue(own).signatures if wanted(s.fault or "")]
    rows = [
        (s.id, s.fault or (f"by {s.table}" if s.table else s.kind.value), s.severity.value, s.title) for s in chosen
    ]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
    lines = ["  ".join((*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[3])) for row in rows]
    return "\n".join([*lines, f"{len(rows)} signatures"])


def faults() -> str:
    """Return one line for each fault class."""
    width = max(map(len, fault_classes()))
    return "\n".join(f"{name.ljust(width)}  {known.meaning}" for name, known in fault_classes().items())


def shown_rule(own: Sequence[Path], name: str) -> str:
    """Return a signature as YAML.

    Raises:
        KeyError: there is no such signature; the message suggests near ones.
    """
    known = catalogue(own)
    try:
        signature = resolver(known)(name)
    except KeyError:
        from difflib import get_close_matches

        near = get_close_matches(name, known.by_id, 3, 0.4)
        hint = f"; did you mean {', '.join(near)}?" if near else "; `relight rules list` lists them"
        raise KeyError(f"there is no signature {name}{hint}") from None
    fields = signature.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return yaml.safe_dump(fields, sort_keys=False, width=110, allow_unicode=True).rstrip()


def checked(files: Sequence[Path]) -> tuple[int, list[RuleError]]:
    """Return how many rules were checked, and what is wrong with them: of these files, or of the shipped ones.

    How rules get on with each other is looked at when each is well formed by itself.

    Raises:
        RuleError: a file cannot be read as rules at all.
    """
    every = rules(files)
    known = {rule.signature.id: rule for rule in every}
    own = own_of(every, files)
    chosen = own or list(known.values())
    complaints = rulecheck.check(chosen, known) or _conflicts(chosen, known) + list(rulegraph.circles(chosen, known))
    if not own:
        complaints += [*rulegraph.dangling(known), *rulegraph.unreached(known)]
    return len(chosen), complaints


def _conflicts(chosen: Sequence[Rule], known: Mapping[str, Rule]) -> list[RuleError]:
    decoder = decoder_for(Source("rules"), b"")
    try:
        scanner = Scanner(*automaton(catalogue_of(known.values())))
    except hyperscan.error:
        return rulecheck.refused(chosen)
    return list(ruleconflicts.conflicts(chosen, known, ruleconflicts.finding(scanner, decoder), decoder))


def tested(files: Sequence[Path]) -> tuple[int, list[RuleError]]:
    """Return how many rules were tested, and which of their own lines they treat wrongly.

    Raises:
        RuleError: a file cannot be read as rules at all.
    """
    every = rules(files)
    chosen = own_of(every, files) or every
    return len(chosen), rulecheck.test(chosen, decoder_for(Source("rules"), b""))
