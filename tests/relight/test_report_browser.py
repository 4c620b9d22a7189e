"""The HTML report in a real browser: a silent console, nothing beyond the edge of a phone, both colour schemes."""

import json
import re
import shutil
import subprocess
from html import escape
from pathlib import Path
from typing import Final

import pytest

from relight.reports import render
from tests.relight import sample

CHROMIUM: Final = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: the page was NOT tried in a browser"),
]

PROBE: Final = """
<iframe id="page" width="{width}" height="900" style="border:0" srcdoc="{page}"></iframe>
<pre id="seen"></pre>
<script>
document.getElementById("page").addEventListener("load", event => {{
  const inside = event.target.contentDocument, root = inside.documentElement;
  const wide = [...inside.querySelectorAll("body *")].filter(element => !element.closest(".scroll table"))
    .filter(element => element.getBoundingClientRect().right > {width} + 0.5);
  document.getElementById("seen").textContent = JSON.stringify({{
    scroll: root.scrollWidth, wide: wide.map(element => element.outerHTML.slice(0, 80)),
    ink: inside.defaultView.getComputedStyle(inside.body).color,
    paper: inside.defaultView.getComputedStyle(inside.body).backgroundColor,
    lanes: inside.querySelectorAll(".lane").length}});
}});
</script>
"""
"""The report in a frame, since a headless window cannot be as narrow as a phone. The frame's own policy holds."""


def browse(page: Path, profile: Path, *options: str) -> tuple[str, list[str]]:
    """Return the document after the page ran, and what its console said."""
    assert CHROMIUM
    flags = "--headless --no-sandbox --disable-gpu --disable-background-networking --disable-component-update "
    flags += "--disable-sync --no-first-run --enable-logging=stderr --v=0 --hide-scrollbars --dump-dom"
    done = subprocess.run(
        [CHROMIUM, *flags.split(), f"--user-data-dir={profile}", *options, page.as_uri()],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout, re.findall(r"^.*:CONSOLE.*$", done.stderr, flags=re.MULTILINE)


def framed(directory: Path, width: int) -> Path:
    """Write the sample's report into a page of its own that looks at it, and return that page's path."""
    path = directory / "framed.html"
    path.write_text(PROBE.format(width=width, page=escape(render(sample.full(), "html"))), encoding="utf-8")
    return path


def seen(document: str) -> dict[str, object]:
    """Return what the probe wrote down."""
    match = re.search(r'<pre id="seen">(.+?)</pre>', document, flags=re.DOTALL)
    assert match, "the probe did not run"
    return dict(json.loads(match[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")))


def test_the_page_opens_without_a_word_in_the_console(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text(render(sample.full(), "html"), encoding="utf-8")
    document, console = browse(page, tmp_path / "profile")
    assert console == []
    assert "run pretrain failed</h1>" in document


def test_a_broken_policy_would_be_heard(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    broken = render(sample.single(), "html").replace("</body>", '<p style="color:red">styled in place</p></body>')
    page.write_text(broken, encoding="utf-8")
    _, console = browse(page, tmp_path / "profile")
    assert any("Content Security Policy" in line for line in console)


@pytest.mark.parametrize("width", [390, 1400])
def test_nothing_reaches_beyond_the_edge(tmp_path: Path, width: int) -> None:
    document, console = browse(framed(tmp_path, width), tmp_path / "profile", "--window-size=1500,1000")
    found = seen(document)
    assert found["wide"] == []
    assert found["scroll"] == width
    assert found["lanes"] == 24 + 8 + 8
    assert console == []


@pytest.mark.parametrize(("scheme", "darker"), [(0, "paper"), (1, "ink")])
def test_the_page_follows_the_colour_scheme_of_the_reader(tmp_path: Path, scheme: int, darker: str) -> None:
    options = ("--window-size=1500,1000", f"--blink-settings=preferredColorScheme={scheme}")
    found = seen(browse(framed(tmp_path, 390), tmp_path / "profile", *options)[0])
    light = {name: luminance(str(found[name])) for name in ("ink", "paper")}
    assert min(light, key=lambda name: light[name]) == darker
    assert (max(light.values()) + 0.05) / (min(light.values()) + 0.05) > 12


def luminance(colour: str) -> float:
    """Return the relative luminance of `rgb(r, g, b)` as WCAG 2 defines it."""
    parts = [int(value) / 255 for value in re.findall(r"\d+", colour)[:3]]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
