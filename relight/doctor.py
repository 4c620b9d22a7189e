"""`relight doctor`: looks at everything a pipeline needs, and says what is seen and what to do. It changes nothing.

With `write` it appends one record without a value to `relight.snapshots`, under a key that no stage has: it deletes
what that key held, which is nothing, and compaction removes it.
"""

import os
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from relight.keys import KeyFile, NoKeys, Role
from relight.keys import place as key_place
from relight.settings import Misconfigured, Resolved, Settings, resolve
from relight.setup import compared
from relight.stores.opening import open_store, store_place
from relight.stores.port import StoreError
from relight.topics import READS, SNAPSHOTS, TOPICS, group_of, specs
from relight.transports.opening import open_log, place, software
from relight.transports.port import EventLog, LogError, Outgoing, Partition, Span, TopicSpec

PROBE_KEY: Final = b"relight doctor"
WAITING_S: Final = 60.0
"""A record that waits longer than this to be read is worth a word."""
_APART_S: Final = 5.0
_LAST: Final = 5
"""So many offsets from a partition's end a record is looked for: the last ones may be those of transactions."""
_PROBE_HEADER: Final = "relight-doctor"
_GIB: Final = 1024**3


Clock = Callable[[], float]
"""Gives Unix time in seconds."""


class Sign(StrEnum):
    """What a check comes to."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of a check: what is seen, and what to do about it."""

    sign: Sign
    check: str
    seen: str
    advice: str = ""


def examined(
    flags: Mapping[str, object], config: Path | None = None, *, write: bool = False, now: Clock = time.time
) -> Iterator[Finding]:
    """Make all checks, one after the other, and yield what each finds. What one needs that failed, ends it."""
    try:
        resolved = resolve(flags, config)
    except Misconfigured as error:
        yield from (Finding(Sign.FAIL, "configuration", line, "correct it") for line in str(error).splitlines())
        return
    yield _configuration(resolved)
    settings = resolved.settings
    yield from _room(settings)
    yield from _keys(settings)
    if not settings.kafka.bootstrap and not settings.embedded.path.exists():
        yield Finding(Sign.FAIL, "log", f"{settings.embedded.path} is not there", "create it: relight setup")
        return
    begun = time.monotonic()
    try:
        log = open_log(settings)
    except LogError as error:
        yield Finding(Sign.FAIL, "log", str(error))
        return
    with log:
        yield from _log(log, settings, begun, write=write, now=now)
    if settings.elasticsearch.used:
        yield _store(settings)


def _configuration(resolved: Resolved) -> Finding:
    file = resolved.file
    changed = sum(setting.origin != "default" for setting in resolved.origins)
    seen = f"{file or 'no file'}; {changed} of {len(resolved.origins)} settings are not defaults"
    secret = tuple(f"{key}." for key in resolved.settings.secrets)
    keeps = any(s.origin == str(file) and any(one.startswith(f"{s.key}.") for one in secret) for s in resolved.origins)
    if file and keeps and file.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
        return Finding(
            Sign.WARN, "configuration", f"{file} holds a password and others may read it", f"chmod 600 {file}"
        )
    return Finding(Sign.OK, "configuration", seen)


def _room(settings: Settings) -> Iterator[Finding]:
    yield _free("spool", settings.ship.spool_path, settings.ship.spool_bytes)
    if not settings.kafka.bootstrap:
        yield _free("embedded log", settings.embedded.path, _GIB)


def _free(what: str, path: Path, wanted_bytes: int) -> Finding:
    """Tell the room where a path is, or would be."""
    check = f"room for the {what}"
    folder = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    free = shutil.disk_usage(folder).free
    seen = f"{free / _GIB:.1f} GiB free at {folder}"
    if not os.access(folder, os.W_OK):
        return Finding(Sign.FAIL, check, f"{folder} is not writable for this user", "change its owner, or the setting")
    if free < wanted_bytes:
        sign = Sign.FAIL if free < wanted_bytes / 10 else Sign.WARN
        return Finding(sign, check, f"{seen}, {wanted_bytes / _GIB:.1f} GiB may be needed", "make room")
    return Finding(Sign.OK, check, seen)


