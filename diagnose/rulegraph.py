"""Mistakes in what rules say of causes: circles of `explains`, names that lead nowhere, faults that nobody finds."""

from collections.abc import Iterator, Mapping, Sequence
from importlib import resources

from diagnose.correlation.causes import cause_graph
from diagnose.rules import Rule, RuleError
from diagnose.tables import table
from schemas.faults import fault_classes, faults_matching
from schemas.signature import Signature

UNEXPLAINED = frozenset({"unknown"})
"""Faults that are said where no signature is: the class of what nothing explains."""


def circles(rules: Sequence[Rule], known: Mapping[str, Rule]) -> Iterator[RuleError]:
    """Yield the circles of `explains` that some rules are on, each once, with its path.

    Classes may explain each other in `causes.yaml`: there the order in time decides. What a rule adds to its class it
    says because it knows better, so two rules that say opposite things are a mistake, as is one that explains itself.
    """
    edges = {name: _explained(rule.signature, known) for name, rule in known.items() if rule.signature.explains}
    told: set[frozenset[str]] = set()
    for rule in rules:
        path = _way_back(rule.signature.id, edges)
        if path and frozenset(path) not in told:
            told.add(frozenset(path))
            yield rule.error(f"`explains` goes in a circle: {' -> '.join(path)}; take out the edge that is not so")


def _explained(signature: Signature, known: Mapping[str, Rule]) -> list[str]:
    """Return the rules that a signature itself says it explains, by id, or by a class that is not its own."""
    faults = {fault for name in signature.explains for fault in faults_matching(name)} - {signature.fault}
    own_class = {signature.id} if signature.fault in signature.explains else set()
    by_class = {name for name, rule in known.items() if rule.signature.explains and rule.signature.fault in faults}
    return sorted(by_class | own_class | set(signature.explains) & known.keys())


def _way_back(start: str, edges: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the shortest way from a rule to itself, an empty one where there is none."""
    ways, seen = [[start]], set[str]()
    for way in ways:  # grows while it is gone through: breadth first
        for follows in edges.get(way[-1], ()):
            if follows == start:
                return [*way, start]
            if follows not in seen:
                seen.add(follows)
                ways.append([*way, follows])
    return []


def dangling(known: Mapping[str, Rule]) -> Iterator[RuleError]:
    """Yield the consequences in `causes.yaml` that are neither a fault class nor a signature."""
    file = resources.files("diagnose").joinpath("catalogue/causes.yaml")
    for cause, follows in cause_graph().consequences.items():
        for name in sorted(follows - fault_classes().keys()):
            if not _known(name, known):
                line = _line_of(f"  {cause}:", file.read_text(encoding="utf-8"))
                yield RuleError(str(file), line, f"{cause} causes `{name}`, which is neither a fault class nor a rule")


def _known(name: str, known: Mapping[str, Rule]) -> bool:
    parent, _, code = name.rpartition(".")
    rule = known.get(parent)
    coded = rule is not None and rule.signature.table is not None and code in table(rule.signature.table)
    return name in known or coded


def unreached(known: Mapping[str, Rule]) -> Iterator[RuleError]:
    """Yield the fault classes that no signature and no code of a table has."""
    signatures = [rule.signature for rule in known.values()]
    tables = {signature.table for signature in signatures if signature.table}
    reached = {s.fault for s in signatures} | {row["fault"] for name in tables for row in table(name).values()}
    file = resources.files("schemas").joinpath("facts/fault_classes.csv")
    for fault in fault_classes():
        if fault not in reached | UNEXPLAINED:
            line = _line_of(f"{fault},", file.read_text(encoding="utf-8"))
            yield RuleError(str(file), line, f"no signature finds {fault}; write one, or take the class out")


def _line_of(beginning: str, text: str) -> int:
    return next((n for n, line in enumerate(text.split("\n"), 1) if line.startswith(beginning)), 1)
