"""HTML pages about incidents: no request leaves them, no script runs in them, and they print."""

import base64
import hashlib
from functools import cache
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from relight import __version__
from relight.incidents.times import iso, stamp
from relight.reports.markdown import code, fence, prose
from relight.reports.phrases import counted, number


def page(template: str, **values: object) -> str:
    """Return a page of its own whose content policy allows its one style sheet and nothing else."""
    style = _style()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"
    own = {"style": Markup(style), "policy": policy, "version": __version__}  # noqa: S704  # our own file, not input
    return _environment(html=True).get_template(template).render(**own, **values)


def text(template: str, **values: object) -> str:
    """Return a document in Markdown."""
    return _environment(html=False).get_template(template).render(md=prose, code=code, fence=fence, **values)


@cache
def _environment(*, html: bool) -> Environment:
    """Return the environment of the HTML templates, where every value is escaped, or of those of Markdown."""
    own = Environment(
        loader=PackageLoader("relight.incidents", "templates"),
        autoescape=html,  # noqa: S701  # Markdown has filters of its own
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    own.globals |= {"stamp": stamp, "iso": iso, "counted": counted, "number": number}
    return own


@cache
def _style() -> str:
    """Return the style of the reports, and after it what only these pages need."""
    reports = resources.files("relight.reports").joinpath("templates/report.css").read_text(encoding="utf-8")
    return reports + resources.files("relight.incidents").joinpath("templates/incidents.css").read_text(
        encoding="utf-8"
    )
