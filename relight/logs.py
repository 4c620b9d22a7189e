"""What relight says of itself: structured lines on standard error, for people on a terminal, else JSON."""

import logging
import re
import sys
from collections.abc import Iterable
from typing import Any, Final, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from ingest.redaction import MASK, masked

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
"""Control characters, and those that hide text or turn it round. JSON escapes them itself."""


def configure(level: str, form: str = "auto", secrets: Iterable[str] = (), stream: TextIO | None = None) -> None:
    """Send what relight logs, and warnings of the libraries that it uses, to standard error.

    Args:
        level: the least that is said: `debug`, `info`, `warning` or `error`.
        form: `json`, `console`, or `auto`: console on a terminal, else JSON.
        secrets: texts that are masked wherever they stand.
        stream: where it goes instead.
    """
    out = stream or sys.stderr
    console = form == "console" or (form == "auto" and out.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _Cleaning(secrets, escape=console),
    ]
    _route(out, shared, _console(out) if console else structlog.processors.JSONRenderer())
    logging.getLogger("relight").setLevel(level.upper())
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def _route(out: TextIO, shared: list[Processor], renderer: Processor) -> None:
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)


def _console(out: TextIO) -> Processor:
    # Tracebacks are text by now. Structlog's own would print variables, and variables hold secrets.
    plain = structlog.dev.plain_traceback
    return structlog.dev.ConsoleRenderer(colors=out.isatty(), exception_formatter=plain)


class _Cleaning:
    r"""Masks secrets in all texts of an event; for a terminal it also shows control characters, as `\x1b`."""

    def __init__(self, secrets: Iterable[str], *, escape: bool) -> None:
        self._secrets = [secret for secret in secrets if secret]
        self._escape = escape

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        return {key: value if key.startswith("_") else self._clean(key, value) for key, value in event.items()}

    def _clean(self, key: str, value: Any) -> Any:
        if isinstance(value, dict):
            return {self._text(str(name)): self._clean(key, inner) for name, inner in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self._clean(key, inner) for inner in value]
        if value is None or isinstance(value, bool | int | float):
            return value
        if key in ("exception", "stack"):  # these have lines
            return "\n".join(map(self._text, str(value).split("\n")))
        return self._text(str(value))

    def _text(self, text: str) -> str:
        text = masked(text)
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], text) if self._escape else text
