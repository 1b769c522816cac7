"""alpha_loss by binary search, so that the labels turn stock over as the business does; and the trade-off as a whole.

Section 3.3.3 of the ORPR paper. This module chooses service levels; how a level is solved is the caller's or the
Lagrangian's business.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from simulator.panel import F64, I64, Strings
from solver.candidates import CandidateTables
from solver.constraints import LEAST
from solver.lagrangian import Effort, Lagrangian
from solver.solution import LabelInfeasible, Solution

Solve = Callable[[float], Solution]  # alpha_loss -> labels; raises LabelInfeasible
NARROW = 1e-9  # levels nearer than this are one
FINE = 1e-3  # of the levels' range: how near to the strictest level that bounds allow the trade-off ends
EFFORT = Effort(gap=1e-4, time_limit_s=5.0)  # of each solve in a search: turnover is wanted to a percent


class ParetoPoint(NamedTuple):
    """Labels at one service level."""

    turnover_days: float
    solution: Solution


class CategoryCalibration(NamedTuple):
    """Labels of all series, each category calibrated on its own."""

    choice: I64  # (N,) index into the candidate days
    inventory_days: F64  # (N,)
    turnover_days: dict[str, float]  # reached, by category
    alpha_loss: dict[str, float]


def turnover_days(tables: CandidateTables, solution: Solution, period_days: int) -> float:
    """Mean stock over mean daily demand on the label's own window."""
    stock = tables.stock_units[np.arange(len(solution.choice)), solution.choice].sum(dtype=np.float64)
    return float(stock * period_days / max(tables.demand_units.sum(dtype=np.float64), LEAST))


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


def strictest(tables: CandidateTables) -> float:
    """The largest alpha_loss that some choice reaches, further bounds aside."""
    least = float(tables.loss_value.min(axis=1).sum(dtype=np.float64))
    return 1.0 - least / max(float(tables.sale_value.sum(dtype=np.float64)), LEAST)


def calibrate(
    tables: CandidateTables, target_turnover_days: float, period_days: int, *, solve: Solve | None = None,
    tolerance: float = 0.01, rounds: int = 20,
) -> Solution:  # fmt: skip
    """The labels whose turnover comes closest to the target.

    Turnover rises with alpha_loss, so halving its interval finds it, once the strictest and the loosest level have been
    tried: where the target lies beyond one of them, that one is the answer.

    Args:
        tables: stock and loss of every candidate.
        target_turnover_days: the real turnover, or the incumbent's where a dataset has no inventory.
        period_days: days in a period.
        solve: solves the model at one alpha_loss; the Lagrangian without further bounds unless told.
        tolerance: relative error in turnover at which to stop.
        rounds: most levels solved, at least 1.

    Raises:
        LabelInfeasible: when no level that was tried can hold the bounds.
    """
    solve = solve or _lagrangian(tables)
    low, high = 0.0, strictest(tables)
    best, best_error, failure = None, np.inf, None
    for tried in range(rounds):
        alpha_loss = (high, low)[tried] if tried < 2 else (low + high) / 2
        try:
            solution = solve(alpha_loss)
        except LabelInfeasible as error:
            high, failure = alpha_loss, error
            continue
        missing = target_turnover_days - turnover_days(tables, solution, period_days)
        if abs(missing) < best_error:
            best, best_error = solution, abs(missing)
        out_of_reach = (tried == 0 and missing >= 0) or (tried == 1 and missing <= 0)
        if out_of_reach or best_error <= tolerance * target_turnover_days:
            break
        low, high = (alpha_loss, high) if missing > 0 else (low, alpha_loss)
    if best is None:
        assert failure is not None
        raise failure
    return best


