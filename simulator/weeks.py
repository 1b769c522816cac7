"""A daily panel by the week, so that daily data can teach a policy for weekly data.

Weeks begin on Mondays; those that the panel does not hold in full are left out.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from datetime import timedelta

import numpy as np

from simulator.panel import F32, Bools, Items, Panel

WEEK = 7


def by_week(panel: Panel) -> Panel:
    """The same series, one period a week, ordered once a week.

    Sales add up. A day whose sales are unknown counts as one without stock, so that the week is known for the share of it
    that was seen; the week in which records end is unknown. Flags hold where they held on any day; prices and costs are means. Lead times stay in days. Each series
    keeps its critical ratio, so holding costs follow the longer review. Order calendars, stock, hour masks and own
    forecasts are left out, for they speak of days.

    Raises:
        ValueError: where the panel is not daily, or holds no whole week.
    """
    if panel.period_days != 1:
        raise ValueError(f"{panel.name}: only daily data can be added up by week, period_days is {panel.period_days}")
    first = -panel.start.weekday() % WEEK
    weeks = (panel.period_count - first) // WEEK
    if weeks < 1:
        raise ValueError(f"{panel.name}: holds no whole week from a Monday to a Sunday")

    def cut(column: F32) -> F32:
        """(N, W, 7)"""
        days: F32 = column[:, first : first + weeks * WEEK].reshape(panel.series_count, weeks, WEEK)
        return days

    over = first + WEEK * np.arange(1, weeks + 1) <= panel.last_recorded + 1
    units, in_stock = _sales(cut(panel.units_sold), cut(panel.in_stock), cut(panel.open) != 0, over)
    return replace(
        panel,
        period_days=WEEK,
        start=panel.start + timedelta(days=first),
        review_origin=panel.start + timedelta(days=first),
        items=_ordered_weekly(panel.items),
        units_sold=units,
        in_stock=in_stock,
        price=_mean(cut(panel.price)),
        promotion=_any(cut(panel.promotion)),
        open=_any(cut(panel.open)),
        holiday=_any(cut(panel.holiday)),
        school_holiday=_any(cut(panel.school_holiday)),
        on_hand=np.full_like(panel.on_hand, np.nan),
        open_orders=np.zeros((panel.series_count, 0)),
        order_open=None,
        delivery_open=None,
        unit_cost=None if panel.unit_cost is None else _mean(cut(panel.unit_cost)),
        oos_mask=None,
        forecasts=None,
    )


def _ordered_weekly(items: Items) -> Items:
    """The items, reviewed once a week, at the critical ratios that they have."""
    return replace(
        items,
        review_period_days=np.full_like(items.review_period_days, WEEK),
        review_offset_days=np.zeros_like(items.review_offset_days),
        holding_cost_per_day=items.holding_cost_per_day * items.review_period_days / WEEK,
        order_weekdays=np.full_like(items.order_weekdays, ""),
        delivery_weekdays=np.full_like(items.delivery_weekdays, ""),
        order_cutoff_days=np.full_like(items.order_cutoff_days, np.nan),
    )


def _sales(sold: F32, in_stock: F32, selling: Bools, over: Bools) -> tuple[F32, F32]:
    """(N, W) units and share of the selling time in stock, of (N, W, 7) days; NaN in weeks that nobody saw or are not over."""
    known = ~np.isnan(sold)
    stock = np.where(known, np.nan_to_num(in_stock, nan=1.0), 0.0)
    share = (stock * selling).sum(axis=2) / np.maximum(selling.sum(axis=2), 1)
    share = np.where(selling.any(axis=2), share, stock.mean(axis=2))
    seen = known.any(axis=2) & over
    units: F32 = np.where(seen, np.nansum(sold, axis=2), np.nan).astype(np.float32)
    shares: F32 = np.where(seen, share, np.nan).astype(np.float32)
    return units, shares


def _mean(days: F32) -> F32:
    """(N, W) of (N, W, 7), NaN where nothing is known."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # weeks without any value stay NaN, which is what is wanted
        mean: F32 = np.nanmean(days, axis=2).astype(np.float32)
    return mean


def _any(days: F32) -> F32:
    """(N, W) of (N, W, 7): 1 where any day has the flag, NaN where nothing is known."""
    known = ~np.isnan(days)
    flag: F32 = np.where(known.any(axis=2), (np.nan_to_num(days) > 0).any(axis=2), np.nan).astype(np.float32)
    return flag
