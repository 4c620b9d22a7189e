"""What a cell of CSV may hold: a spreadsheet takes some texts for formulas, and runs them."""

from typing import Final

_FORMULA: Final = ("=", "+", "-", "@")


def harmless(cell: object) -> object:
    """Return a cell that is no formula: a text that begins like one gets an apostrophe before it."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell
