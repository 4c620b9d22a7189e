"""Follows the kernel's log through /dev/kmsg (Documentation/ABI/testing/dev-kmsg), in lines as dmesg prints them.

A record is `priority,sequence,microseconds,flags;text`, then lines ` KEY=value`, which dmesg passes over too. Bytes
that are no printable text are escaped in it and stay so: a line end that a program has smuggled into a kernel message,
such as by its own name, must not begin a line.
"""

import errno
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ingest.follow.counted import Counted
from ingest.follow.cutting import CHUNK_BYTES
from ingest.follow.pieces import Piece, elapsed
from ingest.follow.positions import Positions
from ingest.sources import Problem, Skipped
from schemas.vocabulary import Provenance

KMSG: Final = Path("/dev/kmsg")
BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_READ_BYTES: Final = 16 * 1024
"""More than the longest record: the kernel gives one at a time, or EINVAL."""
_RETRY_MS: Final = 60_000
_ADVICE: Final = "Run relight as root or with CAP_SYSLOG, or follow the journal or /var/log/kern.log instead."


@dataclass(slots=True)
class _Outlet:
    """One of the streams: the lines that wait to be a piece, and the sequence number of the last one taken."""

    stream: Counted
    sequence: int = -1
    lines: list[bytes] = field(default_factory=list)
    size: int = 0


class KernelLog:
    """The kernel's log (see `Feed`): what the kernel says is the stream `kernel`, what programs write there `kmsg`.

    The kernel marks what programs write with another facility than its own, 0. The generation follows from the boot
    and the first record that was there: the same records read again are the same generation.

    Args:
        cluster: What the pieces say.
        host: What the pieces say.
        positions: Where the sequence numbers are kept.
        path: The device, or a file or pipe with the same records.
        boot_id: The file that tells one boot from another.
        heartbeat_ms: How often a heartbeat is given.
    """

    def __init__(
        self,
        cluster: str,
        host: str,
        positions: Positions,
        *,
        path: Path = KMSG,
        boot_id: Path = BOOT_ID,
        heartbeat_ms: int = 5000,
    ) -> None:
        self._path, self._boot_path, self._heartbeat_ms = path, boot_id, heartbeat_ms
        self._positions = positions
        self._kernel = _Outlet(Counted(cluster, host, "kernel", positions, Provenance.KERNEL))
        self._kmsg = _Outlet(Counted(cluster, host, "kmsg", positions, Provenance.APP))
        self._boot = ""
        self._descriptor: int | None = None
        self._pending = b""
        self._tried_ms: int | None = None
        self._beat_ms: int | None = None
        self._what = ""
        self._news: list[Problem | Skipped] = []

    def read(self, now_ms: int, budget_bytes: int) -> list[Piece]:
        """Return the lines that have come, about `budget_bytes` of them, and the heartbeats that are due."""
        if self._descriptor is None and (self._tried_ms is None or elapsed(self._tried_ms, now_ms, _RETRY_MS)):
            self._tried_ms = now_ms
            self._open()
        pieces: list[Piece] = []
        block = b""
        while self._descriptor is not None and budget_bytes > 0 and (block := self._block()):
            budget_bytes -= len(block)
            pieces += self._records(block, now_ms)
        at_end = self._descriptor is not None and not block
        for outlet in (self._kernel, self._kmsg):
            pieces += self._piece(outlet, now_ms, at_end=at_end)
        if self._beat_ms is None or elapsed(self._beat_ms, now_ms, self._heartbeat_ms):
            self._beat_ms = now_ms
            outlets = (self._kernel, self._kmsg) if at_end else ()
            pieces += [beat for outlet in outlets for beat in outlet.stream.heartbeat(now_ms)]
        return pieces

    def at_end(self) -> bool:
        """Return true: what comes, comes at once."""
        return True

    def confirm(self, pieces: Iterable[Piece]) -> None:
        """Say that pieces have been kept by others: a restart goes on behind them."""
        self._positions.confirm((piece.header.offset_bytes, piece.position) for piece in pieces)

    def news(self) -> list[Problem | Skipped]:
        """Return what went wrong since this was last asked."""
        news, self._news = self._news, []
        return news

    def close(self) -> None:
        """Close the device."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _open(self) -> None:
        try:
            self._boot = self._boot_path.read_text(encoding="ascii").strip()
            self._descriptor = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            self._say(f"cannot be opened: {error.strerror}", _ADVICE)
            return
        self._pending = b""
        for outlet in (self._kernel, self._kmsg):
            known = outlet.stream.known
            boot, _, sequence = known.cursor.rpartition(":") if known is not None else ("", "", "")
            if boot == self._boot:
                outlet.sequence = int(sequence)
            else:
                outlet.stream.known = None

    def _block(self) -> bytes:
        """Return the next records, none if there are no more now."""
        assert self._descriptor is not None
        while True:
            try:
                return os.read(self._descriptor, _READ_BYTES)
            except BlockingIOError:
                return b""
            except OSError as error:
                if error.errno != errno.EPIPE:
                    self._say(f"cannot be read: {error.strerror}", _ADVICE)
                    self.close()
                    return b""
                # The next record is the oldest that is left; its number tells how many are missing.

    def _records(self, block: bytes, now_ms: int) -> list[Piece]:
        *lines, self._pending = (self._pending + block).split(b"\n")
        pieces: list[Piece] = []
        for line in lines:
            if line and line[:1] != b" ":
                pieces += self._record(line, now_ms)
        return pieces

    def _record(self, line: bytes, now_ms: int) -> list[Piece]:
        head, _, text = line.partition(b";")
        try:
            priority, sequence, micros = map(int, head.split(b",")[:3])
        except ValueError:
            self._say(f"a record that is none: {line[:80]!r}", "Name the device, or a copy of what is read from it.")
            return []
        self._missed(sequence)
        outlet = self._kernel if priority >> 3 == 0 else self._kmsg
        if sequence <= outlet.sequence:
            return []
        if outlet.stream.known is None:
            outlet.stream.begin(self._boot, sequence)
        seconds, micros = divmod(micros, 1_000_000)
        shown = b"[%5d.%06d] %b\n" % (seconds, micros, text)
        full = self._piece(outlet, now_ms, at_end=False) if outlet.size + len(shown) > CHUNK_BYTES else []
        outlet.lines.append(shown)
        outlet.size += len(shown)
        outlet.sequence = sequence
        return full

    def _missed(self, sequence: int) -> None:
        last = max(self._kernel.sequence, self._kmsg.sequence)
        if 0 <= last < sequence - 1:
            self._say(
                f"{sequence - last - 1} records were overwritten before they were read, behind number {last}",
                "Boot with a larger log_buf_len.",
            )

    def _piece(self, outlet: _Outlet, now_ms: int, *, at_end: bool) -> list[Piece]:
        if not outlet.lines:
            return []
        value = b"".join(outlet.lines)
        outlet.lines, outlet.size = [], 0
        return [outlet.stream.piece(value, f"{self._boot}:{outlet.sequence}", now_ms, at_end=at_end)]

    def _say(self, what: str, advice: str) -> None:
        if what != self._what:
            self._what = what
            self._news.append(Problem(str(self._path), what, advice))
