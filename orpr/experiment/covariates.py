"""What a series was like before the start: the columns that treated and control should agree in."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np

from orpr.experiment.panel import mean_daily_sales
from simulator.panel import F32, F64, Panel
from simulator.rates import evidence

LEAST_CATEGORY = 20  # series; smaller categories share a column


class Covariates(NamedTuple):
    """Columns of numbers without gaps."""

    names: list[str]
    values: F64  # (N, K)
    volume: F64  # (N,) units a day
    constant: list[str]  # left out: the same for every series, or known of none


def covariates_of(panel: Panel, on_hand: F64 | None, history: range) -> Covariates:
    """Demand, stock, prices, times and category of every series.

    Money and volumes are logarithms: ratios, not sums, make series alike. A value that is unknown takes the median, and
    a column of its own says so.

    Args:
        panel: the dataset; nothing after `history` is read.
        on_hand: (N, T) units at each period's end; None where unknown.
        history: periods before the start.
    """
    columns, volume = _demand_columns(panel, history)
    columns |= _stock_columns(panel, on_hand, history)
    items = panel.items
    cut = slice(history.start, history.stop)
    price = _known_mean(panel.price[:, cut])
    columns["unit_price (log)"] = _log(np.where(np.isnan(price), items.unit_price, price))
    cost = items.unit_cost if panel.unit_cost is None else _known_mean(panel.unit_cost[:, cut])
    columns["unit_cost (log)"] = _log(np.where(np.isnan(cost), items.unit_cost, cost))
    columns["lead_time_days"] = items.lead_time_days.astype(np.float64)
    columns["review_period_days"] = items.review_period_days.astype(np.float64)
    return _assembled(columns | _category_columns(panel), volume)


def _demand_columns(panel: Panel, history: range) -> tuple[dict[str, F64], F64]:
    cut = slice(history.start, history.stop)
    found = evidence(panel.units_sold[:, cut], panel.in_stock[:, cut], panel.promotion[:, cut], panel.open[:, cut])
    demand, seen = found.demand.astype(np.float64), (found.seen > 0).astype(np.float64)
    middle = demand.shape[1] // 2
    mean, early, late = (
        _mean_over(demand[:, part], seen[:, part]) for part in (slice(None), slice(middle), slice(middle, None))
    )
    spread = np.sqrt(_mean_over((demand - mean[:, None]) ** 2, seen))
    positive = np.where(mean > 0, mean, np.nan)
    columns = {
        "mean_demand (log)": np.log1p(mean),
        "demand_variability": spread / positive,
        "zero_share": _mean_over((demand == 0).astype(np.float64), seen),
        "trend": (late - early) / positive,
    }
    return columns, np.nan_to_num(mean) / panel.period_days


def _stock_columns(panel: Panel, on_hand: F64 | None, history: range) -> dict[str, F64]:
    cut = slice(history.start, history.stop)
    share = np.where(np.isfinite(panel.units_sold[:, cut]), panel.in_stock[:, cut], np.nan)
    columns = {"in_stock_rate": _known_mean(np.where(np.isnan(share), np.nan, share >= 1 - 1e-6))}
    if on_hand is not None:
        days = _known_mean(on_hand[:, cut]) / mean_daily_sales(panel, history)
        columns["turnover_days (log)"] = np.log1p(days)
    return columns


def _category_columns(panel: Panel) -> dict[str, F64]:
    """One flag for each category of some size, one for the rest."""
    names, number, count = np.unique(panel.items.category.astype(str), return_inverse=True, return_counts=True)
    columns = {
        f"category {names[k] or 'none'}": (number == k).astype(np.float64)
        for k in np.flatnonzero(count >= LEAST_CATEGORY)
    }
    small = count[number] < LEAST_CATEGORY
    return columns | ({"category of fewer series": small.astype(np.float64)} if small.any() else {})


def _assembled(columns: dict[str, F64], volume: F64) -> Covariates:
    filled: dict[str, F64] = {}
    constant: list[str] = []
    for name, values in columns.items():
        unknown = ~np.isfinite(values)
        if unknown.all():
            constant.append(name)
            continue
        whole = np.where(unknown, np.median(values[~unknown]), values)
        for key, column in ((name, whole), (f"{name} unknown", unknown.astype(np.float64))):
            if np.ptp(column) > 0 and not (
                key != name and any(np.array_equal(column, other) for other in filled.values())
            ):
                filled[key] = column
            elif key == name:
                constant.append(name)
    if not filled:
        raise ValueError("items: all series have the same covariates, there is nothing to match on")
    return Covariates(list(filled), np.column_stack(list(filled.values())), volume, constant)


def _mean_over(values: F64, weight: F64) -> F64:
    total = weight.sum(axis=1)
    return np.where(total > 0, (values * weight).sum(axis=1) / np.maximum(total, 1e-12), np.nan)


def _known_mean(values: F64 | F32) -> F64:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # rows of NaN have the mean NaN
        return np.asarray(np.nanmean(values.astype(np.float64), axis=1))


def _log(values: F64) -> F64:
    return np.log(np.where(values > 0, values, np.nan))
