"""A bar for long work: on a terminal, beside the results; in a pipe, nothing at all."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from escrow_monitor.rounds.report import Progress

REFRESH_SECONDS = 0.1
"""The work is not held up by more often telling how far it is than anybody can see."""


@contextmanager
def progress(title: str) -> Iterator[Progress | None]:
    """What long work is to be given: a function that moves a bar on standard error, or None where nobody looks.

    `title` says what is counted. Standard output is left alone unless it is the same terminal: then lines go above it.
    """
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    bar = Bar(
        TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        TimeRemainingColumn(), console=Console(stderr=True), transient=True, redirect_stdout=sys.stdout.isatty(),
    )
    with bar:
        task = bar.add_task(title, total=None)
        told_at = 0.0

        def hear(done: int, total: int | None) -> None:
            nonlocal told_at
            now = time.monotonic()
            if now - told_at >= REFRESH_SECONDS or done in (0, total):
                told_at = now
                bar.update(task, completed=done, total=total)

        yield hear
