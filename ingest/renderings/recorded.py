"""What a flight recorder's dump holds, checked: one rank's calls by process group, and how far it has come in each.

The format: torch/csrc/distributed/c10d/FlightRecorder.hpp of PyTorch, versions 2.0 to 2.10. Whatever is not as it
should be is left out, for a dump is hostile input.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, Final

from ingest.renderings.words import time_ns, word

MOST_CALLS: Final = 100_000
MOST_GROUPS: Final = 512
MOST_RANKS: Final = 65_536
_TENSORS: Final = 64
_DIMENSIONS: Final = 16
_FRAMES: Final = 64
_LARGEST: Final = 2**63
_WITH_EVENTS: Final = ("nccl:", "xccl:")
"""Libraries that tell when a call has started and completed; with others it is known only that it was given up."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call: `seq` counts collectives, or sends and receives, of its group. Times are Unix, in nanoseconds.

    `told` is the entry as the dump has it; `timeout_ms` is -1 where it is not told.
    """

    group: str
    desc: str
    group_id: int
    seq: int
    p2p: bool
    op: str
    state: str
    done: bool
    created_ns: int
    started_ns: int | None
    completed_ns: int | None
    timeout_ms: int
    told: Mapping[str, Any]

    @property
    def inputs(self) -> "Tensors":
        """Return the tensors that went in. Only few calls of a dump are shown, so this is worked out when asked for."""
        return _tensors(self.told.get("input_sizes"), self.told.get("input_dtypes"))

    @property
    def outputs(self) -> "Tensors":
        """Return the tensors that came out."""
        return _tensors(self.told.get("output_sizes"), self.told.get("output_dtypes"))

    @property
    def frames(self) -> tuple[str, ...]:
        """Return where the call was made, innermost first, as `step (train.py:88)`, code of PyTorch left out."""
        return tuple(_frames(self.told.get("frames")))


@dataclass(frozen=True, slots=True)
class Tensors:
    """The tensors of a call: how many elements all have, their shapes, cut, and their types."""

    elements: int
    shapes: str
    dtypes: str


@dataclass(slots=True)
class Group:
    """One process group as one rank knows it. `members` are global ranks, sorted; empty where they are not told."""

    name: str
    desc: str
    members: tuple[int, ...] = ()
    calls: list[Call] = field(default_factory=list)
    enqueued: int = -1
    started: int = -1
    completed: int = -1

    @property
    def pending(self) -> Call | None:
        """Return the first call that is not done, collectives first; `None` where all are."""
        return self.first_open(p2p=False) or self.first_open(p2p=True)

    def first_open(self, *, p2p: bool) -> Call | None:
        """Return the first collective, or the first send or receive, that is not done.

        Calls of a group run in order: what was called before one that is done is done too, whatever its state. Parts of
        a coalesced call never change theirs; the last entry with their number stands for all.
        """
        if p2p:
            done = max((at for at, call in enumerate(self.calls) if call.done), default=-1)
            return next((call for call in self.calls[done + 1 :] if call.p2p), None)
        own = [call for call in self.calls if not call.p2p]
        done = max((call.seq for call in own if call.done), default=-1)
        return min((call for call in own[::-1] if call.seq > done), key=lambda call: call.seq, default=None)


@dataclass(frozen=True, slots=True)
class Recorded:
    """A dump: its groups by name, and how many entries it has and how many of them could not be read."""

    version: str
    library: str
    groups: Mapping[str, Group]
    entries: int
    unread: int


def recorded(dump: Mapping[str, Any]) -> Recorded:
    """Return what a dump holds."""
    entries = dump.get("entries")
    raw = entries[-MOST_CALLS:] if isinstance(entries, list) else []
    calls = [call for entry in raw if (call := _call(entry)) is not None]
    groups: dict[str, Group] = {}
    for call in calls:
        if call.group not in groups and len(groups) < MOST_GROUPS:
            groups[call.group] = Group(call.group, call.desc)
        if call.group in groups:
            groups[call.group].calls.append(call)
    config, status = _dict(dump.get("pg_config")), _dict(dump.get("pg_status"))
    whole = not raw or _dict(raw[0]).get("record_id") == 0
    for name, told in list(config.items())[:MOST_GROUPS] if whole else ():
        if isinstance(name, str) and name:
            groups.setdefault(word(name), Group(word(name), word(_dict(told).get("desc"))))
    for group in groups.values():
        told = config.get(group.name)
        group.members = _members(told.get("ranks") if isinstance(told, dict) else told)
        _count(group, status)
    library = dump.get("comm_lib_version") or dump.get("nccl_version")
    return Recorded(word(dump.get("version")), word(library), groups, len(raw), len(raw) - len(calls))


def _count(group: Group, status: Mapping[str, Any]) -> None:
    """Work out how far a rank has come: by its calls as far as they are there, else by the group's own counters."""
    own = [call for call in group.calls if not call.p2p]
    if not own and (ids := {call.group_id for call in group.calls}):
        told = _dict(status.get(str(max(ids))))
        group.enqueued = _integer(told.get("last_enqueued_collective"), -1)
        group.started = _integer(told.get("last_started_collective"), -1)
        group.completed = _integer(told.get("last_completed_collective"), -1)
        return
    pending = group.first_open(p2p=False)
    group.enqueued = max((call.seq for call in own), default=-1)
    group.completed = group.enqueued if pending is None else pending.seq - 1
    begun = (call.seq for call in own if call.done or call.state != "scheduled")
    group.started = max(begun, default=group.completed)


