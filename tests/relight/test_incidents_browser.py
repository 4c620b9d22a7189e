"""Pages about incidents in a real browser: a silent console, nothing beyond a phone's edge, both colour schemes."""

from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Final

import pytest

from relight.incidents import figures, formats, reporting
from relight.incidents.account import account_of
from relight.incidents.stats import stats_of
from relight.stores.embedded import EmbeddedStore
from relight.stores.port import Query
from tests.relight import incident_stories as stories
from tests.relight.test_report_browser import CHROMIUM, PROBE, browse, luminance, seen

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: the pages were NOT tried in a browser"),
]

TOLD: Final = (stories.lost_gpu(), stories.vast(), stories.hostile(), stories.undiagnosed(), stories.merged())
NOW_MS: Final = round(stories.FELL.timestamp() * 1000) + 86_400_000


def report(directory: Path) -> str:
    """Return a report of all stories, with log lines that have no end."""
    del directory
    accounts = [account_of(stories.folded(f"incident{n}", told)) for n, told in enumerate(TOLD)]
    return reporting.as_html(accounts, "a store", ["x" * 3000, "<script>alert(1)</script>"])


def listed(directory: Path) -> str:
    """Return a list of all stories and some more."""
    del directory
    documents = [*(stories.folded(f"incident{n}", told) for n, told in enumerate(TOLD)), *stories.fleet(30)]
    return "".join(formats.as_html(documents, "a store", 500))


def counted(directory: Path) -> str:
    """Return the figures of many incidents."""
    with EmbeddedStore(directory / "relight.db", durable=False) as store:
        told = [stories.folded(f"incident{n}", one) for n, one in enumerate(TOLD)]
        stories.fill(store, [*told, *stories.fleet(120)])
        return figures.as_html(stats_of(store, Query(), NOW_MS), "a store")


Page = Callable[[Path], str]
each_page = pytest.mark.parametrize("page", [report, listed, counted])


def framed(directory: Path, page: Page, width: int) -> Path:
    """Write a page into one of its own that looks at it, and return that page's path."""
    path = directory / "framed.html"
    path.write_text(PROBE.format(width=width, page=escape(page(directory))), encoding="utf-8")
    return path


@each_page
def test_a_page_opens_without_a_word_in_the_console(tmp_path: Path, page: Page) -> None:
    path = tmp_path / "page.html"
    path.write_text(page(tmp_path), encoding="utf-8")
    document, console = browse(path, tmp_path / "profile")
    assert console == []
    assert "<h1>" in document
    assert "<script" not in document


@each_page
@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_reaches_beyond_the_edge(tmp_path: Path, page: Page, width: int) -> None:
    document, console = browse(framed(tmp_path, page, width), tmp_path / "profile", "--window-size=1500,1000")
    found = seen(document)
    assert found["wide"] == []
    assert found["scroll"] == width
    assert console == []


@each_page
@pytest.mark.parametrize(("scheme", "darker"), [(0, "paper"), (1, "ink")])
def test_a_page_follows_the_colour_scheme_of_the_reader(tmp_path: Path, page: Page, scheme: int, darker: str) -> None:
    options = ("--window-size=1500,1000", f"--blink-settings=preferredColorScheme={scheme}")
    found = seen(browse(framed(tmp_path, page, 390), tmp_path / "profile", *options)[0])
    light = {name: luminance(str(found[name])) for name in ("ink", "paper")}
    assert min(light, key=lambda name: light[name]) == darker
    assert (max(light.values()) + 0.05) / (min(light.values()) + 0.05) > 12


def test_a_page_without_an_incident_is_a_page_as_well(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    with EmbeddedStore(tmp_path / "relight.db", durable=False) as store:
        path.write_text(figures.as_html(stats_of(store, Query(), NOW_MS), "a store"), encoding="utf-8")
    document, console = browse(path, tmp_path / "profile")
    assert console == []
    assert "there is nothing to count" in document


@each_page
def test_a_page_asks_for_nothing_and_runs_nothing(tmp_path: Path, page: Page) -> None:
    text = page(tmp_path)
    assert text.count("default-src 'none'") + text.count("default-src &#39;none&#39;") == 1
    for asked in ("http://", "https://", " src=", "url(", "@import", '<link rel="style', " style="):
        assert asked not in text.replace("<img src=x", "").replace("&lt;img src=x", ""), asked
