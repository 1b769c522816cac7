"""What a period's surroundings lead one to expect: local level x weekday x promotion.

Rates are per period and solve, for weights w of a window, sum of w (sales - rate x exposure) / (pull + rate x exposure)
= 0: the score of the likelihood in `censoring.py`. Each level of detail is shrunk to the one above it (series to
category, category to all), so the rates of one series depend on the others: that is meant, a series that was hardly in
stock knows little by itself. Nothing here knows of a period's own luck, or of the hours of a day.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.signal import lfilter
from scipy.sparse import csr_array

from simulator.panel import F64, I64, Bools

ROUNDS = 4  # each weights by the factors of the round before


@dataclass(frozen=True)
class RateParams:
    """Dials of the expected rate."""

    level_days: float = 14.0  # over which a day's weight in the local level falls to 1/e
    series_days: float = 3.0  # days that a series' mean weighs in its local level
    category_days: float = 2.0  # days that the category's mean weighs in a series' mean
    category_prior: float = 20.0  # information at which a category's weekdays and promotions count half
    series_prior: float = 6.0  # the same for a series' own; a day in stock is worth rate / (pull + rate), at most 1

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise ValueError(f"{name} must be above 0, got {value}")

    def decay(self, period_days: int) -> float:
        """What is left of a period's weight one period on."""
        return float(np.exp(-period_days / self.level_days))


class Sold(NamedTuple):
    """What was observed."""

    units: F64  # (N, T) units sold, 0 where unknown
    exposure: F64  # (N, T) 0..1 share of demand that fell into time in stock
    seen: Bools  # (N, T) whether to learn from it: known, open and in stock for some time
    promoted: Bools  # (N, T)
    category: I64  # (N,)
    period_days: int


def window_sums(values: F64, decay: float, *, causal: bool) -> F64:
    """(N, T) sums of each row, a value's weight falling by `decay` with every period away."""
    back = lfilter([1.0], [1.0, -decay], values, axis=1)
    if causal:
        return np.asarray(back)
    ahead = lfilter([1.0], [1.0, -decay], values[:, ::-1], axis=1)[:, ::-1]
    return np.asarray(back + ahead - values)


def _total(values: F64, members: csr_array | None, *, causal: bool) -> F64:
    """Sums over all periods (N, 1), or up to each (N, T), of the series or of all in its group."""
    total = np.cumsum(values, axis=1) if causal else values.sum(axis=1, keepdims=True)
    return total if members is None else np.asarray(members.T @ (members @ total))


def _members(codes: I64) -> csr_array:
    """(groups, N) 1 where the series belongs to the group."""
    return csr_array((np.ones(len(codes)), (codes, np.arange(len(codes)))))


def _mean(seen: F64, expected: F64) -> F64:
    return np.divide(seen, expected, out=np.zeros_like(seen), where=expected > 0)


def _level(sold: Sold, weight: F64, factor: F64, pull: float, params: RateParams, *, causal: bool,
           own: bool) -> tuple[F64, F64]:  # fmt: skip
    """(N, T) local level of each series, shrunk to its mean, which is shrunk to its category's; and that mean."""
    seen, expected = weight * sold.units, weight * sold.exposure * factor
    category = _members(sold.category)
    wide = _mean(*(_total(x, category, causal=causal) for x in (seen, expected)))
    prior = params.category_days / sold.period_days / (pull + wide)
    mean = (_total(seen, None, causal=causal) + prior * wide) / (_total(expected, None, causal=causal) + prior)
    prior = params.series_days / sold.period_days / (pull + mean)
    near, reach = (window_sums(x, params.decay(sold.period_days), causal=causal) for x in (seen, expected))
    if not own:
        near, reach = np.maximum(near - seen, 0.0), np.maximum(reach - expected, 0.0)
    return (near + prior * mean) / (reach + prior), mean


def _learn_factor(factor: F64, level: F64, sold: Sold, weight: F64, params: RateParams, *, causal: bool) -> None:
    """Turn `factor`, in place, to what weekdays and promotions sold over what was expected of them.

    One after the other for all series, for each category and for each series, each shrunk to the one before.
    """
    seen, expected = weight * sold.units, weight * sold.exposure * level * factor
    everyone, category = _members(sold.category * 0), _members(sold.category)
    pools = ((everyone, 1.0), (category, params.category_prior), (None, params.series_prior))
    weekdays = [slice(day, None, 7) for day in range(7 if sold.period_days == 1 else 0)]
    for cells in weekdays:
        for members, prior in pools:
            a, b = (_total(x[:, cells], members, causal=causal) for x in (seen, expected))
            factor[:, cells] *= (a + prior) / (b + prior)
            expected[:, cells] *= (a + prior) / (b + prior)
    if sold.promoted.any():
        for members, prior in pools:
            a, b = (_total(x * sold.promoted, members, causal=causal) for x in (seen, expected))
            turn = np.where(sold.promoted, (a + prior) / (b + prior), 1.0)
            factor *= turn
            expected *= turn


def expected_rate(sold: Sold, pull: float, params: RateParams, *, causal: bool = False) -> F64:
    """(N, T) units a period that its surroundings lead one to expect; a period's own sales stay out of its level.

    Cells are weighted by the series' usual rate, not by their own: weights that went down where sales went up would
    bias the rate downward.

    Args:
        sold: what was observed.
        pull: units that the expected rate weighs against a period's own sales.
        params: dials.
        causal: column t from the columns up to t, instead of all.
    """
    seen = sold.seen.astype(np.float64)
    everyone = _members(sold.category * 0)
    usual = _mean(*(_total(x * seen, everyone, causal=causal) for x in (sold.units, sold.exposure)))
    factor = np.ones_like(sold.units)
    for _ in range(ROUNDS):
        weight = seen / (pull + usual * factor * sold.exposure)
        level, usual = _level(sold, weight, factor, pull, params, causal=causal, own=True)
        _learn_factor(factor, level, sold, weight, params, causal=causal)
    return factor * _level(sold, weight, factor, pull, params, causal=causal, own=False)[0]
