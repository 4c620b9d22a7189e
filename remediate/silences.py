"""Times in which nothing is done: silences, which people ask for, and windows of maintenance, which a policy names."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from functools import lru_cache

import re2

from schemas.command import Matcher
from schemas.policy import Maintenance


def matches(matchers: tuple[Matcher, ...], labels: Mapping[str, str]) -> bool:
    """Tell whether all matchers of a silence hold. A silence without any holds for nothing.

    One whose pattern RE2 does not know holds for everything: who asked for it wanted quiet.
    """
    try:
        return bool(matchers) and all(_matches(one, labels.get(one.label, "")) for one in matchers)
    except ValueError:
        return True


def check_patterns(matchers: tuple[Matcher, ...]) -> None:
    """Make sure that patterns can be used. Raises: ValueError."""
    for one in matchers:
        if one.operator in ("=~", "!~"):
            _compiled(one.value)


def window(one: Maintenance, time_s: float) -> tuple[float, float] | None:
    """Return when the window that a time lies in begins and ends (Unix, seconds), `None` where it lies in none."""
    now = datetime.fromtimestamp(time_s, UTC)
    if one.begins and one.ends:
        inside = one.begins <= now < one.ends
        return (one.begins.timestamp(), one.ends.timestamp()) if inside else None
    if one.since is None or one.until is None:
        return None
    for back in (0, 1):  # one that began yesterday may last until today
        day = now.date() - timedelta(days=back)
        if one.days and day.weekday() not in one.days:
            continue
        begins = datetime.combine(day, one.since, UTC)
        ends = datetime.combine(day if one.until > one.since else day + timedelta(days=1), one.until, UTC)
        if begins <= now < ends:
            return begins.timestamp(), ends.timestamp()
    return None


def concerns(one: Maintenance, hosts: tuple[str, ...], jobs: tuple[str, ...]) -> bool:
    """Tell whether a window is about one of some hosts or jobs."""
    if not one.hosts and not one.jobs:
        return True
    return _any(hosts, one.hosts) or _any(jobs, one.jobs)


def _any(names: tuple[str, ...], patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for name in names for pattern in patterns)


def _matches(one: Matcher, value: str) -> bool:
    match one.operator:
        case "=":
            return value == one.value
        case "!=":
            return value != one.value
        case "=~":
            return _compiled(one.value).fullmatch(value) is not None
        case "!~":
            return _compiled(one.value).fullmatch(value) is None


@lru_cache(maxsize=1000)
def _compiled(pattern: str):  # type: ignore[no-untyped-def] # re2 has no types
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 1 << 20
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        raise ValueError(f"{pattern!r} is no pattern that can be used: {error}") from None
