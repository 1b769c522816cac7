"""What a user's own system expected, kept by when it said so, so that a replay reads only what had been said by then."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

LONGEST = 91  # periods that are kept of one forecast: no policy looks further ahead


class Forecasts(NamedTuple):
    """M forecasts, ordered by series, then by when they were made."""

    series: NDArray[np.int64]  # (M,) row of the panel
    made: NDArray[np.int64]  # (M,) the period at whose end it was known
    units: NDArray[np.float32]  # (M, L) of the periods after it, NaN where it says nothing

    def take(self, rows: NDArray[np.int64]) -> Forecasts:
        """Those of some series, which become 0, 1, …; a row that is taken twice has its forecasts twice."""
        first, stop = np.searchsorted(self.series, rows, "left"), np.searchsorted(self.series, rows, "right")
        count = stop - first
        within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        index = np.repeat(first, count) + within
        return Forecasts(np.repeat(np.arange(len(rows)), count), self.made[index], self.units[index])

    def ahead(self, rows: NDArray[np.int64], periods: NDArray[np.int64], horizon: int) -> NDArray[np.float32]:
        """(B, horizon) units of the periods after `periods` (B,) by the newest forecast known then; NaN without one."""
        answer = np.full((len(rows), horizon), np.nan, dtype=np.float32)
        if not len(self.series):
            return answer
        least = min(int(self.made.min()), int(periods.min(initial=0)))
        span = max(int(self.made.max()), int(periods.max(initial=0))) - least + 1
        newest = np.searchsorted(self.series * span + self.made - least, rows * span + periods - least, "right") - 1
        own = (newest >= 0) & (self.series[np.maximum(newest, 0)] == rows)
        newest, age = newest[own], periods[own] - self.made[newest[own]]
        column = age[:, None] + np.arange(horizon)[None, :]
        inside = column < self.units.shape[1]
        found = self.units[newest[:, None], np.where(inside, column, 0)]
        answer[own] = np.where(inside, found, np.float32(np.nan))
        return answer
