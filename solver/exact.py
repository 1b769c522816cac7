"""Solving the model of `formulation` with HiGHS."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pulp

from simulator.panel import F64, I64
from solver.candidates import CandidateTables
from solver.formulation import build


class LabelInfeasible(ValueError):
    """No choice of days keeps lost sales under the bound; the text says by how much."""


class Solution(NamedTuple):
    """One choice of candidate for every series."""

    choice: I64  # (N,) index into the candidate days
    inventory_days: F64  # (N,)
    stock_value: float  # the objective
    loss_value: float
    alpha_loss: float


def least_loss(tables: CandidateTables) -> float:
    """The smallest lost-sales value that any choice reaches."""
    return float(tables.loss_value.min(axis=1).sum())


def solve_exact(
    tables: CandidateTables, alpha_loss: float, *, gap: float = 1e-4, time_limit_s: float = 60.0
) -> Solution:
    """The choice of days with the least stock whose lost sales stay under SALE (1 - alpha_loss).

    Args:
        tables: stock and loss of every candidate.
        alpha_loss: required share of sales value, 0..1.
        gap: relative optimality gap at which HiGHS may stop.
        time_limit_s: seconds after which it must.

    Raises:
        LabelInfeasible: when even the least loss is above the bound.
    """
    bound = float(tables.sale_value.sum()) * (1 - alpha_loss)
    least = least_loss(tables)
    if least > bound * (1 + 1e-9) + 1e-6:
        raise LabelInfeasible(f"lost_sales: at least {least:.6g} is lost, the bound is {bound:.6g}")
    problem, x = build(tables, alpha_loss)
    status = problem.solve(pulp.HiGHS(msg=False, gapRel=gap, timeLimit=time_limit_s))
    if problem.sol_status not in (pulp.LpSolutionOptimal, pulp.LpSolutionIntegerFeasible):
        raise LabelInfeasible(f"lost_sales: HiGHS found no choice ({pulp.LpStatus[status]})")
    choice = np.array([int(np.argmax([variable.value() for variable in row])) for row in x], dtype=np.int64)
    return solution_of(tables, choice, alpha_loss)


def solution_of(tables: CandidateTables, choice: I64, alpha_loss: float) -> Solution:
    """The totals of a choice."""
    rows = np.arange(len(choice))
    return Solution(
        choice=choice,
        inventory_days=tables.days[choice],
        stock_value=float(tables.stock_value[rows, choice].sum()),
        loss_value=float(tables.loss_value[rows, choice].sum()),
        alpha_loss=alpha_loss,
    )
