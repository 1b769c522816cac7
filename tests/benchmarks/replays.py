"""The replay that all contestants do, and two of them: a plain NumPy loop and a plain Python loop.

Clock of the project: receive, sell, lose the rest, count, order up to the target; the order arrives at the start of
the period `lead_time` later. Nothing here uses our simulator.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from simulator.panel import F64, I64, Bools


@dataclass(frozen=True)
class Replay:
    """Lost-sales series under one base-stock rule, all in whole units, full shelves and nothing on order at first."""

    demand: F64  # (N, T) units
    lead_time: I64  # (N,) periods
    target_stock: F64  # (N,) units; also the opening stock

    @property
    def series_count(self) -> int:
        return len(self.demand)

    @property
    def steps(self) -> int:
        """SKU-periods."""
        return self.demand.size

    @cached_property
    def all_series(self) -> I64:
        return np.arange(self.series_count)

    @cached_property
    def demand_by_period(self) -> F64:
        """(T, N), so that a loop over periods reads memory in order."""
        return np.ascontiguousarray(self.demand.T)

    def first(self, count: int) -> Replay:
        """The first series only."""
        return Replay(self.demand[:count], self.lead_time[:count], self.target_stock[:count])


class Totals(NamedTuple):
    """What a replay comes to; all (M,)."""

    series: I64  # which series the row is about
    held: F64  # unit-periods left at the periods' ends
    lost_sales: F64  # units


def random_replay(series: int, periods: int) -> Replay:
    """Poisson demand with mean 5, lead times 1 to 9, targets that lose a few per cent of the demand."""
    rng = np.random.default_rng(0)
    lead_time = rng.integers(1, 10, series)
    return Replay(rng.poisson(5, (series, periods)).astype(np.float64), lead_time, 5.0 * (lead_time + 1))


def plain_numpy(demand: F64, lead_time: I64, target: F64, opening: F64, due: Bools | None = None) -> tuple[F64, F64]:
    """All series at once, period by period; unit-periods held and units lost.

    Args:
        demand: (T, N) or (T, N, 1) units, as `target` has axes.
        lead_time: (N,) periods.
        target: (N,) or, for several candidates, (N, V) units.
        opening: as target, units on hand at first.
        due: as demand, where reviews are not in every period.
    """
    on_hand, on_order = np.array(opening), np.zeros(target.shape)
    held, lost = np.zeros(target.shape), np.zeros(target.shape)
    slots, rows = int(lead_time.max()) + 1, np.arange(len(target))
    pipeline = np.zeros((slots, *target.shape))
    for t, wanted in enumerate(demand):
        arriving = pipeline[t % slots]
        on_hand += arriving
        on_order -= arriving
        arriving[:] = 0
        sales = np.minimum(on_hand, wanted)
        on_hand -= sales
        lost += wanted - sales
        held += on_hand
        order = np.maximum(target - on_hand - on_order, 0)
        if due is not None:
            order *= due[t]
        pipeline[(t + lead_time) % slots, rows] += order
        on_order += order
    return held, lost


def python_loop(replay: Replay) -> Totals:
    """One series after the other, one period after the other, no arrays."""
    held, lost = [], []
    for demand, lead, target in zip(
        replay.demand.tolist(), replay.lead_time.tolist(), replay.target_stock.tolist(), strict=True
    ):
        on_hand, on_order, series_held, series_lost = target, 0.0, 0.0, 0.0
        pipeline = deque([0.0] * lead)
        for wanted in demand:
            arriving = pipeline.popleft()
            on_hand += arriving
            on_order -= arriving
            sales = min(on_hand, wanted)
            on_hand -= sales
            series_lost += wanted - sales
            series_held += on_hand
            order = max(target - on_hand - on_order, 0.0)
            pipeline.append(order)
            on_order += order
        held.append(series_held)
        lost.append(series_lost)
    return Totals(replay.all_series, np.array(held), np.array(lost))
