"""A simulation as records of `relight.logs`: the lines of all files in the order of their times, cut as shippers do.

Clock and waiting are the caller's. What is sent are the same bytes that `relight sim write` puts into files.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from heapq import merge
from itertools import islice
from typing import Final

from relight.sim.writing import Text
from relight.topics import LOGS
from relight.transports.port import EventLog, Outgoing
from schemas.shipped import Shipped

CHUNK_BYTES: Final = 64 * 1024
FLUSH_S: Final = 0.2
HEARTBEAT_S: Final = 5.0
_ROOT: Final = "/var/log/sim"


@dataclass(frozen=True, slots=True)
class _Reached:
    """How far a file has been sent."""

    path: str
    host: str
    offset_bytes: int = 0
    line: int = 1
    sent_ms: int = 0


class Sending:
    """Cuts lines into chunks with the headers of a shipper, and knows how far each file has been sent."""

    def __init__(self, texts: Iterable[Text], cluster: str, generation: str) -> None:
        """Take the files of a simulation."""
        self._texts = list(texts)
        self._cluster, self._generation = cluster, generation
        self._reached = {text.path: _Reached(text.path, text.host) for text in self._texts}

    @property
    def total(self) -> int:
        """Return the number of lines."""
        return sum(len(text.lines) for text in self._texts)

    def lines(self) -> Iterator[tuple[str, str]]:
        """Yield the file and the text of all lines, in the order of their times."""
        for _, path, line in merge(*map(_timed, self._texts), key=lambda one: one[0]):
            yield path, line

    def chunks(self, lines: Iterable[tuple[str, str]], now_ms: int) -> Iterator[Outgoing]:
        """Yield the records of some lines, file by file."""
        waiting: dict[str, list[bytes]] = {}
        for path, text in lines:
            waiting.setdefault(path, []).append(text.encode() + b"\n")
        for path, own in waiting.items():
            begin = size = 0
            for number, line in enumerate(own):
                if size and size + len(line) > CHUNK_BYTES:
                    yield self._record(path, own[begin:number], now_ms)
                    begin, size = number, 0
                size += len(line)
            yield self._record(path, own[begin:], now_ms)

    def heartbeats(self, now_ms: int, silent_s: float = HEARTBEAT_S) -> Iterator[Outgoing]:
        """Yield a heartbeat of each file of which nothing has been sent for so long."""
        for path, reached in self._reached.items():
            if now_ms - reached.sent_ms >= silent_s * 1000:
                yield self._record(path, (), now_ms)

    def _record(self, path: str, lines: Iterable[bytes], now_ms: int) -> Outgoing:
        reached, value = self._reached[path], b"".join(lines)
        header = Shipped(
            cluster=self._cluster,
            host=reached.host,
            stream=f"{_ROOT}/{path}",
            generation=self._generation,
            offset_bytes=reached.offset_bytes,
            line=reached.line,
            observed_ms=now_ms,
            at_end=not value,
        )
        self._reached[path] = replace(
            reached,
            offset_bytes=reached.offset_bytes + len(value),
            line=reached.line + value.count(b"\n"),
            sent_ms=now_ms,
        )
        return Outgoing(LOGS, value, header.key, header.headers())


def _timed(text: Text) -> Iterator[tuple[float, str, str]]:
    return ((time_s, text.path, line) for time_s, line in text.lines)


def send(
    sending: Sending,
    log: EventLog,
    rate: float,
    now_ms: Callable[[], int],
    wait: Callable[[float], None],
    advance: Callable[[int], None] = lambda count: None,
) -> int:
    """Send all lines, `rate` a second on average, and a last heartbeat of each file. Returns the number of lines.

    Raises:
        LogError: the log does not take them.
    """
    lines, begun_ms, sent = sending.lines(), now_ms(), 0
    each = max(1, round(rate * FLUSH_S))
    while batch := list(islice(lines, each)):
        log.append([*sending.chunks(batch, now_ms()), *sending.heartbeats(now_ms())])
        sent += len(batch)
        advance(len(batch))
        wait(max(0.0, sent / rate - (now_ms() - begun_ms) / 1000))
    log.append([*sending.heartbeats(now_ms(), 0.0)])
    return sent
