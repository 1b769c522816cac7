"""Candidate tables to label: whole numbers small enough to enumerate, and markets that look like a chain of shops."""

from __future__ import annotations

import numpy as np

from simulator.ordering import rules_of
from simulator.panel import I64, Strings
from simulator.rates import panel_rates
from solver.candidates import CandidateTables, candidate_tables
from solver.constraints import Family, category_in_stock_rate, location_capacity
from tests.panels import make_panel


def random_tables(rng: np.random.Generator, series: int, candidates: int) -> CandidateTables:
    """More days: more stock, less lost. Whole numbers, so that ties happen."""
    shape = (series, candidates)
    stock = np.sort(rng.integers(0, 12, shape), axis=1) * 1.0
    loss = np.sort(rng.integers(0, 9, shape), axis=1)[:, ::-1] * 1.0
    empty = np.sort(rng.integers(0, 6, shape), axis=1)[:, ::-1] * 1.0
    demand = rng.integers(1, 9, series) * 1.0
    return CandidateTables(
        days=np.arange(candidates) * 1.0, stock_value=stock * rng.integers(1, 4, (series, 1)), loss_value=loss,
        stock_units=stock, stockout_periods=empty, total_cost=stock + loss, demand_units=demand,
        sale_value=loss[:, 0] + demand, periods=5,
    )  # fmt: skip


def market_tables(
    rng: np.random.Generator, series: int, candidates: int, periods: int = 90
) -> tuple[CandidateTables, Strings, Strings]:
    """Tables of a drawn market, with each series' location and category.

    Rates are lognormal, demand around them is negative binomial, lead times are 1 to 14 days, reviews every 1 to 7.

    Args:
        rng: draws everything.
        series: N.
        candidates: whole days from 1.
        periods: length of the replayed window, after 28 periods of history.
    """
    rate, burst = rng.lognormal(0.5, 1.3, series), 0.3 + rng.gamma(2.0, 1.0, series)
    sold = rng.poisson(rng.gamma(burst[:, None], (rate / burst)[:, None], (series, 28 + periods)))
    cost = rng.lognormal(2.0, 0.8, series)
    items = {
        "unit_cost": cost, "unit_price": cost * rng.uniform(1.1, 1.8, series), "lost_sale_cost": 0.4 * cost,
        "holding_cost_per_day": 0.001 * cost, "lead_time_days": rng.integers(1, 15, series),
        "review_period_days": rng.integers(1, 8, series), "order_multiple": rng.choice([1, 1, 1, 6, 12], series),
        "location_id": [f"DC {n}" for n in rng.integers(0, 13, series)],
        "category": [f"category {n}" for n in rng.integers(0, 12, series)],
    }  # fmt: skip
    panel = make_panel(sold, items=items, quantity="discrete")
    window, days = range(28, 28 + periods), np.arange(1.0, candidates + 1)
    tables = candidate_tables(panel, panel_rates(panel), window, days, rules_of(panel))
    return tables, panel.items.location_id, panel.items.category


def planners_bounds(
    rng: np.random.Generator, tables: CandidateTables, location: Strings, category: Strings, choice: I64
) -> list[Family]:
    """Capacity of every location and in-stock rate of every category, some tighter than a choice has them, some looser."""
    rows = np.arange(len(choice))
    stock, empty = tables.stock_units[rows, choice], tables.stockout_periods[rows, choice]
    capacity = {
        name: float(stock[location == name].sum() / tables.periods * rng.uniform(0.95, 1.1))
        for name in sorted(set(location))
    }
    in_stock_rate = {
        name: float(1 - empty[category == name].mean() / tables.periods * rng.uniform(0.95, 1.1))
        for name in sorted(set(category))
    }
    return [location_capacity(tables, location, capacity), category_in_stock_rate(tables, category, in_stock_rate)]
