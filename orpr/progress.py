"""Progress bars with time left, for everything that takes longer than a second; silent where nobody looks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

ERRORS = Console(stderr=True, highlight=False, soft_wrap=True)

Report = Callable[[str, int, int, str], None]  # (stage, done, total, note)


@contextmanager
def progress_bars() -> Iterator[Report]:
    """A bar for each stage that reports itself; on stderr, so that stdout stays clean."""
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
