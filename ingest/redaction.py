"""What of a log line may be shown: no secrets, no terminal escapes, no more than a screenful.

Patterns are google-re2's, so a hostile line costs linear time. Nothing here knows formats or prefixes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import re2

MASK: Final = "[masked]"
SHOWN_CHARACTERS: Final = 2_000
"""A shown line is never longer than this, its `…` included."""

_READ: Final = 64 * 1024
"""No more than this of a line is looked at, so that two megabytes of escapes cost no second."""

_LOOK_AHEAD: Final = 8_192
"""How far beyond the cut secrets are looked for, so that one that straddles it is masked and not halved."""


_PASSES: Final = 4
"""A mask may end a word, behind which a secret begins that was part of the word before."""


def shown(data: bytes | str) -> str:
    """Return a line as it may be put in front of a person.

    Undecodable bytes become U+FFFD; terminal escapes, control characters, bidi overrides and zero-width characters
    go; tabs and line ends become spaces; secrets are masked; what is longer than `SHOWN_CHARACTERS` ends in `…`.
    """
    head = data[:_READ]
    raw = head if isinstance(head, bytes) else head.encode("utf-8", "replace")
    text = raw.decode("utf-8", "replace").rstrip("\r\n")
    text = _INVISIBLE.sub("", _ESCAPE.sub("", text)) if _INVISIBLE.search(text) else text
    text = _LINE_END.sub(" ", text).expandtabs(4)
    window = text[: SHOWN_CHARACTERS + _LOOK_AHEAD]
    return _cut(masked(window), complete=len(head) == len(data) and len(window) == len(text))


def masked(text: str) -> str:
    """Return a text with every secret in it replaced by `[masked]`; the name of the key before it stays.

    Masking what is masked already changes nothing.
    """
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode()
    if not _HINT.search(text):
        return text
    for _ in range(_PASSES):
        before = text
        for rule in _RULES:
            text = rule.pattern.sub(rule.mask, text)
        if text == before:
            break
    return text


def _cut(text: str, *, complete: bool) -> str:
    if complete and len(text) <= SHOWN_CHARACTERS:
        return text
    end = SHOWN_CHARACTERS - 1
    start = text.rfind(MASK[0], max(0, end - len(MASK)), end)
    if start >= 0 and text.startswith(MASK, start):
        end = start if start + len(MASK) > end else end
    return text[:end] + "…"


_CONTROL = r"\x{00}-\x{08}\x{0e}-\x{1f}\x{7f}-\x{84}\x{86}-\x{9f}"
# Soft hyphen, Arabic letter mark, Mongolian vowel separator, zero-width and bidi characters, byte order mark, tags.
_FORMAT = r"\x{ad}\x{61c}\x{180e}\x{200b}-\x{200f}\x{202a}-\x{202e}\x{2060}-\x{206f}\x{feff}\x{e0000}-\x{e007f}"

_INVISIBLE = re2.compile(f"[{_CONTROL}{_FORMAT}]")
_LINE_END = re2.compile(r"\r\n|[\n\r\x{0b}\x{0c}\x{85}\x{2028}\x{2029}]")
_ESCAPE = re2.compile(
    r"(?:\x1b\[|\x{9b})[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor movements
    r"|(?:\x1b[\]PX^_]|[\x{9d}\x{90}\x{98}\x{9e}\x{9f}])[^\x07\x1b\x{9c}]*(?:\x07|\x1b\\|\x{9c})"  # OSC, DCS and kin
    r"|\x1b[ -/]*[0-~]"  # two-byte escapes, and strings that nothing ends: their text is no secret, so it is shown
)


@dataclass(frozen=True, slots=True)
class _Rule:
    """A pattern of three groups (what is kept, a secret, what is kept) and the judge of whether it is one."""

    pattern: Any
    judge: Callable[[str, str], bool]

    def mask(self, match: Any) -> str:
        whole: str = match.group(0)
        keep, value, tail = match.group(1), match.group(2), match.group(3)
        bare, closing = _unwrapped(value)
        if bare.startswith(MASK) or not self.judge(keep, bare):
            return whole
        return f"{keep}{value[: value.index(bare)]}{MASK}{closing}{tail}"


def _unwrapped(value: str) -> tuple[str, str]:
    """Return a value without the quote before it and the punctuation after it, and that punctuation."""
    inner = value.lstrip("\\\"'")
    if inner.startswith(MASK):
        return inner, ""
    bare = inner.rstrip("\\\"',;)}]>…")
    return bare, inner[len(bare) :]


def _always(keep: str, value: str) -> bool:
    return bool(value)


def _mixed(keep: str, value: str) -> bool:
    """Judge a bare token by its looks: words and hyphenated names have no digits among their letters."""
    return any(c.isdigit() for c in value) and any(c.isalpha() for c in value)


def _authorised(keep: str, value: str) -> bool:
    """Judge what follows `Authorization:`, where prose can follow as well unless a scheme is named."""
    return bool(value) and ((keep.endswith(" ") and _SCHEME.search(keep) is not None) or _mixed(keep, value))


def _assigned(keep: str, value: str) -> bool:
    """Judge `name=value` by its name: a password may be anything, but `token` also names pieces of text."""
    name = keep.lower()
    if not value or _PLACEHOLDER.fullmatch(value) or (_WORKING_DIRECTORY.search(name) and value.startswith("/")):
        return False
    if "token" not in name or "secret" in name or "password" in name:
        return True
    if _NUMBER.fullmatch(value) or _VOCABULARY.search(name):
        return False
    return "=" in name or len(value) >= 20 or (len(value) >= 8 and _mixed(keep, value))


def _argued(keep: str, value: str) -> bool:
    """Judge `--token value`, which prose can hold as well: `the --token option`."""
    return not _PROSE.fullmatch(value) and _assigned(keep + "=", value)


_SCHEME = re2.compile(r"(?i)(bearer|basic|token|digest|negotiate|apikey)\s+$")
_PLACEHOLDER = re2.compile(
    r"(?i)none|null|nil|true|false|unset|undefined|empty|str|string|required|optional|[*.•…-]+|x{3,}|<.*|\$.*|\{.*|\[.*"
    r"|(os|self|args|cfg|config|settings|getpass|getenv)[.(\[].*"
)
_PROSE = re2.compile(r"(?i)a|an|and|are|argument|flag|for|from|in|is|must|not|option|or|parameter|the|to|was|with")
_NUMBER = re2.compile(r"(?i)[-+]?[0-9][0-9_,.]*(e[-+]?[0-9]+)?[a-zµ/%]{0,6}")
_VOCABULARY = re2.compile(
    r"(pad|eos|bos|unk|sep|cls|mask|image|audio|video|stop|special|start|end|first|last|next|per|prefix|suffix|added)"
    r"[_ -]?token"
)
_WORKING_DIRECTORY = re2.compile(r"(^|[^a-z])(old)?pwd[^a-z]")

_HINT = re2.compile(
    r"(?i)pass|pwd|secret|token|key|authorization|bearer|basic|://|sig|cookie|eyJ|munge|login|webhook"
    r"|AKIA|ASIA|ABIA|ACCA|hf_|sk-|gh[pousr]_|github_pat_|glpat-|xox|xapp-|ya29|npm_|r8_|pypi-|nvapi-|wandb_|dop_v1_"
)
_NAME = (
    r"(?:password|passwd|passphrase|pwd|secret|token"
    r"|(?:api|access|account|signing|private|encryption|shared|client)[_-]?key)(?:[_-]?access)?(?:[_-]?key)?[0-9]*"
)
_QUOTED = r"""\\*"[^"]*"?|\\*'[^']*'?"""


