"""What the treatment did: differences and differences in differences of a panel, with clustered errors.

Series and period effects are taken out exactly, in closed form, also where observations are missing; statsmodels does the regression on
what is left. Small-sample factors are those of pyfixest and fixest, and a test holds the two together. It knows arrays
only: not what an outcome means, nor who chose the treated.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import statsmodels.api as sm
from scipy.stats import f as f_distribution
from scipy.stats import t as t_distribution

from simulator.panel import F64, I64, Bools

LEVEL = 0.95  # of every interval
LEAST_IN_A_GROUP = 2  # series, and clusters of them; one says nothing about the spread


class Estimate(NamedTuple):
    """An effect in units of its outcome, with its 95 % interval."""

    effect: float
    std_error: float
    low: float
    high: float
    p_value: float  # two-sided, that there is none
    clusters: int
    observations: int


class EventStudy(NamedTuple):
    """Differences between the groups bin by bin, less that of the reference bin; arrays are (K,)."""

    effect: F64
    low: F64
    high: F64
    lead_f: float  # that all leads are zero; NaN where there are too few series to tell
    lead_degrees: tuple[int, int]
    lead_p: float


class _Fit(NamedTuple):
    params: F64  # (k,)
    covariance: F64  # (k, k)
    clusters: int
    observations: int


def absorbed(values: F64, known: Bools) -> F64:
    """What is left of values when series and period effects are taken out.

    Solves the normal equations of both sets of effects, series first, so that T unknowns are left.

    Args:
        values: (N, T).
        known: (N, T); every row has an observation.

    Returns:
        (N, T) residuals; 0 where unknown.
    """
    seen = known.astype(np.float64)
    values = np.where(known, values, 0.0)
    of_series = np.maximum(seen.sum(axis=1), 1.0)
    matrix = np.diag(seen.sum(axis=0)) - seen.T @ (seen / of_series[:, None])
    total = values.sum(axis=1)
    # Constants lie in its null space; what rounding leaves of that eigenvalue must count as none, on any number of threads.
    period = np.linalg.pinv(matrix, rcond=1e-10, hermitian=True) @ (values.sum(axis=0) - seen.T @ (total / of_series))
    series = (total - seen @ period) / of_series
    return np.where(known, values - period - series[:, None], 0.0)


def difference_in_differences(values: F64, treated: Bools, after: Bools, *, clusters: I64 | None = None) -> Estimate:
    """The effect on the treated: two-way fixed effects, standard error clustered.

    Args:
        values: (N, T) outcome, NaN where unknown. Every series has observations before and after.
        treated: (N,).
        after: (T,) whether the treatment has begun.
        clusters: (N,) numbers of what may hang together; each series for itself where None.

    Raises:
        ValueError: where a group has fewer than two series or clusters.
    """
    _check_groups(treated, clusters)
    known = np.isfinite(values)
    design = np.asarray(treated[:, None] * after[None, :], dtype=np.float64)
    fit = _regress(absorbed(values, known), [absorbed(design, known)], known, clusters, _periods(known))
    return _estimate(fit)


def on_the_treated(
    values: F64, treated: Bools, exposed: Bools, after: Bools, *, clusters: I64 | None = None
) -> Estimate:
    """The effect on series that were really treated: the assignment is the instrument for the exposure.

    Args:
        values, treated, after, clusters: as in `difference_in_differences`.
        exposed: (N,) whether the series was really treated.

    Raises:
        ValueError: where the assignment moved nobody.
    """
    _check_groups(treated, clusters)
    known = np.isfinite(values)
    late: F64 = np.asarray(after[None, :], dtype=np.float64)
    outcome = absorbed(values, known)
    instrument = absorbed(treated[:, None] * late, known)
    taken = absorbed(exposed[:, None] * late, known)
    moved = float((instrument * taken).sum())
    if abs(moved) < 1e-9:
        raise ValueError("decisions: as many control as treated series were really treated")
    effect = float((instrument * outcome).sum()) / moved
    scores = (instrument * (outcome - effect * taken)).sum(axis=1)
    by = np.arange(len(values)) if clusters is None else clusters
    meat = float((np.bincount(by, scores) ** 2).sum())
    count, rows = len(np.unique(by)), int(known.sum())
    factor = count / (count - 1) * (rows - 1) / (rows - 1 - _periods(known))
    return _estimate(_Fit(np.array([effect]), np.array([[factor * meat / moved**2]]), count, rows))


def difference_of_means(values: F64, treated: Bools, *, clusters: I64 | None = None) -> Estimate:
    """Treated less control over some periods, without any effects taken out.

    Args:
        values: (N, T) NaN where unknown.
        treated: (N,).
        clusters: as in `difference_in_differences`.
    """
    _check_groups(treated, clusters)
    known = np.isfinite(values)
    group = np.broadcast_to(treated[:, None].astype(np.float64), values.shape)
    fit = _regress(values, [group, np.ones(values.shape)], known, clusters, 0)
    return _estimate(fit)


def event_study(
    values: F64, treated: Bools, reference: int, leads: I64, *, clusters: I64 | None = None
) -> EventStudy:  # fmt: skip
    """The groups' difference in every bin, less that of the reference bin, and whether the leads are all zero.

    The joint test is the clustered Wald test scaled as Hotelling's T² of two groups is: without it, many leads against few series
    reject far too often.

    Args:
        values: (N, K) outcome by bin, NaN where unknown.
        treated: (N,).
        reference: the bin that all are compared with, commonly the last before the start.
        leads: bins before the start without the reference.
        clusters: as in `difference_in_differences`.
    """
    _check_groups(treated, clusters)
    known = np.isfinite(values)
    shown = np.array([k for k in range(values.shape[1]) if k != reference])
    columns = [
        absorbed(np.where(np.arange(values.shape[1]) == k, treated[:, None].astype(np.float64), 0.0), known)
        for k in shown
    ]
    fit = _regress(absorbed(values, known), columns, known, clusters, _periods(known))
    effect, error = np.zeros(values.shape[1]), np.zeros(values.shape[1])
    effect[shown], error[shown] = fit.params, np.sqrt(np.diag(fit.covariance))
    half = t_distribution.ppf((1 + LEVEL) / 2, fit.clusters - 1) * error
    at = np.searchsorted(shown, leads)
    statistic, degrees, p = _joint_test(fit.params[at], fit.covariance[np.ix_(at, at)], fit.clusters)
    return EventStudy(effect, effect - half, effect + half, statistic, degrees, p)


def _joint_test(params: F64, covariance: F64, clusters: int) -> tuple[float, tuple[int, int], float]:
    count = len(params)
    degrees = (count, clusters - count - 1)
    if count == 0 or degrees[1] < 1 or np.linalg.matrix_rank(covariance) < count:
        return float("nan"), degrees, float("nan")
    wald = float(params @ np.linalg.solve(covariance, params))
    statistic = wald * degrees[1] / (count * (clusters - 2))
    return statistic, degrees, float(f_distribution.sf(statistic, *degrees))


def _regress(outcome: F64, columns: list[F64], known: Bools, clusters: I64 | None, effects: int) -> _Fit:
    """Least squares over the known cells. `effects` were absorbed that are not nested in clusters."""
    rows = int(known.sum())
    by = np.broadcast_to((np.arange(len(known)) if clusters is None else clusters)[:, None], known.shape)[known]
    design = np.column_stack([column[known] for column in columns])
    done = sm.OLS(outcome[known], design).fit(cov_type="cluster", cov_kwds={"groups": by}, use_t=True)
    width = design.shape[1]
    factor = (rows - width) / (rows - width - effects)  # statsmodels does not know of what was absorbed
    return _Fit(done.params, np.atleast_2d(done.cov_params()) * factor, len(np.unique(by)), rows)


def _estimate(fit: _Fit) -> Estimate:
    """The first coefficient."""
    effect, error = float(fit.params[0]), float(np.sqrt(fit.covariance[0, 0]))
    freedom = fit.clusters - 1
    half = float(t_distribution.ppf((1 + LEVEL) / 2, freedom)) * error
    p = 2 * float(t_distribution.sf(abs(effect) / error, freedom)) if error > 0 else float("nan")
    return Estimate(effect, error, effect - half, effect + half, p, fit.clusters, fit.observations)


def _periods(known: Bools) -> int:
    return int(known.any(axis=0).sum())


def _check_groups(treated: Bools, clusters: I64 | None) -> None:
    for name, group in (("treated", treated), ("control", ~treated)):
        if (count := int(group.sum())) < LEAST_IN_A_GROUP:
            raise ValueError(f"group: {count} {name} series can be measured, at least {LEAST_IN_A_GROUP} are needed")
        if clusters is not None and (count := len(np.unique(clusters[group]))) < LEAST_IN_A_GROUP:
            raise ValueError(
                f"group: all {name} series lie in {count} cluster, such as a location, at least {LEAST_IN_A_GROUP} are needed"
            )
