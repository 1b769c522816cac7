"""The rules a policy has to beat: predict-then-optimize base stocks, demand quantiles, and the incumbent.

Each gives target stocks (N, T) for the ends of given periods, computed from in-stock-corrected sales up to each of
them. All use the protection interval (lead + review - 1, or longer where a calendar says so) and the critical ratio b / (b + h x review).

Source of the rules: ORPR paper, section 4.2.1.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.stats import gamma, norm

from simulator.observation import Observation, ObservationSpec
from simulator.panel import F64, Panel
from simulator.rates import Rates, evidence, group_codes
from simulator.schedule import review_schedule

LEAST_RATIO = 1e-6  # keeps the quantiles of unbounded distributions finite where a cost is 0


def critical_ratio(panel: Panel) -> F64:
    """(N,) lost-sale cost over itself plus the cost of holding a unit for one review cycle; inside (0, 1)."""
    items = panel.items
    cycle = items.holding_cost_per_day * panel.review_periods * panel.period_days
    ratio = items.lost_sale_cost / np.maximum(items.lost_sale_cost + cycle, 1e-12)
    return np.clip(ratio, LEAST_RATIO, 1 - LEAST_RATIO)


def category_critical_ratio(panel: Panel) -> F64:
    """(N,) the mean critical ratio of each series' category: one service target for all of it."""
    category = group_codes(panel.items.category)
    total = np.bincount(category, critical_ratio(panel))
    return np.asarray(total / np.bincount(category))[category]


def baseline_windows(period_days: int) -> tuple[int, int]:
    """The short and the long estimation window in periods: 14 and 28 days, or 13 and 26 weeks."""
    return (14, 28) if period_days == 1 else (13, 26)


def _demand_windows(panel: Panel, periods: range, window: int) -> tuple[F64, F64]:
    """(N, T, window) corrected demand and how much of each period was seen."""
    first = periods.start - window + 1
    taken = np.arange(first, periods.stop)
    inside = (taken >= 0) & (taken < panel.period_count)
    columns = np.clip(taken, 0, panel.period_count - 1)
    unknown = np.where(inside, 0.0, np.nan).astype(np.float32)
    found = evidence(
        panel.units_sold[:, columns] + unknown, panel.in_stock[:, columns], panel.promotion[:, columns] * 0,
        panel.open[:, columns],
    )  # fmt: skip
    return (
        sliding_window_view(found.demand.astype(np.float64), window, axis=1),
        sliding_window_view((found.seen > 0).astype(np.float64), window, axis=1),
    )


def _moments(panel: Panel, periods: range, window: int) -> tuple[F64, F64]:
    """(N, T) mean and standard deviation of demand a period; 0 where nothing was seen."""
    return _moments_of(*_demand_windows(panel, periods, window))


def _moments_of(demand: F64, seen: F64) -> tuple[F64, F64]:
    """Mean and standard deviation over the last axis, of what was seen."""
    count = seen.sum(axis=-1)
    mean = (demand * seen).sum(axis=-1) / np.maximum(count, 1)
    spread = ((demand - mean[..., None]) ** 2 * seen).sum(axis=-1) / np.maximum(count - 1, 1)
    return mean, np.sqrt(spread)


def pto_normal(panel: Panel, periods: range, window: int) -> F64:
    """(N, T) mu P + z sigma sqrt(P), demand taken as independent and normal."""
    mean, deviation = _moments(panel, periods, window)
    protection = review_schedule(panel, periods).protection
    z = norm.ppf(critical_ratio(panel))[:, None]
    return np.asarray(np.maximum(mean * protection + z * deviation * np.sqrt(protection), 0.0))


def pto_gamma(panel: Panel, periods: range, window: int, ratio: F64 | None = None) -> F64:
    """(N, T) the critical quantile of a gamma demand summed over the protection interval.

    Args:
        ratio: (N,) service level; the series' own critical ratio where None.
    """
    mean, deviation = _moments(panel, periods, window)
    protection = review_schedule(panel, periods).protection.astype(np.float64)
    level = np.broadcast_to((critical_ratio(panel) if ratio is None else ratio)[:, None], mean.shape)
    return gamma_quantile(mean, deviation, protection, level)


