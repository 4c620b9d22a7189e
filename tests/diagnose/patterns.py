"""Patterns in the dialect of rules, each generated together with a text that it was made to match."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import hyperscan
from hypothesis import strategies as st

from diagnose.matching.dialect import nominating
from diagnose.matching.segments import segment_at

ALPHABET: Final = "abNCLxz019 :=\"'<>&/\\\t._-()[]{}*+?|^$#\x1b\xe9\u2713"
"""What occurs in logs: letters, digits, and all that a pattern or a JSON string has to escape."""

_CLASSES: Final = (
    (r"\d", "019"),
    (r"\w", "abN_0"),
    (r"\s", " "),
    (r"\S", "ab:."),
    (r"\D", "ab :"),
    (r"\W", " :."),
    ("[a-c]", "ab"),
    ("[^x]", "ab 0"),
    (r"[\w.-]", "a.-0"),
    ("[^ ]", "ab0"),
    (r"[^\s:]", "aN0"),
    ("['\"]", "'\""),
    ('[^"]', "ab "),
    ("[[:xdigit:]]", "ab09"),
    ("[]x]", "]x"),
    (".", "ab :0'"),
)
_QUANTIFIERS: Final = (
    ("*", 0, 3), ("+", 1, 3), ("?", 0, 1), ("*?", 0, 3), ("+?", 1, 3), ("??", 0, 1), ("{2}", 2, 2), ("{0,2}", 0, 2),
    ("{1,}", 1, 3), ("{2,4}", 2, 4),
)  # fmt: skip


@dataclass(frozen=True)
class Piece:
    """A piece of a pattern and a text that it matches."""

    pattern: str
    text: str

    def __add__(self, other: "Piece") -> "Piece":
        return Piece(self.pattern + other.pattern, self.text + other.text)


NOTHING: Final = Piece("", "")


def escaped(text: str) -> str:
    """Write a literal as an author does."""
    return "".join("\\" + c if c in r"\.+*?()|[]{}^$" else r"\t" if c == "\t" else c for c in text)


literals = st.text(alphabet=ALPHABET.rstrip("\x1b\xe9\u2713"), min_size=1, max_size=16).map(
    lambda text: Piece(escaped(text), text)
)
words = st.sampled_from(["CUDA error: ", "NVRM: Xid ", "timed out", "Killed process", '"status": "failed"', "a<b>&c"])
anchors = st.sampled_from([Piece("^", ""), Piece("$", ""), Piece(r"\b", ""), Piece(r"\A", ""), Piece(r"\z", "")])


@st.composite
def classes(draw: st.DrawFn) -> Piece:
    pattern, members = draw(st.sampled_from(_CLASSES))
    return Piece(pattern, draw(st.sampled_from(members)))


@st.composite
def groups(draw: st.DrawFn, inner: st.SearchStrategy[Piece]) -> Piece:
    branches = draw(st.lists(inner, min_size=1, max_size=3))
    opening = draw(st.sampled_from(["(?:", "(", "(?P<name>"]))
    return Piece(f"{opening}{'|'.join(b.pattern for b in branches)})", draw(st.sampled_from(branches)).text)


@st.composite
def repeated(draw: st.DrawFn, inner: st.SearchStrategy[Piece]) -> Piece:
    atom = draw(inner)
    quantifier, least, most = draw(st.sampled_from(_QUANTIFIERS))
    return Piece(atom.pattern + quantifier, atom.text * draw(st.integers(least, most)))


def sequences(inner: st.SearchStrategy[Piece], most: int = 3) -> st.SearchStrategy[Piece]:
    return st.lists(inner, min_size=1, max_size=most).map(lambda pieces: sum(pieces, NOTHING))


_plain = st.one_of(literals, words.map(lambda text: Piece(escaped(text), text)), classes())
_deep = st.recursive(
    _plain,
    lambda inner: st.one_of(groups(sequences(inner)), repeated(groups(inner)), repeated(classes())),
    max_leaves=6,
)


@st.composite
def patterns(draw: st.DrawFn) -> Piece:
    """Generate a pattern with a text that it was made to match; an anchor in the middle may be in the way of it."""
    branches = draw(st.lists(sequences(st.one_of(_plain, _deep, anchors), 5), min_size=1, max_size=2))
    chosen = draw(st.sampled_from(branches))
    flag = draw(st.sampled_from(["", "", "(?i)"]))
    text = chosen.text.swapcase() if flag else chosen.text
    return Piece(flag + "|".join(b.pattern for b in branches), text)


def nominator(*of: str, whole: bool) -> Callable[[bytes], set[int]]:
    """Return a function from bytes to the beginnings of the segments that Hyperscan nominates for patterns.

    Raises:
        hyperscan.error: it refuses one, such as a pattern that matches nothing at all.
    """
    expressions = [e.encode() for pattern in of for e in nominating(pattern, whole=whole)]
    database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
    database.compile(expressions=expressions, flags=0)

    def segments(data: bytes) -> set[int]:
        found: set[int] = set()
        database.scan(data, match_event_handler=lambda _id, _from, to, *_: found.add(segment_at(data, to).start))
        return found

    return segments
