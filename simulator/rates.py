"""The one definition of `daily_rate`, and the priors it is shrunk toward.

`evidence` says what a period's sales tell about demand, `daily_rate` turns one window of it into units a day, and
`panel_rates` does so for every period of a panel at once. All of it looks back only: column t needs nothing after t.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from array_api_compat import array_namespace

from simulator.panel import F32, F64, I64, Bools, Panel, Strings

Array = Any

RECENT_DAYS = 28  # the window of the recent mean
YEAR_DAYS = 364  # the window of the long mean: whole weeks, so that weekdays line up a year apart
SHRINK_DAYS = 7.0  # observed days that weigh as much as the prior
PROMOTION_WEIGHT = 0.05  # a promoted day's weight in the mean: it speaks only where nothing else does
FULL_STOCK, LEAST_STOCK = 0.95, 0.3  # in stock at least this: taken as is; less than that: not taken at all


class Evidence(NamedTuple):
    """What each period says about demand; all (..., T)."""

    demand: Array  # sales, corrected where the shelf was empty for part of the time
    seen: Array  # 0..1 how much of the period was observed
    weight: Array  # `seen`, with promoted periods turned down


def evidence(units_sold: Array, in_stock: Array, promotion: Array, open_flag: Array) -> Evidence:
    """Demand of each period as far as its sales tell it.

    In stock for at least 0.95 of the time: sales are demand. Between 0.3 and 0.95: sales are scaled up by the time in
    stock, and the period counts for that share. Less, unknown or closed: not observed. A promoted period weighs 0.05,
    so that promotions lift the mean only where a series knows nothing else.
    """
    xp = array_namespace(units_sold)
    zero = xp.zeros_like(units_sold)
    stock = xp.where(xp.isnan(in_stock), zero + 1, in_stock)
    usable = ~xp.isnan(units_sold) & (stock >= LEAST_STOCK) & ~(open_flag == 0)
    share = xp.where(stock >= FULL_STOCK, zero + 1, stock)
    seen = xp.where(usable, share, zero)
    demand = xp.where(usable, units_sold / xp.where(usable, share, zero + 1), zero)
    weight = xp.where(promotion > 0, seen * PROMOTION_WEIGHT, seen)
    return Evidence(demand, seen, weight)


def _blend(recent: tuple[Array, ...], year: tuple[Array, ...], prior: Array, sold: Array, period_days: int) -> Array:
    """(recent, year) are sums of (seen, weight, weight x demand); see `daily_rate`."""
    xp = array_namespace(prior)
    zero = xp.zeros_like(prior)
    known_prior = xp.where(xp.isnan(prior), zero, prior) * period_days
    pull = xp.where(xp.isnan(prior), zero, zero + SHRINK_DAYS)

    def mean(sums: tuple[Array, ...]) -> Array:
        return sums[2] / xp.where(sums[1] > 0, sums[1], zero + 1)

    year_days = year[0] * period_days
    long = (year_days * mean(year) + pull * known_prior) / xp.where(year_days + pull > 0, year_days + pull, zero + 1)
    recent_days = recent[0] * period_days
    rate = (recent_days * mean(recent) + SHRINK_DAYS * long) / (recent_days + SHRINK_DAYS)
    floor = sold * (1e-3 * period_days / YEAR_DAYS)
    return xp.maximum(rate, floor) / period_days


def daily_rate(
    units_sold: Array, in_stock: Array, promotion: Array, open_flag: Array, prior_daily_rate: Array, period_days: int
) -> Array:
    """Units a day that a series sells: the number that turns inventory days into units.

    The mean over the last 28 days, shrunk toward the mean over the last 364 days, which is shrunk toward the prior,
    each by 7 days' weight against the days observed. Positive wherever a sale fell in the last 364 days. The same
    function runs on NumPy arrays and inside the exported graph.

    Args:
        units_sold, in_stock: (B, history), NaN where unknown.
        promotion, open_flag: (B, history) flags, NaN where unknown.
        prior_daily_rate: (B,) units a day, NaN where there is none.
        period_days: days in a period.
    """
    xp = array_namespace(units_sold)
    found = evidence(units_sold, in_stock, promotion, open_flag)
    recent = RECENT_DAYS // period_days
    columns = (found.seen, found.weight, found.weight * found.demand)
    sold = xp.sum(xp.where(xp.isnan(units_sold), xp.zeros_like(units_sold), units_sold), axis=1)
    return _blend(
        tuple(xp.sum(c[:, -recent:], axis=1) for c in columns),
        tuple(xp.sum(c, axis=1) for c in columns),
        prior_daily_rate, sold, period_days,
    )  # fmt: skip


def _window_sums(values: F32, window: int, periods: range) -> F64:
    """(N, len(periods)) sum of the last `window` columns up to and including each of some that follow each other."""
    begin = max(periods.start - window + 1, 0)
    total = np.cumsum(values[:, begin : periods.stop], axis=1, dtype=np.float64)
    first = periods.start - begin
    sums = total[:, first:].copy()
    behind = window - first  # of the first columns' windows nothing lies behind
    if behind < sums.shape[1]:
        sums[:, behind:] -= total[:, : sums.shape[1] - behind]
    return np.maximum(sums, 0.0)


class Rates(NamedTuple):
    """Rates of a whole panel, each column t computed from what was known at the end of t; all (N, T)."""

    daily_rate: F64  # units a day
    prior_daily_rate: F64  # units a day, NaN where there is none
    sales_share: F64  # 0..1
    has_history: Bools  # whether the series itself was ever observed

    def take(self, rows: I64) -> Rates:
        """The same for some series only."""
        return Rates(self.daily_rate[rows], self.prior_daily_rate[rows], self.sales_share[rows], self.has_history[rows])


def panel_rates(panel: Panel, periods: range | None = None) -> Rates:
    """`daily_rate` for every series and period at once, with the priors and shares it needs.

    Args:
        panel: where to read.
        periods: the ones to work out, if not all; the columns of others are NaN, and nothing has a history there.
    """
    days, asked = panel.period_days, range(panel.period_count) if periods is None else periods
    kept = slice(max(asked.start - YEAR_DAYS // days + 1, 0), asked.stop)
    inside = range(asked.start - kept.start, asked.stop - kept.start)
    sales = panel.units_sold[:, kept]
    found = evidence(sales, panel.in_stock[:, kept], panel.promotion[:, kept], panel.open[:, kept])
    columns = (found.seen, found.weight, found.weight * found.demand)
    recent = tuple(_window_sums(c, RECENT_DAYS // days, inside) for c in columns)
    year = tuple(_window_sums(c, YEAR_DAYS // days, inside) for c in columns)
    sold = _window_sums(np.nan_to_num(sales), YEAR_DAYS // days, inside)
    sold_recently = _window_sums(np.nan_to_num(sales), RECENT_DAYS // days, inside)
    own = year[2] / np.where(year[1] > 0, year[1], 1.0) / days
    has_history = year[1] > 0
    prior, share = _priors(panel, own, has_history, sold_recently)
    rates = Rates(_blend(recent, year, prior, sold, days), prior, share, has_history)
    return rates if periods is None else Rates(*(_placed(column, periods, panel.period_count) for column in rates))


def _placed(columns: np.ndarray, periods: range, count: int) -> np.ndarray:
    """(N, count) some columns at their places among others that are not known."""
    blank = False if columns.dtype == bool else np.nan
    placed = np.full((len(columns), count), blank, dtype=columns.dtype)
    placed[:, periods.start : periods.stop] = columns
    return placed


def _priors(panel: Panel, own: F64, has_history: Bools, sold_recently: F64) -> tuple[F64, F64]:
    """The reference item's own mean; without one the category's at the location, the category's anywhere, the expectation.

    The reference stays the prior when the item begins to sell: after a week its own sales weigh three times as much.
    """
    items = panel.items
    places, category = items.location_id, items.category
    group = group_codes([f"{c}\0{p}" for c, p in zip(category, places, strict=True)])
    anywhere = group_codes(category)
    local = _group_mean(own, has_history, group)
    wide = _group_mean(own, has_history, anywhere)
    expected = np.broadcast_to(items.expected_daily_demand[:, None], own.shape)
    prior = np.where(np.isnan(local), wide, local)
    prior = np.where(np.isnan(prior), expected, prior)
    index = {key: n for n, key in enumerate(zip(items.item_id, places, strict=True))}
    for n, (reference, place) in enumerate(zip(items.reference_item_id, places, strict=True)):
        other = index.get((reference, place)) if reference else None
        if other is not None:
            prior[n] = np.where(has_history[other], own[other], prior[n])
    total = _group_sum(sold_recently, group)
    share = np.divide(sold_recently, total, out=np.zeros_like(total), where=total > 0)
    return prior, share


def group_codes(texts: list[str] | Strings) -> I64:
    """(N,) equal texts get equal numbers from 0 on."""
    return np.unique(np.array(texts, dtype=str), return_inverse=True)[1].astype(np.int64)


def _group_sum(values: F64, group: I64) -> F64:
    sums = np.zeros((int(group.max(initial=0)) + 1, values.shape[1]))
    np.add.at(sums, group, values)
    return sums[group]


def _group_mean(values: F64, known: Bools, group: I64) -> F64:
    count = _group_sum(known.astype(np.float64), group)
    return np.where(count > 0, _group_sum(np.where(known, values, 0.0), group) / np.maximum(count, 1.0), np.nan)


RATE_SOURCES = ("history", "reference_item", "category", "expected_daily_demand", "none")


def rate_sources(panel: Panel, rates: Rates, t: int) -> list[str]:
    """Where each series' rate at the end of `t` comes from, one of `RATE_SOURCES`."""
    items = panel.items
    known = dict(zip(zip(items.item_id, items.location_id, strict=True), rates.has_history[:, t], strict=True))
    categories = {c for c, has in zip(items.category, rates.has_history[:, t], strict=True) if has}
    sources = []
    for n in range(panel.series_count):
        reference = (items.reference_item_id[n], items.location_id[n])
        if rates.has_history[n, t]:
            sources.append("history")
        elif known.get(reference, False):
            sources.append("reference_item")
        elif items.category[n] in categories:
            sources.append("category")
        else:
            sources.append("expected_daily_demand" if np.isfinite(items.expected_daily_demand[n]) else "none")
    return sources
