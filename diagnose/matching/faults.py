"""Faults: decides on the lines that are nominated for them, and passes over those that say what was said before.

Of lines that say the same but for their times, with nothing of the run's story in between, only the first and the last
one are decoded and decided on: what holds for one of them holds for all.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Final

import numpy as np

from diagnose.matching.acceptance import Veto, accepted_by, coded
from diagnose.matching.database import Plan
from diagnose.matching.lines import Hit, Lines, Numbers
from diagnose.matching.repeats import Wording, Wordings, says
from diagnose.matching.segments import Segment
from schemas.record import SEGMENT_BYTES, Decoded
from schemas.signature import Signature
from schemas.vocabulary import Kind

ID_BITS: Final = 16
"""A nomination is the end of a match, as an offset in the chunk's own bytes, in front of so many bits of an id."""

ID_MASK: Final = (1 << ID_BITS) - 1
_Candidates = tuple[int, ...]
_Said = tuple[_Candidates, Wording]

_Stand = tuple[int, int]
"""Where a segment begins and ends in the chunk's bytes: cheaper than a `Segment`, which most of them never become."""

Placed = tuple[int, Hit]
"""A hit behind the end of its segment, as an offset in the chunk's own bytes."""


@dataclass(slots=True)
class _Page:
    """The lines between two of the run's story: their hits, and where what was said is said again."""

    number: int = 0
    hits: list[Placed] = field(default_factory=list)
    again: dict[_Said, list[_Stand]] = field(default_factory=dict)


class Faults:
    """Decides which faults lines tell."""

    def __init__(self, plan: Plan) -> None:
        """Take a plan."""
        self._signatures = plan.signatures
        self._owners = [expression.owner for expression in plan.expressions]
        self._veto = Veto(plan.vetoes)

    def hits(self, lines: Lines, nominations: Sequence[int], story: Numbers) -> Iterator[Placed]:
        """Yield the hits of a chunk in the order of their lines.

        Args:
            lines: The lines of the chunk.
            nominations: What Hyperscan has nominated for faults.
            story: Where the nominations of the run's story end, in rising order.
        """
        wordings, silent, page = Wordings(), set[_Said](), _Page()
        data = lines.chunk.data
        for stand, candidates, number in _nominees(lines, np.sort(np.array(nominations, dtype=np.int64)), story):
            if number != page.number:
                yield from self._told(lines, page)
                page = _Page(number)
            begin, end = stand
            said = candidates, wordings.of(data[begin : min(end, begin + SEGMENT_BYTES)])
            if (again := page.again.get(said)) is not None:
                again.append(stand)
            elif said not in silent:
                segment = Segment(begin, end)
                hits = self._decided(lines, segment, candidates)
                page.hits += hits
                if not says(said[1], lines.decoded(segment).message):
                    continue
                if hits:
                    page.again[said] = []
                else:
                    silent.add(said)
        yield from self._told(lines, page)

    def _told(self, lines: Lines, page: _Page) -> list[Placed]:
        """Return the hits of a page, each line that was the last to say something again standing for those before."""
        repeated = [(stands, said[0]) for said, stands in page.again.items() if stands]
        offset = lines.chunk.offset - lines.chunk.start
        for stands, candidates in sorted(repeated, key=lambda one: one[0][-1]):
            likewise = tuple([begin + offset for begin, _ in stands[:-1]])
            last = self._decided(lines, Segment(*stands[-1]), candidates, "again")
            page.hits += [(end, replace(hit, likewise=likewise)) for end, hit in last]
        return sorted(page.hits, key=lambda placed: placed[0])

    def _decided(self, lines: Lines, segment: Segment, candidates: _Candidates, reader: str = "") -> list[Placed]:
        """Return a hit for every fault that RE2 confirms on a line of the segment's message, vetoes applied."""
        decoded, end = lines.decoded(segment), lines.own_end(segment)
        signatures = [self._signatures[owner] for owner in sorted({self._owners[one] for one in candidates})]
        accepted = [
            one for message in decoded.message.splitlines() for one in self._accepted(message, decoded, signatures)
        ]
        return [(end, lines.hit(segment, decoded, signature, told, reader)) for signature, told in accepted]

    def _accepted(
        self, message: bytes, decoded: Decoded, candidates: Sequence[Signature]
    ) -> Iterator[tuple[Signature, dict[str, str]]]:
        """Yield the signatures that mean a message, with their captures."""
        accepted = [(s, c) for s in candidates if (c := accepted_by(s, message, decoded.origin)) is not None]
        places = [(s, c) for s, c in accepted if s.kind is Kind.PLACE]
        yield from places
        accepted = [(s, c) for s, c in accepted if s.kind is not Kind.PLACE] if places else accepted
        if not accepted or self._veto.applies(message, decoded.origin):
            return
        specific = [(s, c) for s, c in accepted if not s.generic]
        yield from ((coded(signature, captures), captures) for signature, captures in specific or accepted[:1])


def _nominees(lines: Lines, nominations: Numbers, story: Numbers) -> Iterator[tuple[_Stand, _Candidates, int]]:
    """Yield each segment that is nominated, by which expressions, and how much of the story is told up to its end."""
    line = np.searchsorted(lines.ends, (nominations >> ID_BITS) - 1)
    firsts = np.flatnonzero(np.diff(line, prepend=-1))
    begins, ends, start = lines.begins[line[firsts]], lines.ends[line[firsts]], lines.chunk.start
    pages = np.searchsorted(story, ends, side="right").tolist()
    stands = zip((begins + start).tolist(), (ends + start).tolist(), strict=True)
    ids = (nominations & ID_MASK).tolist()
    borders = pairwise([*firsts.tolist(), len(ids)])
    for stand, page, (first, beyond) in zip(stands, pages, borders, strict=True):
        yield stand, tuple(ids[first:beyond]), page
