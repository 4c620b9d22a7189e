"""The contestants that are libraries, each run as a process: `python -m bench.engines ENGINE PATTERNS TEXT`.

Each reads a file and prints how many lines (Hyperscan: nominations) it found; none of them diagnoses anything.
"""

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

_CHUNK_BYTES: Final = 1024 * 1024


def python_alternation(text: Path, patterns: Path) -> int:
    """Search every line for one alternation of all patterns."""
    search = re.compile(b"|".join(patterns.read_bytes().splitlines())).search
    with text.open("rb") as file:
        return sum(search(line) is not None for line in file)


def python_each(text: Path, patterns: Path) -> int:
    """Search every line for one pattern after another, up to the first that is there."""
    searches = [re.compile(pattern).search for pattern in patterns.read_bytes().splitlines()]
    with text.open("rb") as file:
        return sum(any(search(line) for search in searches) for line in file)


def drain3(text: Path, _patterns: Path) -> int:
    """Assign every line to a template, with the library's own defaults; return how many templates there are."""
    from drain3.drain import Drain

    drain = Drain()
    with text.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            drain.add_log_message(line.rstrip("\n"))
    return len(drain.clusters)


def hyperscan(text: Path, _patterns: Path) -> int:
    """Scan whole chunks with the catalogue's compiled automaton, counting nominations and doing nothing else."""
    from relight.catalogue import automaton, catalogue

    _, database = automaton(catalogue())
    found: list[int] = []

    def nominate(expression: int, _start: int, _end: int, _flags: int, _context: object) -> None:
        found.append(expression)

    total = 0
    for chunk in _chunks(text):
        database.scan(chunk, match_event_handler=nominate)
        total += len(found)
        found.clear()
    return total


def _chunks(text: Path) -> Iterator[bytes]:
    with text.open("rb") as file:
        rest = b""
        while block := file.read(_CHUNK_BYTES):
            whole = rest + block
            end = whole.rfind(b"\n") + 1
            yield whole[:end]
            rest = whole[end:]
        yield rest


ENGINES: Final[dict[str, Callable[[Path, Path], int]]] = {
    "python-alternation": python_alternation,
    "python-each": python_each,
    "drain3": drain3,
    "hyperscan": hyperscan,
}

if __name__ == "__main__":
    print(ENGINES[sys.argv[1]](Path(sys.argv[3]), Path(sys.argv[2])))
