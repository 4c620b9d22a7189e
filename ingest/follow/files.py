"""Follows files: looks for new ones, reads what has come, a block of each in turn, and says where that stands."""

from collections import OrderedDict, deque
from collections.abc import Iterable
from typing import Final

from ingest import archives, codecs, spool
from ingest.errors import Unreadable
from ingest.follow.finding import Finder
from ingest.follow.pieces import Followed, Piece, elapsed
from ingest.follow.positions import Place, Positions
from ingest.follow.roster import Roster, Source
from ingest.follow.showing import COST, END_MS
from ingest.follow.tail import Buffer, Tail
from ingest.sources import Problem, Skipped
from schemas.shipped import Shipped
from schemas.vocabulary import Provenance

SCAN_MS: Final = 1000
_LEAST_SCAN_MS: Final = 200
_FILES_A_MS: Final = 5
"""A scan costs 5 us a file: looked for this often, files take no more than a fortieth of a core."""

QUIET_MS: Final = 3000
HEARTBEAT_MS: Final = 5000
_ALIVE_MS: Final = 24 * 3600 * 1000
"""A file that has not changed for so long is no part of anything that goes on: its silence tells nothing."""

_TOLD_MS: Final = 10 * 60 * 1000
"""For so long after its end was reached even an old file says that this was the end."""

_WARM_MS: Final = 10_000
_SEEN_MS: Final = 60_000
_OPEN_FILES: Final = 512
"""So many files are kept open at most: a process may often open 1,024."""


