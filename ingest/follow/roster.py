"""Who is who among the files that were found: known ones by another name, new ones, parts of a stream, copies.

A log is rotated by renaming it or, `copytruncate`, by copying and truncating it. A renamed file is known by device and
inode. The copy takes over what was not read of its original; it is known by its name and by what it contains.
"""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from ingest import rotation
from ingest.follow import generations
from ingest.follow.finding import Found
from ingest.follow.pieces import Followed
from ingest.follow.positions import Place, Positions, Shown
from ingest.follow.tail import Tail
from ingest.names import origin_of
from ingest.renderings.port import Growing
from schemas.record import Origin


@dataclass(slots=True, eq=False)
class Source:
    """A stream: the files that had its path one after another, the newest last."""

    stream: str
    origin: Origin
    tails: list[Tail] = field(default_factory=list)

    def next(self, now_ms: int) -> Tail | None:
        """Return the file to read from: an older part comes before a newer one."""
        for tail in self.tails:
            if tail.ready(now_ms):
                return tail
            if not tail.settled(now_ms):
                return None
        return None

    @property
    def at_end(self) -> bool:
        """Tell whether there is nothing more to read."""
        return all(tail.at_end and not (tail.suspect and tail.place is not None) for tail in self.tails)

    @property
    def place(self) -> Place | None:
        """Return the newest place; `None` where nothing was read, or the newest file is gone."""
        places = [tail.place for tail in self.tails if tail.place is not None and tail.gone_ms is None]
        return places[-1] if places else None

    def enrol(self, tail: Tail, now_ms: int, before: Tail | None = None) -> None:
        """Take in a file at its place among the parts: a new one comes last, or before another."""
        later = (other for other in self.tails if other is before or _part(other) > _part(tail))
        first = next(later, None)
        self.tails.insert(self.tails.index(first) if first is not None else len(self.tails), tail)
        for older in self.tails[:-1]:
            older.retired_ms = now_ms if older.retired_ms is None else older.retired_ms


def _part(tail: Tail) -> float:
    return math.inf if tail.place is None else tail.place.part


