"""Who is compared with whom: propensity scores, pairs, and whether the pairs are alike.

It knows covariates as columns of numbers; `covariates.py` computes them, `design.py` reads and writes.

Sources: Rosenbaum and Rubin 1985 (matching on the logit), Austin 2011 (calliper of 0.2 standard deviations, differences above 0.1),
Gelman et al. 2008 (the weak prior of the logistic regression).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import statsmodels.api as sm

from simulator.panel import F64, I64, Bools

CALLIPER = 0.2  # standard deviations of the logit
UNBALANCED = 0.1  # absolute standardised difference
PRIOR_DEVIATIONS = 2.5  # of a standardised coefficient


class Balance(NamedTuple):
    """How one covariate differs between the groups; before: all candidates for control, after: the matched pairs."""

    covariate: str
    mean_treated: float
    mean_control: float  # of all candidates
    mean_matched_treated: float
    mean_matched_control: float
    difference_before: float  # standardised: in standard deviations of the unmatched groups
    difference_after: float
    variance_ratio_before: float  # treated over control
    variance_ratio_after: float
    unbalanced: bool  # |difference_after| > 0.1


def propensity_logit(covariates: F64, treated: Bools) -> F64:
    """(N,) log odds of being treated: a logistic regression on standardised covariates.

    A normal prior of 2.5 standard deviations on each coefficient keeps it finite where a covariate tells the groups apart.

    Args:
        covariates: (N, K) without unknown values.
        treated: (N,).
    """
    spread = covariates.std(axis=0)
    scaled = (covariates - covariates.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    design = np.column_stack([np.ones(len(scaled)), scaled])
    weight = np.full(design.shape[1], 1 / (PRIOR_DEVIATIONS**2 * len(scaled)))
    weight[0] = 0.0
    model = sm.GLM(treated.astype(np.float64), design, family=sm.families.Binomial())
    return np.asarray(design @ model.fit_regularized(alpha=weight, L1_wt=0.0).params)


def pooled_deviation(values: F64, treated: Bools) -> float:
    """The root of the mean of both groups' variances."""
    return float(np.sqrt((_variance(values[treated]) + _variance(values[~treated])) / 2))


def nearest_pairs(logit: F64, treated: Bools, calliper: float, strata: I64 | None = None) -> I64:
    """One control for each treated series, without replacement, the hardest to match first.

    Args:
        logit: (N,).
        treated: (N,).
        calliper: the most by which the logits of a pair may differ.
        strata: (N,) numbers of groups that a pair must share; None: any two may be a pair.

    Returns:
        (N,) number of the pair, from 0; -1 for series without one.
    """
    pair = np.full(len(logit), -1, dtype=np.int64)
    free = ~treated
    order = np.flatnonzero(treated)[np.argsort(-logit[treated], kind="stable")]
    made = 0
    for one in order:
        allowed = free if strata is None else free & (strata == strata[one])
        distance = np.where(allowed, np.abs(logit - logit[one]), np.inf)
        other = int(distance.argmin())
        if distance[other] <= calliper:
            pair[one] = pair[other] = made
            free[other] = False
            made += 1
    return pair


def stratified_draw(strata: I64, volume: F64, share: float, rng: np.random.Generator) -> Bools:
    """Treated series drawn so that every stratum has its share of them, to within one, and every third of its volume too.

    Systematic sampling: series in order of stratum and volume class, at random within, and every (1 / share)-th taken.

    Args:
        strata: (N,) numbers, of categories for example.
        volume: (N,) units a day.
        share: of the series, in (0, 1).
        rng: draws.

    Returns:
        (N,) with round(share x N) of them, at least one.
    """
    third = np.searchsorted(np.quantile(volume, [1 / 3, 2 / 3]), volume)
    order = np.lexsort((rng.random(len(volume)), third, strata))
    count = max(round(share * len(volume)), 1)
    step = len(volume) / count
    drawn = np.zeros(len(volume), dtype=bool)
    drawn[order[np.floor((np.arange(count) + rng.random()) * step).astype(np.int64).clip(max=len(volume) - 1)]] = True
    return drawn


def balance_table(names: list[str], covariates: F64, treated: Bools, pair: I64) -> list[Balance]:
    """A row for each covariate.

    Args:
        names: of the K covariates.
        covariates: (N, K).
        treated: (N,).
        pair: (N,) as `nearest_pairs` gives it.
    """
    return [_balance(name, column, treated, pair >= 0) for name, column in zip(names, covariates.T, strict=True)]


def _balance(name: str, values: F64, treated: Bools, matched: Bools) -> Balance:
    ours, theirs = values[treated], values[~treated]
    ours_after, theirs_after = values[treated & matched], values[~treated & matched]
    deviation = pooled_deviation(values, treated)
    before = _standardised(_mean(ours) - _mean(theirs), deviation)
    after = _standardised(_mean(ours_after) - _mean(theirs_after), deviation)
    return Balance(
        name, _mean(ours), _mean(theirs), _mean(ours_after), _mean(theirs_after), before, after,
        _ratio(ours, theirs), _ratio(ours_after, theirs_after), not abs(after) <= UNBALANCED,
    )  # fmt: skip


def _standardised(difference: float, deviation: float) -> float:
    if deviation > 0 or difference == 0:
        return difference / deviation if deviation > 0 else 0.0
    return float("nan")


def _ratio(ours: F64, theirs: F64) -> float:
    below = _variance(theirs)
    return _variance(ours) / below if below > 0 else float("nan")


def _mean(values: F64) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _variance(values: F64) -> float:
    return float(values.var(ddof=1)) if len(values) > 1 else 0.0
