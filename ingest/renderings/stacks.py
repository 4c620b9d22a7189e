"""Shows dumps of Python stacks (`py-spy dump`, `faulthandler`) with one line for each thread that tells its stack.

The lines of a dump in text stay as they are; the line that tells a thread's stack follows them.
"""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from ingest.errors import Unreadable
from ingest.formats.linear import compiled
from ingest.renderings.port import Readable, Reading
from ingest.renderings.streams import whole
from ingest.renderings.words import word

MOST_BYTES: Final = 64 * 1024 * 1024
_READ_BYTES: Final = 1024 * 1024
_LINE_BYTES: Final = 64 * 1024
_FRAMES: Final = 12
_HEADING: Final = 6
_KEYS: Final = (b'"thread_id"', b'"owns_gil"', b'"frames"')
_PY_SPY: Final = compiled(rb"(?:[^\n]*\n){0,3}?Process \d{1,10}: [^\n]*\nPython v\d")
_FAULT: Final = compiled(
    rb"(?:Fatal Python error: [^\n]*\n\s*|Timeout \([\d:.]{1,20}\)!\n)?"
    rb"(?:Current t|T)hread 0x[0-9a-f]{1,16}[^\n]{0,80} \(most recent call first\):\n"
)
_BEGINNING: Final = compiled(rb"(?:Process \d|Fatal Python error: |Timeout \(|(?:Current t|T)hread 0x)")
_PY_SPY_THREAD: Final = compiled(rb'Thread \S{1,40} \(([\w+]{1,40})\)(?:: "([^"\n]{0,80})")?\s*$')
_PY_SPY_FRAME: Final = compiled(rb" +(\S[^()\n]{0,300}) \(([^()\n]{1,400}?)(?::(\d{1,9}))?\)\s*$")
_FAULT_THREAD: Final = compiled(rb"(?:Current t|T)hread (0x[0-9a-f]{1,16})[^\n]{0,80} \(most recent call first\):\s*$")
_FAULT_FRAME: Final = compiled(rb' +File "([^"\n]{1,400})", line (\d{1,9}|\?\?\?) in (.{1,300}?)\s*$')
_RANK: Final = re.compile(r"rank[_-]?(\d{1,7})", re.IGNORECASE)
_MAIN: Final = "MainThread"


class StackDump:
    """Dumps of stacks as text; a log may go on behind them."""

    def recognises(self, name: str, head: bytes) -> bool:
        """Tell whether a file begins as such a dump does."""
        return bool(_PY_SPY.match(head) or _FAULT.match(head))

    def awaits(self, head: bytes) -> bool:
        """Tell whether a dump may have begun that is to be known by its next lines."""
        return head.count(b"\n") < _HEADING and _BEGINNING.match(head) is not None

    def render(self, stream: Readable) -> Iterator[bytes]:
        """Yield the lines. Raises: Unreadable."""
        return whole(self.begin(stream.label), stream)

    def begin(self, label: str) -> Reading:
        """Begin to read a file."""
        return _Followed(_ranked(label))


class StackList:
    """Dumps of stacks as JSON, by `py-spy dump --json`."""

    def recognises(self, name: str, head: bytes) -> bool:
        """Tell whether a file begins as such a dump does."""
        return head.lstrip()[:1] == b"[" and all(key in head for key in _KEYS)

    def awaits(self, head: bytes) -> bool:
        """Tell whether a list has begun."""
        return head.lstrip()[:1] == b"[" and b"]" not in head

    def render(self, stream: Readable) -> Iterator[bytes]:
        """Yield a line for each thread. Raises: Unreadable."""
        data = bytearray()
        while block := stream.read(_READ_BYTES):
            data += block
            if len(data) > MOST_BYTES:
                raise Unreadable(stream.label, f"a dump of stacks of more than {MOST_BYTES >> 20} MiB")
        yield from _listed(_ranked(stream.label), bytes(data), stream.label)


def _ranked(label: str) -> str:
    """Return what the lines of a rank's dump begin with, by the file's name."""
    named = _RANK.findall(label)
    return f"[rank{int(named[-1])}]: " if named else ""


