"""The dialect of patterns: authors write RE2; Hyperscan gets wider, line-safe expressions that only nominate.

Hyperscan scans a whole chunk, so its expressions must not cross a line end and must accept text that still wears its
prefix, and, in a second expression where it matters, its JSON escapes. google-re2 then decides on the message alone.
Every rewriting here may nominate more lines than the author's pattern accepts, never fewer; a test holds the two
engines against each other.
"""

import re
from functools import cache
from itertools import zip_longest
from typing import Final

import re2

from diagnose.matching.pieces import telling

_TOKEN: Final = re.compile(
    r"""\\x[0-9A-Fa-f]{2}|\\.|\[\^?\]?(?:\\.|\[:\w+:\]|[^\]\\])*\]|\(\?P<\w+>|\(\?:|\(\?[a-zA-Z]+\)"""
    r"""|\{\d+(?:,\d*)?\}\??|[*+?]\??|[\^$.()|]|[^\\]""",
    re.DOTALL,
)
_FLAGS: Final = re.compile(r"\(\?[a-zA-Z]+\)")
_LINE_END: Final = re.compile(r"\\[nrRvXCKQE]|\\x0[aAdD]|[\n\r]")
_QUANTIFIER: Final = re.compile(r"[*+?]\??|\{\d+(?:,\d*)?\}\??")
ZERO_WIDTH: Final = frozenset({"^", "$", r"\A", r"\z", r"\b"})
"""What matches no character. A word may follow an escape, such as the `n` of `\\n`, in which no word ends."""

_SPACE: Final = r" \t\x0b\x0c"
_PLAIN: Final = {
    ".": r"[^\r\n]",
    "(": "(?:",
    r"\s": f"[{_SPACE}]",
    r"\S": r"[^\s]",
    r"\D": r"[^\d\r\n]",
    r"\W": r"[^\w\r\n]",
    r"\"": '"',
    r"\/": "/",
}
_ONLY_ESCAPED: Final = frozenset({'"', r"\"", r"\x22", r"\\"})
"""What a JSON string always writes otherwise. For all else one expression can take both ways of writing it."""

_ESCAPED: Final = {
    '"': r'\\"',
    r"\"": r'\\"',
    r"\\": r"\\\\",
    "<": r"(?:<|\\u003c)",
    ">": r"(?:>|\\u003e)",
    "&": r"(?:&|\\u0026)",
    r"\t": r"(?:\t|\\t)",
    r"\s": rf"(?:[{_SPACE}]|\\[tf])",
    r"\x22": r'\\"',
}


class PatternError(ValueError):
    """A pattern is outside the dialect; the message says which part and what to write instead."""


def nominating(pattern: str, *, whole: bool = False) -> tuple[str, ...]:
    """Return the Hyperscan expressions that together nominate every line which `pattern` could accept.

    Where one expression cannot take both, the first is for text as it is, the second for text inside a JSON string.
    Unless `whole`, they look for the pattern's most telling piece only: it is cheaper to scan for, and RE2 sees to the
    rest.

    Raises:
        PatternError: the pattern is outside the dialect.
    """
    flags, core = _core(pattern)
    core = core if whole else telling(core)
    plain = flags + "".join(map(_plain, core))
    escaped = flags + "".join(_escaped(token, after) for token, after in zip_longest(core, core[1:], fillvalue=""))
    covers_both = not _ONLY_ESCAPED & set(core)
    return (escaped,) if escaped == plain or covers_both else (plain, escaped)


def piece(pattern: str) -> str:
    """Return the most telling piece of a pattern, as a pattern.

    Raises:
        PatternError: the pattern is outside the dialect.
    """
    flags, core = _core(pattern)
    return flags + "".join(telling(core))


def _core(pattern: str) -> tuple[str, list[str]]:
    """Return a pattern's flags, and its tokens with as few repetitions as nominating needs."""
    tokens = tokens_of(pattern)
    flags = "".join(tokens[:1]) if tokens and _FLAGS.fullmatch(tokens[0]) else ""
    return flags, _shortened(tokens[1:] if flags else tokens)


def tokens_of(pattern: str) -> list[str]:
    """Split a pattern into its tokens, refusing what may not stand in one.

    Raises:
        PatternError: a line end, a character beyond ASCII, or a construct that RE2 does not know.
    """
    if not pattern.isascii():
        raise PatternError("only ASCII may stand in a pattern; write `.` for another character")
    tokens = _TOKEN.findall(pattern)
    for previous, token in zip(["", *tokens], tokens, strict=False):
        if _LINE_END.search(token.replace(r"\\", "")):
            raise PatternError(f"`{token}` can match a line end, and a message is one line")
        if token in (r"\B", r"\Z", r"\G") or re.fullmatch(r"\\[1-9]", token):
            raise PatternError(f"`{token}` is not available in patterns")
        if token == "?" and previous == "(":
            raise PatternError(
                "of the groups that begin with `(?`, only `(?:`, `(?P<name>` and a leading `(?i)` are known"
            )
        if token.startswith("[") and re.search(r"\\[DWS]", token):
            raise PatternError(f"`{token}`: write the class without \\D, \\W or \\S in it")
    return tokens


