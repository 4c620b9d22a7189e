"""The catalogue's patterns in the words of other engines; what an engine cannot say is left out and counted."""

import re
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from diagnose.matching.dialect import tokens_of
from diagnose.rules import Catalogue

_FLAGS: Final = re.compile(r"\(\?[a-zA-Z]+\)")
_IN_CLASS: Final = re.compile(r"\[:\w+:\]|\\.|\[|[&~]")
_ESCAPED: Final = frozenset(r"\.+*?()|[]{}^$-")


@dataclass(frozen=True, slots=True)
class Translated:
    """Patterns that an engine takes, and those that it does not."""

    kept: tuple[str, ...]
    left_out: tuple[str, ...]


def patterns_of(catalogue: Catalogue) -> tuple[str, ...]:
    """Return every pattern of every signature once, in order."""
    return tuple(dict.fromkeys(p for s in catalogue.signatures for p in s.patterns))


def neutral(pattern: str) -> str:
    """Return a pattern as one group without captures, in the syntax that RE2, Rust, Perl and Python share.

    Captures would make names clash in one alternation. A flag at the start is bound to the group.
    """
    tokens = tokens_of(pattern)
    flags = tokens[0][2:-1] if tokens and _FLAGS.fullmatch(tokens[0]) else ""
    return f"(?{flags}:" + "".join(map(_neutral, tokens[bool(flags) :])) + ")"


def for_ripgrep(patterns: Sequence[str]) -> Translated:
    """Return the patterns for Rust's `regex`; those that rg refuses are found by halving."""
    return _sifted([neutral(p) for p in patterns], _ripgrep_takes)


def for_python(patterns: Sequence[str]) -> Translated:
    """Return the patterns for Python's `re`."""
    return _sifted([neutral(p).replace(r"\z", r"\Z") for p in patterns], _python_takes)


def write(path: Path, patterns: Sequence[str]) -> Path:
    """Write patterns to a file, one a line."""
    path.write_text("".join(f"{p}\n" for p in patterns), encoding="ascii")
    return path


def write_sec_rules(path: Path, patterns: Sequence[str]) -> Path:
    """Write one rule of SEC for each pattern: the first that matches a line takes it."""
    rule = "type=Single\nptype=RegExp\npattern={}\ndesc=rule {}\naction=none\n\n"
    path.write_text("".join(rule.format(p, at) for at, p in enumerate(patterns)), encoding="ascii")
    return path


def _neutral(token: str) -> str:
    if re.fullmatch(r"\((?:\?P<\w+>)?", token):
        return "(?:"
    if token in ("{", "}"):
        return "\\" + token
    if token.startswith("["):
        return _class(token)
    if len(token) == 2 and token[0] == "\\" and not token[1].isalnum() and token[1] not in _ESCAPED:
        return token[1]
    return token


def _class(token: str) -> str:
    """Escape what only some engines read as a nested class or as an operation on sets."""
    opening = "[^" if token.startswith("[^") else "["
    return opening + _IN_CLASS.sub(_safe, token[len(opening) : -1]) + "]"


def _safe(found: re.Match[str]) -> str:
    part: str = found[0]
    if part.startswith("[:") or (part[0] == "\\" and (part[1].isalnum() or part[1] in _ESCAPED)):
        return part
    return "\\" + part if part in ("[", "&", "~") else part[-1]


def _sifted(patterns: Sequence[str], takes: Callable[[Sequence[str]], bool]) -> Translated:
    refused = set(_refused(patterns, takes))
    return Translated(tuple(p for p in patterns if p not in refused), tuple(sorted(refused)))


def _refused(patterns: Sequence[str], takes: Callable[[Sequence[str]], bool]) -> list[str]:
    if not patterns or takes(patterns):
        return []
    if len(patterns) == 1:
        return list(patterns)
    middle = len(patterns) // 2
    return [*_refused(patterns[:middle], takes), *_refused(patterns[middle:], takes)]


def _ripgrep_takes(patterns: Sequence[str]) -> bool:
    command = ["rg", "-q", "-a", "--no-unicode", "--regex-size-limit", "1G", "-f", "-", "/dev/null"]
    said = subprocess.run(command, input="\n".join(patterns), text=True, capture_output=True, check=False)
    return said.returncode in (0, 1)


def _python_takes(patterns: Sequence[str]) -> bool:
    try:
        for pattern in patterns:
            re.compile(pattern.encode("ascii"))
    except (re.error, OverflowError):
        return False
    return True
