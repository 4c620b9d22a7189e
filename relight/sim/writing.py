"""From a tape to files: lines in the order in which they arrive, some of them lost, and where telling ones stand."""

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

from relight.sim.layouts import Layout
from relight.sim.tape import Entry, Kind, Mark, Tape

CONTROLLER: Final = "ctl01"
"""The host that keeps what the controllers say, and the files that many hosts write to."""
_LONGEST_DELAY_S: Final = {Kind.APP: 0.15, Kind.LAUNCHER: 0.05, Kind.SYSTEM: 0.5}
"""How long a line may be under way before it is in its file: pipes and buffers."""


@dataclass(frozen=True, slots=True)
class Found:
    """A telling line in its file. Times are Unix, s: the true one, and what the clock showed."""

    mark: Mark
    file: str
    line: int
    text: str
    said_s: float
    stamped_s: float


@dataclass
class Text:
    """The lines of a file with the times at which they arrive (Unix, s), and the telling ones among them.

    `host` is where they are from; of several hosts it is where the site's controller runs.
    """

    path: str
    host: str
    lines: list[tuple[float, str]] = field(default_factory=list)
    found: list[Found] = field(default_factory=list)


def texts(tape: Tape, layout: Layout, seed: int, loss: float) -> Iterator[Text]:
    """Yield the files of a tape in the order of their names."""
    drawn: dict[str, list[tuple[float, int, Entry, list[str]]]] = defaultdict(list)
    delays: dict[tuple[str, int], float] = {}
    for number, entry in enumerate(tape):
        if (placed := layout.draw(entry)) is not None:
            path, lines = placed
            arrives_s = entry.time_s + _delay(delays, seed, path, entry)
            drawn[path].append((arrives_s, number, entry, lines))
    for path in sorted(drawn):
        yield _text(path, drawn[path], Random(f"{seed}/loss/{path}"), loss)


def _delay(delays: dict[tuple[str, int], float], seed: int, path: str, entry: Entry) -> float:
    """Return how long a stream's lines are under way: always the same, so that they keep their order."""
    writer = entry.rank.number if entry.rank else -1
    if (path, writer) not in delays:
        longest = _LONGEST_DELAY_S.get(entry.kind, 0.0)
        delays[path, writer] = Random(f"{seed}/delay/{path}/{writer}").uniform(0, longest)
    return delays[path, writer]


def _text(path: str, drawn: Sequence[tuple[float, int, Entry, list[str]]], rng: Random, loss: float) -> Text:
    hosts = list(dict.fromkeys(entry.host.name if entry.host else CONTROLLER for _, _, entry, _ in drawn))
    text = Text(path, hosts[0] if len(hosts) == 1 else CONTROLLER)
    for arrives_s, _, entry, lines in sorted(drawn, key=lambda one: one[:2]):
        for index, line in enumerate(lines):
            if loss and rng.random() < loss:
                continue
            text.lines.append((arrives_s, line))
            if entry.mark is not None and entry.mark.line == index:
                skew = entry.host.skew_s if entry.host else 0.0
                said = entry.time_s
                text.found.append(Found(entry.mark, path, len(text.lines), line, said, said + skew))
    return text


def written(text: Text, folder: Path) -> int:
    """Write a file below a folder, as old as its last line. Returns its size in bytes."""
    path = folder / text.path
    path.parent.mkdir(parents=True, exist_ok=True)
    content = "".join(f"{line}\n" for _, line in text.lines).encode()
    path.write_bytes(content)
    if text.lines:
        last_s = text.lines[-1][0]
        os.utime(path, (last_s, last_s))
    return len(content)
