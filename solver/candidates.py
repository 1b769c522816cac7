"""Stock and loss tables: what every candidate number of inventory days would have cost each series.

Section 3.3.1 and Algorithm 2 of the ORPR paper: replay real demand under each candidate, value the stock at cost and
the lost sales at price. Where an item has no price or cost, its holding and lost-sale costs take their place.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from simulator.ordering import ORDER_UP_TO, OrderRules
from simulator.panel import F64, Panel
from simulator.rates import Rates
from simulator.rollout import World, replay_world
from simulator.sweep import sweep


class CandidateTables(NamedTuple):
    """Everything the labeler decides on; arrays are (N, V) over `days` (V,)."""

    days: F64  # inventory days
    stock_value: F64  # currency x periods, the objective's coefficients
    loss_value: F64  # currency, the constraint's coefficients
    stock_units: F64  # unit-periods
    stockout_periods: F64  # periods with lost demand
    total_cost: F64  # currency: holding plus lost sales
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
    world = replay_world(panel, periods, rules) if world is None else world
    table = sweep(world, replayed_rates(rates, periods), days, ordering_mode)
    items = panel.items
    cost = np.where(np.isnan(items.unit_cost), items.holding_cost_per_day, items.unit_cost)[:, None]
    price = np.where(np.isnan(items.unit_price), items.lost_sale_cost, items.unit_price)[:, None]
    held = items.holding_cost_per_day[:, None] * panel.period_days
    demand = world.demand.sum(axis=1)
    return CandidateTables(
        days=days,
        stock_value=cost * table.stock,
        loss_value=price * table.lost_sales,
        stock_units=table.stock,
        stockout_periods=table.stockout_periods,
        total_cost=held * table.stock + items.lost_sale_cost[:, None] * table.lost_sales,
        demand_units=demand,
        sale_value=price[:, 0] * demand,
        periods=len(periods),
    )
