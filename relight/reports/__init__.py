"""What a scan found, shown to people and to programs. All formats tell one story; none of them reads a log."""

from typing import Final

from relight.reports.cleaning import cleaned
from relight.reports.html import as_html
from relight.reports.machine import as_json, as_jsonl
from relight.reports.markdown import as_markdown
from relight.reports.story import told
from relight.reports.text import as_text
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
        case "text":
            return as_text(told(clean), width=width, colour=colour, unicode=unicode)
        case "markdown":
            return as_markdown(told(clean))
        case "html":
            return as_html(told(clean))
        case "json":
            return as_json(clean)
        case "jsonl":
            return as_jsonl(clean)
    raise ValueError(f"{format!r} is not a format of reports; there are {', '.join(FORMATS)}")
