"""The report as one HTML file: no request leaves it, no script runs in it, and it prints."""

import base64
import hashlib
from importlib import resources

from markupsafe import Markup

from relight.reports.engine import environment
from relight.reports.story import Story
from relight.reports.timeline import timeline


def as_html(story: Story) -> str:
    """Return the story as a page of its own whose content policy allows its one style sheet and nothing else."""
    style = resources.files("relight.reports").joinpath("templates/report.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"
    return (
        environment(html=True)
        .get_template("report.html.j2")
        .render(
            story=story,
            timelines=[timeline(failure.lead) for failure in story.failures],
            style=Markup(style),  # noqa: S704  # our own file, not input
            policy=policy,
        )
    )