def _log(log: EventLog, settings: Settings, begun: float, *, write: bool, now: Clock) -> Iterator[Finding]:
    try:
        there = log.topics()
    except LogError as error:
        yield Finding(Sign.FAIL, "log", str(error))
        return
    yield Finding(Sign.OK, "log", f"{place(settings)} answers after {_since(begun)}")
    yield from _tried("version", _version(settings))
    yield from _topics(there, settings)
    if not any(topic.name in there for topic in TOPICS):
        return
    spans: dict[str, Mapping[int, Span]] = {}
    yield from _readable(log, [topic.name for topic in TOPICS if topic.name in there], spans)
    for stage, topics in READS.items():
        group = group_of(stage)
        yield from _tried(f"group {group}", _group(log, group, [t for t in topics if t in spans], spans, now))
    clock = _probe(log, spans, now) if write and SNAPSHOTS in spans else _newest(log, spans, now)
    yield from _tried("clock", clock)


def _store(settings: Settings) -> Finding:
    """Tell whether Elasticsearch can be searched and written. The embedded store lies in the log's own file."""
    begun = time.monotonic()
    try:
        with open_store(settings) as store:
            store.check()
    except StoreError as error:
        return Finding(Sign.FAIL, "store", str(error))
    return Finding(Sign.OK, "store", f"{store_place(settings)} is set up, and answers after {_since(begun)}")


def _keys(settings: Settings) -> Iterator[Finding]:
    """Tell which keys sign. With the embedded log they are made when they are needed."""
    for role in Role:
        path = key_place(settings, role)
        if not settings.kafka.bootstrap and not path.exists():
            continue
        try:
            found = KeyFile(path).keys
        except NoKeys as error:
            yield Finding(Sign.WARN, "keys", f"{role}: {error}", "only who remediates, or carries out, needs them")
        else:
            yield Finding(Sign.OK, "keys", f"{role}: {found.signing} signs, {len(found.secrets)} in {path}")


def _since(begun: float) -> str:
    return f"{time.monotonic() - begun:.2f} s"


def _tried(check: str, findings: Iterator[Finding]) -> Iterator[Finding]:
    try:
        yield from findings
    except LogError as error:
        yield Finding(Sign.FAIL, check, str(error))


def _version(settings: Settings) -> Iterator[Finding]:
    yield Finding(Sign.OK, "version", software(settings))


def _topics(there: Mapping[str, TopicSpec], settings: Settings) -> Iterator[Finding]:
    wanted = specs(settings.topics.log_partitions, settings.topics.cluster_partitions)
    found = compared(wanted, there)
    hidden = f"; if it is there, let {settings.kafka.username} see it" if settings.kafka.username else ""
    for spec in found.missing:
        yield Finding(Sign.FAIL, "topics", f"{spec.name} is missing", f"create it: relight setup{hidden}")
    for difference in found.differences:
        yield Finding(Sign.WARN, "topics", str(difference), "see `relight setup --dry-run --apply`")
    if found.as_wanted:
        yield Finding(Sign.OK, "topics", f"all {len(wanted)} are there and as wanted")
    counts = {topic.name: there[topic.name].partitions for topic in TOPICS if topic.by_cluster and topic.name in there}
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{name} {count}" for name, count in counts.items())
        advice = "give all of them as many: a stage must find what belongs to a cluster in partitions of one number"
        yield Finding(Sign.FAIL, "partitions", f"the topics keyed by cluster differ: {listed}", advice)
    elif counts:
        yield Finding(Sign.OK, "partitions", f"the topics keyed by cluster have {max(counts.values())} each")


