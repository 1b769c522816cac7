"""How fast it is: `python -m tests.benchmarks.speed FOLDER` measures side by side and writes speed.json, .md and .png.

`--quick` does a little of everything once, to see that it still runs; its numbers say nothing.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from orpr.progress import progress_bars
from tests.benchmarks import labels
from tests.benchmarks.decisions import decisions
from tests.benchmarks.rows import machine, write
from tests.benchmarks.simulation import FULL, QUICK, simulation

REPEATS = 7
LABEL_REPEATS = 3  # HiGHS alone takes its time


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the results go")
    parser.add_argument("--quick", action="store_true", help="only see that everything runs")
    asked = parser.parse_args(arguments)
    repeats = 1 if asked.quick else REPEATS
    where = machine()
    with progress_bars() as report:
        rows = [
            *simulation(QUICK if asked.quick else FULL, repeats, report),
            *labels.labels(labels.QUICK if asked.quick else labels.FULL, min(repeats, LABEL_REPEATS), report),
            *decisions(repeats if asked.quick else 3 * repeats, report),
        ]
    paths = write(rows, where, repeats, asked.folder)
    sys.stdout.write(paths[1].read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
