"""A progress bar on long scans: on a terminal only, on standard error, after the first half second."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from relight.scanning import Advance

LONG_BYTES: Final = 64 * 1024 * 1024
"""What is smaller is scanned before a bar could be read."""


@contextmanager
def progress(total_bytes: int) -> Iterator[Advance]:
    """Yield a function that takes the number of bytes read since its last call."""
    if total_bytes < LONG_BYTES or not sys.stderr.isatty():
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (TextColumn("scanning"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("scanning", total=total_bytes)
        yield lambda count: bar.advance(task, count)
