"""The bounds that couple series: one builder a family, each with its inequality.

A family is data, so that the PuLP model and the Lagrangian dual read the same numbers. This module knows tables and
bounds; it does not know how anything is solved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from simulator.panel import F32, F64, I64, Strings
from solver.candidates import CandidateTables

LEAST = 1e-12  # keeps a quotient finite where nothing was wanted


class Family(NamedTuple):
    """For every row m: the sum over its series i of coefficients[i, v_i] is at most bounds[m].

    `v_i` is the candidate chosen for series i. A series stands in one row of a family or in none.
    """

    name: str
    coefficients: F32 | F64  # (N, V)
    rows: I64  # (N,) row of each series, -1 for none
    bounds: F64  # (M,)
    row_names: tuple[str, ...]  # (M,)
    at_least: bool = False  # both sides are the negatives of what a planner calls them

    def label(self, row: int) -> str:
        """`family[row]`, the name that models and messages use."""
        return f"{self.name}[{self.row_names[row]}]"


def check_families(shape: tuple[int, int], families: Sequence[Family]) -> None:
    """Refuse families that do not fit the tables or each other.

    Raises:
        ValueError: naming the family.
    """
    names = [family.name for family in families]
    if len(set(names)) < len(names):
        raise ValueError(f"two families have the same name: {', '.join(names)}")
    for family in families:
        count = len(family.bounds)
        if family.coefficients.shape != shape or family.rows.shape != shape[:1]:
            raise ValueError(f"{family.name}: coefficients have shape {family.coefficients.shape}, tables {shape}")
        if len(set(family.row_names)) != count:
            raise ValueError(f"{family.name}: {count} bounds need as many different row names, got {family.row_names}")
        if family.rows.min(initial=-1) < -1 or family.rows.max(initial=-1) >= count:
            raise ValueError(f"{family.name}: rows must lie between -1 and {count - 1}")
        if not (np.isfinite(family.bounds).all() and np.isfinite(family.coefficients).all()):
            raise ValueError(f"{family.name}: coefficients and bounds must be finite")


def lost_sales_bound(tables: CandidateTables, alpha_loss: float) -> Family:
    """sum over i of loss[i, v_i] <= SALE (1 - alpha_loss), in currency.

    Args:
        tables: losses of every candidate and the sales value.
        alpha_loss: share of the sales value that must not be lost, 0..1. The paper calls it the largest stock-out
            rate, but its equation (2) makes it the service level; the equation is what is built.

    Raises:
        ValueError: for another share.

    Source: ORPR paper, section 3.3.1, equation (2).
    """
    if not 0 <= alpha_loss <= 1:
        raise ValueError(f"alpha_loss must lie between 0 and 1, got {alpha_loss}")
    rows = np.zeros(len(tables.demand_units), dtype=np.int64)
    bound = float(tables.sale_value.sum(dtype=np.float64)) * (1 - alpha_loss)
    return Family("lost_sales", tables.loss_value, rows, np.array([bound]), ("all",))


def location_capacity(
    tables: CandidateTables, location: Strings, capacity: Mapping[str, float], unit_volume: F64 | None = None
) -> Family:
    """sum over i at location m of unit_volume[i] mean_stock[i, v_i] <= capacity[m].

    Mean stock at the ends of the periods, which the tables hold; a building that must also take the days after a
    delivery needs its headroom taken off the bound.

    Args:
        tables: stock of every candidate.
        location: (N,) names.
        capacity: units, or the unit of `unit_volume`; locations that are not named have no bound.
        unit_volume: (N,) volume of one unit; without it capacity counts units.
    """
    volume = np.ones(len(location)) if unit_volume is None else unit_volume
    coefficients = tables.stock_units * (volume / tables.periods)[:, None]
    return _by_group("location_capacity", coefficients, location, capacity)


def purchase_budget(tables: CandidateTables, budget: float, unit_cost: F64, opening_units: F64) -> Family:
    """sum over i of unit_cost[i] (sold[i, v_i] + mean_stock[i, v_i] - opening_units[i]) <= budget, in currency.

    What planners call open-to-buy: planned sales at cost plus closing stock minus opening stock. The tables hold mean
    stock, which stands for closing stock; what was sold is demand less the lost share of its value.

    Args:
        tables: stock and loss of every candidate.
        budget: currency that purchases over the window may cost.
        unit_cost: (N,) currency per unit.
        opening_units: (N,) units on hand and on order when the window opens.
    """
    rows, spent = np.zeros(len(unit_cost), dtype=np.int64), _spent(tables, unit_cost, opening_units)
    return Family("purchase_budget", spent, rows, np.array([float(budget)]), ("all",))


def location_budget(
    tables: CandidateTables, location: Strings, budget: Mapping[str, float], unit_cost: F64, opening_units: F64
) -> Family:
    """The same sum over the series at location m <= budget[m]; locations that are not named have no bound."""
    return _by_group("location_budget", _spent(tables, unit_cost, opening_units), location, budget)


def _spent(tables: CandidateTables, unit_cost: F64, opening_units: F64) -> F64:
    kept = 1 - tables.loss_value / np.maximum(tables.sale_value, LEAST)[:, None]
    bought = tables.demand_units[:, None] * kept + tables.stock_units / tables.periods - opening_units[:, None]
    return np.asarray(unit_cost[:, None] * bought)


def category_in_stock_rate(tables: CandidateTables, category: Strings, in_stock_rate: Mapping[str, float]) -> Family:
    """sum over i in category m of stockout_periods[i, v_i] / (series of m x periods) <= 1 - in_stock_rate[m].

    Args:
        tables: stock-out periods of every candidate.
        category: (N,) names.
        in_stock_rate: least share of periods without a stock-out, 0..1; other categories have no bound.
    """
    for name, rate in in_stock_rate.items():
        if not 0 <= rate <= 1:
            raise ValueError(f"in_stock_rate of {name!r} must lie between 0 and 1, got {rate}")
    bounds = {name: 1 - rate for name, rate in in_stock_rate.items()}
    series = _group_sums(np.ones(len(category)), category)
    coefficients = tables.stockout_periods / (series * tables.periods)[:, None]
    return _by_group("category_in_stock_rate", coefficients, category, bounds)


def category_turnover(
    tables: CandidateTables, category: Strings, turnover_days: Mapping[str, float], period_days: int
) -> Family:
    """sum over i in category m of mean_stock[i, v_i] / (daily demand of m) <= turnover_days[m].

    Args:
        tables: stock of every candidate.
        category: (N,) names.
        turnover_days: most days that a category's stock may last; other categories have no bound.
        period_days: days in a period.
    """
    return _by_group("category_turnover", _turnover(tables, category, period_days), category, turnover_days)


def category_turnover_floor(
    tables: CandidateTables, category: Strings, turnover_days: Mapping[str, float], period_days: int
) -> Family:
    """The same sum >= turnover_days[m], written as its negative <= -turnover_days[m]; arguments as above."""
    bounds = {name: -days for name, days in turnover_days.items()}
    least = _by_group("category_turnover_floor", -_turnover(tables, category, period_days), category, bounds)
    return least._replace(at_least=True)


def _turnover(tables: CandidateTables, category: Strings, period_days: int) -> F64:
    demand = np.maximum(_group_sums(tables.demand_units, category), LEAST)
    return np.asarray(tables.stock_units * (period_days / demand)[:, None])


def _group_sums(amounts: F64, groups: Strings) -> F64:
    """(N,) the sum of each series' group."""
    _, inverse = np.unique(groups.astype(str), return_inverse=True)
    return np.asarray(np.bincount(inverse, weights=amounts)[inverse], dtype=np.float64)


def _by_group(name: str, coefficients: F64, groups: Strings, bounds: Mapping[str, float]) -> Family:
    """One row for every bound.

    Raises:
        ValueError: where a bound names a group that no series belongs to.
    """
    names = tuple(bounds)
    place = {group: row for row, group in enumerate(names)}
    rows = np.array([place.get(group, -1) for group in groups], dtype=np.int64)
    for row in set(range(len(names))) - set(rows.tolist()):
        raise ValueError(f"{name}: no series belongs to {names[row]!r}")
    return Family(name, coefficients, rows, np.array([float(bounds[group]) for group in names]), names)
