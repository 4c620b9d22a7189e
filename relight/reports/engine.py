"""Jinja as the reports use it: templates from this package, undefined names are errors, nothing escapes by accident."""

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined


@cache
def environment(*, html: bool) -> Environment:
    """Return the environment of the HTML templates, where every value is escaped, or of those of plain text."""
    return Environment(
        loader=PackageLoader("relight.reports", "templates"),
        autoescape=html,  # noqa: S701  # plain text and Markdown have filters of their own
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
