"""Stacks: which few ranks were at another place in the code than most, when their stacks were dumped."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from diagnose.correlation.moments import Entry
from schemas.captures import Capture

STACK: Final = "stacks.main-thread"
FRAMES: Final = 3
"""Ranks are at the same place in the code if so many of their innermost frames are."""

_LEAST: Final = 3
"""Of fewer ranks none is one of few."""


@dataclass(frozen=True)
class OddStacks:
    """The ranks that differ, sorted, where the first of them was, and where most ranks were, and how many these are."""

    ranks: tuple[int, ...]
    place: str
    usual: str
    usual_ranks: int
    entries: tuple[Entry, ...]


def odd_stacks(entries: Iterable[Entry]) -> OddStacks | None:
    """Return the stacks that differ from those of most ranks; `None` where none or too many do.

    Of a rank that was dumped more than once the last stack counts.
    """
    last = {e.signal.rank: e for e in entries if e.signal.signature == STACK and e.signal.rank is not None}
    if len(last) < _LEAST:
        return None
    places = {rank: _place(entry) for rank, entry in last.items()}
    usual, count = min(Counter(places.values()).items(), key=lambda item: (-item[1], item[0]))
    odd = sorted(rank for rank, place in places.items() if place != usual)
    if not odd or 2 * count <= len(places):
        return None
    own = tuple(sorted((last[rank] for rank in odd), key=lambda e: (e.first.order, e.signal.id)))
    return OddStacks(tuple(odd), places[odd[0]][0], usual[0], count, own)


def _place(entry: Entry) -> tuple[str, ...]:
    """Return where in the code a stack stands: its innermost frames, without line numbers."""
    frames = entry.signal.captures.get(Capture.STACK, "").split(" < ")[:FRAMES]
    return tuple(f"{name})" if (name := frame.rpartition(":")[0]) else frame for frame in frames)
