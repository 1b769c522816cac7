"""What the estimator finds where there is nothing to find, and how small an effect it could have found."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.stats import t as t_distribution

from orpr.experiment.effects import LEVEL, Estimate, absorbed, difference_in_differences
from simulator.panel import F64, I64, Bools

POWER = 0.8
MOST_PLACEBO_STARTS = 8  # windows that the standard error is averaged over


class Permutation(NamedTuple):
    """Where the effect lies among those of treated series drawn at random."""

    draws: int
    p_value: float  # share of draws, the real one included, with an effect at least as large
    low: float  # the middle 95 % of the placebo effects
    high: float


class Detectable(NamedTuple):
    """What an experiment of this size can find."""

    effect: float  # the smallest that is found with `POWER`
    std_error: float
    mean: float  # of the outcome before the start, to compare with
    placebo_starts: int
    clusters: int


def placebo_start(values: F64, treated: Bools, start: int, *, clusters: I64 | None = None) -> Estimate:
    """The difference in differences about a start before the real one.

    Args:
        values: (N, T) periods before the real start only.
        treated: (N,).
        start: the made-up start, inside T.
        clusters: (N,) numbers of what may hang together; each series for itself where None.
    """
    known = np.isfinite(values)
    kept = known[:, :start].any(axis=1) & known[:, start:].any(axis=1)
    after = np.arange(values.shape[1]) >= start
    by = None if clusters is None else clusters[kept]
    return difference_in_differences(values[kept], treated[kept], after, clusters=by)


def permutation(
    values: F64, treated: Bools, after: Bools, pair: I64 | None, draws: int, rng: np.random.Generator, *,
    clusters: I64 | None = None,
) -> Permutation:  # fmt: skip
    """Fisher's test: the effects that come out where the treated are drawn anew.

    Args:
        values: (N, T) NaN where unknown.
        treated: (N,).
        after: (T,).
        pair: (N,) numbers of pairs, within which the two are swapped or not; None draws as many treated from all.
        draws: how many.
        rng: draws them.
        clusters: (N,) numbers of what is treated as a whole; as many of them are drawn, and pairs say nothing then.
    """
    known = np.isfinite(values)
    late = absorbed(values, known)[:, after].sum(axis=1)  # (N,)
    real = _effects(treated[None, :].astype(np.float64), late, known, after)[0]
    drawn = _effects(_labels(treated, pair, clusters, draws, rng), late, known, after)
    # ties of float sums count as ties
    p = (1 + int((np.abs(drawn) >= abs(real) * (1 - 1e-9)).sum())) / (draws + 1)
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Permutation(draws, p, float(low), float(high))


def _labels(
    treated: Bools, pair: I64 | None, clusters: I64 | None, draws: int, rng: np.random.Generator
) -> F64:  # fmt: skip
    """(draws, N) who is treated in each draw."""
    if clusters is not None:
        _, first, of_series = np.unique(clusters, return_index=True, return_inverse=True)
        return _labels(treated[first], None, None, draws, rng)[:, of_series]
    if pair is None:
        return rng.permuted(np.broadcast_to(treated.astype(np.float64), (draws, len(treated))), axis=1)
    _, number = np.unique(pair, return_inverse=True)
    swapped = rng.random((draws, int(number.max()) + 1)) < 0.5
    return (treated[None, :] ^ swapped[:, number]).astype(np.float64)


def _effects(labels: F64, late: F64, known: Bools, after: Bools) -> F64:
    """(draws,) the coefficient of each labelling; of `labels` x `after` only its square sum has to be absorbed anew."""
    seen = known.astype(np.float64)
    of_series = np.maximum(seen.sum(axis=1), 1.0)
    count = seen[:, after].sum(axis=1)
    matrix = np.diag(seen.sum(axis=0)) - seen.T @ (seen / of_series[:, None])
    inverse = np.linalg.pinv(matrix, hermitian=True)
    column = labels @ (seen * after - seen * (count / of_series)[:, None])
    square = labels @ (count - count**2 / of_series) - np.einsum("bt,tu,bu->b", column, inverse, column, optimize=True)
    return np.asarray(labels @ late / square)


def varies(values: F64) -> bool:
    """Whether any two of the known values differ."""
    known = values[np.isfinite(values)]
    return len(known) > 0 and float(np.ptp(known)) > 0


def detectable(
    values: F64, treated: Bools, days: int, period_days: int, *, clusters: I64 | None = None
) -> Detectable:  # fmt: skip
    """The smallest effect that 80 % power finds in an experiment of `days`, by placebo experiments in the past.

    Each has its start a whole number of `days` before the end and looks at the history before it; their standard
    errors are averaged as squares.

    Args:
        values: (N, T) outcome before the start, NaN where unknown.
        treated: (N,).
        days: planned length.
        period_days: days of a period.
        clusters: as in `placebo_start`.

    Raises:
        ValueError: where the history is shorter than two such lengths, or the outcome never varies in it.
    """
    if not varies(values):
        raise ValueError("it is the same for every series and period")
    length = -(-days // period_days)
    total = values.shape[1]
    starts = [total - k * length for k in range(1, MOST_PLACEBO_STARTS + 1) if total - k * length >= length]
    if not starts:
        raise ValueError(
            f"days: {days} days of experiment need {2 * length * period_days} days of history for their power, "
            f"got {total * period_days}"
        )
    found = [placebo_start(values[:, : begin + length], treated, begin, clusters=clusters) for begin in starts]
    error = float(np.sqrt(np.mean([one.std_error**2 for one in found])))
    freedom = found[0].clusters - 1
    reach = float(t_distribution.ppf((1 + LEVEL) / 2, freedom) + t_distribution.ppf(POWER, freedom))
    return Detectable(reach * error, error, float(np.nanmean(values)), len(starts), found[0].clusters)
