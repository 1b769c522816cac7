"""What a network said lately, by what it saw: a question that was answered a moment ago needs no second run.

An ERP asks again when it did not hear, planners look at the same series under one override after another. The key is a digest of
everything that goes into the network, so nothing ever has to be forgotten because it has become wrong.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

from simulator.panel import F32


class Said:
    """The latest outputs of a network, one row of bytes a series, oldest out first; safe to share between threads."""

    def __init__(self, shapes: Sequence[tuple[int, ...]], most_rows: int) -> None:
        """Nothing was said yet.

        Args:
            shapes: of each output for one series.
            most_rows: how many series are kept.
        """
        self._shapes, self._most = shapes, most_rows
        self._rows: OrderedDict[bytes, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The row of each key, or None."""
        with self._lock:
            return [self._rows.get(key) for key in keys]

    def keep(self, keys: Sequence[bytes], outputs: Sequence[F32]) -> list[bytes]:
        """Keep outputs (B, ...), in the order of `shapes`; their rows."""
        table = np.concatenate([column.reshape(len(column), -1) for column in outputs], axis=1)
        rows = [row.tobytes() for row in table]
        with self._lock:
            self._rows.update(zip(keys, rows, strict=True))
            while len(self._rows) > self._most:
                self._rows.popitem(last=False)
        return rows

    def outputs(self, rows: Sequence[bytes]) -> list[F32]:
        """The outputs (B, ...) that stand in B rows."""
        table = np.frombuffer(b"".join(rows), dtype=np.float32).reshape(len(rows), -1)
        ends = np.cumsum([int(np.prod(shape, dtype=int)) for shape in self._shapes])
        columns = np.split(table, ends[:-1], axis=1)
        return [column.reshape(len(rows), *shape) for column, shape in zip(columns, self._shapes, strict=True)]
