"""Kinds of unknown failures as people see them: how often, where, when, which lines, and how to name one."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

import orjson

from diagnose.learning.kinds import Kind
from relight.incidents.cleaning import clean, plain
from relight.incidents.reading import SHORT
from relight.incidents.times import iso, stamp
from relight.learning.unknowns import Unknown, Unknowns
from schemas.incident import Surprise

_SHOWN: Final = 3
_HOSTS: Final = 6


def as_text(found: Unknowns, kinds: Sequence[Kind]) -> str:
    """Return kinds for people; of a single one, all its lines and all its incidents."""
    blocks = ["\n".join(_told(kind, found.of(kind), whole=len(kinds) == 1)) for kind in kinds]
    if not found.total:
        blocks.append("Nothing that happened is unexplained.")
    elif len(found.by_id) < found.total:
        blocks.append(
            f"{len(found.by_id):,} of {found.total:,} incidents were looked at; --limit all takes all of them."
        )
    if found.without_lines:
        blocks.append(f"{found.without_lines:,} of no kind: the store keeps no line of them that stands out.")
    if kinds:
        blocks.append(f"Name one: relight learn NAME --from {kinds[0].id} [--fault FAULT]")
    return "\n\n".join(blocks) + "\n"


def as_json(found: Unknowns, kinds: Sequence[Kind]) -> str:
    """Return kinds as an indented JSON document."""
    told = {
        "unexplained": found.total,
        "looked_at": len(found.by_id),
        "without_lines": found.without_lines,
        "kinds": [_plain(kind, found.of(kind)) for kind in kinds],
    }
    return orjson.dumps(plain(told), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()


def _told(kind: Kind, members: Sequence[Unknown], *, whole: bool) -> Iterator[str]:
    times = "once" if len(members) == 1 else f"{len(members):,} times"
    span = dict.fromkeys(stamp(one.member.opened_s) for one in (members[0], members[-1]))
    yield f"{kind.id}  {times}, {' to '.join(span)} UTC"
    yield f"  seen as    {', '.join(f'{fault} ({count})' for fault, count in _faults(members))}"
    hosts = sorted({clean(host) for one in members for host in one.hosts})
    more = f" and {len(hosts) - _HOSTS:,} others" if len(hosts) > _HOSTS else ""
    yield f"  hosts      {', '.join(hosts[:_HOSTS]) or 'not known'}{more}"
    if said := _said(members):
        yield f"  people say {', '.join(f'{fault} ({count})' for fault, count in said)}"
    lines = members[-1].surprises
    for number, one in enumerate(lines if whole else lines[:_SHOWN], 1):
        yield f"  {number:>2}. {clean(one.place.text)}"
        yield f"      {clean(one.place.source)}:{one.place.line}: {clean(one.why)}"
    names = [clean(one.document.id) for one in reversed(members)]
    short = [name[:SHORT] for name in names[:_HOSTS]] + ["..."] * (len(names) > _HOSTS)
    yield f"  incidents  {', '.join(names if whole else short)}"


def _plain(kind: Kind, members: Sequence[Unknown]) -> dict[str, object]:
    return {
        "kind": kind.id,
        "incidents": [one.document.id for one in members],
        "first": iso(members[0].member.opened_s),
        "last": iso(members[-1].member.opened_s),
        "seen_as": dict(_faults(members)),
        "hosts": sorted({host for one in members for host in one.hosts}),
        "people_say": dict(_said(members)),
        "lines": [_line(one) for one in members[-1].surprises],
    }


def _line(one: Surprise) -> dict[str, object]:
    return {
        "text": one.place.text,
        "source": one.place.source,
        "line": one.place.line,
        "template": one.template,
        "score": one.score,
        "why": one.why,
    }


def _faults(members: Sequence[Unknown]) -> list[tuple[str, int]]:
    diagnosed = (one.document.history.diagnosed for one in members)
    return Counter(d.diagnosis.fault for d in diagnosed if d).most_common()


def _said(members: Sequence[Unknown]) -> list[tuple[str, int]]:
    """Return what people said that it was, and how often."""
    verdicts = (one.document.verdict for one in members)
    return Counter(v.actual for v in verdicts if v and v.actual).most_common()
