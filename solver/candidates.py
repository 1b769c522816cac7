"""Stock and loss tables: what every candidate number of inventory days would have cost each series.

Section 3.3.1 and Algorithm 2 of the ORPR paper: replay real demand under each candidate, value the stock at cost and
the lost sales at price. Where an item has no price or cost, its holding and lost-sale costs take their place.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from simulator.metrics import waste_cost
from simulator.ordering import ORDER_UP_TO, OrderRules
from simulator.panel import F32, F64, Panel
from simulator.rates import Rates
from simulator.rollout import World, replay_world
from simulator.sweep import Weights, sweep


class CandidateTables(NamedTuple):
    """Everything the labeler decides on; arrays are (N, V) over `days` (V,)."""

    days: F64  # inventory days
    stock_value: F64  # currency x periods, the objective's coefficients
    loss_value: F64  # currency, the constraint's coefficients
    stock_units: F64  # unit-periods
    stockout_periods: F64  # periods with lost demand
    total_cost: F64  # currency: holding, lost sales and waste
    demand_units: F64  # (N,) units
    sale_value: F64  # (N,) currency: demand at price
    periods: int


def replayed_rates(rates: Rates, periods: range) -> F64:
    """(N, T) the daily rates known at the ends of the replayed periods."""
    return rates.daily_rate[:, periods.start : periods.stop]


def candidate_tables(
    panel: Panel, rates: Rates, periods: range, days: F64, rules: OrderRules, ordering_mode: str = ORDER_UP_TO,
    world: World | None = None,
) -> CandidateTables:  # fmt: skip
    """Sweep all candidates over a window from the protocol's opening stock.

    Args:
        panel, rates: the dataset and its daily rates.
        periods: the window replayed.
        days: (V,) candidates.
        rules: order constraints, applied in the replay.
        ordering_mode: `order_up_to` or `fixed`; never mixed with the other downstream.
        world: replaces the window's own demand and opening stock, where a caller has another.
    """
    rate = replayed_rates(rates, periods)
    world = replay_world(panel, periods, rules, daily_rate=rate) if world is None else world
    price, cost = unit_values(panel, periods)
    changing = price.shape[1] > 1 or cost.shape[1] > 1
    shape = world.demand.shape
    weights = Weights(np.broadcast_to(cost, shape), np.broadcast_to(price, shape)) if changing else None
    table = sweep(world, rate, days, ordering_mode, weights=weights)
    items = panel.items
    held = (items.holding_cost_per_day[:, None] * panel.period_days).astype(table.stock.dtype)
    missed, wasted = items.lost_sale_cost[:, None], waste_cost(items)[:, None]
    return CandidateTables(
        days=days,
        stock_value=table.stock_value if changing else cost * table.stock,
        loss_value=table.lost_value if changing else price * table.lost_sales,
        stock_units=table.stock,
        stockout_periods=table.stockout_periods,
        total_cost=held * table.stock + missed * table.lost_sales + wasted * table.wasted,
        demand_units=world.demand.sum(axis=1),
        sale_value=(price * world.demand).sum(axis=1),
        periods=len(periods),
    )


def unit_values(panel: Panel, periods: range) -> tuple[F64, F64]:
    """Selling price and purchase cost per unit, as (N, 1) where they never change and (N, T) where they do.

    A period's own price and cost count where known, the item's otherwise; where an item has neither, its lost-sale and
    holding costs take their place.
    """
    items = panel.items
    price = np.where(np.isnan(items.unit_price), items.lost_sale_cost, items.unit_price)[:, None]
    cost = np.where(np.isnan(items.unit_cost), items.holding_cost_per_day, items.unit_cost)[:, None]
    return _over_time(panel.price, price, periods), _over_time(panel.unit_cost, cost, periods)


def _over_time(known: F32 | None, otherwise: F64, periods: range) -> F64:
    if known is None:
        return otherwise
    window = known[:, periods.start : periods.stop]
    if not np.isfinite(window).any():
        return otherwise
    missing = np.full((len(window), len(periods) - window.shape[1]), np.nan)
    window = np.concatenate([window, missing], axis=1)
    return np.where(np.isfinite(window), window, otherwise)
