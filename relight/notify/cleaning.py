"""The gate for text from outside: no escapes, no control characters, no secrets, and never longer than said."""

from typing import Final

from ingest.redaction import shown

OUTPUT_CHARACTERS: Final = 8000
"""As much of an action's output is kept, counted from its end."""


def line(text: str, most: int) -> str:
    """Return a text as one line of at most so many characters; what is cut ends in `…`."""
    clean = " ".join(shown(text).split())
    return clean if len(clean) <= most else clean[: most - 1].rstrip() + "…"


def ending(text: str) -> str:
    """Return the end of what was printed, line by line."""
    lines = text[-4 * OUTPUT_CHARACTERS :].splitlines()
    return "\n".join(shown(each).rstrip() for each in lines).strip("\n")[-OUTPUT_CHARACTERS:]
