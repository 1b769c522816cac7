"""Progress bars with time left, for everything that takes longer than a second; plain lines where no terminal is."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

ERRORS = Console(stderr=True, highlight=False, soft_wrap=True)
SCREEN = Console(highlight=False, width=None if sys.stdout.isatty() else 170)
QUIET_S = 10.0  # without a terminal, a line this often


class Report(Protocol):
    """Where a job tells how far it is."""

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None: ...


@contextmanager
def progress_bars() -> Iterator[Report]:
    """A bar for each stage that reports itself, or now and then a line where no terminal is; on stderr."""
    if not ERRORS.is_terminal:
        yield _Lines().report
        return
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        TextColumn("left"), TimeRemainingColumn(), TextColumn("{task.fields[note]}"),
    )  # fmt: skip
    with Progress(*columns, console=ERRORS, redirect_stdout=False) as bars:
        tasks: dict[str, int] = {}

        def report(stage: str, done: int, total: int, note: str = "") -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total, note=note)
            bars.update(tasks[stage], completed=done, total=total, note=note)  # type: ignore[arg-type]

        yield report


class _Lines:
    """Progress for log files: stage, done of total, time left."""

    def __init__(self) -> None:
        self._began: dict[str, float] = {}
        self._last = time.monotonic()

    def report(self, stage: str, done: int, total: int, note: str = "") -> None:
        now = time.monotonic()
        began = self._began.setdefault(stage, now)
        if now - self._last < QUIET_S:
            return
        self._last = now
        left = (now - began) / max(done, 1) * (total - done)
        ERRORS.print(f"{stage}: {done}/{total}, {left:.0f} s left {note}".rstrip(), markup=False)
