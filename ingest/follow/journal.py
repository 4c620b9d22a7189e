"""Follows the systemd journal through `journalctl`, whose JSON lines are shipped as they are (journalctl(1))."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from typing import Final

import orjson

from ingest.follow import cutting
from ingest.follow.counted import Counted
from ingest.follow.pieces import Piece, elapsed
from ingest.follow.positions import Positions
from ingest.sources import Problem, Skipped

_FOLLOW: Final = ("--follow", "--no-tail", "--output=json", "--quiet")
_READ_BYTES: Final = 256 * 1024
_LINE_BYTES: Final = 512 * 1024
"""The longest entry that is shipped: a record of the log takes 1 MiB."""
_RETRY_MS: Final = 10_000
_STOP_S: Final = 5.0


class Journal:
    """The journal of this machine as the stream `journal` (see `Feed`), this boot's from its beginning on.

    Provenance stays unknown here: each entry tells its own, in fields that only journald writes. Offsets count the
    bytes that have come since the first entry, whose cursor tells the generation.

    Args:
        cluster: What the pieces say.
        host: What the pieces say.
        positions: Where the cursor is kept.
        command: Run in place of `journalctl`, with the same options.
        heartbeat_ms: How often a heartbeat is given.
    """

    def __init__(
        self,
        cluster: str,
        host: str,
        positions: Positions,
        *,
        command: Sequence[str] = ("journalctl",),
        heartbeat_ms: int = 5000,
    ) -> None:
        self._positions = positions
        self._stream = Counted(cluster, host, "journal", positions)
        self._command = command
        self._heartbeat_ms = heartbeat_ms
        self._process: subprocess.Popen[bytes] | None = None
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as this is; closed by close()
        self._buffer = bytearray()
        self._passing = False
        self._tried_ms: int | None = None
        self._beat_ms: int | None = None
        self._what = ""
        self._news: list[Problem | Skipped] = []

    def read(self, now_ms: int, budget_bytes: int) -> list[Piece]:
        """Return the entries that have come, about `budget_bytes` of them, and the heartbeat if it is due."""
        if self._process is None and (self._tried_ms is None or elapsed(self._tried_ms, now_ms, _RETRY_MS)):
            self._tried_ms = now_ms
            self._start()
        pieces: list[Piece] = []
        empty = self._process is None
        while not empty and budget_bytes > 0:
            empty = self._fill()
            read = self._cut(now_ms, empty)
            budget_bytes -= sum(len(piece.value) for piece in read)
            pieces += read
        if self._beat_ms is None or elapsed(self._beat_ms, now_ms, self._heartbeat_ms):
            self._beat_ms = now_ms
            pieces += self._heartbeat(now_ms) if empty and self._process is not None else []
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
        """Stop `journalctl`."""
        if self._process is not None:
            self._process.terminate()
            self._end()
        self._said.close()

    def _start(self) -> None:
        program = shutil.which(self._command[0])
        if program is None:
            self._say(f"{self._command[0]} is not installed", "Without systemd, follow /var/log/syslog or messages.")
            return
        cursor = self._stream.known.cursor if self._stream.known is not None else ""
        where = f"--after-cursor={cursor}" if cursor else "--boot"
        command = [program, *self._command[1:], *_FOLLOW, where]
        self._said.seek(0)
        self._said.truncate()
        self._buffer.clear()
        self._passing = False
        try:
            self._process = subprocess.Popen(  # noqa: S603 - a list, no shell
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._said
            )
        except OSError as error:
            self._say(f"{program} cannot be run: {error.strerror}", "Run relight as a user who may.")
            return
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)

    def _heartbeat(self, now_ms: int) -> list[Piece]:
        """Return a heartbeat, none while the process may not have begun to speak."""
        started = self._tried_ms is not None and elapsed(self._tried_ms, now_ms, self._heartbeat_ms)
        return self._stream.heartbeat(now_ms) if started else []

    def _fill(self) -> bool:
        """Read what has come; return whether that is all for now."""
        assert self._process is not None
        assert self._process.stdout is not None
        try:
            block = os.read(self._process.stdout.fileno(), _READ_BYTES)
        except BlockingIOError:
            return True
        self._buffer += block
        if not block:
            code = self._end()
            self._said.seek(0)
            told = self._said.read(1000).decode("utf-8", "replace").strip().replace("\n", "; ")
            self._say(f"journalctl ended with code {code}: {told}", "It is started again; see journalctl(1).")
        return not block

    def _cut(self, now_ms: int, empty: bool) -> list[Piece]:
        whole = self._buffer.rfind(b"\n") + 1
        if self._passing and whole:
            begin = self._buffer.find(b"\n") + 1
            del self._buffer[:begin]
            self._passing, whole = False, whole - begin
        elif self._passing or (not whole and len(self._buffer) > _LINE_BYTES):
            self._pass_over()
        self._what = "" if whole else self._what
        pieces, start = [], 0
        for end in self._ends(whole):
            value = bytes(self._buffer[start:end])
            cursor = _cursor(value) or (self._stream.known.cursor if self._stream.known is not None else "")
            if self._stream.known is None:
                self._stream.begin(_cursor(value[: value.index(b"\n")]) or value)
            at_end = empty and end == len(self._buffer)
            pieces.append(self._stream.piece(value, cursor, now_ms, at_end=at_end))
            start = end
        del self._buffer[:start]
        return pieces

    def _ends(self, whole: int) -> list[int]:
        """Return where chunks end: a long entry is not divided, for only behind an entry there is a cursor."""
        found, start = [], 0
        while start < whole:
            end = self._buffer.rfind(b"\n", start, min(whole, start + cutting.CHUNK_BYTES)) + 1
            end = end or self._buffer.find(b"\n", start, whole) + 1
            found.append(end)
            start = end
        return found

    def _pass_over(self) -> None:
        if not self._passing:
            self._say(f"an entry of more than {_LINE_BYTES} bytes is passed over", "See it with journalctl.")
        self._passing = True
        self._buffer.clear()

    def _end(self) -> int:
        process, self._process = self._process, None
        assert process is not None
        assert process.stdout is not None
        process.stdout.close()
        try:
            return process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    def _say(self, what: str, advice: str) -> None:
        if what != self._what:
            self._what = what
            self._news.append(Problem("journal", what, advice))


def _cursor(entries: bytes) -> str | None:
    """Return the cursor of the last entry."""
    last = entries[entries.rfind(b"\n", 0, -1) + 1 :]
    try:
        fields = orjson.loads(last)
    except orjson.JSONDecodeError:
        return None
    cursor = fields.get("__CURSOR") if isinstance(fields, dict) else None
    return cursor if isinstance(cursor, str) else None