@cache
def confirming(pattern: str) -> "re2._Regexp[bytes]":
    """Return the compiled RE2 program that decides, on a message's bytes.

    Raises:
        PatternError: RE2 cannot compile the pattern.
    """
    tokens_of(pattern)
    try:
        return re2.compile(pattern.encode("ascii"), latin1())
    except re2.error as error:
        reason = error.args[0]
        raise PatternError(reason.decode() if isinstance(reason, bytes) else str(reason)) from None


def latin1() -> re2.Options:
    """Return RE2's options for patterns on bytes: every byte is a character, and errors are raised, not logged."""
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.never_nl = True
    options.log_errors = False
    return options


def _plain(token: str) -> str:
    """Return what nominates a token in text as it is."""
    if token.startswith("(?P<"):
        return "(?:"
    if token.startswith("["):
        inside = token.removeprefix("[").removeprefix("^")[:-1].replace(r"\s", _SPACE)
        return rf"[^\r\n{inside}]" if token.startswith("[^") else f"[{inside}]"
    return _PLAIN.get(token, token)


def _escaped(token: str, after: str) -> str:
    """Return what nominates a token inside a JSON string, where one character may be written as several.

    What repeats a class that takes nearly everything takes the characters of an escape one by one.
    """
    if token in _ESCAPED:
        return _ESCAPED[token]
    wide = token in (".", r"\S") or token.startswith("[^")
    if wide and after[:1] in ("*", "+"):
        return _plain(token)
    special = token.startswith("[") and re.search(r'["\\/<>&\t]', token.replace(r"\s", "\t"))
    if wide or special or token in (r"\D", r"\W"):
        return rf"(?:\\u[0-9a-f]{{4}}|\\[tfbrn]|\\?{_plain(token)})"
    return _plain(token)


def _shortened(tokens: list[str]) -> list[str]:
    """Drop anchors, and what a pattern repeats at its ends: a shorter match nominates the same line, and sooner."""
    kept = [token for token in tokens if token not in ZERO_WIDTH]
    while (last := _last_outside_brackets(kept)) > 0 and _QUANTIFIER.fullmatch(kept[last]):
        if kept[last][0] == "+":
            del kept[last]
        elif _optional(kept[last]) and (begin := _atom_begin(kept, last - 1)) > 0 and not _opens(kept[begin - 1]):
            del kept[begin : last + 1]
        else:
            break
    return _without_optional_beginning(kept)


def _without_optional_beginning(tokens: list[str]) -> list[str]:
    """Drop what a pattern may begin with; in a pattern of alternatives on the top level nothing can be dropped."""
    if _splits_at_top(tokens):
        return tokens
    kept = tokens
    while (end := _atom_end(kept)) < len(kept) - 1 and _QUANTIFIER.fullmatch(kept[end]) and _optional(kept[end]):
        kept = kept[end + 1 :]
    if (end := _atom_end(kept)) == 1 and end < len(kept) - 1 and kept[end][0] == "+":
        kept = [kept[0], *kept[2:]]
    return kept


def _optional(quantifier: str) -> bool:
    return quantifier[0] in "*?" or quantifier.startswith("{0")


def _atom_end(tokens: list[str]) -> int:
    """Return the place after a pattern's first atom: a token, or a group up to its closing bracket."""
    depth = 0
    for at, token in enumerate(tokens):
        depth += token.startswith("(") - (token == ")")
        if depth == 0:
            return at + 1
    return len(tokens)


def _atom_begin(tokens: list[str], end: int) -> int:
    """Return the place at which the atom begins that ends at a place: a token, or a group from its opening bracket."""
    depth = 0
    for at in range(end, -1, -1):
        depth += (tokens[at] == ")") - tokens[at].startswith("(")
        if depth == 0:
            return at
    return 0


def _opens(token: str) -> bool:
    return token == "|" or token.startswith("(")


def _splits_at_top(tokens: list[str]) -> bool:
    depth = 0
    for token in tokens:
        depth += token.startswith("(") - (token == ")")
        if token == "|" and depth == 0:
            return True
    return False


def _last_outside_brackets(tokens: list[str]) -> int:
    """Return the place of the last token that is not a closing bracket, -1 where there is none."""
    return next((at for at in range(len(tokens) - 1, -1, -1) if tokens[at] != ")"), -1)
