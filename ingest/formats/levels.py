"""The names that loggers give to levels, and the one name each that relight gives them."""

from functools import lru_cache
from typing import Final

from schemas.record import Origin

_NAMES: Final = {
    "trace": "trace verbose",
    "debug": "debug dbg",
    "info": "info information success",
    "notice": "notice",
    "warning": "warning warn",
    "error": "error err severe",
    "critical": "critical crit fatal alert emerg emergency panic",
}

LEVELS: Final[dict[bytes, str]] = {
    spelling.encode(): level
    for level, words in _NAMES.items()
    for word in words.split()
    for spelling in (word, word.upper(), word.title())
}

LETTERS: Final[dict[int, str]] = {
    ord("V"): "debug",
    ord("D"): "debug",
    ord("I"): "info",
    ord("W"): "warning",
    ord("E"): "error",
    ord("F"): "critical",
    ord("C"): "critical",
}
"""The letters of glog, klog, absl and c10d."""

SEVERITIES: Final = ("critical", "critical", "critical", "error", "warning", "notice", "info", "debug")
"""The severities of syslog (RFC 5424, 6.2.1), 0 first."""

WORDS: Final = rb"(?:TRACE|DEBUG|INFO|NOTICE|SUCCESS|WARN(?:ING)?|ERR(?:OR)?|CRIT(?:ICAL)?|FATAL)"
"""A regular expression for the level names that Python's and other loggers print."""

ANY_CASE: Final = rb"(?i:TRACE|DEBUG|INFO|NOTICE|SUCCESS|WARN(?:ING)?|ERR(?:OR)?|CRIT(?:ICAL)?|FATAL)"
"""The same where brackets or bars around it leave no doubt that a level is meant, not a word of the message."""

_TO_SPACES: Final = bytes.maketrans(b"[]|:-,()", b"        ")


def level_in(prefix: bytes) -> str | None:
    """Return the last level that a prefix names."""
    for word in reversed(prefix.translate(_TO_SPACES).split()):
        if word in LEVELS:
            return LEVELS[word]
    return None


@lru_cache(maxsize=64)
def level_origin(level: str) -> Origin:
    """Return the origin that tells a level only."""
    return Origin(level=level)
