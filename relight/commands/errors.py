"""What the command line says when something is wrong: one line for each thing, and exit status 2."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import click

from diagnose.rules import RuleError

MISUSE: Final = 2


class OneLine(click.ClickException):
    """An error that a person can act on: one line each, exit status 2."""

    exit_code = MISUSE

    def show(self, file: Any = None) -> None:
        """Print it to standard error."""
        for line in self.message.splitlines():
            click.echo(f"relight: {line}", err=True)


@contextmanager
def mistakes(*others: type[Exception]) -> Iterator[None]:
    """Turn mistakes in rules and paths, and `others`, into one clear line each."""
    kinds: tuple[type[Exception], ...] = (RuleError, *others)
    try:
        yield
    except kinds as error:
        raise OneLine(str(error)) from None
    except FileNotFoundError as error:
        raise OneLine(f"{error.filename}: no such file or directory" if error.filename else str(error)) from None
    except PermissionError as error:
        raise OneLine(f"{error.filename}: permission denied") from None
