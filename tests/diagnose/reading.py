"""Reading: from bytes to findings and signals, as the shell does it, in one pass or in ranges."""

import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from diagnose.matching.lines import Hit
from diagnose.matching.scanner import Finding, Scanner
from diagnose.matching.signals import SourceFold
from ingest.chunks import chunks, ranges
from ingest.decode import decoder_for
from schemas.record import Chunk, Decoder, Source
from schemas.signal import Signal

MIB = 1024 * 1024
SOURCE = Source("job.log", ("job.log",))


def text(*lines: str) -> bytes:
    return "".join(line + "\n" for line in lines).encode()


def clean(line: bytes) -> str:
    return line.decode("utf-8", "replace")


def findings(scanner: Scanner, data: bytes, source: Source = SOURCE) -> list[Finding]:
    """Return what a scanner finds in bytes that are one chunk."""
    decoder = decoder_for(source, data)
    return [f for chunk in chunks(io.BytesIO(data), MIB) for f in scanner.findings(chunk, decoder)]


def hits(scanner: Scanner, *lines: str, source: Source = SOURCE) -> list[Hit]:
    """Return the faults in some lines."""
    return [f for f in findings(scanner, text(*lines), source) if isinstance(f, Hit)]


def names(scanner: Scanner, *lines: str, source: Source = SOURCE) -> list[str]:
    """Return the signatures found in some lines, in their order."""
    return [f.signature.id for f in findings(scanner, text(*lines), source)]


def folded(scanner: Scanner, cut: Iterable[Chunk], decoder: Decoder) -> tuple[SourceFold, int]:
    """Return the settled fold of chunks, and how many lines they hold."""
    fold, lines = SourceFold(), 0
    for chunk in cut:
        fold.add(scanner.findings(chunk, decoder))
        lines += chunk.lines
    fold.settle(decoder)
    return fold, lines


def signals(scanner: Scanner, data: bytes, size: int = MIB, source: Source = SOURCE) -> list[Signal]:
    """Return the signals of bytes that are read in chunks of a size."""
    fold, _ = folded(scanner, chunks(io.BytesIO(data), size), decoder_for(source, data[:65536]))
    return fold.signals(source, clean)


def signals_by_ranges(scanner: Scanner, path: Path, parts: int, source: Source = SOURCE) -> list[Signal]:
    """Return the signals of a file that is read in ranges, each folded by itself."""
    decoder = decoder_for(source, path.read_bytes()[:65536])
    whole, lines_before = SourceFold(), 0
    for begin, end in ranges(path, parts):
        with path.open("rb", buffering=0) as file:
            fold, lines = folded(scanner, chunks(file, begin=begin, end=end), decoder)
        if begin == 0:
            whole = fold
        else:
            whole.extend(fold, lines_before)
        lines_before += lines
    return whole.signals(source, clean)


def told(found: Sequence[Signal]) -> list[tuple[str, int, int, int]]:
    """Return signals in brief: signature, first and last line, count."""
    return [(s.signature, s.first.line, s.last.line, s.count) for s in found]
