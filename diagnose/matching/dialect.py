"""The dialect of patterns: authors write RE2; Hyperscan gets a wider, line-safe pattern that only nominates.

Hyperscan scans a whole chunk, so its pattern must not cross a line end and must accept text that still wears its
prefix and its JSON escapes. google-re2 then decides on the message alone. Every rewriting here may nominate more
lines than the author's pattern accepts, never fewer; a test holds the two engines against each other.
"""

import re
from functools import cache
from typing import Final

import re2

_TOKEN: Final = re.compile(
    r"""\\x[0-9A-Fa-f]{2}|\\.|\[\^?\]?(?:\\.|\[:\w+:\]|[^\]\\])*\]|\(\?P<\w+>|\(\?:|\(\?[a-zA-Z]+\)"""
    r"""|\{\d+(?:,\d*)?\}\??|[*+?]\??|[\^$.()|]|[^\\]""",
    re.DOTALL,
)
_LINE_END: Final = re.compile(r"\\[nrRvXCKQE]|\\x0[aAdD]|[\n\r]")
_QUANTIFIER: Final = re.compile(r"[*+?]\??|\{\d+(?:,\d*)?\}\??")
_SPACE: Final = r" \t\x0b\x0c"
_NOMINATED: Final = {
    ".": r"[^\r\n]",
    "^": "",
    "$": "",
    "(": "(?:",
    r"\s": rf"(?:[{_SPACE}]|\\t)",
    r"\t": r"(?:\t|\\t)",
    r"\S": r"[^\s]",
    r"\D": r"[^\d\r\n]",
    r"\W": r"[^\w\r\n]",
    r"\b": r"(?:\b|\\[nrt])",
    r"\A": "",
    r"\z": "",
    '"': r'\\?"',
    r"\"": r'\\?"',
    r"\\": r"(?:\\\\){1,2}",
    "<": r"(?:<|\\u003c)",
    ">": r"(?:>|\\u003e)",
    "&": r"(?:&|\\u0026)",
    r"\/": r"\\?/",
    "/": r"\\?/",
}


class PatternError(ValueError):
    """A pattern is outside the dialect; the message says which part and what to write instead."""


def nominating(pattern: str) -> str:
    """Return the Hyperscan expression that nominates every line which `pattern` could accept.

    Raises:
        PatternError: the pattern is outside the dialect.
    """
    tokens = tokens_of(pattern)
    flags = [t for t in tokens[:1] if re.fullmatch(r"\(\?[a-zA-Z]+\)", t)]
    return "".join(flags) + "".join(map(_nominate, _shortened(tokens[len(flags) :])))


def tokens_of(pattern: str) -> list[str]:
    """Split a pattern into its tokens, refusing what may not stand in one.

    Raises:
        PatternError: a line end, a character beyond ASCII, or a construct that RE2 does not know.
    """
    if not pattern.isascii():
        raise PatternError("only ASCII may stand in a pattern; write `.` for another character")
    tokens = _TOKEN.findall(pattern)
    for token in tokens:
        if _LINE_END.search(token.replace(r"\\", "")):
            raise PatternError(f"`{token}` can match a line end, and a message is one line")
        if token in (r"\B", r"\Z", r"\G") or re.fullmatch(r"\\[1-9]", token):
            raise PatternError(f"`{token}` is not available in patterns")
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
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.never_nl = True
    options.log_errors = False
    try:
        return re2.compile(pattern.encode("ascii"), options)
    except re2.error as error:
        reason = error.args[0]
        raise PatternError(reason.decode() if isinstance(reason, bytes) else str(reason)) from None


def _nominate(token: str) -> str:
    if token.startswith("(?P<"):
        return "(?:"
    if token.startswith("["):
        return _class(token)
    return _NOMINATED.get(token, token)


def _class(token: str) -> str:
    negated = token.startswith("[^")
    inside = token[2 if negated else 1 : -1].replace(r"\s", _SPACE)
    if negated:
        return rf"[^\r\n{inside}]"
    return rf"(?:\\?[{inside}])" if re.search(r'["/]', inside) else f"[{inside}]"


def _shortened(tokens: list[str]) -> list[str]:
    """Drop what a pattern repeats at its end: each further character would be reported as one more match."""
    kept = [t for t in tokens if t not in ("^", "$", r"\A", r"\z")]
    while (last := _last_outside_brackets(kept)) > 0 and _QUANTIFIER.fullmatch(kept[last]):
        once, optional = kept[last][0] == "+", kept[last][0] in "*?" or kept[last].startswith("{0")
        if once:
            del kept[last]
        elif optional and kept[last - 1] != ")" and last > 1 and kept[last - 2] not in ("|", "(", "(?:"):
            del kept[last - 1 : last + 1]
        else:
            break
    return kept


def _last_outside_brackets(tokens: list[str]) -> int:
    """Return the place of the last token that is not a closing bracket, -1 where there is none."""
    return next((at for at in range(len(tokens) - 1, -1, -1) if tokens[at] != ")"), -1)
