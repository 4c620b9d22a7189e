"""Drafting: a pattern made of lines that said the same, for a signature that a person then reviews.

What is the same in all of them stands in the pattern as it is; numbers, addresses, paths, names of hosts, and words in
which the lines differ become classes of characters. A number behind `rank` or `gpu`, and a known host, are captured.
"""

import re
from collections.abc import Collection, Iterable, Sequence
from itertools import accumulate
from typing import Final

import re2

from diagnose.matching.dialect import PatternError, confirming, tokens_of
from diagnose.matching.pieces import fixed_characters
from diagnose.rules import Catalogue
from schemas.vocabulary import Kind

TELLING: Final = 8
"""A pattern has so many fixed characters in a row at least: one with fewer says nothing of its own."""

_WORDS: Final = 24
_CHARACTERS: Final = 300
_NEAREST: Final = 3
_SPECIAL: Final = re2.compile(r"[\\.^$*+?{}\[\]|()]")
_PIECE: Final = re2.compile(
    r"\[masked\]|[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}|0x[0-9a-fA-F]+"
    r"|(?:/[\w.@%+=~-]+){2,}/?|\b[0-9a-f]*\d[0-9a-f]*[a-f][0-9a-f]{5,}\b|\d+|[^\x00-\x7f]+"
)
_CLASSES: Final = (
    (re2.compile(r"\d+"), r"\d+"),
    (re2.compile(r"0x[0-9a-fA-F]+"), "0x[0-9a-fA-F]+"),
    (re2.compile(r"[0-9a-fA-F-]{36}|[0-9a-f]+"), "[0-9a-fA-F-]+"),
    (re2.compile(r"/.*"), r"/\S+"),
)
_COUNTED: Final = re2.compile(r"(?i)\b(rank|gpu|cuda|device)[\s=:#\[(]*$")
_CAPTURES: Final = {"rank": "rank", "gpu": "gpu", "cuda": "gpu", "device": "gpu"}
_WORD: Final = re2.compile(r"[a-z]{2,}")


class NoDraft(ValueError):
    """No pattern can be made of the lines, or none that is fit to be used. The message says why."""


def pattern_of(messages: Sequence[str], hosts: Collection[str] = ()) -> str:
    """Return the pattern of messages that said the same, the first one leading; others that it misses are left out.

    Raises:
        NoDraft: too little in them is fixed.
    """
    words, gaps = _split(messages[0])
    rows = [row for row, _ in map(_split, messages) if len(row) >= len(words) and _like(row, words)]
    names = _Names(hosts)
    parts: list[str] = []
    for at, word in enumerate(words):
        same = len({_digitless(row[at]) for row in rows}) == 1 or names.is_host(word)
        parts.append(names.pattern(word, words[at - 1] if at else "") if same else r"\S+")
    begin, end = _fixed(parts)
    pattern = "".join(gap + part for gap, part in zip(["", *gaps[begin:]], parts[begin:end], strict=False))
    _check(pattern)
    return pattern


def near(pattern: str, message: str, healthy: Iterable[str]) -> list[str]:
    """Return those of some healthy messages that are most like a message, the nearest first.

    Raises:
        NoDraft: the pattern matches one of them: what it says is nothing that tells a failure.
    """
    wanted = set(_WORD.findall(message.lower()))
    scored: dict[str, tuple[float, str]] = {}
    for line in healthy:
        if confirming(pattern).search(line.encode()):
            raise NoDraft(f"the pattern would match a line of a healthy part: {line[:200]}")
        words = set(_WORD.findall(line.lower()))
        if shared := len(wanted & words):
            scored.setdefault(_digitless(line), (-shared / len(wanted | words), line))
    return [line for _, line in sorted(scored.values())[:_NEAREST]]


def benign(known: Catalogue) -> list[str]:
    """Return the lines that a catalogue knows to be harmless: markers, noise, and the near misses of its signatures."""
    harmless = (s.match for s in known.signatures if s.kind not in (Kind.FAULT, Kind.TEARDOWN))
    return sorted({line for lines in (*harmless, *(s.not_match for s in known.signatures)) for line in lines})


class _Names:
    """Makes patterns of words, and captures each thing once."""

    def __init__(self, hosts: Collection[str]) -> None:
        longest_first = sorted({one for one in hosts if len(one) > 1}, key=lambda one: (-len(one), one))[:200]
        self._hosts = re2.compile(rf"\b(?:{'|'.join(map(re2.escape, longest_first))})\b") if longest_first else None
        self._taken: set[str] = set()

    def is_host(self, word: str) -> bool:
        """Tell whether a word is the name of a host."""
        return self._hosts is not None and self._hosts.fullmatch(word) is not None

    def pattern(self, word: str, before: str) -> str:
        """Return the pattern of a word; `before` is the one in front of it."""
        found, end = "", 0
        host = self._hosts.search(word) if self._hosts else None
        if host is not None:
            head, tail = word[: host.start()], word[host.end() :]
            return self.pattern(head, before) + self._captured("host", r"[\w.-]+") + self.pattern(tail, "")
        for piece in _PIECE.finditer(word):
            found += _literal(word[end : piece.start()])
            counted = _COUNTED.search(f"{before} {word[: piece.start()]}") if piece[0].isdigit() else None
            kind = _class(piece[0])
            found += self._captured(_CAPTURES[counted[1].lower()], kind) if counted else kind
            end = piece.end()
        return found + _literal(word[end:])

    def _captured(self, name: str, kind: str) -> str:
        if name in self._taken:
            return kind
        self._taken.add(name)
        return f"(?P<{name}>{kind})"


def _split(message: str) -> tuple[list[str], list[str]]:
    """Return the first words of a message, and patterns for what is between them."""
    pieces = re.split(r"(\s+)", message[: 2 * _CHARACTERS].strip())[: 2 * _WORDS]
    return pieces[::2], [_gap(gap) for gap in pieces[1::2]]


def _gap(gap: str) -> str:
    if gap == " ":
        return gap
    return r"[ \t]+" if not gap.strip(" \t") else ".+"


def _like(row: Sequence[str], words: Sequence[str]) -> bool:
    """Tell whether most words of a row are those of another."""
    same = sum(_digitless(one) == _digitless(other) for one, other in zip(row, words, strict=False))
    return 2 * same >= len(words)


def _digitless(word: str) -> str:
    return re.sub(r"\d+", "0", word)


def _class(piece: str) -> str:
    return next((kind for known, kind in _CLASSES if known.fullmatch(piece)), r"\S+")


def _literal(text: str) -> str:
    return str(_SPECIAL.sub(r"\\\g<0>", text))


def _fixed(parts: Sequence[str]) -> tuple[int, int]:
    """Return from which part to behind which something fixed is said, no more than is read with ease."""
    ends = [*accumulate(len(part) + 1 for part in parts)]
    fixed = [at for at, part in enumerate(parts) if ends[at] <= _CHARACTERS and _is_fixed(part)]
    return (fixed[0], fixed[-1] + 1) if fixed else (0, 0)


def _is_fixed(part: str) -> bool:
    plain = re.sub(r"\(\?P<\w+>|\[[^\]]*\][+]?|\\[dSw][+]?|[^A-Za-z]", " ", part)
    return any(len(word) > 1 for word in plain.split())


def _check(pattern: str) -> None:
    try:
        confirming(pattern)
        longest = fixed_characters(tokens_of(pattern))
    except PatternError as error:
        raise NoDraft(f"no pattern can be made of it: {error}") from None
    if longest < TELLING:
        raise NoDraft(f"it has no {TELLING} fixed characters in a row: a pattern of it would match too much")
