"""What is wrong with something that people write for relight, such as a rule or a playbook, and where."""

from typing import ClassVar


class AuthoringError(ValueError):
    """A file cannot be used. The message names file, line, what stands there, and what is wrong with it."""

    noun: ClassVar[str]
    """What is written in such files."""

    def __init__(self, file: str, line: int, what: str, name: str = "") -> None:
        """Join the place and the reason into one line."""
        where = f"{file}:{line}: " + (f"{self.noun} {name}: " if name else "")
        super().__init__(where + what)
