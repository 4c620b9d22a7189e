"""How single values read in English: numbers, times, durations, lists of ranks and hosts. Sentences are elsewhere."""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Final

from schemas.incident import Place
from schemas.vocabulary import RetryOutlook

_CONFIDENCE: Final = ((0.9, "high"), (0.7, "good"), (0.4, "moderate"), (0.0, "low"))
_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
_NUMBERED: Final = re.compile(r"(.*?)(\d+)(\D*)")

RETRY: Final = {
    RetryOutlook.MAY_RECOVER: "starting again with nothing changed may get past it",
    RetryOutlook.CANNOT_RECOVER: "starting again cannot get past it until a person changes something",
    RetryOutlook.UNKNOWN: "whether starting again helps cannot be told",
}
"""What a retry outlook means for a person."""


def number(count: int) -> str:
    """Return a number with its thousands set off, `1,204,113`."""
    return f"{count:,}"


def counted(count: int, singular: str, plural: str | None = None) -> str:
    """Return a number with its noun, `1 rank` or `512 ranks`."""
    return f"{number(count)} {singular if count == 1 else plural or singular + 's'}"


def size(count_bytes: int) -> str:
    """Return a number of bytes in decimal units, `211 MB`."""
    value, unit = float(count_bytes), "bytes"
    for larger in ("kB", "MB", "GB", "TB", "PB"):
        if value < 1_000:
            break
        value, unit = value / 1_000, larger
    return f"{value:.1f} {unit}" if unit != "bytes" and value < 10 else f"{value:,.0f} {unit}"


def confidence(value: float) -> str:
    """Return a confidence in a word and a number, `high (0.97)`."""
    word = next(word for least, word in _CONFIDENCE if value >= least)
    return f"{word} ({value:.2f})"


def duration(span: timedelta) -> str:
    """Return a length of time in its two largest units, `6 h 41 min`."""
    rest = max(0, int(span.total_seconds()))
    parts: list[str] = []
    for unit_s, name in _UNITS:
        amount, rest = divmod(rest, unit_s)
        if parts or amount:
            parts.append(f"{amount} {name}")
    kept = [part for part in parts[:2] if not part.startswith("0 ")]
    return " ".join(kept) or "less than a second"


def moment(time: datetime) -> str:
    """Return a time in UTC with its date, `2026-03-14 03:12:01 UTC`."""
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def clock(time: datetime | None, near: datetime | None = None) -> str:
    """Return the time of day in UTC, with the date where it is another day than `near`; empty without a time."""
    if time is None:
        return ""
    utc = time.astimezone(UTC)
    same_day = near is not None and utc.date() == near.astimezone(UTC).date()
    return f"{utc:%H:%M:%S}" if same_day else f"{utc:%Y-%m-%d %H:%M:%S}"


def where(place: Place) -> str:
    """Return a place as an editor understands it, `node03.log:1204`."""
    return f"{place.source}:{place.line}"


def listed(names: Sequence[str], most: int = 3) -> str:
    """Return names as one reads them aloud, `a, b and c` or `a, b and 5 more`."""
    if len(names) > most + 1:
        return f"{', '.join(names[:most])} and {number(len(names) - most)} more"
    return " and ".join(part for part in (", ".join(names[:-1]), names[-1] if names else "") if part)


def ranges(numbers: Iterable[int]) -> str:
    """Return numbers with their runs folded, `0-511` or `0, 2-5`."""
    ordered = sorted(set(numbers))
    runs = [[n for _, n in run] for _, run in groupby(enumerate(ordered), lambda pair: pair[1] - pair[0])]
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def folded(hosts: Iterable[str]) -> str:
    """Return host names with their numbers folded as Slurm does, `node[00-17,19]`."""
    groups: dict[tuple[str, int, str], list[int]] = {}
    plain: list[str] = []
    for host in sorted(set(hosts)):
        match = _NUMBERED.fullmatch(host)
        if match is None:
            plain.append(host)
            continue
        groups.setdefault((match[1], len(match[2]), match[3]), []).append(int(match[2]))
    return ", ".join(plain + [_folded(*key, numbers) for key, numbers in groups.items()])


def _folded(prefix: str, digits: int, suffix: str, numbers: list[int]) -> str:
    if len(numbers) == 1:
        return f"{prefix}{numbers[0]:0{digits}}{suffix}"
    parts = ("-".join(f"{int(end):0{digits}}" for end in part.split("-")) for part in ranges(numbers).split(", "))
    return f"{prefix}[{','.join(parts)}]{suffix}"
