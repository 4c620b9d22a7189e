"""The gate for text from outside: no escapes, no control characters, no secrets, and never longer than said."""

from ingest.redaction import shown
from schemas.command import OUTPUT_CHARACTERS


def line(text: str, most: int) -> str:
    """Return a text as one line of at most so many characters; what is cut ends in `…`."""
    clean = " ".join(shown(text).split())
    return clean if len(clean) <= most else clean[: most - 1].rstrip() + "…"


def ending(text: str) -> str:
    """Return the end of what was printed, line by line."""
    lines = text[-4 * OUTPUT_CHARACTERS :].splitlines()
    return "\n".join(shown(each).rstrip() for each in lines).strip("\n")[-OUTPUT_CHARACTERS:]
