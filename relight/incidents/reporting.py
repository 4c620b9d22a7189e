"""Reports of one or several incidents as documents: HTML and Markdown."""

from collections.abc import Sequence

from relight.incidents.account import Account
from relight.incidents.cleaning import clean
from relight.incidents.pages import page, text


def as_html(accounts: Sequence[Account], place: str, lines: Sequence[str] | None = None) -> str:
    """Return a page; of several incidents an overview comes first. `place` is where they were read from."""
    return page("report.html.j2", accounts=accounts, place=clean(place), lines=lines)


def as_markdown(accounts: Sequence[Account], place: str, lines: Sequence[str] | None = None) -> str:
    """Return the same in the dialect of GitHub, without the drawings."""
    return text("report.md.j2", accounts=accounts, place_read=clean(place), lines=lines)