def calibrate_by_category(
    tables: CandidateTables, category: Strings, target_turnover_days: Mapping[str, float], period_days: int, *,
    tolerance: float = 0.01, rounds: int = 20,
) -> CategoryCalibration:  # fmt: skip
    """Each category's labels at its own turnover: its own alpha_loss, found on its series alone.

    Args:
        tables: stock and loss of every candidate.
        category: (N,) names.
        target_turnover_days: target of every category that occurs.
        period_days: days in a period.
        tolerance, rounds: as in `calibrate`.

    Raises:
        ValueError: where a category has no target.
    """
    names = np.unique(category.astype(str)).tolist()
    missing = [name for name in names if name not in target_turnover_days]
    if missing:
        raise ValueError(f"target_turnover_days has none for {', '.join(map(repr, missing))}")
    choice = np.zeros(len(category), dtype=np.int64)
    reached, alphas = {}, {}
    for name in names:
        rows = np.flatnonzero(category == name)
        part = _take(tables, rows)
        found = calibrate(part, target_turnover_days[name], period_days, tolerance=tolerance, rounds=rounds)
        choice[rows] = found.choice
        reached[name], alphas[name] = turnover_days(part, found, period_days), found.alpha_loss
    return CategoryCalibration(choice, tables.days[choice], reached, alphas)


def pareto_set(
    tables: CandidateTables, period_days: int, *, points: int = 20, solve: Solve | None = None
) -> list[ParetoPoint]:
    """The trade-off between stock and lost sales, from the least stock to the least loss.

    The two ends first; then the widest step in turnover is halved in alpha_loss until there are `points`.

    Args:
        tables: stock and loss of every candidate.
        period_days: days in a period.
        points: most levels solved, at least 2.
        solve: as in `calibrate`.

    Returns:
        By rising stock value and falling loss; no point is beaten in both by another.
    """
    if points < 2:
        raise ValueError(f"points must be at least 2, got {points}")
    solve = solve or _lagrangian(tables)

    loosest = solve(0.0)
    alphas = [1 - loosest.loss_value / max(float(tables.sale_value.sum(dtype=np.float64)), LEAST), strictest(tables)]
    found = [loosest, _strictest_solution(solve, alphas)]
    turnovers = [turnover_days(tables, solution, period_days) for solution in found]
    while len(found) < points:
        wide = np.where(np.diff(alphas) > NARROW, np.diff(turnovers), 0.0)
        step = int(np.argmax(wide))
        if wide[step] <= 0:
            break
        middle = (alphas[step] + alphas[step + 1]) / 2
        solution = solve(middle)
        alphas.insert(step + 1, middle)
        found.insert(step + 1, solution)
        turnovers.insert(step + 1, turnover_days(tables, solution, period_days))
    return _undominated([ParetoPoint(*pair) for pair in zip(turnovers, found, strict=True)])


def _strictest_solution(solve: Solve, alphas: list[float]) -> Solution:
    """The solution at the last of two levels, which is lowered where further bounds do not allow it.

    Halving finds the strictest level that they do allow, to `FINE` of the interval; it becomes the last one.
    """
    loosest, strictest_level = alphas
    try:
        return solve(strictest_level)
    except LabelInfeasible:
        low, high, found = loosest, strictest_level, None
    while found is None or high - low > FINE * (strictest_level - loosest):
        middle = (low + high) / 2
        try:
            found, low = solve(middle), middle
        except LabelInfeasible:
            high = middle
            if high - loosest < NARROW:
                raise
    alphas[1] = low
    return found


def _undominated(points: list[ParetoPoint]) -> list[ParetoPoint]:
    """The points that no stricter one beats in stock."""
    kept: list[ParetoPoint] = []
    for point in reversed(points):
        last = kept[-1].solution if kept else None
        if last is None or (
            point.solution.stock_value < last.stock_value and point.solution.loss_value > last.loss_value
        ):
            kept.append(point)
    return kept[::-1]


def _lagrangian(tables: CandidateTables) -> Solve:
    return partial(Lagrangian(tables).solve, effort=EFFORT)


def _take(tables: CandidateTables, rows: I64) -> CandidateTables:
    """The tables of some series only."""
    cut: dict[str, Any] = tables._asdict()
    cut |= {name: value[rows] for name, value in cut.items() if isinstance(value, np.ndarray) and name != "days"}
    return CandidateTables(**cut)
