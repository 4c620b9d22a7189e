"""The loop of every stage: poll, handle, and append what follows in one transaction with the positions.

What goes wrong with the log ends in the same way as a crash: forget everything, join again, rebuild from the topics.
"""

import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Final, Protocol

import structlog

from relight.metrics import StageMetrics
from relight.topics import group_of
from relight.transports.port import (
    EventLog,
    Fenced,
    LogError,
    Member,
    Outgoing,
    Partition,
    Polled,
    Record,
    Refused,
    TopicMissing,
)

POLL_S: Final = 0.1
BATCH_BYTES: Final = 8 * 1024 * 1024
BATCH_RECORDS: Final = 20_000
COMMIT_S: Final = 1.0
"""Positions alone, with nothing to append, are committed no more often than this."""

_BACKOFF_S: Final = (0.1, 0.5, 1.0, 2.0, 5.0)
_LAG_S: Final = 5.0

_log = structlog.get_logger("relight")


class Stage(Protocol):
    """What a stage does. Its state belongs to partitions: it is gained with them, and forgotten when they are lost."""

    @property
    def name(self) -> str:
        """Return the stage's name, such as `match`."""
        ...

    @property
    def inputs(self) -> Sequence[str]:
        """Return the topics that it reads."""
        ...

    def gain(self, partition: Partition, position: int) -> None:
        """Rebuild the state of a partition from the topics, up to the group's position. Raises: LogError."""
        ...

    def lose(self, partition: Partition) -> None:
        """Forget the state of a partition."""
        ...

    def handle(self, records: Sequence[Record]) -> Iterable[Outgoing]:
        """Take in records, in the order of each partition, and return what follows from them."""
        ...

    def beat(self) -> Iterable[Outgoing]:
        """Return what is due because time has passed; called after every poll."""
        ...

    def close(self) -> None:
        """Let go of what it holds besides its state. Never raises."""
        ...


@dataclass
class Runner:
    """Runs a stage until `stop` is set. `group` is what its members share."""

    stage: Stage
    log: EventLog
    member: str
    metrics: StageMetrics
    stop: threading.Event = field(default_factory=threading.Event)
    _positions: dict[Partition, int] = field(default_factory=dict)
    _committed_s: float = 0.0
    _lag_s: float = 0.0
    _next: Polled | None = None
    _serving: bool = False
    _moved: bool = False

    @property
    def group(self) -> str:
        """Return the name of the stage's consumer group."""
        return group_of(self.stage.name)

    def run(self) -> None:
        """Work until told to stop. What can be waited out is waited out.

        Raises:
            Refused, TopicMissing: at the start: a person has to change something first.
        """
        failures, ever = 0, False
        while not self.stop.is_set():
            self._serving = self._moved = False
            try:
                with closing(self.log.join(self.group, self.stage.inputs, self.member)) as member:
                    self._serve(member)
            except LogError as error:
                ever = ever or self._serving
                if not ever and isinstance(error, Refused | TopicMissing):
                    raise
                failures = 0 if self._moved else failures + 1  # to have joined is no success: what follows may fail
                self._failed(error, _BACKOFF_S[min(failures, len(_BACKOFF_S) - 1)])

    def _serve(self, member: Member) -> None:
        held: set[Partition] = set()
        try:
            while not self.stop.is_set():
                polled = self._gather(member)
                self._serving = True
                self.metrics.polled()
                for lost in polled.lost & held:
                    held.discard(lost)
                    self._lose(lost)
                for gained in sorted(polled.gained):
                    self.stage.gain(gained, self._position(gained))
                    held.add(gained)
                self._step(member, polled.records)
                self._moved = self._moved or bool(polled.records)
        finally:
            for partition in sorted(held):
                self._lose(partition)
            self._positions.clear()
            self._next = None

    def _gather(self, member: Member) -> Polled:
        """Poll until there is enough for one transaction, or nothing more is there."""
        polled, self._next = self._next or member.poll(POLL_S), None
        records = list(polled.records)
        size = sum(len(r.value or b"") for r in records)
        while records and size < BATCH_BYTES and len(records) < BATCH_RECORDS:
            more = member.poll(0)
            if more.gained or more.lost:
                self._next = more
                break
            if not more.records:
                break
            records += more.records
            size += sum(len(r.value or b"") for r in more.records)
        return Polled(records, polled.gained, polled.lost)

    def _step(self, member: Member, records: Sequence[Record]) -> None:
        outgoing = [*self.stage.handle(records), *self.stage.beat()]
        ends = {(record.topic, record.partition): record.offset + 1 for record in records}
        self._positions |= {Partition(*place): end for place, end in ends.items()}
        self._count(records)
        now = time.monotonic()
        if not outgoing and (not self._positions or now - self._committed_s < COMMIT_S):
            return
        with self.metrics.transaction(), member.transaction() as transaction:
            for one in outgoing:
                transaction.append(one)
            for partition, offset in self._positions.items():
                transaction.advance(partition, offset)
        for one in outgoing:
            self.metrics.produced(one.topic)
        self._committed_s = now
        self._measure_lag(now)
        self._positions.clear()

    def _position(self, partition: Partition) -> int:
        known = self.log.positions(self.group, partition.topic).get(partition.number)
        return self.log.spans(partition.topic)[partition.number].begin if known is None else known

    def _lose(self, partition: Partition) -> None:
        self._positions.pop(partition, None)
        self.stage.lose(partition)
        self.metrics.lost(partition)

    def _count(self, records: Sequence[Record]) -> None:
        sizes: dict[str, list[int]] = {}
        for record in records:
            sizes.setdefault(record.topic, []).append(len(record.value or b""))
        for topic, own in sizes.items():
            self.metrics.consumed(topic, len(own), sum(own))

    def _measure_lag(self, now: float) -> None:
        if now - self._lag_s < _LAG_S or not self._positions:
            return
        self._lag_s = now
        for topic in {partition.topic for partition in self._positions}:
            spans = self.log.spans(topic)
            for partition, position in self._positions.items():
                if partition.topic == topic:
                    self.metrics.lag(partition, max(0, spans[partition.number].end - position))

    def _failed(self, error: LogError, wait_s: float) -> None:
        fenced = isinstance(error, Fenced)
        self.metrics.reconnected()
        if not fenced:
            self.metrics.unreachable(str(error))
        say = _log.info if fenced else _log.warning
        say("joining again", stage=self.stage.name, reason=str(error), wait_s=wait_s)
        self.stop.wait(wait_s)
