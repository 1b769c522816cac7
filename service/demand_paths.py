"""Demand that might come, drawn from a policy's quantiles of each period.

The forecast says how each period may turn out, not how periods hang together; yet an order lasts several, and stock runs out
when several are high at once. Taken as independent, the sums of the shipped policies' forecasts come out clearly too narrow:
what makes one day sell more than was expected (the weather, a level that has moved) is there on the next one too. So the
periods share one common cause. With a correlation of 0.15 between any two of them, sums over 2 to 14 days, or 2 to 6 weeks,
fell about as often as they should below the points of their distribution, for every dataset (docs/EXPERIMENTS.md). That is one
number for all series and all distances: the same weekday a week later, which is closer, and a series of its own kind, which
may be far from it, are not told apart.

The paths are the same for every question over the same number of periods. Two answers differ by what was asked, never by
chance; and each period alone has exactly the distribution that was forecast, as far as so many paths can show it.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri
from scipy.stats import qmc

from simulator.panel import F32, F64

PATHS = 256  # a power of two, as Sobol's points want
LEVELS = np.array([0.1, 0.25, 0.5, 0.75, 0.9])  # of a forecast's quantiles, see the contract
SHARED = 0.15  # correlation of the normal scores of any two periods
SEED = 20190501
_TAIL = np.log(
    (1 - LEVELS[-2]) / (1 - LEVELS[-1])
)  # an exponential tail falls from the one level to the other in so many scales


def demand_paths(quantiles: F32 | F64, *, whole: bool, paths: int = PATHS) -> F64:
    """(S, T) units along S equally likely paths.

    Between the quantiles demand is interpolated; below the lowest and above the highest it runs out exponentially at the
    rate of the last two, and never below zero.

    Args:
        quantiles: (T, Q) units of each period at `LEVELS`.
        whole: whether customers buy whole units only.
        paths: S, a power of two.
    """
    points = np.maximum.accumulate(np.maximum(np.asarray(quantiles, dtype=np.float64), 0.0), axis=1)
    level = _levels(len(points), paths)
    place = np.clip(np.searchsorted(LEVELS, level, side="right") - 1, 0, len(LEVELS) - 2)
    period = np.arange(len(points))[None, :]
    below, above = points[period, place], points[period, place + 1]
    drawn = below + (above - below) * (level - LEVELS[place]) / (LEVELS[place + 1] - LEVELS[place])
    low, high = points[:, 0], points[:, -1]
    drawn = np.where(level < LEVELS[0], low - _beyond(level, low, points[:, 1]), drawn)
    drawn = np.where(level > LEVELS[-1], high + _beyond(1 - level, points[:, -2], high), drawn)
    drawn = np.maximum(drawn, 0.0)
    return np.floor(drawn + 0.5) if whole else drawn


def _beyond(share: F64, nearer: F64, farther: F64) -> F64:
    """How far beyond its last quantile demand lies that only a `share` of all lies beyond."""
    scale = (farther - nearer) / _TAIL
    return np.asarray(scale * np.log(LEVELS[0] / np.minimum(share, LEVELS[0])))


def _levels(periods: int, paths: int) -> F64:
    """(S, T) the level at which each path stands in each period: in every period the same S levels, dealt out by rank.

    The ranks are those of normal scores with one common factor (a Gaussian copula), at Sobol's points, which fill the space
    more evenly than random ones (the dealing: Iman and Conover, Communications in Statistics B 11, 1982).
    """
    points = ndtri(qmc.Sobol(periods + 1, rng=np.random.default_rng(SEED)).random(paths))
    scores = np.sqrt(SHARED) * points[:, :1] + np.sqrt(1 - SHARED) * points[:, 1:]
    return np.asarray((scores.argsort(axis=0).argsort(axis=0) + 0.5) / paths)
