"""Comparing: faults that no single line tells, for they show only where what ranks say is laid side by side."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from diagnose.correlation.collectives import Mismatch
from diagnose.correlation.evidence import Finding, Resolve
from diagnose.correlation.stacks import STACK, odd_stacks
from diagnose.correlation.story import Story
from schemas.vocabulary import Severity

MISMATCH: Final = "flight-recorder.mismatch"
STALLED: Final = frozenset({"flight-recorder.waits", "flight-recorder.waits-for-peer"})


def compared(seen: Sequence[Finding], story: Story, resolve: Resolve, mismatch: Mismatch | None) -> list[Finding]:
    """Return findings with what comparison adds: ranks that called something else than the others."""
    if mismatch is None:
        return list(seen)
    last = max((entry.last for entry in mismatch.entries), key=lambda moment: moment.order)
    found = Finding(
        resolve(MISMATCH), mismatch.entries, healed=story.went_on_after(last), before_start=story.began_after(last)
    )
    return [*seen, found]


def unsaid(seen: Sequence[Finding]) -> Finding | None:
    """Return what dumps show of an attempt of which no line says that it failed: a stall, or ranks that lag behind.

    It counts as an error, for nobody dumps what ranks are doing as long as they do what they should.
    """
    still = [finding for finding in seen if not finding.healed and not finding.before_start]
    found = _together([f for f in still if f.signature.id in STALLED]) or _odd(still)
    if found is None:
        return None
    return replace(found, signature=found.signature.model_copy(update={"severity": Severity.ERROR}))


def _together(stalled: Sequence[Finding]) -> Finding | None:
    entries = sorted((e for f in stalled for e in f.entries), key=lambda e: (e.first.order, e.signal.id))
    return replace(stalled[0], entries=tuple(entries)) if entries else None


def _odd(seen: Sequence[Finding]) -> Finding | None:
    stacks = next((finding for finding in seen if finding.signature.id == STACK), None)
    odd = odd_stacks(stacks.entries) if stacks else None
    return replace(stacks, entries=odd.entries) if stacks and odd else None
