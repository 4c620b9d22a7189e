"""Shows dumps of Python stacks (`py-spy dump`, `faulthandler`) with one line for each thread that tells its stack.

The lines of a dump in text stay as they are; the line that tells a thread's stack follows them.
"""

import json
import re
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, Final

from ingest.errors import Unreadable
from ingest.formats.linear import compiled
from ingest.renderings.port import Readable
from ingest.renderings.words import word

MOST_BYTES: Final = 64 * 1024 * 1024
_READ_BYTES: Final = 1024 * 1024
_FRAMES: Final = 12
_PY_SPY: Final = compiled(rb"(?:[^\n]*\n){0,3}?Process \d{1,10}: [^\n]*\nPython v\d")
_FAULT: Final = compiled(
    rb"(?:Fatal Python error: [^\n]*\n\s*|Timeout \([\d:.]{1,20}\)!\n)?"
    rb"(?:Current t|T)hread 0x[0-9a-f]{1,16}[^\n]{0,80} \(most recent call first\):\n"
)
_PY_SPY_THREAD: Final = compiled(rb'Thread \S{1,40} \(([\w+]{1,40})\)(?:: "([^"\n]{0,80})")?\s*$')
_PY_SPY_FRAME: Final = compiled(rb" +(\S[^()\n]{0,300}) \(([^()\n]{1,400}?)(?::(\d{1,9}))?\)\s*$")
_FAULT_THREAD: Final = compiled(rb"(?:Current t|T)hread (0x[0-9a-f]{1,16})[^\n]{0,80} \(most recent call first\):\s*$")
_FAULT_FRAME: Final = compiled(rb' +File "([^"\n]{1,400})", line (\d{1,9}|\?\?\?) in (.{1,300}?)\s*$')
_RANK: Final = re.compile(r"rank[_-]?(\d{1,7})", re.IGNORECASE)
_MAIN: Final = "MainThread"


class StackDump:
    """Dumps of stacks, as text or, by `py-spy dump --json`, as JSON."""

    def recognises(self, name: str, head: bytes) -> bool:
        """Tell whether a file begins as such a dump does."""
        if head.lstrip()[:1] == b"[":
            return b'"thread_id"' in head and b'"owns_gil"' in head and b'"frames"' in head
        return bool(_PY_SPY.match(head) or _FAULT.match(head))

    def render(self, stream: Readable) -> Iterator[bytes]:
        """Yield the lines. Raises: Unreadable."""
        named = _RANK.findall(stream.label)
        label = f"[rank{int(named[-1])}]: " if named else ""
        lines = _split(stream)
        first = next(lines, b"")
        if first.lstrip()[:1] == b"[":
            yield from _listed(label, _joined(first, lines, stream.label), stream.label)
        else:
            yield from _followed(label, chain((first,), lines))


def _followed(label: str, lines: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the lines of a dump in text, and after the frames of each thread the line that tells them."""
    thread: tuple[str, str] | None = None
    frames: list[str] = []
    for line in lines:
        begun = _thread(line)
        frame = _frame(line) if thread is not None and begun is None else None
        if frame is not None:
            frames.append(frame)
        elif thread is not None and frames:
            yield _told(label, *thread, frames)
            thread, frames = None, []
        if begun is not None:
            thread, frames = begun, []
        yield line
    if thread is not None and frames:
        yield _told(label, *thread, frames)


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


def _joined(first: bytes, lines: Iterator[bytes], name: str) -> bytes:
    """Return what is left of a stream, up to a size. Raises: Unreadable."""
    data = bytearray(first)
    for line in lines:
        data += line
        if len(data) > MOST_BYTES:
            raise Unreadable(name, f"a dump of stacks of more than {MOST_BYTES >> 20} MiB")
    return bytes(data)


def _split(stream: Readable) -> Iterator[bytes]:
    r"""Yield a stream's lines with their `\n`; one that is too long comes in pieces, so that memory is bounded."""
    rest = b""
    while block := stream.read(_READ_BYTES):
        *lines, rest = (rest + block).split(b"\n")
        yield from (line + b"\n" for line in lines)
        if len(rest) > _READ_BYTES:
            yield rest
            rest = b""
    if rest:
        yield rest + b"\n"
