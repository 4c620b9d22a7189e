"""Scanning: every input through decoder, matcher and fold, in this process or in several, with the same result."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Final

from diagnose.matching.scanner import Scanner
from diagnose.matching.signals import SourceFold
from diagnose.matching.times import edge_time
from diagnose.rules import Catalogue
from ingest import archives
from ingest.chunks import chunks, ranges
from ingest.decode import HEAD_BYTES, decoder_for
from ingest.errors import Unreadable
from ingest.redaction import shown
from ingest.sources import Input
from relight.catalogue import automaton, catalogue
from schemas.record import Chunk, Decoder, Source
from schemas.signal import Signal, SourceRead

RANGE_BYTES: Final = 64 * 1024 * 1024
"""Where several processes work, a plain file is read in ranges of at least this size."""

BATCH_BYTES: Final = 4 * 1024 * 1024
"""Small files are handed to a process together, up to this size: each time costs it and this one some work."""

BATCH_PIECES: Final = 32
_TAIL_BYTES: Final = 4096
Advance = Callable[[int], None]
"""Told how many bytes have been read since it was called last."""


@dataclass(frozen=True, slots=True)
class Piece:
    """What is read in one pass: an input, or a range of its bytes, or members of one archive."""

    inputs: tuple[Input, ...]
    begin: int = 0
    end: int | None = None

    @property
    def size_bytes(self) -> int:
        """Return how much is to be read, as far as that is known: what is packed is larger."""
        return sum(one.source.size_bytes or 0 for one in self.inputs) if self.end is None else self.end - self.begin


@dataclass(slots=True)
class Part:
    """What reading a piece has found in one source."""

    source: Source
    fold: SourceFold
    lines: int = 0
    bytes_read: int = 0
    first_s: float | None = None
    last_s: float | None = None
    problem: str | None = None

    def extend(self, later: "Part") -> None:
        """Add the part that follows in the same source."""
        self.fold.extend(later.fold, self.lines)
        self.lines += later.lines
        self.bytes_read += later.bytes_read
        self.first_s = self.first_s if self.first_s is not None else later.first_s
        self.last_s = later.last_s if later.last_s is not None else self.last_s
        self.problem = later.problem or self.problem


@dataclass(frozen=True, slots=True)
class Told:
    """What a source says, when all of it has been read."""

    read: SourceRead
    signals: list[Signal]


def scanned(
    inputs: Sequence[Input], rules: Sequence[Path], jobs: int, advance: Advance
) -> Iterator[tuple[SourceRead, list[Signal]]]:
    """Yield what each source says, in the order of the inputs."""
    for told in _together(_worked(_pieces(inputs, jobs), tuple(rules), jobs, advance)):
        yield told.read, told.signals


def _pieces(inputs: Sequence[Input], jobs: int) -> list[Piece]:
    members: dict[str, list[Input]] = defaultdict(list)
    for found in inputs:
        if found.archive is not None:
            members[found.archive].append(found)
    pieces: list[Piece] = []
    for found in inputs:
        if found.archive is not None:
            if together := members.pop(found.archive, None):
                pieces.append(Piece(tuple(together)))
        elif jobs > 1 and (path := found.seekable_path) is not None:
            pieces += [Piece((found,), begin, end) for begin, end in _ranges_of(path, jobs)]
        else:
            pieces.append(Piece((found,)))
    return pieces


def _ranges_of(path: Path, jobs: int) -> list[tuple[int, int | None]]:
    """Return the ranges in which several processes read a file: all of it where it is small."""
    try:
        parts = min(path.stat().st_size // RANGE_BYTES, 4 * jobs)
        return [*ranges(path, parts)] if parts > 1 else [(0, None)]
    except OSError:
        return [(0, None)]  # the process that opens it says what is wrong


def _worked(pieces: Sequence[Piece], rules: tuple[Path, ...], jobs: int, advance: Advance) -> Iterator[Part | Told]:
    if jobs <= 1 or len(pieces) <= 1:
        for piece in pieces:
            yield from _work(piece, rules, advance)
        return
    batches = [*_batches(pieces)]
    with ProcessPoolExecutor(min(jobs, len(batches)), mp_context=get_context("spawn")) as pool:
        for found in pool.map(_work_all, batches, [rules] * len(batches)):
            advance(sum(one.bytes_read if isinstance(one, Part) else one.read.bytes_read for one in found))
            yield from found


def _batches(pieces: Iterable[Piece]) -> Iterator[list[Piece]]:
    """Yield the pieces, small ones together."""
    batch, size = list[Piece](), 0
    for piece in pieces:
        if batch and (size + piece.size_bytes > BATCH_BYTES or len(batch) == BATCH_PIECES):
            yield batch
            batch, size = [], 0
        batch.append(piece)
        size += piece.size_bytes
    yield batch


def _together(worked: Iterable[Part | Told]) -> Iterator[Told]:
    """Join the parts of a source that was read in ranges."""
    waiting: Part | None = None
    for one in worked:
        if waiting is not None and isinstance(one, Part) and waiting.source == one.source:
            waiting.extend(one)
            continue
        if waiting is not None:
            yield _told(waiting)
        waiting = one if isinstance(one, Part) else None
        if isinstance(one, Told):
            yield one
    if waiting is not None:
        yield _told(waiting)


def _told(part: Part) -> Told:
    signals = part.fold.signals(part.source, shown)
    return Told(_read(part), signals)


def _work_all(pieces: Sequence[Piece], rules: tuple[Path, ...]) -> list[Part | Told]:
    return [one for piece in pieces for one in _work(piece, rules)]


def _work(piece: Piece, rules: tuple[Path, ...], advance: Advance = lambda count: None) -> list[Part | Told]:
    """Read a piece. What is a range of a source is told when the others are there."""
    scanner = _scanner(rules)
    if piece.inputs[0].archive is not None:
        return [_told(part) for part in _archive(scanner, piece, advance)]
    part = _part(scanner, piece, advance)
    return [part if piece.end is not None else _told(part)]


def _part(scanner: Scanner, piece: Piece, advance: Advance) -> Part:
    found = piece.inputs[0]
    part = Part(found.source, SourceFold())
    try:
        with found.open() as stream:
            path = found.seekable_path
            head = _head(path) if path is not None else None
            _feed(scanner, part, chunks(stream, begin=piece.begin, end=piece.end), head, advance)
    except (Unreadable, OSError) as error:
        part.problem = _reason(error)
    return part


def _archive(scanner: Scanner, piece: Piece, advance: Advance) -> list[Part]:
    parts = {found.member: Part(found.source, SourceFold()) for found in piece.inputs}
    assert piece.inputs[0].archive is not None
    try:
        for name, stream in archives.members(piece.inputs[0].archive):
            if name in parts:
                try:
                    _feed(scanner, parts[name], chunks(stream), None, advance)
                except (Unreadable, OSError) as error:
                    parts[name].problem = _reason(error)
    except (Unreadable, OSError) as error:
        last = list(parts.values())[-1]
        last.problem = _reason(error)
    return list(parts.values())


def _reason(error: Unreadable | OSError) -> str:
    """Return in one line why reading broke off."""
    return error.reason if isinstance(error, Unreadable) else (error.strerror or str(error))


@cache
def known(rules: tuple[Path, ...]) -> Catalogue:
    """Return the catalogue in force, read once in a process.

    Raises:
        RuleError: a rule file has a mistake.
        FileNotFoundError: one of the paths holds no rule files.
    """
    return catalogue(rules)


@cache
def _scanner(rules: tuple[Path, ...]) -> Scanner:
    return Scanner(*automaton(known(rules)))


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(HEAD_BYTES)


def _feed(scanner: Scanner, part: Part, cut: Iterable[Chunk], head: bytes | None, advance: Advance) -> None:
    """Scan chunks into a part. `part` is right up to the last whole chunk if reading breaks off."""
    decoder: Decoder | None = None
    chunk: Chunk | None = None
    try:
        for chunk in cut:
            if decoder is None:
                own = chunk.data[chunk.start : min(chunk.end, chunk.start + HEAD_BYTES)]
                decoder = decoder_for(part.source, own if head is None else head)
                part.first_s = edge_time(own, decoder, from_end=False)
            part.fold.add(scanner.findings(chunk, decoder))
            part.lines += chunk.lines
            part.bytes_read += chunk.end - chunk.start
            advance(chunk.end - chunk.start)
    finally:
        if chunk is not None and decoder is not None:
            part.fold.settle(decoder)
            tail = chunk.data[max(chunk.start, chunk.end - _TAIL_BYTES) : chunk.end]
            part.last_s = edge_time(tail, decoder, from_end=True) or part.last_s


def _read(part: Part) -> SourceRead:
    source, times = part.source, part.fold.times_s()
    begins = [t for t in (part.first_s, *times) if t is not None]
    ends = [t for t in (part.last_s, *times) if t is not None]
    return SourceRead(
        source=source.name,
        path=source.path,
        stream=source.stream or source.name,
        part=source.part,
        host=source.origin.host,
        rank=source.origin.rank,
        gpu=source.origin.gpu,
        job=source.origin.job,
        attempt=source.origin.attempt,
        placed=source.origin.host is not None or source.origin.rank is not None,
        lines=part.lines,
        bytes_read=max(part.bytes_read, source.size_bytes or 0) if part.problem is None else part.bytes_read,
        first_s=min(begins, default=None),
        last_s=max(ends, default=None),
        levels=part.fold.measuring.levels(),
        problem=part.problem,
    )
