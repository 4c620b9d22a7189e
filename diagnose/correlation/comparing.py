"""Comparing: faults that no single line tells, for they show only where what ranks say is laid side by side."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from diagnose.correlation.collectives import arrivals
from diagnose.correlation.evidence import Finding, Resolve
from diagnose.correlation.moments import Entry
from diagnose.correlation.story import Story
from schemas.vocabulary import Severity

MISMATCH: Final = "flight-recorder.mismatch"
STACK: Final = "stacks.main-thread"
FRAMES: Final = 3
"""Ranks are at the same place in the code if so many of their innermost frames are."""


def compared(seen: Sequence[Finding], story: Story, resolve: Resolve) -> list[Finding]:
    """Return findings with what comparison adds: ranks that called something else than the others."""
    mismatch = arrivals(story.entries).mismatch
    if mismatch is None:
        return list(seen)
    last = max((entry.last for entry in mismatch.entries), key=lambda moment: moment.order)
    found = Finding(
        resolve(MISMATCH), mismatch.entries, healed=story.went_on_after(last), before_start=story.began_after(last)
    )
    return [*seen, found]


def unsaid(seen: Sequence[Finding]) -> Finding | None:
    """Return what dumps show of an attempt of which no line says that it failed: a stall, or ranks that lag behind.

    It counts as an error, for there is nothing else why somebody has dumped what the ranks were doing.
    """
    open_ = [finding for finding in seen if not finding.healed and not finding.before_start]
    stalled = [f for f in open_ if f.signature.id.startswith("flight-recorder.waits") and f.signature.severity.rank]
    found = _told(stalled) or odd_stacks(open_)
    if found is None:
        return None
    return replace(found, signature=found.signature.model_copy(update={"severity": Severity.ERROR}))


def odd_stacks(seen: Sequence[Finding]) -> Finding | None:
    """Return the finding of the stacks that differ from those of most ranks; `None` where none or too many do."""
    stacks = next((finding for finding in seen if finding.signature.id == STACK), None)
    if stacks is None:
        return None
    places: dict[int, tuple[str, ...]] = {e.signal.rank: _place(e) for e in stacks.entries if e.signal.rank is not None}
    usual, ranks = Counter(places.values()).most_common(1)[0] if places else ((), 0)
    odd = {rank for rank, place in places.items() if place != usual}
    if not odd or 2 * ranks <= len(places) or len(places) < 3:
        return None
    return replace(stacks, entries=tuple(e for e in stacks.entries if e.signal.rank in odd))


def _told(stalled: Sequence[Finding]) -> Finding | None:
    """Return all stalls as one finding."""
    entries = sorted((e for f in stalled for e in f.entries), key=lambda e: (e.first.order, e.signal.id))
    return replace(stalled[0], entries=tuple(entries)) if entries else None


def _place(entry: Entry) -> tuple[str, ...]:
    """Return where in the code a stack stands: its innermost frames, without line numbers."""
    frames = entry.signal.captures.get("stack", "").split(" < ")[:FRAMES]
    return tuple(frame.rpartition(":")[0] or frame for frame in frames)
