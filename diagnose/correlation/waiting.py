"""Waiting: what stalled collectives and differing calls come to, in sentences for a person."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from diagnose.correlation.blame import placed
from diagnose.correlation.collectives import Arrivals, Mismatch, Stall
from diagnose.correlation.places import date
from diagnose.correlation.reports import Call
from diagnose.correlation.stacks import OddStacks

_MOST: Final = 3
"""So many collectives are told of, of those that stalled for different ranks."""


def stalled(arrivals: Arrivals, host_of: Mapping[int, str]) -> Iterator[str]:
    """Yield who did not arrive where; of stalls with the same suspects the first one tells."""
    told: set[int] = set()
    for stall in arrivals.stalls:
        suspects = set(stall.suspects)
        if suspects - told and len(told) < _MOST:
            told |= suspects
            yield _stalled(stall, host_of)


def mismatched(mismatch: Mismatch, host_of: Mapping[int, str]) -> str:
    """Return who called something else than the others."""
    others = "the other one" if mismatch.usual_ranks == 1 else f"{mismatch.usual_ranks} others"
    return (
        f"{placed(mismatch.ranks, host_of)} called {_call(mismatch.odd)} as #{mismatch.seq}"
        f"{_of(mismatch.group, mismatch.desc)}, {others} {_call(mismatch.usual)}"
    )


def elsewhere(odd: OddStacks, host_of: Mapping[int, str]) -> str:
    """Return whose stacks differed from most, and where both were."""
    verb = "was" if len(odd.ranks) == 1 else "were"
    return f"{placed(odd.ranks, host_of)} {verb} in {odd.place}, {odd.usual_ranks} others in {odd.usual}"


def _stalled(stall: Stall, host_of: Mapping[int, str]) -> str:
    what = f"{stall.op or 'a collective'}{f' #{stall.seq}' if stall.seq is not None else ''}"
    what += _of(stall.group, stall.desc)
    moment = date(stall.since_s)
    since = f" since {moment:%H:%M:%S} UTC" if moment else ""
    if stall.alone:
        return f"only {placed(stall.alone, host_of)} called {what}, and waited{since}"
    if stall.stuck and not stall.absent:
        return f"{placed(stall.stuck, host_of)} did not get through {what}, which the others had done"
    return f"{_absent(stall, host_of)} did not arrive at {what}; {_many(stall.waiting)} waited{since}"


def _absent(stall: Stall, host_of: Mapping[int, str]) -> str:
    """Return the absent ranks, and of how many of them nothing was heard."""
    named = placed(stall.suspects, host_of)
    if not stall.silent or stall.silent == stall.suspects:
        return named
    return f"{named} ({placed(stall.silent, {})} not heard)"


def _many(ranks: Sequence[int]) -> str:
    return f"rank {ranks[0]}" if len(ranks) == 1 else f"{len(ranks)} others"


def _of(group: str, desc: str) -> str:
    """Return which group it is: its description, with its name unless it is the group of all."""
    if not group and not desc:
        return ""
    if not desc or desc in ("undefined", "?"):
        return f" of group {group}"
    return f" of group {desc}" if group in ("", "0") else f" of group {desc} ({group})"


def _call(call: Call) -> str:
    elements = f"{call.elements_in:,} elements in, {call.elements_out:,} out"
    return f"{call.op} ({elements}{f', {call.dtypes}' if call.dtypes else ''})"
