"""States: what a run suffers from while it goes on, as detectors find it, and which machine it is for."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from diagnose.correlation.causes import CauseGraph
from diagnose.correlation.evidence import Finding
from diagnose.correlation.warned import OF_SITES
from schemas.faults import fault_classes

BEFORE_S: Final = 180.0
"""What a machine has said until so long before a run begins to suffer can be why: it slows a run down at once."""

LATE_S: Final = 120.0
"""And so long after: daemons look at machines once a minute, or less often."""


def ails(finding: Finding) -> bool:
    """Tell whether a finding is a state that a run is in, as detectors find it, and no event that it may die of."""
    return finding.signature.detect is not None and not finding.serious


def grounds(
    asides: Sequence[Finding], seen: Iterable[Finding], graph: CauseGraph
) -> Iterator[tuple[Finding, tuple[Finding, ...]]]:
    """Yield the asides, the states among them under what a machine has said that explains them, if it has.

    That a GPU is throttled is worth a warning; that the run has been slow since then makes it the reason.
    """
    known = [f for f in seen if not ails(f) and fault_classes()[f.fault].layer in OF_SITES]
    behind = {id(one): _behind(one, known, graph) for one in asides if ails(one) and not one.healed}
    for aside in asides:
        if behind.get(id(aside)) is None:
            yield aside, tuple(one for one in asides if behind.get(id(one)) is aside)
    others = {id(f): f for f in behind.values() if f is not None and not any(f is aside for aside in asides)}
    for finding in others.values():
        yield finding, tuple(one for one in asides if behind.get(id(one)) is finding)


def _behind(state: Finding, known: Sequence[Finding], graph: CauseGraph) -> Finding | None:
    """Return what explains a state best: what lasts as well, then what was said last before, or else most often."""
    able = [f for f in known if graph.explains(f.signature, state.signature)]
    usual = {f.signature.id for f in able if not _before(f, state)}  # is said at other times, too
    near = [f for f in able if _before(f, state) and (f.signature.id not in usual or f.repeated)]
    dated = state.first.first.exact
    return max(
        near, key=lambda f: (f.lasting, 0 if dated else f.count, f.first.first.order, f.signature.id), default=None
    )


def _before(finding: Finding, state: Finding) -> bool:
    """Tell whether something was said not long before a state began; where lines tell no times, again and again."""
    said, last, began = finding.first.first, finding.last, state.first.first
    if said.time_s is None or last.time_s is None or began.time_s is None or not began.exact:
        return finding.repeated and (finding.lasting or not finding.before_start)
    return said.time_s <= began.time_s + LATE_S and last.time_s >= began.time_s - BEFORE_S