def _rule(pattern: str, judge: Callable[[str, str], bool] = _always) -> _Rule:
    return _Rule(re2.compile(pattern), judge)


_RULES: Final = (
    _rule(
        r"(?s)()(-----BEGIN [A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----|\z))()"
    ),
    _rule(r"()\b(MUNGE:[A-Za-z0-9+/=]{16,}:?)()"),
    _rule(r"()\b(eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)*)()"),
    _rule(r"()\b((?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16,}|AIza[A-Za-z0-9_-]{30,}|ya29\.[A-Za-z0-9_-]{20,})()"),
    _rule(r"()\b((?:hf_|gh[pousr]_|npm_|r8_|dop_v1_)[A-Za-z0-9]{16,}|(?:github_pat_|wandb_v1_)[A-Za-z0-9_]{16,})()"),
    _rule(r"()\b((?:sk|nvapi|glpat|pypi|xapp|xox[abeoprs])-[A-Za-z0-9_-]{16,})()", _mixed),
    _rule(
        r"""(?i)(hooks\.slack\.com/[a-z]+/|discord(?:app)?\.com/api/webhooks/|webhook\.office\.com/)([^\s"'<>]+)()"""
    ),
    _rule(r"""(?i)\b([a-z][a-z0-9+.-]*://[^\s/:@"']*:)([^\s/"']+)(@)"""),
    _rule(r"(?i)\b(https?://)([a-z0-9_-]{20,})(@)", _mixed),
    _rule(
        r"""(?i)([?&](?:sig|signature|(?:x-(?:amz|goog)-)?(?:signature|credential|security-token))=)([^\s&"'<>]+)()"""
    ),
    _rule(r"""(?i)(\bsignature=)([a-z0-9+/=%_-]{16,})()""", _mixed),
    _rule(r"""(?i)(\bcookie\\*["']?\s*[:=]\s*)([^\r\n"']+)()"""),
    _rule(
        r"""(?i)(authorization\\*["']?\s*[:=]\s*\\*["']?(?:(?:bearer|basic|token|digest|negotiate|apikey)\s+)?)"""
        r"""([^\s"',;]+)()""",
        _authorised,
    ),
    _rule(r"(?i)(\b(?:bearer|basic)\s+)([a-z0-9._~+/=-]{12,})()", _mixed),
    _rule(r"(?i)((?:api[_ -]?key|wandb login|token)\W{0,4}(?:is\s+)?)([0-9a-f]{40,})()"),
    _rule(rf"""(?i)(--?(?:[a-z0-9]+[_-])*{_NAME}\s+)({_QUOTED}|[^\s"'-][^\s"']*)()""", _argued),
    _rule(rf"""(?i)([a-z0-9_.-]*{_NAME}\\*["']?\s*(?:=>|:=|==?|:)\s*)({_QUOTED}|[^\s"'&;]+)()""", _assigned),
)
