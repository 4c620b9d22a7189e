"""Collectives: of each process group, which ranks arrived where, who did not, and who called something else.

A collective ends when all ranks of its group have called it. Whoever waits in one is a victim; the culprits are those
that the others wait for and that wait for nobody themselves. Everything here takes time in proportion to what was said.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import inf
from typing import Final

from diagnose.correlation.moments import Entry
from diagnose.correlation.reports import DEFAULT, Call, Report, reports
from diagnose.matching.signals import IDENTITIES

_SAME_SIZE: Final = frozenset({"ALLREDUCE", "BROADCAST", "REDUCE", "_ALLGATHER_BASE", "_REDUCE_SCATTER_BASE"})
"""Operations in which all ranks must have as many elements; in others they need not."""


@dataclass(frozen=True)
class Stall:
    """A collective, `seq` in the order of its group, that did not end.

    `waiting` ranks are in it. `absent` ones did not arrive: they had called less, or, as far as `silent` are among
    them, nothing was heard of them. `stuck` ones are in it while most others have left it. `alone`: those few that did
    call it, while most did not. All are sorted. `since_s`: when the first one arrived (Unix, seconds).
    """

    group: str
    desc: str
    seq: int | None
    op: str
    since_s: float | None
    waiting: tuple[int, ...]
    absent: tuple[int, ...] = ()
    silent: tuple[int, ...] = ()
    stuck: tuple[int, ...] = ()
    alone: tuple[int, ...] = ()

    @property
    def suspects(self) -> tuple[int, ...]:
        """Return the ranks that it is about."""
        return self.alone or tuple(sorted({*self.absent, *self.stuck}))


@dataclass(frozen=True)
class Mismatch:
    """Ranks called different things at one place of a group: few (`ranks`, sorted) `odd`, the others `usual`."""

    group: str
    desc: str
    seq: int
    ranks: tuple[int, ...]
    odd: Call
    usual: Call
    usual_ranks: int
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Arrivals:
    """All that can be said of the collectives of one attempt: what stalled, the likeliest first, and what differs."""

    stalls: tuple[Stall, ...] = ()
    mismatch: Mismatch | None = None

    @cached_property
    def culprits(self) -> tuple[int, ...]:
        """Return the ranks that others waited for and that waited for nobody, sorted; none where nobody stands out."""
        return tuple(sorted({rank for stall in self.stalls for rank in stall.suspects}))


@dataclass(slots=True)
class _Standing:
    """How far one rank has come in one group, by all that it says."""

    waits: bool = False
    seq: int | None = None
    enqueued: int | None = None
    completed: int | None = None


_Called = dict[Call, list[tuple[Report, Call]]]
"""What ranks called at one place, by what must be the same for all of them."""


@dataclass
class _Group:
    """One process group, by all that its ranks say."""

    name: str
    desc: str = ""
    members: frozenset[int] = frozenset()
    ranks: dict[int, _Standing] = field(default_factory=dict)
    told: list[Report] = field(default_factory=list)

    def add(self, report: Report) -> None:
        self.desc = self.desc or report.desc
        self.members = self.members or frozenset(report.members)
        self.told.append(report)
        standing = self.ranks.setdefault(report.rank, _Standing())
        if report.waits:
            standing.waits = True
            standing.seq = _least(standing.seq, report.seq)
        standing.enqueued = _most(standing.enqueued, report.enqueued)
        standing.completed = _most(standing.completed, report.completed)

    @property
    def waiting(self) -> dict[int, int | None]:
        """Return the ranks that wait, with the collective that each waits in."""
        return {rank: standing.seq for rank, standing in self.ranks.items() if standing.waits}

    def front(self) -> int | None:
        """Return the first collective that a rank waits in; `None` where groups that are not named may be mixed."""
        known = {seq for seq in self.waiting.values() if seq is not None}
        return min(known) if known and (self.name or len(known) == 1) else None


def arrivals(entries: Sequence[Entry], world: Iterable[int] = ()) -> Arrivals:
    """Return who arrived where, by the entries of one attempt; `world` are all ranks of the job."""
    told = reports(entries)
    groups: dict[str, _Group] = {}
    for report in told:
        groups.setdefault(report.group, _Group(report.group)).add(report)
    everyone: frozenset[int] = frozenset() if _crowded(entries) else frozenset(world)
    found = [_stall(group, everyone) for group in groups.values() if group.waiting]
    found += [_peer_stall(report) for report in told if report.peer is not None]
    stalls = _roots(found)
    if not any(stall.suspects for stall in stalls) and (left := _left_over(groups.values(), stalls, everyone)):
        stalls = [left, *stalls]
    return Arrivals(tuple(stalls), _mismatch(groups.values()))


def _crowded(entries: Iterable[Entry]) -> bool:
    """Tell whether one source said so many things that some were only counted: then silence proves nothing."""
    sources = Counter(entry.signal.source for entry in entries)
    return any(count >= IDENTITIES for count in sources.values())


def _stall(group: _Group, world: frozenset[int]) -> Stall:
    """Return what a group waits in, and for whom."""
    seq, waiting = group.front(), group.waiting
    at = {rank for rank, where in waiting.items() if seq is None or where in (seq, None)}
    rest = {rank: standing for rank, standing in group.ranks.items() if rank not in at}
    behind = {rank for rank, standing in rest.items() if _below(standing.enqueued, seq)}
    passed = {rank for rank, standing in rest.items() if standing.waits or _reached(standing.completed, seq)}
    members = group.members or (world if group.name in ("", DEFAULT) else frozenset())
    heard = {rank for rank, standing in group.ranks.items() if standing.waits or standing.enqueued is not None}
    size = len(members | heard)
    silent = members - heard if 2 * len((members - heard) | behind) < size else set()
    own = [report for report in group.told if report.waits and (seq is None or report.seq == seq)]
    return Stall(
        group=group.name,
        desc=group.desc,
        seq=seq,
        op=next((report.op for report in own if report.op), ""),
        since_s=min((report.since_s for report in own if report.since_s is not None), default=None),
        waiting=_sorted(waiting),
        absent=_sorted(behind | silent),
        silent=_sorted(silent),
        stuck=_sorted(at) if not behind and len(at) < len(passed) else (),
        alone=_sorted(at) if 2 * len(behind) >= size > 2 * len(at) else (),
    )


def _peer_stall(report: Report) -> Stall:
    """Return what a rank waits in that sends to one other rank or receives from it."""
    assert report.peer is not None
    absent, waiting = (report.peer,), (report.rank,)
    return Stall(report.group, report.desc, None, report.op, report.since_s, waiting, absent, silent=absent)


def _left_over(groups: Iterable[_Group], stalls: Sequence[Stall], world: frozenset[int]) -> Stall | None:
    """Return the few ranks of a job that wait nowhere, where it is not known who belongs to which group.

    Ranks that wait in one group are waited for in others, so that in the end nearly all wait.
    """
    fronts = {group.name: group.front() for group in groups}
    came = {r for g in groups for r, standing in g.ranks.items() if _reached(standing.enqueued, fronts[g.name])}
    waiting = {rank for stall in stalls for rank in stall.waiting}
    absent = _sorted(world - waiting - came)
    if not waiting or not absent or 2 * len(absent) >= len(world):
        return None
    since_s = min((stall.since_s for stall in stalls if stall.since_s is not None), default=None)
    return Stall("", "", None, "", since_s, _sorted(waiting), absent, silent=absent)


def _roots(stalls: Sequence[Stall]) -> list[Stall]:
    """Return the stalls, those first that have suspects, the earliest first.

    Who waits in one stall is no suspect of another: it is there because of the ranks that it waits for.
    """
    waiting = {rank for stall in stalls for rank in stall.waiting}
    found = [
        replace(
            stall,
            absent=tuple(rank for rank in stall.absent if rank not in waiting),
            silent=tuple(rank for rank in stall.silent if rank not in waiting),
        )
        for stall in stalls
    ]
    known = found if any(stall.suspects for stall in found) else stalls
    return sorted(known, key=_likeliest)


def _likeliest(stall: Stall) -> tuple[object, ...]:
    since_s = inf if stall.since_s is None else stall.since_s
    return not stall.suspects, stall.seq is None, since_s, stall.group, stall.waiting


def _mismatch(groups: Iterable[_Group]) -> Mismatch | None:
    """Return the first place at which ranks of a group that all call by one name called different things."""
    found = [mismatch for group in groups if group.name for mismatch in _mismatches(group)]
    return min(found, key=lambda m: (m.entries[0].first.order, m.group, m.seq), default=None)


def _mismatches(group: _Group) -> Iterator[Mismatch]:
    """Yield the first mismatch of a group, as the watchdog and as the flight recorder tell it."""
    for typed in (True, False):
        places: dict[int, _Called] = defaultdict(lambda: defaultdict(list))
        for report in group.told:
            for seq, call in report.calls.items():
                if bool(call.dtypes) is typed:
                    places[seq][_comparable(call)].append((report, call))
        if different := [seq for seq, calls in places.items() if len(calls) > 1]:
            yield _odd(group, min(different), places[min(different)])


def _odd(group: _Group, seq: int, calls: _Called) -> Mismatch:
    ranks = {call: {report.rank for report, _ in own} for call, own in calls.items()}
    usual = max(calls, key=lambda call: (len(ranks[call]), call))
    odd = [told for call, own in calls.items() if call != usual for told in own]
    odd.sort(key=lambda told: (told[0].entry.first.order, told[0].rank))
    entries = {report.entry.signal.id: report.entry for report, _ in odd}
    differ = _sorted({report.rank for report, _ in odd})
    common = min(call for _, call in calls[usual])
    return Mismatch(group.name, group.desc, seq, differ, odd[0][1], common, len(ranks[usual]), tuple(entries.values()))


def _comparable(call: Call) -> Call:
    """Return as much of a call as must be the same for all ranks."""
    return call if call.op in _SAME_SIZE else Call(call.op, dtypes=call.dtypes and "?")


def _below(count: int | None, seq: int | None) -> bool:
    return count is not None and seq is not None and count < seq


def _reached(count: int | None, seq: int | None) -> bool:
    return count is not None and seq is not None and count >= seq


def _least(one: int | None, other: int | None) -> int | None:
    return min((value for value in (one, other) if value is not None), default=None)


def _most(one: int | None, other: int | None) -> int | None:
    return max((value for value in (one, other) if value is not None), default=None)


def _sorted(ranks: Iterable[int]) -> tuple[int, ...]:
    return tuple(sorted(ranks))
