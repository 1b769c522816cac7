"""The multiple-choice model of section 3.3.1 of the ORPR paper in PuLP, one function per constraint family."""

from __future__ import annotations

import pulp

from solver.candidates import CandidateTables

Choices = list[list[pulp.LpVariable]]  # [series][candidate]


def choice_variables(problem: pulp.LpProblem, tables: CandidateTables) -> Choices:
    """Equation (3): X[i, v] in {0, 1}."""
    series, candidates = tables.stock_value.shape
    return [[problem.add_variable(f"x_{i}_{v}", cat=pulp.LpBinary) for v in range(candidates)] for i in range(series)]


def stock_objective(tables: CandidateTables, x: Choices) -> pulp.LpAffineExpression:
    """The objective: sum over i, v of X[i, v] stock[i, v]."""
    return pulp.LpAffineExpression(
        [(x[i][v], float(tables.stock_value[i, v])) for i in range(len(x)) for v in range(len(x[i]))]
    )


def one_choice_each(x: Choices) -> list[pulp.LpConstraint]:
    """Equation (1): sum over v of X[i, v] = 1 for every series i."""
    return [pulp.lpSum(row) == 1 for row in x]


def lost_sales_bound(tables: CandidateTables, x: Choices, alpha_loss: float) -> pulp.LpConstraint:
    """Equation (2): sum over i, v of X[i, v] loss[i, v] <= SALE (1 - alpha_loss)."""
    loss = pulp.LpAffineExpression(
        [(x[i][v], float(tables.loss_value[i, v])) for i in range(len(x)) for v in range(len(x[i]))]
    )
    return loss <= float(tables.sale_value.sum()) * (1 - alpha_loss)


def build(tables: CandidateTables, alpha_loss: float) -> tuple[pulp.LpProblem, Choices]:
    """The whole model.

    Args:
        tables: stock and loss of every candidate.
        alpha_loss: share of the sales value that must not be lost, 0..1. The paper calls it the largest stock-out
            rate, but its equation (2) makes it the service level; the equation is what is built.
    """
    if not 0 <= alpha_loss <= 1:
        raise ValueError(f"alpha_loss must lie between 0 and 1, got {alpha_loss}")
    problem = pulp.LpProblem("inventory_days", pulp.LpMinimize)
    x = choice_variables(problem, tables)
    problem += stock_objective(tables, x), "stock_value"
    for i, constraint in enumerate(one_choice_each(x)):
        problem += constraint, f"one_choice_{i}"
    problem += lost_sales_bound(tables, x, alpha_loss), "lost_sales"
    return problem, x
