"""Regular expressions that take linear time on any bytes: google-re2, typed here, for it ships no types."""

from typing import Protocol, cast

import re2


class Match(Protocol):
    """What is used of re2's match object. A group that took no part is `None`."""

    def __getitem__(self, group: int) -> bytes: ...

    def end(self) -> int:
        """Return where the match ends."""


class Pattern(Protocol):
    """What is used of re2's compiled pattern, over bytes."""

    def match(self, text: bytes) -> Match | None:
        """Match at the beginning of a text."""

    def fullmatch(self, text: bytes) -> Match | None:
        """Match a whole text."""

    def sub(self, repl: bytes, text: bytes) -> bytes:
        """Replace what matches anywhere in a text."""


def compiled(pattern: bytes) -> Pattern:
    """Compile a pattern over bytes; `.` is any byte but a line end, whether or not the text is UTF-8."""
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    return cast(Pattern, re2.compile(pattern, options))
