"""What a scan found, shown to people and to programs. All formats tell one story; none of them reads a log."""

from typing import Final

from relight.reports.cleaning import cleaned
from relight.reports.machine import as_json, as_jsonl
from schemas.incident import ScanReport

__all__ = ["FORMATS", "render"]

FORMATS: Final = ("text", "markdown", "html", "json", "jsonl")
"""The formats that `render` knows."""


def render(report: ScanReport, format: str, *, width: int = 100, colour: bool = False, unicode: bool = True) -> str:  # noqa: A002
    """Return a report in one of `FORMATS`, ending in a line end.

    Args:
        report: What the scan found. Its strings are masked and stripped of terminal escapes here once more.
        format: One of `FORMATS`.
        width: Columns of the terminal, for `text`.
        colour: Whether `text` may hold colour escapes.
        unicode: Whether `text` may hold other characters than ASCII.

    Raises:
        ValueError: The format is not known.
    """
    clean = cleaned(report)
    match format:
        case "json":
            return as_json(clean)
        case "jsonl":
            return as_jsonl(clean)
        case "text" | "markdown" | "html":
            return _for_people(clean, format, width, colour=colour, unicode=unicode)
    raise ValueError(f"{format!r} is not a format of reports; there are {', '.join(FORMATS)}")


def _for_people(report: ScanReport, name: str, width: int, *, colour: bool, unicode: bool) -> str:
    """Return a report in a format for people. What these need takes as long to import as a small log to scan."""
    from relight.reports.html import as_html
    from relight.reports.markdown import as_markdown
    from relight.reports.story import told
    from relight.reports.text import as_text

    story = told(report)
    if name == "text":
        return as_text(story, width=width, colour=colour, unicode=unicode)
    return as_markdown(story) if name == "markdown" else as_html(story)