class _Followed:
    """The reading of a dump in text: its lines, and after the frames of each thread the line that tells them."""

    damage = ""

    def __init__(self, label: str) -> None:
        self._label = label
        self._thread: tuple[str, str] | None = None
        self._frames: list[str] = []
        self._open = b""

    def take(self, data: bytes) -> Iterator[bytes]:
        *lines, self._open = (self._open + data).split(b"\n")
        for line in lines:
            yield from self._lines(line + b"\n")
        while len(self._open) > _LINE_BYTES:
            yield from self._line(self._open[:_LINE_BYTES])
            self._open = self._open[_LINE_BYTES:]

    def rest(self) -> Iterator[bytes]:
        if self._thread is not None and self._frames:
            yield _told(self._label, *self._thread, self._frames)
        self._thread, self._frames = None, []

    def end(self) -> Iterator[bytes]:
        if self._open:
            yield from self._lines(self._open + b"\n")
        self._open = b""
        yield from self.rest()

    def _lines(self, line: bytes) -> Iterator[bytes]:
        """Take a line; one that is too long comes in pieces, so that memory is bounded."""
        for at in range(0, len(line), _LINE_BYTES):
            yield from self._line(line[at : at + _LINE_BYTES])

    def _line(self, line: bytes) -> Iterator[bytes]:
        begun = _thread(line)
        frame = _frame(line) if self._thread is not None and begun is None else None
        if frame is not None:
            self._frames.append(frame)
        elif self._frames:
            yield from self.rest()
        if begun is not None:
            self._thread, self._frames = begun, []
        yield line


def _listed(label: str, data: bytes, name: str) -> Iterator[bytes]:
    """Yield a line for each thread of a dump in JSON. Raises: Unreadable."""
    try:
        threads = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Unreadable(name, "a dump of stacks that cannot be read, because it is no valid JSON") from error
    for thread in threads if isinstance(threads, list) else ():
        if isinstance(thread, dict) and isinstance(thread.get("frames"), list):
            frames = [_json_frame(frame) for frame in thread["frames"][:_FRAMES] if isinstance(frame, dict)]
            state = "active" if thread.get("active") is True else "idle"
            if frames:
                yield _told(label, word(thread.get("thread_name")), state, frames)


def _json_frame(frame: dict[str, Any]) -> str:
    file = frame.get("short_filename") or frame.get("filename")
    line = frame.get("line")
    return _framed(frame.get("name"), file, str(line) if isinstance(line, int) and line > 0 else "?")


def _thread(line: bytes) -> tuple[str, str] | None:
    """Return name and state of the thread whose frames follow."""
    if found := _PY_SPY_THREAD.match(line):
        return word(_text(found[2] or b"")), word(_text(found[1]))
    if found := _FAULT_THREAD.match(line):
        return word(_text(found[1])), "stopped"
    return None


def _frame(line: bytes) -> str | None:
    if found := _PY_SPY_FRAME.match(line):
        return _framed(_text(found[1]), _text(found[2]), _text(found[3] or b"?"))
    if found := _FAULT_FRAME.match(line):
        return _framed(_text(found[3]), _text(found[1]), _text(found[2]))
    return None


def _framed(name: object, file: object, line: str) -> str:
    """Return a frame with the last two parts of its file's path: enough to tell it from others."""
    short = "/".join(word(file, 400).split("/")[-2:])
    return f"{word(name, 100)} ({short}:{line})"


def _told(label: str, name: str, state: str, frames: Sequence[str]) -> bytes:
    """Return the line that tells a thread's stack, innermost frame first; a module's own code runs in the main one."""
    main = name == _MAIN or (name.startswith("0x") and frames[-1].startswith("<module> "))
    shown = " < ".join(frames[:_FRAMES]) + (f" < {len(frames) - _FRAMES} more" if len(frames) > _FRAMES else "")
    return f"{label}stack of {_MAIN if main else f'thread {name}'} ({state}): {shown}\n".encode("utf-8", "replace")


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
