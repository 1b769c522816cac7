"""Drawn surges: promotions that sell better than the dataset's own usually do.

Surges are rare, so a policy learns the promotions of most days. Here every series has a lift of its own on top of what its
promotions sold, the same in all of them: who looks at the earlier promotions of a series can tell. How large they are the
dataset says itself: as far above the usual as its own series lie apart.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from simulator.panel import F32, F64, Bools, Panel
from simulator.rates import evidence

LEAST_UNITS = 10.0  # expected in a series' promotions, below which its lift is mostly chance


def surging(panel: Panel, end: int, rng: np.random.Generator) -> Panel:
    """The panel with sales of promoted periods before `end` lifted; whole units where the dataset's are."""
    promoted = np.nan_to_num(panel.promotion) > 0
    lift = np.abs(rng.normal(0.0, lift_spread(panel, end), (panel.series_count, 1)))
    factor = np.where(promoted, np.exp(lift), 1.0)
    factor[:, end:] = 1.0
    sold: F32 = (panel.units_sold * factor).astype(np.float32)
    if panel.quantity == "discrete":
        sold = np.round(sold)
    return replace(panel, name=f"{panel.name}, drawn surges", units_sold=sold, forecasts=None)


def lift_spread(panel: Panel, end: int) -> float:
    """How far series lie apart in what their promotions multiply demand by: a standard deviation of logs.

    Only what was seen before `end` counts. Each series is held against its own other periods and weighs as many units as were
    to be expected; 0 where fewer than two have enough.
    """
    promotion = panel.promotion[:, :end]
    found = evidence(panel.units_sold[:, :end], panel.in_stock[:, :end], promotion, panel.open[:, :end])
    promoted = np.nan_to_num(promotion) > 0
    units, seen = found.seen * found.demand, found.seen
    usual = _inside(units, ~promoted) / np.maximum(_inside(seen, ~promoted), 1e-9)
    expected, sold = usual * _inside(seen, promoted), _inside(units, promoted)
    told = (expected >= LEAST_UNITS) & (sold > 0)
    if told.sum() < 2:
        return 0.0
    lift, weight = np.log(sold[told] / expected[told]), expected[told]
    return float(np.sqrt(np.average((lift - np.average(lift, weights=weight)) ** 2, weights=weight)))


def _inside(values: F32, counted: Bools) -> F64:
    """(N,) sums of the periods that count."""
    return np.asarray((values * counted).sum(axis=1, dtype=np.float64))
