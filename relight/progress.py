"""A progress bar on long work: on a terminal only, on standard error."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from relight.scanning import Advance

LONG_BYTES: Final = 64 * 1024 * 1024
"""What is smaller is scanned before a bar could be read."""


@contextmanager
def progress(total: int, doing: str = "scanning", unit: str = "bytes", long: int = LONG_BYTES) -> Iterator[Advance]:
    """Yield a function that takes how much has been done since its last call. What is less than `long` has no bar."""
    if total < long or not sys.stderr.isatty():
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    counted: tuple[ProgressColumn, ...] = (DownloadColumn(), TransferSpeedColumn())
    if unit != "bytes":
        counted = (MofNCompleteColumn(), TextColumn(unit))
    columns = (TextColumn(doing), BarColumn(), *counted, TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(doing, total=total)
        yield lambda count: bar.advance(task, count)
