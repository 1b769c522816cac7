"""The bare ONNX run in a process of its own: the floor of every answer. `Bare` starts it and asks it.

The graph is run whole, in the chunks and threads that the service has, on rows that are ready in memory; nothing is read,
sent or put into words, and no part of the work was done before. It wakes for the same arrivals as the servers, so that its caches are as cold and the machine is as
busy as theirs, but only the run itself is timed: it is charged neither for waking up nor for waiting in line.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np

from service.bundle import resolve_bundle
from simulator.canonical import read_panel
from simulator.observation import Observer
from simulator.step import State
from tests.benchmarks.service.chain import ON_HAND
from tests.benchmarks.service.whole import WholePolicy


class Bare:
    """The process; a context manager."""

    def __init__(self, data: Path) -> None:
        self._data = data

    def __enter__(self) -> Bare:
        command = [sys.executable, "-m", __name__, str(self._data)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe(self._process.stdin).close()
        self._process.wait(10)
        self._pipe(self._process.stdout).close()

    def run(self, questions: Sequence[Sequence[int]], arrivals: Sequence[float]) -> list[float]:
        """Seconds of each run, one per arrival.

        Args:
            questions: rows of the dataset, taken in turn.
            arrivals: when each run is due, seconds after the start; the next one waits for the one before.

        Raises:
            RuntimeError: where the process has ended.
        """
        asked = self._pipe(self._process.stdin)
        asked.write(json.dumps([[list(rows) for rows in questions], list(arrivals)]) + "\n")
        asked.flush()
        line = self._pipe(self._process.stdout).readline()
        if not line:
            raise RuntimeError("the bare run has ended")
        found: list[float] = json.loads(line)
        return found

    @staticmethod
    def _pipe(pipe: IO[str] | None) -> IO[str]:
        assert pipe is not None
        return pipe


def main(data: Path) -> None:
    """Questions in on stdin, a line each; seconds out on stdout."""
    panel = read_panel(data)
    policy = WholePolicy(resolve_bundle("champion", panel.period_days))
    count, last = panel.series_count, panel.last_recorded
    stock = State(np.full(count, ON_HAND), np.zeros((count, policy.spec.horizon)))
    everything = Observer(panel, policy.spec).observe(np.arange(count), np.full(count, last), stock)
    for line in sys.stdin:
        questions, arrivals = json.loads(line)
        batches = [{name: column[rows] for name, column in everything.items()} for rows in questions]
        policy.answer(batches[0])
        took, began = [], time.perf_counter()
        for n, due in enumerate(arrivals):
            time.sleep(max(0.0, began + due - time.perf_counter()))
            started = time.perf_counter()
            policy.answer(batches[n % len(batches)])
            took.append(time.perf_counter() - started)
        sys.stdout.write(json.dumps(took) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
