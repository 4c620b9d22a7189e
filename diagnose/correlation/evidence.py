"""Evidence: the faults of one attempt, one for each thing that happened, however many ranks and lines said so."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from diagnose.correlation.moments import Entry, Moment
from diagnose.correlation.story import Story
from schemas.captures import Capture
from schemas.signal import Signal
from schemas.signature import Signature
from schemas.vocabulary import Culprit

_OF_RANKS: Final = frozenset({"pg", "seq", "ranks", "other_rank"})
"""What differs between ranks that one thing happens to: the collective that each was in, and whom each speaks of."""

AGAIN: Final = 3
"""A warning that is said so often means something, though other hosts say it as well now and then."""

AGAIN_S: Final = 30.0
"""So much time at least lies between the first and the last of them."""

Resolve = Callable[[str], Signature]
"""Returns the signature of an id, codes of tables included."""


@dataclass(frozen=True, eq=False)
class Finding:
    """One thing that happened: all entries that say so, in order, and whether the run survived it."""

    signature: Signature
    entries: tuple[Entry, ...]
    healed: bool
    before_start: bool

    @property
    def first(self) -> Entry:
        """Return the entry that said it first."""
        return self.entries[0]

    @cached_property
    def last(self) -> Moment:
        """Return the moment at which it was said last."""
        return max((entry.last for entry in self.entries), key=lambda moment: moment.order)

    @property
    def fault(self) -> str:
        """Return the fault class."""
        assert self.signature.fault
        return self.signature.fault

    @property
    def serious(self) -> bool:
        """Tell whether a process dies of it."""
        return self.signature.severity.serious

    @cached_property
    def count(self) -> int:
        """Return the number of lines."""
        return sum(entry.signal.count for entry in self.entries)

    @property
    def lasting(self) -> bool:
        """Tell whether it is a state rather than an event: it was said so often, for so long, that it goes on."""
        lasts, first_s, last_s = self.signature.lasts, self.first.first.time_s, self.last.time_s
        if lasts is None or self.count < lasts.lines:
            return False
        return (0.0 if first_s is None or last_s is None else last_s - first_s) >= lasts.for_s

    @property
    def repeated(self) -> bool:
        """Tell whether it was said so often that this is hardly by chance; what is said at once counts as once."""
        if self.lasting or self.count < AGAIN:
            return self.lasting
        first_s, last_s = self.first.first.time_s, self.last.time_s
        return first_s is None or last_s is None or last_s - first_s >= AGAIN_S

    @cached_property
    def timeout_s(self) -> float:
        """Return the timeout that its message names, in seconds; 0 where it names none."""
        for name, scale in ((Capture.TIMEOUT_MS, 0.001), (Capture.TIMEOUT_S, 1.0)):
            if (text := self.captures.get(name, "")).replace(".", "", 1).isdigit():
                return float(text) * scale
        return 0.0

    @property
    def broke_s(self) -> float | None:
        """Return when it broke (Unix, seconds): a timeout speaks that much later than what it waited for."""
        time_s = self.first.first.time_s
        return None if time_s is None else time_s - self.timeout_s

    @cached_property
    def hosts(self) -> tuple[str, ...]:
        """Return the hosts that said it, sorted."""
        return tuple(sorted({e.signal.host for e in self.entries if e.signal.host}))

    @cached_property
    def ranks(self) -> tuple[int, ...]:
        """Return the ranks that said it, sorted."""
        return tuple(sorted({e.signal.rank for e in self.entries if e.signal.rank is not None}))

    @cached_property
    def captures(self) -> dict[str, str]:
        """Return the captures of the entry that said it first."""
        return self.first.signal.captures


def findings(story: Story, resolve: Resolve) -> list[Finding]:
    """Return what happened in an attempt, in order of first mention; catch-alls that a specific one covers left out.

    An identity that was survived once and then was not gives two findings: the first one is not why the run ended.
    """
    grouped: dict[tuple[object, ...], list[Entry]] = {}
    for entry in _without_covered(story.faults, resolve):
        signature = resolve(entry.signal.signature)
        state = _survived(signature, entry, story), story.began_after(entry.last)
        grouped.setdefault((signature.id, _identity(signature, entry.signal), *state), []).append(entry)
    return [
        Finding(
            resolve(entries[0].signal.signature), tuple(entries), healed=key[2] is True, before_start=key[3] is True
        )
        for key, entries in grouped.items()
    ]


def _survived(signature: Signature, entry: Entry, story: Story) -> bool:
    """Tell whether a run got over something: it went on, or, where a detector watches it, all is well again."""
    if signature.detect is not None:
        return Capture.OVER in entry.signal.captures
    return story.went_on_after(entry.last)


def _identity(signature: Signature, signal: Signal) -> tuple[object, ...]:
    """Return what tells two happenings of one signature apart: hardware and hosts do, ranks and collectives do not."""
    captured = tuple(signal.captures.get(name) for name in signature.identity if name not in _OF_RANKS)
    blamed = signature.blamed
    if blamed in (Culprit.GPU, Culprit.NIC):
        return (signal.host, signal.gpu, *captured)
    return (signal.host, *captured) if blamed is Culprit.HOST else captured


def _without_covered(entries: Iterable[Entry], resolve: Resolve) -> list[Entry]:
    """Keep of each multi-line message what names its fault best; what else its lines say is the same thing again."""
    kept = list(entries)
    best: dict[tuple[object, ...], Entry] = {}
    for entry in kept:
        if unit := _unit(entry):
            best[unit] = min(best.get(unit, entry), entry, key=lambda e: _worth(resolve(e.signal.signature), e))

    def covered(entry: Entry) -> bool:
        leader = best.get(_unit(entry) or ())
        if leader is None or leader is entry or leader.signal.signature == entry.signal.signature:
            return False
        return resolve(entry.signal.signature).generic or entry.signal.fault == leader.signal.fault

    return [entry for entry in kept if not covered(entry)]


def _unit(entry: Entry) -> tuple[object, ...] | None:
    """Return the multi-line message that an entry's first line is part of."""
    signal = entry.signal
    return (signal.source, *signal.first.unit) if signal.first.unit else None


def _worth(signature: Signature, entry: Entry) -> tuple[object, ...]:
    return signature.generic, -signature.severity.rank, not signature.decisive, entry.first.order, signature.id
