"""Shows dumps of PyTorch's flight recorder as lines: how far a rank has come in each process group, and its last calls.

For each group one line is telling (`waits in ...` or `waits for nothing in ...`); its last calls stand before it.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from ingest.errors import Unreadable
from ingest.renderings import plain_pickle
from ingest.renderings.port import Readable
from ingest.renderings.recorded import Call, Group, Recorded, recorded
from ingest.renderings.words import moment, ranks

MOST_BYTES: Final = 64 * 1024 * 1024
LAST_CALLS: Final = 50
"""So many calls of a group are shown."""

COMPARED: Final = 3
"""So many calls of a group, the pending one among them, are told in a form that ranks can be compared by."""

_READ_BYTES: Final = 1024 * 1024
_TOLD: Final = 190
"""Members and compared calls are told in full or not at all: a signature's captures end a little later."""

_NAME: Final = re.compile(r"(?:nccl|comm_lib)_trace_rank_?\d+(?:\.\w+)*$")
_RANK: Final = re.compile(r"(?:^|\D)(\d{1,6})(?:\.(?:pkl|pickle|json|bin|gz|zst|xz|bz2))*$")
_PICKLE: Final = re.compile(rb"\x80[\x02-\x05]")
_KEYS: Final = (
    b"pg_config",
    b"pg_status",
    b"nccl_version",
    b"comm_lib_version",
    b"collective_seq_id",
    b"profiling_name",
)
"""Of these the beginning of a dump has two at least, in whatever version and form."""


class FlightRecorder:
    """Dumps in either form: a pickle of plain data, which is read and never executed, or JSON."""

    def recognises(self, name: str, head: bytes) -> bool:
        """Tell whether this is a dump: a pickle of a dump's name, or a pickle or JSON with a dump's keys."""
        if not _PICKLE.match(head):
            return head.lstrip()[:1] == b"{" and sum(b'"%s"' % key in head for key in _KEYS) > 1
        return bool(_NAME.search(name)) or sum(key in head for key in _KEYS) > 1

    def awaits(self, head: bytes) -> bool:
        """Tell whether a pickle or an object in JSON has begun whose keys may follow."""
        return bool(_PICKLE.match(head)) or (head.lstrip()[:1] == b"{" and b"}\n" not in head)

    def render(self, stream: Readable) -> Iterator[bytes]:
        """Yield the lines in the order of their times. Raises: Unreadable."""
        dump = _loaded(stream)
        named = _RANK.search(stream.label)
        told = recorded(dump)
        lines = list(_lines(told, int(named[1]) if named else None))
        lines.sort(key=lambda line: line[0])
        label = f"[rank{int(named[1])}]: " if named else ""
        first = f"{moment(lines[0][0])} " if lines else ""
        yield f"{first}{label}flight recorder: {_heading(told)}\n".encode("utf-8", "replace")
        for time_ns, text in lines:
            yield f"{moment(time_ns)} {label}flight recorder: {text}\n".encode("utf-8", "replace")


def _loaded(stream: Readable) -> Mapping[str, Any]:
    """Return the dump that a stream holds. Raises: Unreadable."""
    blocks, size = [], 0
    while block := stream.read(_READ_BYTES):
        blocks.append(block)
        size += len(block)
        if size > MOST_BYTES:
            raise Unreadable(stream.label, f"a flight recorder dump of more than {MOST_BYTES >> 20} MiB")
    data = b"".join(blocks)
    del blocks
    try:
        dump = plain_pickle.loads(data) if _PICKLE.match(data) else json.loads(data)
        dump = {"entries": dump} if isinstance(dump, list) else dump  # as the first versions wrote it
    except (ValueError, RecursionError) as error:
        why = error if isinstance(error, plain_pickle.NotPlain) else "it is no valid JSON"
        raise Unreadable(stream.label, f"a flight recorder dump that cannot be read, because {why}") from error
    if not isinstance(dump, dict):
        raise Unreadable(stream.label, "a flight recorder dump that cannot be read, because it holds no dict")
    return dump


def _heading(told: Recorded) -> str:
    unread = f", {told.unread} of them unreadable" if told.unread else ""
    return f"version {told.version}, library {told.library}, {told.entries} calls{unread}, {len(told.groups)} groups"


def _lines(told: Recorded, rank: int | None) -> Iterator[tuple[int, str]]:
    """Yield times (Unix, nanoseconds) and texts, those of a group in order."""
    begin = min((call.created_ns for group in told.groups.values() for call in group.calls), default=0)
    for group in told.groups.values():
        for call in group.calls[-LAST_CALLS:]:
            yield call.created_ns, f"group {group.name} ({group.desc}): {_call(call)}{_dates(call)}"
        pending = group.pending
        if pending is not None:
            waited = _call(pending, _peer(group, pending))
            yield pending.created_ns, f"waits in {_group(group)} for {waited}{_rest(group, pending)}"
        elif group.calls or rank in group.members:
            last = group.calls[-1] if group.calls else None
            yield last.created_ns if last else begin, f"waits for nothing in {_group(group)}{_rest(group, last)}"


def _group(group: Group) -> str:
    members = ranks(group.members)
    return f"group {group.name} ({group.desc}) of ranks {members if 0 < len(members) <= _TOLD else '?'}"


def _call(call: Call, peer: str = "") -> str:
    limit = f", timeout {call.timeout_ms} ms" if call.timeout_ms > 0 else ""
    given, got = call.inputs, call.outputs
    tensors = f"in {given.shapes} {given.dtypes}, out {got.shapes} {got.dtypes}"
    return f"{call.op} {'p2p ' if call.p2p else ''}#{call.seq}{peer}, {call.state}, {tensors}{limit}"


def _dates(call: Call) -> str:
    told = (("started", call.started_ns), ("completed", call.completed_ns))
    return "".join(f", {word} {moment(time)}" for word, time in told if time is not None)


def _peer(group: Group, call: Call) -> str:
    """Return the global rank of the other end of `SEND 0->1` or `RECV 1<-0`, which count within the group."""
    found = re.search(r"(?:->|<-)(\d{1,7})$", call.op)
    if not call.p2p or found is None or int(found[1]) >= len(group.members):
        return ""
    return f" with rank {group.members[int(found[1])]}"


def _rest(group: Group, last: Call | None) -> str:
    counts = f"; enqueued #{group.enqueued}, started #{group.started}, completed #{group.completed}"
    where = f"; at {' < '.join(last.frames)}" if last and last.frames else ""
    return f"{counts}; calls {_compared(group) or 'none'}{where}"


def _compared(group: Group) -> str:
    """Return the calls about the pending one, or the last ones: number, operation, elements, types.

    Of a group of calls with one number the last one stands for all.
    """
    calls = {call.seq: call for call in group.calls if not call.p2p}
    about = group.completed + 1 + COMPARED // 2
    near = [call for seq, call in sorted(calls.items()) if seq <= about][-COMPARED:]
    told = [f"{c.seq}={c.op}:{c.inputs.elements}>{c.outputs.elements}:{c.inputs.dtypes}" for c in near]
    while len(" ".join(told)) > _TOLD:
        told.pop()
    return " ".join(text.replace(" ", "_") for text in told)
