"""Demand behind sales that stock-outs cut short.

The model. A series sells like a Poisson process in steps of `sale_size` units. Its rate in a period is what the period
leads one to expect (`rate`: local level x weekday x promotion) times a factor of that day's own, gamma distributed with
mean 1 and shape `day_shape`. Of the period's demand the share `exposure` falls into time in stock. A stock-out is a
stopping time: it comes early because the day sells well. The likelihood of what was sold until then does not mind,

    L(sales, exposure) ~ integral of x^(sales / sale_size) exp(-x exposure / sale_size) over the day's rate x,

so that, with pull = sale_size x day_shape, a day's own sales raise its rate as far as they should and no further:

    E[x | sales, exposure] = rate (pull + sales) / (pull + rate exposure)
    E[demand | sales, exposure] = sales + (1 - exposure) E[x | sales, exposure]

`rate` solves the score of that likelihood over a window of weights w: sum of w (sales - rate exposure) / (pull + rate
exposure) = 0. As pull grows, this is the plain ratio of sums; as it vanishes, every period's sales / exposure count
alike. `day_shape` is where the expected squared distance of demand, not of sales, from `rate` equals its variance,
sale_size rate + rate^2 / day_shape; sales alone, cut off above, would vary less. The hour profile behind `exposure` comes from `hours.py`.

It knows no stock levels and no substitutes, and takes all stock-outs of a dataset for sold out, or none (`_sold_out`).
It returns expected demand, which varies less than demand does. It uses hindsight, unless `causal`.

Sources: Conrad 1976, "Sales data and the estimation of demand"; Nahmias 1994, "Demand estimation in lost sales
inventory systems"; Vulcano, van Ryzin and Ratliff 2012 for EM over lost sales. The gamma factor, the moment equation
and the last sale of a run-out are ours; `tests/benchmarks/censoring.py` compares them with simpler estimators.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, NamedTuple, get_args

import numpy as np
from scipy.special import gammaincc

from simulator.hours import first_profile, fitted_profile, hour_exposure, masks_of
from simulator.panel import F64, Bools, Panel
from simulator.rates import group_codes
from simulator.surroundings import RateParams, Sold, expected_rate, window_sums

Replayed = Literal["sales", "recovered"]
REPLAYED: tuple[Replayed, ...] = get_args(Replayed)

WHOLE, HARDLY = 1 - 1e-6, 0.02  # exposure from which nothing was missed; below which its size says nothing
SHAPES = (0.2, 1000.0)  # bounds of `day_shape`
MOST_DEVIATIONS = 3.0  # from the expected rate, that a day counts for in the shape of the days
MOST_SPREADS = 6.0  # a day's own factor stays below 1 + this many of its standard deviations
LEAST_DAYS = 7.0  # in stock nearby that it takes to say what a stock-out hid
FITTED_SERIES = 4000  # that a fit looks at, spread evenly over the panel
FIT_ROUNDS = 8
SOLD_OUT, MANY_DAYS = 1.05, 500  # how much busier than others days that end empty are, if seen on so many of both
STEADY = 1e9  # a shape at which all days are alike
TINY = 1e-300


class Fit(NamedTuple):
    """What the sales of a dataset have in common."""

    sale_size: float  # units of one sale
    day_shape: float  # 1 / squared coefficient of variation of a day's own factor
    hours: F64  # (24,) share of a day's demand in each hour
    run_outs: bool = True  # whether hours out of stock came of selling

    @property
    def pull(self) -> float:
        """Units of sales that the expected rate weighs."""
        return self.sale_size * self.day_shape


class Recovered(NamedTuple):
    """Demand and what it rests on; all (N, T)."""

    demand: F64  # units, at least the sales; just the sales where unknown
    known: Bools
    rate: F64  # units a period that the period leads one to expect
    exposure: F64  # 0..1 share of demand that fell into time in stock


def sold_of(panel: Panel, profile: F64) -> Sold:
    """What the panel says was sold, and under which exposure.

    Exposure is by the hour mask where there is one, else `in_stock`; where neither is known, all of the period.
    """
    exposure = np.where(np.isnan(panel.in_stock), 1.0, panel.in_stock).astype(np.float64)
    if panel.oos_mask is not None:
        exposure = np.where(panel.oos_mask < 0, exposure, hour_exposure(panel.oos_mask, profile))
    known = np.isfinite(panel.units_sold)
    return Sold(
        units=np.where(known, panel.units_sold, 0.0).astype(np.float64),
        exposure=exposure,
        seen=known & ~(panel.open == 0) & (exposure >= HARDLY),
        promoted=panel.promotion > 0,
        category=group_codes(panel.items.category),
        period_days=panel.period_days,
    )


def day_rate(rate: F64, sold: Sold, size: float, shape: float) -> F64:
    """(N, T) the rate of each period given its own sales; where nothing was seen, the expected rate.

    Its factor is bounded: an exposure off by part of an hour would else make much of a sale in the day's first minutes.
    """
    factor = (size * shape + sold.units) / (size * shape + rate * sold.exposure)
    return np.where(sold.seen, rate * np.minimum(factor, 1 + MOST_SPREADS / np.sqrt(shape)), rate)


def _sale_size(panel: Panel) -> float:
    """Units of one sale: 1 in a discrete dataset, else near the smallest that the slowest series ever sold."""
    if panel.discrete:
        return 1.0
    units = np.where(panel.units_sold > 0, panel.units_sold, np.inf).min(axis=1, initial=np.inf)
    least = units[np.isfinite(units)]
    return float(np.quantile(least, 0.05)) if len(least) else 1.0


def _day_shape(rate: F64, sold: Sold, size: float, shape: float) -> float:
    """One step toward the shape at which demand is as far from `rate` as the model says.

    Distances count up to `MOST_DEVIATIONS`: real days have outliers that no gamma has, and they would say that days
    are so different that every sell-out was a good day.
    """
    pull = size * shape
    keep = sold.seen & (rate > 0)
    x, units = rate[keep], sold.units[keep]
    hidden = ((1 - sold.exposure) * day_rate(rate, sold, size, shape))[keep]
    distance = (units + hidden - x) ** 2 + size * hidden + hidden**2 / (shape + units / size)
    distance = np.minimum(distance, MOST_DEVIATIONS**2 * (size * x + x * x / shape))
    weight = 1 / (x * (pull + x))
    spread = float((weight * (distance - size * x)).sum()), float((weight * x * x).sum())
    return float(np.clip(spread[1] / max(spread[0], TINY), *SHAPES)) if spread[1] > 0 else shape


def fit(panel: Panel, params: RateParams | None = None, *, run_outs: bool | None = None) -> Fit:
    """What the panel's sales have in common: size of a sale, shape of the days, hour profile.

    Args:
        panel: the dataset; series are taken evenly from all of it.
        params: dials of the expected rate.
        run_outs: whether the hours out of stock came of selling. None asks the sales, see `_sold_out`.
    """
    params = params or RateParams()
    count = min(FITTED_SERIES, panel.series_count)
    panel = panel.take(np.linspace(0, panel.series_count - 1, count).round().astype(np.int64))
    if run_outs is None:
        run_outs = panel.oos_mask is None or _sold_out(panel, params)
    return _fitted(panel, params, run_outs=run_outs)


def _fitted(panel: Panel, params: RateParams, *, run_outs: bool, shape: float | None = None) -> Fit:
    """The fit, with the shape of the days given or found."""
    found = Fit(_sale_size(panel), shape or 5.0, first_profile(), run_outs)
    for _ in range(FIT_ROUNDS):
        sold = sold_of(panel, found.hours)
        rate = expected_rate(sold, found.pull, params)
        for _ in range(6 if shape is None else 0):
            found = found._replace(day_shape=_day_shape(rate, sold, found.sale_size, found.day_shape))
        found = found._replace(hours=_hours(panel, found, rate))
    return found


def _hours(panel: Panel, found: Fit, rate: F64) -> F64:
    """(24,) the hour profile under these rates. Days count by how little of their luck their own sales give away."""
    if panel.oos_mask is None:
        return found.hours
    masks, hours = masks_of(panel.oos_mask), found.hours
    ending = found.sale_size if found.run_outs else 0.0
    for _ in range(5):
        sold = sold_of(panel, hours)
        weight = sold.seen * (panel.oos_mask >= 0) * found.pull / (found.pull + rate)
        days = day_rate(rate, sold, found.sale_size, found.day_shape)
        hours = fitted_profile(masks, sold.units, days, weight, ending, hours)
    return hours


def _sold_out(panel: Panel, params: RateParams) -> bool:
    """Whether stock-outs end good days, as they do when goods are sold out, and not when they are taken off the shelf.

    If they come whatever a day sells, days that ended empty sold as much, per hour in stock, as days in stock to the
    end; if they come of selling, more, and no hour profile explains that as long as all days are taken to be alike.
    Where there are too few days to tell, goods are sold out.
    """
    assert panel.oos_mask is not None
    alike = _fitted(panel, params, run_outs=False, shape=STEADY)
    masks, sold = masks_of(panel.oos_mask), sold_of(panel, alike.hours)
    expected = expected_rate(sold, alike.pull, params) * sold.exposure
    ended = sold.seen & (panel.oos_mask > 0) & (masks.last.sum(axis=1) > 0)[masks.code]
    whole = sold.seen & (panel.oos_mask == 0)
    if min(ended.sum(), whole.sum()) < MANY_DAYS:
        return True
    busy, usual = (sold.units[days].sum() / max(expected[days].sum(), TINY) for days in (ended, whole))
    return bool(busy > SOLD_OUT * usual)


def recover(panel: Panel, found: Fit, params: RateParams | None = None, *, causal: bool = False) -> Recovered:
    """Demand of every period, as far as sales and time in stock tell it.

    A period in stock throughout keeps its sales. One partly in stock gets what its missing share of the day would have
    sold. One without time in stock gets the expected rate, or where it sold something nevertheless, the demand that
    is expected of a day with at least those sales. Before a series was first in stock, and where it was in stock for
    fewer than `LEAST_DAYS` nearby, demand that was not seen is unknown.

    Args:
        panel: sales, time in stock, promotions.
        found: from this panel or another, earlier one.
        params: dials.
        causal: column t from the columns up to t. `found` must then come from periods before.
    """
    params = params or RateParams()
    sold = sold_of(panel, found.hours)
    rate = expected_rate(sold, found.pull, params, causal=causal)
    hidden = (1 - sold.exposure) * day_rate(rate, sold, found.sale_size, found.day_shape)
    demand = np.where(sold.exposure >= HARDLY, sold.units + hidden, _at_least(sold.units, rate, found))
    stood = sold.exposure * sold.seen
    near = window_sums(stood, params.decay(sold.period_days), causal=causal) * sold.period_days
    whole = sold.exposure >= WHOLE
    told = whole | ((near >= LEAST_DAYS) & (np.cumsum(stood, axis=1) > 0))
    closed = panel.open == 0
    known = np.isfinite(panel.units_sold) & (told | closed)
    return Recovered(np.where(known & ~whole & ~closed, demand, sold.units), known, rate, sold.exposure)


def _at_least(units: F64, rate: F64, found: Fit) -> F64:
    """(N, T) expected demand, given that it is at least `units`; demand taken as gamma with its mean and variance."""
    x = np.maximum(rate, TINY)
    shape = found.day_shape * x / (found.pull + x)
    mean = np.where(units > 0, 0.0, rate)
    rows = units > 0
    at = units[rows] * shape[rows] / x[rows]
    above = gammaincc(shape[rows] + 1, at) / np.maximum(gammaincc(shape[rows], at), TINY)
    mean[rows] = np.maximum(units[rows], x[rows] * above)
    return mean


def replayed_demand(panel: Panel, which: Replayed, before: int | None = None) -> tuple[F64, Bools]:
    """The demand that a replay meets: (N, T) units, and (N, T) whether it is known.

    Both kinds are known in the same periods, so that what is computed from one can be compared with the other.

    Args:
        panel: the dataset.
        which: `sales` takes what was sold for demand; `recovered` adds what stock-outs hid, with hindsight.
        before: periods from here on are neither read nor known; None reads all.

    Raises:
        ValueError: for another `which`.
    """
    if which not in REPLAYED:
        raise ValueError(f"which must be one of {', '.join(REPLAYED)}, got {which}")
    if before is not None and before < panel.period_count:
        units, mask = panel.units_sold.copy(), panel.oos_mask
        units[:, before:] = np.nan
        if mask is not None:
            mask = np.where(np.arange(panel.period_count) < before, mask, -1).astype(np.int32)
        panel = replace(panel, units_sold=units, oos_mask=mask)
    found = recover(panel, fit(panel))
    if which == "recovered":
        return found.demand, found.known
    return np.nan_to_num(panel.units_sold).astype(np.float64), found.known
