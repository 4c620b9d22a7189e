"""Peace: reads what the topics hold, and tells when all that was written has come through the pipeline."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.chaos.fleet import Fleet
from bench.chaos.oracle import Oracle
from bench.chaos.verdict import Said, missing
from ingest.follow.positions import Positions
from relight.topics import DEADLETTERS, INCIDENTS, READS, SIGNALS, group_of
from relight.transports.port import EventLog, LogError, Partition, Span
from relight.transports.reading import records
from schemas.events import decoded

_AGAIN_S: Final = 0.2
_WATCH_S: Final = 0.75
_GROUPS: Final = {group_of(stage): READS[stage][0] for stage in ("match", "correlate")}


Step = Callable[[], str | None]
"""Returns what is not done yet, `None` when all of it is."""


@dataclass(frozen=True)
class Peace:
    """What has to be known to tell. `shippers` gives the place of each cluster's shipper."""

    log: EventLog
    fleet: Fleet
    oracle: Oracle
    shippers: Mapping[str, str]

    def wait(self, patience_s: float) -> str | None:
        """Wait until all that was written has come through; return what keeps it from that, if something does."""
        deadline = time.monotonic() + patience_s
        for step in (self._shipped, self._through("relight.match"), self._through("relight.correlate"), self._told):
            while (left := self._left(step)) is not None:
                if time.monotonic() > deadline:
                    return left
                time.sleep(_AGAIN_S)
        return None

    def _left(self, step: Step) -> str | None:
        self.fleet.watch()
        try:
            return step()
        except LogError as error:
            return str(error)

    def _shipped(self) -> str | None:
        for cluster, name in self.shippers.items():
            if unread := self._unread(cluster, name):
                return f"{name} has not read {unread}"
        return None

    def _through(self, group: str) -> Step:
        """Return the step that waits until a group has read what its topic holds when this is asked first."""
        ends: dict[int, Span] = {}

        def step() -> str | None:
            ends.update(ends or self.log.spans(_GROUPS[group]))
            behind = next(_behind(self.log, group, ends), None)
            return None if behind is None else f"{group} has not read {behind} to its end"

        return step

    def _told(self) -> str | None:
        """Look for numbers that are not told of yet, and whether anything is being told."""
        before = self.log.spans(INCIDENTS)
        if waiting := missing(self.oracle.issued, said(self.log)):
            return f"{len(waiting)} numbers are in no incident, {waiting[0]} for one"
        time.sleep(_WATCH_S)
        return None if self.log.spans(INCIDENTS) == before else "incidents are still told of"

    def _unread(self, cluster: str, name: str) -> Path | None:
        positions = Positions(self.fleet.state(name) / "relight" / "ship.json")
        for path in self.oracle.files(cluster):
            status = path.stat()
            if status.st_size and not any(p.offset_bytes == status.st_size for p in positions.places(status.st_ino)):
                return path
        return None


def at_rest(log: EventLog) -> bool:
    """Tell whether the stages have read all that there is, and nothing comes of it for a moment."""
    before = log.spans(SIGNALS), log.spans(INCIDENTS)
    if any(True for group, topic in _GROUPS.items() for _ in _behind(log, group, log.spans(topic))):
        return False
    time.sleep(2 * _WATCH_S)
    return before == (log.spans(SIGNALS), log.spans(INCIDENTS))


def said(log: EventLog) -> Said:
    """Return what the topics say of incidents, and the dead letters."""
    events = [decoded(record.value) for record in records(log, INCIDENTS)]
    return Said(
        events, [(record.value or b"").decode("utf-8", "replace")[:500] for record in records(log, DEADLETTERS)]
    )


def keep(log: EventLog, folder: Path) -> None:
    """Write all topics to files, a JSON object for each record, so that they outlive their log."""
    folder.mkdir(parents=True, exist_ok=True)
    for topic in log.topics():
        with (folder / f"{topic}.jsonl").open("w", encoding="utf-8") as file:
            for record in records(log, topic):
                told = {
                    "place": f"{record.place}@{record.offset}",
                    "time_ms": record.time_ms,
                    "key": _text(record.key),
                    "headers": {name: _text(value) for name, value in record.headers},
                    "value": _text(record.value),
                }
                file.write(json.dumps(told) + "\n")


def _behind(log: EventLog, group: str, spans: Mapping[int, Span]) -> Iterator[Partition]:
    """Yield the partitions of a group that hold records, before the ends of some spans, which it has not read."""
    topic = _GROUPS[group]
    positions = log.positions(group, topic)
    for number, span in sorted(spans.items()):
        at, place = positions.get(number, span.begin), Partition(topic, number)
        if at < span.end and any(record.offset < span.end for record in log.read(place, at, 1)):
            yield place


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "backslashreplace")
