"""For how long a log line is kept: the same rule in every store. Deleting is the stores' own."""

from typing import Final

from schemas.record import LogRecord

DAY_MS: Final = 86_400_000


def at_ms(line: LogRecord) -> int:
    """Return when a line was written, as far as is known (Unix, milliseconds)."""
    return line.observed_ms if line.time_ms is None else line.time_ms


def counted_ms(line: LogRecord, kept_days: int) -> int:
    """Return the time from which on the days are counted for which a line is kept (Unix, milliseconds): its own.

    A time that cannot be (more than a day after it was read, or so long before that the line would be gone already)
    counts for nothing: with it a damaged clock or a hostile line would be kept for ever, or never. Then it is the time
    when the line was read.
    """
    time_ms = at_ms(line)
    return time_ms if -kept_days * DAY_MS <= time_ms - line.observed_ms <= DAY_MS else line.observed_ms
