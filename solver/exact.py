"""Solving the model of `formulation` with HiGHS through PuLP, gap and time limit explicit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pulp

from simulator.panel import F32, F64, I64, Bools
from solver.candidates import CandidateTables
from solver.constraints import Family, check_families, lost_sales_bound
from solver.formulation import Choices, build, build_elastic
from solver.solution import (
    SLACK,
    LabelInfeasible,
    LabelUnsolved,
    Solution,
    holds,
    require_reachable,
    shortage,
    solution_of,
)


class Answer(NamedTuple):
    """What HiGHS says of one model."""

    choice: I64 | None  # (N,); None where it found none
    bound: float  # no allowed choice has a smaller objective; infinite where the model is infeasible


def solve_exact(
    tables: CandidateTables, alpha_loss: float, families: Sequence[Family] = (), *, gap: float = 1e-4,
    time_limit_s: float = 60.0,
) -> Solution:  # fmt: skip
    """The choice of days with the least stock whose lost sales stay under SALE (1 - alpha_loss).

    Args:
        tables: stock and loss of every candidate.
        alpha_loss: required share of sales value, 0..1.
        families: further bounds.
        gap: relative optimality gap at which HiGHS may stop.
        time_limit_s: seconds after which it must.

    Raises:
        LabelInfeasible: when the bounds cannot hold.
        LabelUnsolved: when the time was too short to know.
    """
    families = (lost_sales_bound(tables, alpha_loss), *families)
    check_families(tables.stock_value.shape, families)
    require_reachable(families)
    answer = ask_highs(tables.stock_value, families, gap_rel=gap, time_limit_s=time_limit_s)
    if answer.choice is None:
        if answer.bound == np.inf:
            raise least_excess(families, time_limit_s)
        raise LabelUnsolved(f"HiGHS found no choice in {time_limit_s:g} s")
    return solution_of(tables, families, alpha_loss, answer.choice, answer.bound)


def ask_highs(
    stock_value: F32 | F64, families: Sequence[Family], allowed: Bools | None = None, *, gap_rel: float = 0.0,
    gap_abs: float = 0.0, good: float = -np.inf, time_limit_s: float,
) -> Answer:  # fmt: skip
    """Build and solve the model until a gap is reached or an objective is `good`; a choice returned holds every bound.

    HiGHS holds a bound to a tolerance of its own. Where its choice does not hold ours, the model is solved once more
    with the bounds drawn in by twice that tolerance.
    """
    limits = {"gapRel": gap_rel, "gapAbs": gap_abs, "objective_target": good, "timeLimit": time_limit_s}
    answer = _solve(stock_value, families, allowed, limits)
    if answer.choice is None or holds(families, answer.choice):
        return answer
    drawn_in = [
        family._replace(bounds=family.bounds - 2 * SLACK * np.abs(family.coefficients).max()) for family in families
    ]
    again = _solve(stock_value, drawn_in, allowed, limits)
    kept = again.choice is not None and holds(families, again.choice)
    return Answer(again.choice if kept else None, answer.bound)


def least_excess(families: Sequence[Family], time_limit_s: float) -> LabelInfeasible:
    """The error for families that cannot hold together: the first that fails beside those before it, by how much."""
    for count in range(2, len(families) + 1):
        problem, _, excess = build_elastic(families[:count])
        _run(problem, {"gapRel": 1e-6, "timeLimit": time_limit_s})
        if problem.sol_status not in (pulp.LpSolutionOptimal, pulp.LpSolutionIntegerFeasible):
            break
        last = families[count - 1]
        short = np.array([variable.value() for variable in excess])
        rows = np.flatnonzero(short > 10 * SLACK * np.abs(last.coefficients).max())
        if len(rows):
            return shortage(last, rows, float(short[rows].sum()), families[: count - 1])
    return LabelInfeasible(f"{', '.join(family.name for family in families)}: cannot hold together")


def _solve(
    stock_value: F32 | F64, families: Sequence[Family], allowed: Bools | None, limits: dict[str, float]
) -> Answer:
    problem, x = build(stock_value, families, allowed)
    _run(problem, limits)
    if problem.sol_status == pulp.LpSolutionInfeasible:
        return Answer(None, np.inf)
    bound = float(problem.solverModel.getInfo().mip_dual_bound)
    if problem.sol_status not in (pulp.LpSolutionOptimal, pulp.LpSolutionIntegerFeasible):
        return Answer(None, bound)
    return Answer(_chosen(x), bound)


def _run(problem: pulp.LpProblem, limits: dict[str, float]) -> None:
    tolerances = {"mip_feasibility_tolerance": SLACK, "primal_feasibility_tolerance": SLACK}
    problem.solve(pulp.HiGHS(msg=False, threads=1, **tolerances, **limits))


def _chosen(x: Choices) -> I64:
    return np.array([max(row, key=lambda v: row[v].value() or 0.0) for row in x], dtype=np.int64)
