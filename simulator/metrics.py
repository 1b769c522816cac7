"""What a replay is judged by, and how sure one may be of it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from simulator.panel import F64, I64, Bools, Items
from simulator.rollout import Trajectory

LEAST_LOST = 1e-6  # units; less is what float arithmetic leaves, not a stock-out


class UnitTotals(NamedTuple):
    """Sums over the replayed window; arrays are (N,)."""

    stock: F64  # unit-periods: stock left at the periods' ends
    lost_sales: F64  # units
    stockout_periods: F64
    wasted: F64  # units
    demand: F64  # units
    periods: int | I64  # of each series where they differ


class SeriesTotals(NamedTuple):
    """Totals of each series over the replayed window; all (N,)."""

    holding_cost: F64  # currency
    stockout_cost: F64  # currency
    waste_cost: F64  # currency
    mean_stock: F64  # units
    mean_daily_demand: F64  # units a day
    demand: F64  # units
    sales: F64  # units
    stockout_periods: F64
    periods: F64

    @property
    def total_cost(self) -> F64:
        """(N,) currency."""
        return self.holding_cost + self.stockout_cost + self.waste_cost


class Metrics(NamedTuple):
    """One row of a results table."""

    turnover_days: float  # mean stock over mean daily demand
    in_stock_rate: float  # share of series and periods without a lost sale
    fill_rate: float  # sales over demand
    holding_cost: float  # currency
    stockout_cost: float  # currency
    waste_cost: float  # currency
    total_cost: float  # currency


def waste_cost(items: Items) -> F64:
    """(N,) what a perished unit costs: its purchase cost, or its lost-sale cost where that is unknown."""
    return np.where(np.isnan(items.unit_cost), items.lost_sale_cost, items.unit_cost)


def unit_totals(trajectory: Trajectory) -> UnitTotals:
    """The sums over the periods of what happened."""
    lost = trajectory.lost_sales
    return UnitTotals(
        stock=trajectory.on_hand.sum(axis=1),
        lost_sales=lost.sum(axis=1),
        stockout_periods=(lost > LEAST_LOST).sum(axis=1).astype(np.float64),
        wasted=trajectory.wasted.sum(axis=1),
        demand=(trajectory.sales + lost).sum(axis=1),
        periods=lost.shape[1],
    )


def unit_totals_where(trajectory: Trajectory, counted: Bools) -> UnitTotals:
    """The sums over those periods (N, T) alone."""
    part = Trajectory(*(column * counted for column in trajectory))
    return unit_totals(part)._replace(periods=counted.sum(axis=1))


def series_totals(units: UnitTotals, items: Items, period_days: int) -> SeriesTotals:
    """Costs and service of each series. Stock left at a period's end is held for its days."""
    return SeriesTotals(
        holding_cost=units.stock * items.holding_cost_per_day * period_days,
        stockout_cost=units.lost_sales * items.lost_sale_cost,
        waste_cost=units.wasted * waste_cost(items),
        mean_stock=units.stock / units.periods,
        mean_daily_demand=units.demand / (units.periods * period_days),
        demand=units.demand,
        sales=units.demand - units.lost_sales,
        stockout_periods=units.stockout_periods,
        periods=np.broadcast_to(np.asarray(units.periods, dtype=np.float64), len(items)),
    )


def summarise(totals: SeriesTotals) -> Metrics:
    """The table row of all series together."""
    demand = max(float(totals.demand.sum()), 1e-12)
    return Metrics(
        turnover_days=float(totals.mean_stock.sum() / max(totals.mean_daily_demand.sum(), 1e-12)),
        in_stock_rate=1.0 - float(totals.stockout_periods.sum() / totals.periods.sum()),
        fill_rate=float(totals.sales.sum()) / demand,
        holding_cost=float(totals.holding_cost.sum()),
        stockout_cost=float(totals.stockout_cost.sum()),
        waste_cost=float(totals.waste_cost.sum()),
        total_cost=float(totals.total_cost.sum()),
    )


def paired_ratio(
    cost: F64, reference: F64, rng: np.random.Generator, resamples: int = 2000
) -> tuple[float, float, float]:
    """Total cost against a reference method, with a paired bootstrap interval over series.

    Args:
        cost, reference: (N,) cost of the same series under two methods.
        rng: source of the resamples.
        resamples: how many.

    Returns:
        Ratio of the sums, and the 2.5 % and 97.5 % points of the resampled ratio.
    """
    drawn = rng.integers(0, len(cost), size=(resamples, len(cost)))
    ratios = cost[drawn].sum(axis=1) / np.maximum(reference[drawn].sum(axis=1), 1e-12)
    low, high = np.quantile(ratios, [0.025, 0.975])
    return float(cost.sum() / max(reference.sum(), 1e-12)), float(low), float(high)
