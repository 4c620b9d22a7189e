"""Kinds of values that settings have: lists in one string, paths with `~`, and yes, no or where it is possible."""

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator
from pydantic_settings import NoDecode


def state_folder() -> Path:
    """Return where relight keeps what it must not lose: `$XDG_STATE_HOME/relight`, or `~/.local/state/relight`."""
    base = os.environ.get("XDG_STATE_HOME")
    try:
        return (Path(base) if base and Path(base).is_absolute() else Path.home() / ".local/state") / "relight"
    except RuntimeError:  # a user without a home, as in a container with a random user id
        return Path("/var/lib/relight")


def _separated(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_separated)]
"""A list of words; a string is taken apart at its commas."""
File = Annotated[Path, AfterValidator(Path.expanduser)]
"""A path; `~` is the user's home."""
Files = Annotated[tuple[File, ...], NoDecode, BeforeValidator(_separated)]
"""A list of paths; a string is taken apart at its commas."""
Auto = bool | Literal["auto"]
"""Yes, no, or where it is possible."""