def _readable(log: EventLog, topics: list[str], spans: dict[str, Mapping[int, Span]]) -> Iterator[Finding]:
    """Read a record of each topic that has one. What could be looked at goes into `spans`."""
    read = 0
    for name in topics:
        try:
            found = log.spans(name)
            full = next((number for number, span in found.items() if span.begin < span.end), None)
            if full is not None:
                log.read(Partition(name, full), found[full].begin, 1)
                read += 1
            spans[name] = found
        except LogError as error:
            yield Finding(Sign.FAIL, "permissions", f"{name}: {error}")
    if len(spans) == len(topics):
        seen = f"all {read} topics with records can be read" if read else "all topics are empty: reading was not tried"
        yield Finding(Sign.OK, "permissions", seen)


def _group(
    log: EventLog, group: str, topics: list[str], spans: Mapping[str, Mapping[int, Span]], now: Clock
) -> Iterator[Finding]:
    check, behind, waiting_s = f"group {group}", 0, 0.0
    positions = {topic: log.positions(group, topic) for topic in topics}
    if not any(positions.values()):
        yield Finding(Sign.OK, check, "has read nothing yet")
        return
    for topic in topics:
        for number, span in spans[topic].items():
            position, place = positions[topic].get(number, span.begin), Partition(topic, number)
            if position < span.begin:
                seen = f"{span.begin - position} records of {place} were deleted before they were read"
                yield Finding(Sign.FAIL, check, seen, "keep records longer, or run more members")
            behind += max(0, span.end - position)
            for record in log.read(place, max(position, span.begin), 1):
                waiting_s = max(waiting_s, now() - record.time_ms / 1000)
    if waiting_s > WAITING_S:
        seen = f"about {behind} records behind, the oldest waits {waiting_s:.0f} s"
        yield Finding(Sign.WARN, check, seen, "is the stage running? look at its log and its /healthz")
    else:
        yield Finding(Sign.OK, check, f"about {behind} records behind")


def _newest(log: EventLog, spans: Mapping[str, Mapping[int, Span]], now: Clock) -> Iterator[Finding]:
    """Compare the clocks by the newest record, which tells only whether this one is behind."""
    times = [
        record.time_ms
        for topic, partitions in spans.items()
        for number, span in partitions.items()
        for record in log.read(Partition(topic, number), max(span.begin, span.end - _LAST), _LAST)
    ]
    if not times:
        yield Finding(Sign.OK, "clock", "no records to compare it with; --write appends one")
        return
    yield _clock(now() - max(times) / 1000, "the newest record is", behind_s=float("inf"))


def _probe(log: EventLog, spans: Mapping[str, Mapping[int, Span]], now: Clock) -> Iterator[Finding]:
    """Append a record, find it again, and compare the clocks by it."""
    token, begun = secrets.token_bytes(8), now()
    log.append([Outgoing(SNAPSHOTS, None, PROBE_KEY, ((_PROBE_HEADER, token),))])
    ends = {Partition(SNAPSHOTS, number): span.end for number, span in spans[SNAPSHOTS].items()}
    after = (record for place, end in ends.items() for record in log.read(place, end))
    probe = next((record for record in after if dict(record.headers).get(_PROBE_HEADER) == token), None)
    ended = now()
    if probe is None:
        yield Finding(Sign.FAIL, "writing", "a record was appended and is not there", "is another log at this address?")
        return
    yield Finding(Sign.OK, "writing", f"a record was appended and read back in {ended - begun:.2f} s")
    yield _clock((begun + ended) / 2 - probe.time_ms / 1000, "a record appended now is", behind_s=_APART_S)


def _clock(old_s: float, what: str, behind_s: float) -> Finding:
    """Judge the age of a record. Older than `behind_s`, or from the future: the clocks differ."""
    seen = f"{what} {abs(old_s):.1f} s {'old' if old_s >= 0 else 'ahead'} by this host's clock"
    if -_APART_S <= old_s <= behind_s:
        return Finding(Sign.OK, "clock", seen)
    return Finding(Sign.WARN, "clock", seen, "keep the clocks of all hosts together with NTP")
