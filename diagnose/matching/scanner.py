"""Scanning: one chunk in, what the catalogue finds in it out, in the order of the lines. No state between chunks.

Hyperscan nominates over the whole chunk. A line nominated for a fault is cut out, decoded, and decided on by RE2. The
lines of a run's story (start, progress, success), which may be every second line, are looked at only where a stretch
of them begins and ends.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any, Final

import hyperscan
import numpy as np

from diagnose.matching.acceptance import accepted_by, exact
from diagnose.matching.database import Plan
from diagnose.matching.dialect import confirming
from diagnose.matching.escapes import has_escapes, without_escapes
from diagnose.matching.faults import ID_BITS, ID_MASK, Faults
from diagnose.matching.lines import Hit, Lines, Numbers, Sighting
from diagnose.matching.readings import WHOLE, Measurement, Pitch, samples
from diagnose.matching.segments import Segment
from schemas.captures import Capture
from schemas.record import Chunk, Decoder
from schemas.signature import Signature
from schemas.vocabulary import Kind

_NOTHING: Final = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Stretch:
    """Lines of a run's story with one signature and nothing of another kind in between: the first, the last, how many.

    Without a confirmed line `first` and `last` are `None`, and the nominations are only counted. `measured` is what
    lines of progress tell in numbers. A line that names a `job` is a stretch of its own: the next may be about another.
    """

    signature: Signature
    count: int
    first: Sighting | None
    last: Sighting | None
    measured: Measurement | None = None
    job: str | None = None


Finding = Hit | Stretch


class Scanner:
    """Finds what a catalogue knows in chunks of bytes. One for each thread: Hyperscan's scratch space is not shared."""

    def __init__(self, plan: Plan, database: hyperscan.Database, pitch: Pitch = WHOLE) -> None:
        """Take a plan and the automaton compiled from it, and how densely lines that tell numbers are sampled."""
        self._plan, self._pitch = plan, pitch
        self._database = database
        self._owners = np.array([e.owner for e in plan.expressions], dtype=np.int64)
        kinds = {kind: number for number, kind in enumerate(sorted({s.kind for s in plan.signatures}))}
        # These look into patterns, which takes time: few signatures are ever asked about.
        self._exact = cache(lambda owner: exact(plan.signatures[owner]))
        self._of_jobs = cache(lambda owner: names_job(plan.signatures[owner]))
        self._measuring = [s.kind is Kind.PROGRESS or bool(s.values) for s in plan.signatures]
        self._faults = Faults(plan)
        self._kinds = np.array([kinds[s.kind] for s in plan.signatures], dtype=np.int64)

    def findings(self, chunk: Chunk, decoder: Decoder) -> list[Finding]:
        """Return hits and stretches in the order of their lines."""
        lines = Lines(chunk, decoder)
        found, faults = self._nominated(chunk)
        story = self._owned(found, lines.ends) if found else _NOTHING
        hits = [*self._faults.hits(lines, faults, story >> ID_BITS)] if faults else []
        return [*self._told(lines, story, hits)] if found else [hit for _, hit in hits]

    def _nominated(self, chunk: Chunk) -> tuple[list[int], list[int]]:
        """Return the nominations of the story and of faults, in any order."""
        own: Any = memoryview(chunk.data)[chunk.start : chunk.end]  # not copied; the stub knows bytes and str only
        if chunk.data[chunk.end - 1 : chunk.end] not in (b"\n", b"\r"):
            own = bytes(own) + b"\n"  # at a buffer's very end the library misses some matches
        story, faults = self._scanned(own)
        if has_escapes(chunk.data, chunk.start, chunk.end):
            shorter, borders = without_escapes(bytes(own))
            also_story, also_faults = self._scanned(shorter)
            return borders.joined(story, also_story, ID_BITS), borders.joined(faults, also_faults, ID_BITS)
        return story, faults

    def _scanned(self, data: Any) -> tuple[list[int], list[int]]:
        story: list[int] = []
        faults: list[int] = []
        faults_from = self._plan.faults_from

        def nominate(expression: int, _start: int, end: int, _flags: int, _context: object) -> None:
            (story if expression < faults_from else faults).append(end << ID_BITS | expression)

        self._database.scan(data, match_event_handler=nominate)
        return story, faults

    def _owned(self, story: list[int], line_ends: Numbers) -> Numbers:
        """Return nominations of the story by signature instead of expression, each line of a signature once.

        A pattern that may end at several places of a line is nominated at each of them, and lines are what is counted.
        """
        numbers = np.array(story, dtype=np.int64)
        owned: Numbers = np.sort(numbers & ~ID_MASK | self._owners[numbers & ID_MASK])
        line = np.searchsorted(line_ends, (owned >> ID_BITS) - 1)
        _, first = np.unique(line << ID_BITS | owned & ID_MASK, return_index=True)
        once: Numbers = owned[np.sort(first)]
        return once

    def _told(self, lines: Lines, story: Numbers, hits: Sequence[tuple[int, Hit]]) -> Iterator[Finding]:
        """Yield hits, and between them the stretches of the story."""
        owners = story & ID_MASK
        turns = np.flatnonzero(np.diff(self._kinds[owners])) + 1
        borders = np.searchsorted(story >> ID_BITS, [end for end, _ in hits], side="right")
        cuts = sorted({0, len(story), *turns.tolist(), *borders.tolist()})
        waiting = list(zip(borders.tolist(), (hit for _, hit in hits), strict=True))[::-1]
        for begin, end in pairwise(cuts):
            while waiting and waiting[-1][0] <= begin:
                yield waiting.pop()[1]
            yield from self._stretches(lines, story[begin:end], owners[begin:end])
        yield from (hit for _, hit in waiting[::-1])

    def _stretches(self, lines: Lines, story: Numbers, owners: Numbers) -> Iterator[Stretch]:
        """Yield one stretch for each signature of a run of nominations, the one that was seen last at the end."""
        if len(owners) == 1 or (owners[0] == owners[-1] and not np.any(owners != owners[0])):
            yield from self._told_by(lines, int(owners[0]), story)
            return
        places = {owner: np.flatnonzero(owners == owner) for owner in np.flatnonzero(np.bincount(owners)).tolist()}
        for owner in sorted(places, key=lambda o: (places[o][-1], o)):
            yield from self._told_by(lines, owner, story[places[owner]])

    def _told_by(self, lines: Lines, owner: int, own: Numbers) -> Iterator[Stretch]:
        """Yield what one signature tells: a stretch, or one for each line where lines name jobs."""
        if not self._of_jobs(owner):
            yield self._stretch(lines, owner, own)
            return
        signature = self._plan.signatures[owner]
        for nomination in own.tolist():
            segment = lines.segment(nomination >> ID_BITS)
            told = _accepted(lines, segment, signature)
            seen = lines.sighting(segment, signature) if told is not None else None
            yield Stretch(signature, 1, seen, seen, job=told.get(Capture.JOB) if told is not None else None)

    def _stretch(self, lines: Lines, owner: int, own: Numbers) -> Stretch:
        first = self._confirmed(lines, owner, own)
        last = self._confirmed(lines, owner, own[::-1]) if first and len(own) > 1 else first
        signature = self._plan.signatures[owner]
        return Stretch(signature, len(own), first, last, self._measured(lines, owner, own))

    def _measured(self, lines: Lines, owner: int, own: Numbers) -> Measurement | None:
        """Return the lines of a stretch that are worth reading for the numbers that they tell."""
        if not self._measuring[owner]:
            return None
        signature = self._plan.signatures[owner]
        taken = samples(lines, signature, own >> ID_BITS, self._pitch, sure=self._exact(owner))
        return Measurement(signature.id, len(own), taken, self._plan.detectors)

    def _confirmed(self, lines: Lines, owner: int, nominations: Numbers) -> Sighting | None:
        """Return a sighting of the first nominated line that RE2 confirms."""
        signature = self._plan.signatures[owner]
        for nomination in nominations:
            segment = lines.segment(int(nomination) >> ID_BITS)
            if self._exact(owner) or _accepts(lines, segment, signature):
                return lines.sighting(segment, signature)
        return None


def _accepts(lines: Lines, segment: Segment, signature: Signature) -> bool:
    return _accepted(lines, segment, signature) is not None


def _accepted(lines: Lines, segment: Segment, signature: Signature) -> dict[str, str] | None:
    """Return the captures of the first line of a segment that a signature accepts, `None` if it accepts none."""
    decoded = lines.decoded(segment)
    told = (accepted_by(signature, message, decoded.origin) for message in decoded.message.splitlines())
    return next((captures for captures in told if captures is not None), None)


def names_job(signature: Signature) -> bool:
    """Tell whether lines of a signature name the job that they are about."""
    return any(Capture.JOB.encode() in confirming(pattern).groupindex for pattern in signature.patterns)
