"""The report for an issue or a chat. Log text stands in code that it cannot break out of; the rest is escaped."""

import re
from typing import Final

from relight.reports.engine import environment
from relight.reports.story import Story

_TICKS: Final = re.compile(r"`+")
_SPECIAL: Final = re.compile(r"[\\`*\[\]|#~$]|(?<![^\W_])_|_(?![^\W_])")
_ENTITIES: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "@": "&#64;"}


def as_markdown(story: Story) -> str:
    """Return the story as Markdown, in the dialect of GitHub."""
    template = environment(html=False).get_template("report.md.j2")
    said = template.render(story=story, md=prose, code=code, fence=fence)
    return re.sub(r"\n{3,}", "\n\n", said).strip("\n") + "\n"


def prose(text: object) -> str:
    """Return a text that Markdown shows as it is: no emphasis, no HTML, no mention of a person, no table cell."""
    escaped = _SPECIAL.sub(lambda match: "\\" + match[0], str(text))
    return "".join(_ENTITIES.get(character, character) for character in escaped)


def code(text: str, *, cell: bool = False) -> str:
    """Return a text as a code span that it cannot end; in a table's `cell` its bars are escaped."""
    if not text:
        return ""
    ticks = "`" * (_longest_run(text) + 1)
    pad = " " if "`" in (text[0], text[-1]) or (text[0] == text[-1] == " " and text.strip()) else ""
    return f"{ticks}{pad}{text.replace('|', chr(92) + '|') if cell else text}{pad}{ticks}"


def fence(text: str) -> str:
    """Return lines as a code block whose fence is longer than any run of backticks in them."""
    ticks = "`" * max(3, _longest_run(text) + 1)
    return f"{ticks}text\n{text}\n{ticks}"


def _longest_run(text: str) -> int:
    return max((len(run) for run in _TICKS.findall(text)), default=0)
