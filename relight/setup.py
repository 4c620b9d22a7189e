"""`relight setup`: creates the topics that are missing, and says where others are not as wanted.

Topics that are there are changed only where that is asked for: a change of partitions moves keys, one of retention
deletes records.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from relight.topics import DEADLETTERS, LOGS, SNAPSHOTS
from relight.transports.port import EventLog, TopicSpec

_HOUR_MS: Final = 3_600_000
_TAKES_EFFECT_S: Final = 5.0
_AGAIN_S: Final = 0.05
_SETTINGS: Final = {LOGS: "topics.log_partitions", SNAPSHOTS: "", DEADLETTERS: ""}
"""What sets the partitions of topics, where it is not that of clusters."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Where a topic is not as wanted. `caution` says what a change brings with it; not every one can be made."""

    topic: str
    there: str
    wanted: str
    caution: str = ""
    possible: bool = True

    def __str__(self) -> str:
        """Return it as a line."""
        return f"{self.topic}: has {self.there}, wanted is {self.wanted}" + (
            f" ({self.caution})" if self.caution else ""
        )


@dataclass(frozen=True, slots=True)
class Comparison:
    """What is missing of the wanted topics, and where those that are there differ."""

    missing: tuple[TopicSpec, ...]
    differences: tuple[Difference, ...]

    @property
    def as_wanted(self) -> bool:
        """Tell whether everything is as wanted."""
        return not self.missing and not self.differences


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was done or would be, as lines, and whether everything is as wanted now."""

    lines: tuple[str, ...]
    as_wanted: bool


def setup(log: EventLog, wanted: Sequence[TopicSpec], *, apply: bool = False, dry_run: bool = False) -> Outcome:
    """Create the topics that are missing; with `apply` change those that differ. A dry run only tells.

    Raises: LogError.
    """
    there = log.topics()
    before = compared(wanted, there)
    if not dry_run:
        log.create(before.missing)
        if apply:
            log.alter(spec for spec in wanted if spec.name in there and spec != there[spec.name])
    after = before if dry_run else _seen(log, wanted, _TAKES_EFFECT_S if apply else 0)
    return Outcome(tuple(_told(before, after, apply=apply, dry_run=dry_run)), after.as_wanted)


def compared(wanted: Iterable[TopicSpec], there: Mapping[str, TopicSpec]) -> Comparison:
    """Compare the topics that are wanted with those that are there. Others are nobody's concern."""
    wanted = tuple(wanted)
    return Comparison(
        missing=tuple(spec for spec in wanted if spec.name not in there),
        differences=tuple(d for spec in wanted if spec.name in there for d in _differences(there[spec.name], spec)),
    )


def _seen(log: EventLog, wanted: Sequence[TopicSpec], patience_s: float) -> Comparison:
    """Compare until what can be changed is as wanted: a Kafka broker shows a change some time after it has agreed."""
    deadline = time.monotonic() + patience_s
    while True:
        found = compared(wanted, log.topics())
        if time.monotonic() >= deadline or not any(difference.possible for difference in found.differences):
            return found
        time.sleep(_AGAIN_S)


def _differences(there: TopicSpec, wanted: TopicSpec) -> Iterator[Difference]:
    name = wanted.name
    if there.partitions > wanted.partitions:
        setting = _SETTINGS.get(name, "topics.cluster_partitions")
        way = f"set {setting} to what is there, or " if setting else ""
        caution = f"partitions cannot be taken away: {way}delete the topic with its records and set up again"
        yield Difference(name, _partitions(there), _partitions(wanted), caution, possible=False)
    if there.partitions < wanted.partitions:
        yield Difference(name, _partitions(there), _partitions(wanted), _moving(name))
    if there.compacted != wanted.compacted:
        caution = "a compacted topic loses all but the last record of each key" if wanted.compacted else ""
        yield Difference(name, _policy(there), _policy(wanted), caution)
    if there.retention_ms != wanted.retention_ms:
        shorter = wanted.retention_ms != -1 and (there.retention_ms == -1 or wanted.retention_ms < there.retention_ms)
        caution = "older records are deleted at once" if shorter else ""
        yield Difference(name, _kept(there), _kept(wanted), caution)
    if there.max_record_bytes != wanted.max_record_bytes:
        yield Difference(
            name, f"records up to {there.max_record_bytes} bytes", f"up to {wanted.max_record_bytes} bytes"
        )


def _moving(name: str) -> str:
    what = "a source's lines" if name == LOGS else "what belongs to one key"
    return f"moves keys: {what} will lie in two partitions; stop the stages when they have read everything, then change"


def _told(before: Comparison, after: Comparison, *, apply: bool, dry_run: bool) -> Iterator[str]:
    for spec in before.missing:
        verb = "would be created" if dry_run else "created"
        yield f"{spec.name}: {verb}, {_partitions(spec)}, {_policy(spec) if spec.compacted else _kept(spec)}"
    for found in before.differences:
        fate = "would be changed" if dry_run else "left as it is" if found in after.differences else "changed"
        yield f"{found}: {fate}" if apply and found.possible else str(found)
    if any(found.possible for found in after.differences) and not apply:
        yield "topics that are there are changed with --apply only"
    if after.as_wanted and before.as_wanted:
        yield "all topics are as wanted"


def _partitions(spec: TopicSpec) -> str:
    return "1 partition" if spec.partitions == 1 else f"{spec.partitions} partitions"


def _policy(spec: TopicSpec) -> str:
    return "the last record of each key kept" if spec.compacted else "all records kept until they are old"


def _kept(spec: TopicSpec) -> str:
    if spec.retention_ms == -1:
        return "records kept for ever"
    hours = spec.retention_ms / _HOUR_MS
    if hours < 1:
        return f"records kept {spec.retention_ms / 1000:g} s"
    return f"records kept {hours / 24:g} days" if hours >= 48 else f"records kept {hours:g} hours"