def gamma_quantile(mean: F64, deviation: F64, protection: F64, level: F64 | float) -> F64:
    """The quantile of a gamma demand over so many periods; the mean where it does not vary."""
    certain = mean * protection
    varied = (mean > 0) & (deviation > 1e-9 * np.maximum(mean, 1e-12))
    safe_mean, safe_deviation = np.where(varied, mean, 1.0), np.where(varied, deviation, 1.0)
    shape, scale = (safe_mean / safe_deviation) ** 2, safe_deviation**2 / safe_mean
    return np.where(varied, gamma.ppf(level, protection * shape, scale=scale), certain)


class Expected(NamedTuple):
    """Demand of B series by what a policy sees of them."""

    mean: F64  # (B,) units a period
    deviation: F64  # (B,) units a period
    base_stock: F64  # (B,) units; `pto_gamma` for where there is no panel


def expected_by(seen: Observation, spec: ObservationSpec) -> Expected:
    """Base stocks of series that a policy sees; without history they rest on `prior_daily_rate`, spread as far as it is large.

    Args:
        seen: fields of B decisions.
        spec: their lengths.
    """
    part = slice(spec.history - baseline_windows(spec.period_days)[1], spec.history)
    sold, in_stock, promotion, opened = (
        seen[name][:, part] for name in ("units_sold", "in_stock", "promotion", "open")
    )
    found = evidence(sold, in_stock, promotion * 0, opened)
    told = (found.seen > 0).any(axis=1)
    mean, deviation = _moments_of(found.demand.astype(np.float64), (found.seen > 0).astype(np.float64))
    prior = np.nan_to_num(seen["prior_daily_rate"].astype(np.float64)) * spec.period_days
    mean, deviation = np.where(told, mean, prior), np.where(told, deviation, prior)
    lost, review = (seen[name].astype(np.float64) for name in ("lost_sale_cost", "review_period_days"))
    ratio = lost / np.maximum(lost + seen["holding_cost_per_day"] * review, 1e-12)
    protection = (seen["lead_time_days"] + review) / spec.period_days - 1
    level = np.clip(ratio, LEAST_RATIO, 1 - LEAST_RATIO)
    return Expected(mean, deviation, gamma_quantile(mean, deviation, protection, level))


def demand_quantile(panel: Panel, periods: range, quantile: float, window: int) -> F64:
    """(N, T) BM_x: the x-th quantile of one period's demand, for every period of the protection interval."""
    demand, seen = _demand_windows(panel, periods, window)
    known = np.where(seen > 0, demand, np.nan)
    known[~(seen > 0).any(axis=2)] = 0.0
    return np.asarray(np.nanquantile(known, quantile, axis=2) * review_schedule(panel, periods).protection)


def category_base_stock(panel: Panel, rates: Rates, periods: range) -> F64:
    """(N, T) what one would hold of an item without looking at its own sales: the gamma base stock of its category.

    The mean is the prior of `rates` (the reference item's where there is one and nothing else is known, else the
    category's); the spread that of the middle series, relative to its mean.
    """
    mean, deviation = _moments(panel, periods, baseline_windows(panel.period_days)[1])
    spread = np.where(mean > 0, deviation / np.where(mean > 0, mean, 1.0), np.nan)
    usual = np.nan_to_num(np.nanmedian(spread, axis=0), nan=1.0).clip(min=1e-3)[None, :]
    protection = review_schedule(panel, periods).protection
    prior = np.nan_to_num(rates.prior_daily_rate[:, periods.start : periods.stop]) * panel.period_days
    level = critical_ratio(panel)[:, None]
    return np.asarray(gamma.ppf(level, protection / usual**2, scale=1.0) * usual**2 * prior)


def incumbent(panel: Panel, periods: range) -> F64:
    """(N, T) the rule that stands in for a user's own: the gamma base stock at the category's service target."""
    return pto_gamma(panel, periods, baseline_windows(panel.period_days)[1], category_critical_ratio(panel))