class Follower:
    """Follows files (see `Feed`). A file that has changed of late is kept open and looked at in every `read`.

    All others cost nothing but the look for new files, every `scan_ms` at most. A last line without its end is read
    when the file has not changed for `quiet_ms`. A file that is no log but known comes as the lines that show it; a
    record of it that was begun is taken as it is when nothing has come for `end_ms`. Every `heartbeat_ms` each source
    at its end gives a heartbeat.
    """

    def __init__(
        self,
        followed: Followed,
        positions: Positions,
        *,
        quiet_ms: int = QUIET_MS,
        heartbeat_ms: int = HEARTBEAT_MS,
        scan_ms: int = SCAN_MS,
        end_ms: int = END_MS,
    ) -> None:
        self._followed = followed
        self._positions = positions
        self._ended_ms: dict[str, int] = {}
        self._quiet_ms, self._heartbeat_ms, self._scan_ms = quiet_ms, heartbeat_ms, scan_ms
        self._finder = Finder(followed.paths)
        self._roster = Roster(followed, positions, quiet_ms, end_ms)
        self._buffer = Buffer()
        self._warm: OrderedDict[str, None] = OrderedDict()
        self._open: OrderedDict[Tail, None] = OrderedDict()
        self._scanned_ms: int | None = None
        self._beat_ms: int | None = None
        self._seen_ms: int | None = None
        self._not_found: dict[str, str] = {}
        self._not_read: dict[str, str] = {}
        self._news: list[Problem | Skipped] = []

    def read(self, now_ms: int, budget_bytes: int) -> list[Piece]:
        """Return what has been written, about `budget_bytes` of it, and the heartbeats that are due."""
        if self._scanned_ms is None or elapsed(self._scanned_ms, now_ms, self._pause_ms):
            self._scan(now_ms)
        self._look(now_ms)
        pieces = self._rounds(now_ms, budget_bytes)
        if self._beat_ms is None:
            self._beat_ms = now_ms
        elif elapsed(self._beat_ms, now_ms, self._heartbeat_ms):
            self._beat_ms = now_ms
            pieces += self._heartbeats(now_ms)
        return pieces

    def at_end(self) -> bool:
        """Tell whether all that was there at the last `read` has been read: also a last line without its end."""
        return all(source.at_end for source in self._roster.sources.values())

    def confirm(self, pieces: Iterable[Piece]) -> None:
        """Say that pieces have been kept by others, in any order: a restart goes on behind them."""
        self._positions.confirm((piece.header.offset_bytes, piece.position) for piece in pieces)

    def news(self) -> list[Problem | Skipped]:
        """Return what could not be read, or is not, since this was last asked. Each is said once while it lasts."""
        news, self._news = self._news, []
        return news

    def close(self) -> None:
        """Close all files."""
        for tail in self._roster.tails:
            tail.close()
        self._open.clear()

    @property
    def _pause_ms(self) -> int:
        """Return how long to wait between scans: the fewer files, the sooner a quiet one is heard that wakes."""
        return min(self._scan_ms, _LEAST_SCAN_MS + len(self._roster.tails) // _FILES_A_MS)

    def _scan(self, now_ms: int) -> None:
        self._scanned_ms = now_ms
        found = self._finder.find()
        self._roster.update(found, now_ms)
        self._warm.update(self._roster.woken)
        self._roster.woken.clear()
        before, self._not_found = self._not_found, self._finder.problems | self._roster.problems
        for path, what in self._not_found.items():
            if before.get(path) != what:
                self._say(path, what)
        if self._seen_ms is None or elapsed(self._seen_ms, now_ms, _SEEN_MS):
            if self._seen_ms is not None:
                there = [tail for tail in self._roster.tails if tail.gone_ms is None]
                self._positions.seen([tail.place.key for tail in there if tail.place is not None], now_ms)
            self._seen_ms = now_ms

    def _look(self, now_ms: int) -> None:
        """Look at what is open; let go of what is gone, and of what has not changed for long."""
        for stream in [*self._warm]:
            source = self._roster.sources.get(stream)
            for tail in [*source.tails] if source is not None else ():
                if tail.descriptor is not None:
                    tail.look(now_ms)
                if tail.gone_ms is not None and elapsed(tail.gone_ms, now_ms, self._quiet_ms):
                    self._leave(tail, now_ms)
            if source is None or not source.tails:
                del self._warm[stream]
            elif source.at_end and all(elapsed(tail.changed_ms, now_ms, _WARM_MS) for tail in source.tails):
                self._cool(source)

    def _cool(self, source: Source) -> None:
        if all(tail.gone_ms is None and not tail.waits for tail in source.tails):
            del self._warm[source.stream]
            for tail in source.tails:
                self._close(tail)

    def _leave(self, tail: Tail, now_ms: int) -> None:
        """Let go of a file that is gone: if it is open not before it has been read to its end, and is quiet."""
        if tail.descriptor is None or (tail.at_end and not tail.waits and tail.quiet(now_ms)):
            if not tail.at_end:
                left = tail.size - tail.offset
                self._say(tail.path, f"Gone before it was read to its end: {left} bytes are lost")
            self._not_read.pop(tail.path, None)
            self._close(tail)
            self._roster.drop(tail)

    def _rounds(self, now_ms: int, budget_bytes: int) -> list[Piece]:
        """Read a block of each source in turn; who was read last comes last next time."""
        pieces: list[Piece] = []
        queue = deque(self._warm)
        while queue and budget_bytes > 0:
            stream = queue.popleft()
            source = self._roster.sources.get(stream)
            tail = source.next(now_ms) if source is not None else None
            if source is None or tail is None:
                continue
            before = tail.offset
            read = self._turn(source, tail, budget_bytes, now_ms)
            shown = tail.offset - before if tail.place is not None and tail.place.shown is not None else 0
            if read or shown > 0:
                pieces += read
                budget_bytes -= max(sum(len(piece.value) for piece in read), shown * COST)
                queue.append(stream)
                self._warm.move_to_end(stream)
        return pieces

    def _turn(self, source: Source, tail: Tail, limit_bytes: int, now_ms: int) -> list[Piece]:
        try:
            self._opened(tail, now_ms)
            if tail.truncated():
                self._scanned_ms = None  # look for a copy before reading on
                return []
            if tail.place is None and not self._began(tail, now_ms):
                return []
            read = tail.read(self._buffer, limit_bytes, now_ms)
        except FileNotFoundError:
            return []  # renamed or deleted: the next look for files tells
        except OSError as error:
            what = error.strerror or str(error)
            if self._not_read.get(tail.path) != what:
                self._say(tail.path, what)
                self._not_read[tail.path] = what
            return []
        self._damaged(tail)
        at_end = source.at_end
        return [
            Piece(self._header(source, before, now_ms, at_end=at_end and behind is tail.place), value, behind)
            for before, value, behind in read
        ]

    def _damaged(self, tail: Tail) -> None:
        """Say what could not be shown of a file that was read."""
        if not tail.damage:
            self._not_read.pop(tail.path, None)
        elif self._not_read.get(tail.path) != tail.damage:
            self._not_read[tail.path] = tail.damage
            self._news.append(Problem(tail.path, tail.damage, _ADVICE_DAMAGED, damaged=True))

    def _opened(self, tail: Tail, now_ms: int) -> None:
        if tail.descriptor is None:
            tail.open()
            tail.look(now_ms)
        self._open[tail] = None
        self._open.move_to_end(tail)
        if len(self._open) > _OPEN_FILES:
            self._open.popitem(last=False)[0].close()

    def _close(self, tail: Tail) -> None:
        self._open.pop(tail, None)
        tail.close()

    def _began(self, tail: Tail, now_ms: int) -> bool:
        """Begin a generation if the file's first line is there and it is a log."""
        known = tail.head(now_ms)
        if known is None:
            return False
        if tail.rendering is None and (reason := _no_log(tail)):
            self._news.append(Skipped(tail.path, reason))
            self._close(tail)
            self._roster.pass_over(tail)
            return False
        self._roster.begin(tail, *known, now_ms)
        return True

    def _heartbeats(self, now_ms: int) -> list[Piece]:
        found: list[Piece] = []
        for stream, source in self._roster.sources.items():
            if not source.at_end or (place := source.place) is None:
                self._ended_ms.pop(stream, None)
                continue
            fresh = not elapsed(self._ended_ms.setdefault(stream, now_ms), now_ms, _TOLD_MS)
            if fresh or any(not elapsed(tail.changed_ms, now_ms, _ALIVE_MS) for tail in source.tails):
                found.append(Piece(self._header(source, place, now_ms, at_end=True), b"", place))
        return found

    def _header(self, source: Source, at: Place, now_ms: int, *, at_end: bool) -> Shipped:
        origin = source.origin
        return Shipped(
            cluster=self._followed.cluster,
            host=origin.host or self._followed.host,
            stream=at.stream,
            provenance=origin.provenance,
            attested=self._followed.provenance is not Provenance.UNKNOWN,
            generation=at.generation,
            part=at.part,
            offset_bytes=at.offset_bytes,
            line=at.line,
            observed_ms=now_ms,
            at_end=at_end,
            job=origin.job,
            attempt=origin.attempt,
            rank=origin.rank,
        )

    def _say(self, path: str, what: str) -> None:
        advice = next((text for key, text in _ADVICE if key in what.lower()), _ADVICE_ELSE)
        self._news.append(Problem(path, what, advice))


_ADVICE: Final = (
    ("no such file", "It is followed as soon as it is there; check the path if it should be."),
    ("permission denied", "Run relight as a user who may read it; it is tried again."),
    ("device", "Name a file, a directory or a pattern."),
    ("lost", "Keep rotated logs for longer than the shipper needs to read them."),
)
_ADVICE_DAMAGED: Final = "What could be read of it is shipped; if it is replaced, it is read again."
_ADVICE_ELSE: Final = "It is tried again; see whether it can be read, for example with cat."


def _no_log(tail: Tail) -> str | None:
    """Return why a file is not followed, `None` for a log: whatever it contains if it was named, unless compressed."""
    try:
        with spool.PlainFile(tail.path, tail.path) as file:
            head = file.peek(spool.HEAD_BYTES)
            if codecs.codec_of(head) is not None or archives.is_tar(head):
                return "compressed or an archive: relight scan reads it"
            return None if tail.named else spool.binary(file)
    except Unreadable as error:
        raise OSError(0, error.reason) from error
