"""alpha_loss by binary search, so that the labels turn stock over as the business does (section 3.3.3)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from simulator.panel import F64
from solver.candidates import CandidateTables
from solver.exact import Solution, least_loss, solve_exact


def turnover_days(tables: CandidateTables, solution: Solution, period_days: int) -> float:
    """Mean stock over mean daily demand on the label's own window."""
    stock = tables.stock_units[np.arange(len(solution.choice)), solution.choice].sum()
    return float(stock * period_days / max(tables.demand_units.sum(), 1e-12))


def real_turnover(on_hand: F64, demand: F64, period_days: int) -> float | None:
    """Days that the real stock would have lasted, over the series and periods in which it is known.

    Args:
        on_hand: (N, T) units at each period's end, NaN where unknown.
        demand: (N, T) units.
        period_days: days in a period.

    Returns:
        Mean stock over mean daily demand; None where no stock is known or nothing was wanted.
    """
    known = np.isfinite(on_hand)
    wanted = float(demand[known].sum())
    return float(on_hand[known].sum() * period_days / wanted) if wanted > 0 else None


def calibrate(
    tables: CandidateTables,
    target_turnover_days: float,
    period_days: int,
    *,
    solve: Callable[[CandidateTables, float], Solution] = solve_exact,
    tolerance: float = 0.01,
    rounds: int = 20,
) -> Solution:
    """The labels whose turnover comes closest to the target.

    Turnover rises with alpha_loss, so halving its interval finds it. Ends at a relative error of `tolerance`.

    Args:
        tables: stock and loss of every candidate.
        target_turnover_days: the real turnover, or the incumbent's where a dataset has no inventory.
        period_days: days in a period.
        solve: solves the model at one alpha_loss.
        tolerance: relative error in turnover at which to stop.
        rounds: most halvings.
    """
    low, high = 0.0, 1.0 - least_loss(tables) / max(float(tables.sale_value.sum()), 1e-12)
    best, best_error = None, np.inf
    for _ in range(rounds):
        middle = (low + high) / 2
        solution = solve(tables, middle)
        turnover = turnover_days(tables, solution, period_days)
        error = abs(turnover - target_turnover_days) / max(target_turnover_days, 1e-12)
        if error < best_error:
            best, best_error = solution, error
        if best_error <= tolerance:
            break
        low, high = (middle, high) if turnover < target_turnover_days else (low, middle)
    assert best is not None
    return best
