"""Reports: what single signals say of how far a rank had come in a process group, brought into one form.

The watchdog of torch.distributed says it in two lines, of which only one names the group; dumps of the flight recorder
say it in one.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Final

from diagnose.correlation.moments import Entry
from schemas.captures import Capture
from schemas.vocabulary import Kind

DEFAULT: Final = "0"
"""The group of all ranks has this name in every version."""

WAITS: Final = frozenset(
    {
        "c10d.watchdog-timeout",
        "c10d.watchdog-progress",
        "c10d.blocking-wait-timeout",
        "c10d.init-timeout",
        "c10d.gloo-timeout",
        "flight-recorder.waits",
    }
)
"""The signatures by which a rank says that it waits for all others of a group."""

STALE_S: Final = 2 * 3600.0
"""A dump whose last call is so much earlier than that of another one is of an earlier run."""

_DUMPED: Final = "flight-recorder."
_CALL: Final = re.compile(r"(\d{1,18})=(\w{1,80}):(\d{1,20})>(\d{1,20}):(\S{1,80})")
_PART: Final = re.compile(r"(\d{1,7})(?:-(\d{1,7})(?:/(\d{1,7}))?)?")
_MOST_RANKS: Final = 1 << 20


@dataclass(frozen=True, slots=True, order=True)
class Call:
    """What was called: the operation, how many elements went in and came out, and their types where they are told."""

    op: str
    elements_in: int = 0
    elements_out: int = 0
    dtypes: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """What one signal says of a rank in a group. `group` is empty where the signal does not name it.

    `waits`: it waits in a collective, `seq`, where the number is told. `enqueued`, `completed`: the last ones that it
    has called, and that were done. `since_s`: since when it has waited (Unix, seconds). `members`: the ranks of the
    group, empty if not told. `peer`: the one rank that it waits for. `calls`: its calls about there, by number.
    """

    entry: Entry
    rank: int
    group: str
    desc: str = ""
    waits: bool = False
    seq: int | None = None
    op: str = ""
    enqueued: int | None = None
    completed: int | None = None
    since_s: float | None = None
    members: tuple[int, ...] = ()
    peer: int | None = None
    calls: Mapping[int, Call] = field(default_factory=dict)


def reports(entries: Iterable[Entry]) -> list[Report]:
    """Return what entries report.

    A timeout that names no group gets that of the line in which the same rank names the same collective.
    """
    found = [report for entry in _of_one_time(entries) if (report := _report(entry)) is not None]
    groups: dict[tuple[int, int], dict[str, str]] = defaultdict(dict)
    for report in found:
        if report.group and report.seq is not None:
            groups[report.rank, report.seq][report.group] = report.desc
    return [report if report.group or report.seq is None else _named(report, groups) for report in found]


def _of_one_time(entries: Iterable[Entry]) -> Iterator[Entry]:
    """Yield entries without those of dumps that an earlier run has left behind: ranks of one run stop together."""
    told = list(entries)
    newest: dict[str, float] = {}
    for entry in told:
        if entry.signal.signature.startswith(_DUMPED) and entry.first.time_s is not None:
            source = entry.signal.source
            newest[source] = max(entry.first.time_s, newest.get(source, entry.first.time_s))
    oldest_s = max(newest.values(), default=0.0) - STALE_S
    stale = {source for source, time_s in newest.items() if time_s < oldest_s}
    return (entry for entry in told if entry.signal.source not in stale)


def _named(report: Report, groups: Mapping[tuple[int, int], Mapping[str, str]]) -> Report:
    assert report.seq is not None
    known = groups.get((report.rank, report.seq), {})
    if len(known) != 1:
        return report
    ((group, desc),) = known.items()
    return replace(report, group=group, desc=desc)


def _report(entry: Entry) -> Report | None:
    signal, told = entry.signal, entry.signal.captures
    if signal.kind is not Kind.FAULT or signal.fault != "comm.collective_timeout" or signal.rank is None:
        return None
    enqueued, completed = _number(told.get(Capture.ENQUEUED)), _number(told.get(Capture.COMPLETED))
    if completed is not None and (enqueued is None or completed > enqueued):
        completed = None  # never set by some versions: whatever stood in memory there
    seq = _number(told.get(Capture.SEQ))
    return Report(
        entry,
        signal.rank,
        _group(told),
        told.get(Capture.PG_DESC, ""),
        waits=signal.signature in WAITS,
        seq=seq,
        op=told.get(Capture.COLLECTIVE, ""),
        enqueued=enqueued,
        completed=completed,
        since_s=_since_s(entry),
        members=_members(told.get(Capture.MEMBERS, "")),
        peer=_number(told.get(Capture.PEER)),
        calls=_calls(told, seq),
    )


def _group(told: Mapping[str, str]) -> str:
    """Return a group's name if all ranks call it so: a bare number of some versions counts the groups of one rank."""
    group = told.get(Capture.PG, "")
    everywhere = group == DEFAULT or "guid" in told or "pg_desc" in told
    return group if everywhere else ""


def _since_s(entry: Entry) -> float | None:
    time_s, waited = entry.first.time_s, entry.signal.captures.get(Capture.TIMEOUT_MS, "")
    return time_s if time_s is None or not waited.isdecimal() else time_s - int(waited) / 1000


def _calls(told: Mapping[str, str], seq: int | None) -> dict[int, Call]:
    """Return what was called. The watchdog tells elements and no types."""
    if Capture.CALLED in told:
        found = (_CALL.fullmatch(word) for word in told[Capture.CALLED].split())
        return {int(f[1]): Call(f[2], int(f[3]), int(f[4]), f[5]) for f in found if f}
    if seq is not None and "numel_in" in told:
        return {seq: Call(told.get(Capture.COLLECTIVE, ""), int(told[Capture.NUMEL_IN]), int(told[Capture.NUMEL_OUT]))}
    return {}


@lru_cache(maxsize=4096)
def _members(text: str) -> tuple[int, ...]:
    """Return the ranks of `0-7,12,16-56/8`; none where the text is something else."""
    ranks: set[int] = set()
    for part in _parts(text):
        ranks.update(part[: _MOST_RANKS - len(ranks)])
    return tuple(sorted(ranks))


def _parts(text: str) -> Iterator[range]:
    for part in text.split(","):
        if (found := _PART.fullmatch(part)) is None:
            return
        yield range(int(found[1]), int(found[2] or found[1]) + 1, max(1, int(found[3] or 1)))


def _number(text: str | None) -> int | None:
    return int(text) if text and len(text) < 19 and text.removeprefix("-").isdecimal() else None