def _call(entry: object) -> Call | None:
    told = _dict(entry)
    created = time_ns(told.get("time_created_ns"))
    p2p = told.get("is_p2p") is True
    seq = _integer(told.get("p2p_seq_id" if p2p else "collective_seq_id", told.get("seq_id")), -1)
    name, (group, desc), state = told.get("profiling_name"), _named(told), word(told.get("state"))
    if created is None or seq < 0 or not isinstance(name, str):
        return None
    return Call(
        group=group,
        desc=desc,
        group_id=_integer(told.get("pg_id"), -1),
        seq=seq,
        p2p=p2p,
        op=_op(name),
        state=state,
        done=state == "completed" or (told.get("retired") is True and not name.startswith(_WITH_EVENTS)),
        created_ns=created,
        started_ns=time_ns(told.get("time_discovered_started_ns")),
        completed_ns=time_ns(told.get("time_discovered_completed_ns")),
        timeout_ms=_integer(told.get("timeout_ms"), -1),
        told=told,
    )


def _named(told: Mapping[str, Any]) -> tuple[str, str]:
    """Return name and description of a call's group; the first versions tell only its number."""
    group = told.get("process_group")
    if isinstance(group, tuple | list) and len(group) == 2:
        return word(group[0]), word(group[1])
    return (word(group) if isinstance(group, str) else str(_integer(told.get("pg_id"), 0))), "?"


def _op(name: str) -> str:
    """Return the name of an operation as the watchdog writes it: `nccl:all_reduce` is `ALLREDUCE`."""
    bare = word(name.partition(":")[2] or name).upper()
    return bare.replace("ALL_TO_ALL", "ALLTOALL").replace("ALL_", "ALL")


def _tensors(sizes: object, dtypes: object) -> Tensors:
    tensors = [_shape(size) for size in _list(sizes)[:_TENSORS]]
    shown = "".join(f"[{','.join(map(str, shape))}]" for shape in tensors[:3])
    more = f"+{len(_list(sizes)) - 3}" if len(tensors) > 3 else ""
    kinds = sorted({word(dtype, 20) for dtype in _list(dtypes)[:_TENSORS]})
    return Tensors(min(sum(map(prod, tensors)), _LARGEST), shown + more or "[]", "+".join(kinds) or "?")


def _shape(size: object) -> tuple[int, ...]:
    return tuple(_integer(length, 0) for length in _list(size)[:_DIMENSIONS])


def _frames(frames: object) -> Iterator[str]:
    told = [_dict(frame) for frame in _list(frames)[:_FRAMES]]
    own = [frame for frame in told if "/torch/" not in str(frame.get("filename"))[:400]]
    for frame in (own or told)[:3]:
        file = word(frame.get("filename"), 400).rpartition("/")[2]
        yield f"{word(frame.get('name'), 80)} ({file}:{_integer(frame.get('line'), 0)})"


def _members(ranks: object) -> tuple[int, ...]:
    """Return the ranks of `[0, 1, 2]`, which dumps hold as a text."""
    if isinstance(ranks, str):
        parts = ranks[: 8 * MOST_RANKS].strip("[] ").split(",")
        return tuple(sorted({int(p) for p in map(str.strip, parts) if p.isdecimal() and len(p) < 8}))[:MOST_RANKS]
    return tuple(sorted({_integer(rank, 0) for rank in _list(ranks)[:MOST_RANKS]}))


def _integer(value: object, default: int) -> int:
    """Return a number, from a dump in JSON also one written as a text."""
    if isinstance(value, str) and len(value) < 20 and value.lstrip("-").isdecimal():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < _LARGEST else default


def _dict(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else ()
