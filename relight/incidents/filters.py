"""From what is typed to what is asked of a store: times, durations and patterns to a `Query`."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Final

from ingest.redaction import shown
from relight.stores.port import Query
from schemas.durations import SECONDS_IN
from schemas.faults import fault_classes, faults_matching
from schemas.history import State
from schemas.vocabulary import Severity

STANDING: Final = (State.OPEN, State.RESOLVED)
"""The states that are wanted where none is named. One that is merged is told by the one it was merged into."""

_DURATION: Final = re.compile(r"([0-9]{1,9})([smhdw])")
_HOW: Final = "write 45m, 2h or 7d for so long ago, or 2026-05-12 or 2026-05-12T03:00Z"


class Unclear(ValueError):
    """What was typed cannot be understood. The message says what, and how to write it."""


@dataclass(frozen=True, slots=True)
class Filters:
    """What was typed, as it was typed."""

    since: str | None = None
    until: str | None = None
    faults: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    jobs: tuple[str, ...] = ()
    clusters: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    severity: str | None = None

    @property
    def any(self) -> bool:
        """Tell whether anything was typed."""
        return self != Filters()


def query_of(filters: Filters, now_ms: int, *, text: str = "", standing: Sequence[State] = STANDING) -> Query:
    """Return what is asked of the store.

    Args:
        filters: What was typed.
        now_ms: The time of day (Unix, milliseconds), from which durations count back.
        text: Words to search for.
        standing: The states that are wanted where none is named.

    Raises:
        Unclear: A time or a fault class cannot be understood.
    """
    since_ms = moment_ms("--since", filters.since, now_ms) if filters.since else None
    until_ms = moment_ms("--until", filters.until, now_ms) if filters.until else None
    if since_ms is not None and until_ms is not None and since_ms >= until_ms:
        raise Unclear("--since is not before --until: nothing lies between them")
    for pattern in filters.faults:
        _require_fault(pattern)
    return Query(
        since_ms=since_ms,
        until_ms=until_ms,
        clusters=filters.clusters,
        faults=filters.faults,
        hosts=filters.hosts,
        jobs=filters.jobs,
        states=tuple(map(State, filters.states)) or tuple(standing),
        severity=Severity(filters.severity) if filters.severity else None,
        text=text,
    )


def moment_ms(option: str, text: str, now_ms: int) -> int:
    """Return the time that a text such as `2h` or `2026-05-12T03:00Z` stands for (Unix, milliseconds).

    A duration counts back from `now_ms`; a time without a zone is UTC. Raises: Unclear.
    """
    if found := _DURATION.fullmatch(text.strip()):
        return max(0, now_ms - int(found[1]) * SECONDS_IN[found[2]] * 1000)
    try:
        time = datetime.fromisoformat(text.strip())
        return max(0, round((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1000))
    except (ValueError, OverflowError):
        raise Unclear(f"{option}: {shown(text)!r} is no time: {_HOW}") from None


def _require_fault(pattern: str) -> None:
    """Make sure that a pattern stands for some fault class. Raises: Unclear."""
    if faults_matching(pattern.replace("[", "[[]")):
        return
    known = "`relight rules faults` lists them"
    if "*" in pattern or "?" in pattern:
        raise Unclear(f"--fault: no fault class is like {shown(pattern)!r}; {known}")
    near = nearest(pattern, list(fault_classes()))
    if near:
        raise Unclear(f"--fault: there is no fault class {shown(pattern)!r}: did you mean {near}?")
    raise Unclear(f"--fault: there is no fault class {shown(pattern)!r}; {known}")


def nearest(text: str, known: Sequence[str]) -> str | None:
    """Return the name most like a text; one that ends or begins like it counts more. `None`: none is like it."""
    tails = {name.rpartition(".")[2]: name for name in known}
    close = get_close_matches(text, known, n=1, cutoff=0.6) or get_close_matches(text, list(tails), n=1, cutoff=0.6)
    return tails.get(close[0], close[0]) if close else None