class Roster:
    """The files that are followed. `woken` are the streams in which something has changed."""

    def __init__(self, followed: Followed, positions: Positions, quiet_ms: int, end_ms: int) -> None:
        self.sources: dict[str, Source] = {}
        self.woken: dict[str, None] = {}
        self.problems: dict[str, str] = {}
        self._tails: dict[tuple[int, int], Tail] = {}
        self._passed: dict[tuple[int, int], Found] = {}
        self._followed = followed
        self._positions = positions
        self._quiet_ms, self._end_ms = quiet_ms, end_ms
        self._used: set[str] = set()
        self._parts: dict[str, int] = {}
        self._paths: list[str] = []
        self._streams: dict[str, tuple[str, int]] = {}
        for position in positions:
            if isinstance(position, Place):
                self._began(position)

    @property
    def tails(self) -> list[Tail]:
        """Return all files that are followed."""
        return list(self._tails.values())

    def update(self, found: Sequence[Found], now_ms: int) -> None:
        """Take note of which files are there. `problems` says, for each path, why a file cannot be followed."""
        self.problems = {}
        keys = {(one.device, one.inode): one for one in found}
        fresh = [one for key, one in keys.items() if not self._known(key, one, now_ms)]
        for key, tail in self._tails.items():
            if key not in keys and tail.gone_ms is None:
                tail.gone_ms = now_ms
                self.woken[tail.stream] = None
        self._passed = {key: one for key, one in self._passed.items() if key in keys}
        if fresh:
            self._admit(found, fresh, now_ms)

    def begin(self, tail: Tail, start: int, head: bytes, now_ms: int) -> None:
        """Begin a generation in a file whose first line is known: the next part of its stream."""
        told, shown = generations.digest(head), None
        if tail.rendering is not None:
            shown = Shown(once=not isinstance(tail.rendering, Growing))
        place = Place(
            stream=tail.stream,
            generation=generations.generation_id(tail.stream, tail.inode, told + "/shown" * bool(shown), self._used),
            part=self._parts.get(tail.stream, 0),
            start_bytes=start,
            offset_bytes=start,
            line=1,
            seen_ms=now_ms,
            device=tail.device,
            inode=tail.inode,
            head_bytes=len(head),
            head=told,
            last=generations.digest(b""),
            shown=shown,
        )
        self._began(place)
        tail.place, tail.ended = place, None

    def pass_over(self, tail: Tail) -> None:
        """Follow a file no more, unless another comes in its place."""
        key = (tail.device, tail.inode)
        self._passed[key] = Found(tail.path, "", *key, tail.size, tail.changed_ns)
        self.drop(tail)

    def drop(self, tail: Tail) -> None:
        """Follow a file no more."""
        tail.close()
        del self._tails[tail.device, tail.inode]
        source = self.sources[tail.stream]
        source.tails.remove(tail)
        if not source.tails:
            del self.sources[tail.stream]
            self.woken.pop(tail.stream, None)

    def _began(self, place: Place) -> None:
        self._used.add(place.generation)
        self._parts[place.stream] = max(self._parts.get(place.stream, 0), place.part + 1)

    def _known(self, key: tuple[int, int], found: Found, now_ms: int) -> bool:
        tail = self._tails.get(key)
        if tail is None:
            passed = self._passed.get(key)
            return passed is not None and passed.path == found.path and passed.size <= found.size
        if tail.path != found.path and not self._renamed(tail, found):
            self.drop(tail)
            return False
        tail.gone_ms = None
        if tail.observe(found.size, found.changed_ns, now_ms):
            self.woken[tail.stream] = None
        return True

    def _renamed(self, tail: Tail, found: Found) -> bool:
        """Tell whether a file has a new path, or its inode number went to another file while it was not open."""
        if tail.descriptor is None and tail.place is not None:
            try:
                descriptor = os.open(found.path, os.O_RDONLY | os.O_NONBLOCK)
            except OSError:
                return True  # whoever reads it will see
            try:
                if not generations.holds(descriptor, tail.place):
                    return False
            finally:
                os.close(descriptor)
        tail.path = found.path
        return True

    def _admit(self, found: Sequence[Found], fresh: Sequence[Found], now_ms: int) -> None:
        """Enrol the files that are not followed yet, the older parts of a stream first."""
        streams = self._grouped([one.path for one in found])
        arrived = []
        for one in sorted(fresh, key=lambda one: streams[one.path]):
            tail = Tail.of(one, streams[one.path][0], now_ms, self._quiet_ms, self._end_ms)
            try:
                tail.open()
                self._recall(tail)
            except FileNotFoundError:
                tail.close()  # renamed or deleted since it was found: the next look tells
            except OSError as error:
                tail.close()
                self.problems[one.path] = error.strerror or str(error)
            else:
                arrived.append((tail, one))
        recalled = [tail for tail, _ in arrived if tail.place is not None or tail.ended is not None]
        originals = {tail.stream: self._original(tail.stream, recalled) for tail, _ in arrived}
        for tail, one in arrived:
            self._arrive(tail, one, None if tail in recalled else originals[tail.stream], now_ms)
            tail.close()

    def _grouped(self, paths: list[str]) -> dict[str, tuple[str, int]]:
        if paths != self._paths:
            self._paths, self._streams = paths, dict(zip(paths, rotation.streams(paths), strict=True))
        return self._streams

    def _recall(self, tail: Tail) -> None:
        """Find out what is known of a file from before, by its inode number and what it contains."""
        places = self._positions.places(tail.inode)
        likely = [one for one in places if one.stream == tail.stream or one.device == tail.device]
        for place in likely:
            if generations.holds(tail.open(), place):
                tail.place, tail.stream = place, place.stream
                return
        tail.ended = next((place for place in likely if place.stream == tail.stream), None)

    def _arrive(self, tail: Tail, found: Found, original: Tail | None, now_ms: int) -> None:
        """Enrol a file. One that nothing is known of may be a copy of the log that it has its name from."""
        before = None
        if original is not None and tail.path != tail.stream:
            try:
                if not self._beside(tail, original, now_ms):
                    return
            except OSError:
                return  # the log has just been renamed or deleted: the next look tells
            older = self._streams[tail.path] < self._streams.get(original.path, self._streams[tail.path])
            before = original if older else None
        source = self.sources.get(tail.stream) or self._source(tail.stream, found)
        source.enrol(tail, now_ms, before)
        self._tails[tail.device, tail.inode] = tail
        self.woken[tail.stream] = None

    def _original(self, stream: str, recalled: Sequence[Tail]) -> Tail | None:
        """Return the file of which an unknown part may be a copy: the one at the stream's path, else the newest."""
        live = self.sources[stream].tails if stream in self.sources else []
        known = [*live, *(tail for tail in recalled if tail.stream == stream)]
        return next((tail for tail in known if tail.path == stream), known[-1] if known else None)

    def _beside(self, tail: Tail, original: Tail, now_ms: int) -> bool:
        """Find out what an unknown file is that is named as an older part of a log; return whether to follow it.

        Where the log was just truncated: its copy, which goes on with its generation, or a part that was never seen.
        Where the log was renamed: such a part. Where it goes on: perhaps a copy in the making, of which nothing is
        needed yet, else a log of its own.
        """
        original.truncated()
        if original.place is None:
            if original.ended is not None and generations.is_copy(tail.open(), tail.size, original.ended, None):
                self._take_over(tail, original.ended)
                original.ended = None
        elif original.path == tail.stream:
            unfinished = tail.size < original.place.head_bytes and not tail.quiet(now_ms)
            if unfinished or generations.is_copy(tail.open(), tail.size, original.place, original.open()):
                return False
            tail.stream = tail.path
        return True

    def _take_over(self, tail: Tail, ended: Place) -> None:
        tail.place = generations.taken_over(tail.open(), tail.size, ended, tail.device, tail.inode)
        self._positions.move(tail.place)

    def _source(self, stream: str, found: Found) -> Source:
        told = origin_of(found.parts)
        given = self._followed
        host, job, attempt, rank = given.host, given.job, given.attempt, given.rank
        mine = Origin(host=told.host or host, job=job, attempt=attempt, rank=rank, provenance=given.provenance)
        source = self.sources[stream] = Source(stream, mine.over(told))
        return source
