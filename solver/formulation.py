"""The multiple-choice model of section 3.3.1 of the ORPR paper in PuLP: objective, (1), (2) and its kin, (3).

Coefficients of a bound are divided by the row's largest, so that the solver's absolute tolerance means the same in
every row. This module builds; it neither solves nor knows what the rows stand for.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pulp

from simulator.panel import F32, F64, Bools
from solver.constraints import Family

Choices = list[dict[int, pulp.LpVariable]]  # [series][candidate], allowed candidates only


def choice_variables(problem: pulp.LpProblem, allowed: Bools) -> Choices:
    """Equation (3): X[i, v] in {0, 1}, for the allowed candidates (N, V)."""
    return [
        {int(v): problem.add_variable(f"x_{i}_{v}", cat=pulp.LpBinary) for v in np.flatnonzero(row)}
        for i, row in enumerate(allowed)
    ]


def stock_objective(stock_value: F32 | F64, x: Choices) -> pulp.LpAffineExpression:
    """The objective: sum over i, v of X[i, v] stock[i, v]."""
    return pulp.LpAffineExpression(
        [(variable, float(stock_value[i, v])) for i, row in enumerate(x) for v, variable in row.items()]
    )


def one_choice_each(x: Choices) -> list[pulp.LpConstraint]:
    """Equation (1): sum over v of X[i, v] = 1 for every series i."""
    return [pulp.lpSum(row.values()) == 1 for row in x]


def family_rows(family: Family, x: Choices, excess: Sequence[pulp.LpVariable] | None = None) -> list[pulp.LpConstraint]:
    """Equation (2) and its kin: sum over i in m, v of X[i, v] coefficients[i, v] <= bounds[m] for every row m.

    Args:
        family: the bounds.
        x: choices.
        excess: one variable a row, in the row's own unit, that may exceed the bound.
    """
    terms: list[list[tuple[pulp.LpVariable, float]]] = [[] for _ in family.bounds]
    for i, row in enumerate(x):
        if family.rows[i] >= 0:
            terms[family.rows[i]] += [(variable, float(family.coefficients[i, v])) for v, variable in row.items()]
    constraints = []
    for m, entries in enumerate(terms):
        largest = max((abs(value) for _, value in entries), default=0.0) or 1.0
        scaled = [(variable, value / largest) for variable, value in entries]
        if excess is not None:
            scaled.append((excess[m], -1 / largest))
        constraints.append(pulp.LpAffineExpression(scaled) <= float(family.bounds[m]) / largest)
    return constraints


def build(
    stock_value: F32 | F64, families: Sequence[Family], allowed: Bools | None = None
) -> tuple[pulp.LpProblem, Choices]:
    """The whole model.

    Args:
        stock_value: (N, V) objective.
        families: bounds; every constraint is named by family, row and the row's name, of which PuLP keeps letters.
        allowed: (N, V) candidates that may be chosen; all where None.
    """
    problem = pulp.LpProblem("inventory_days", pulp.LpMinimize)
    x = choice_variables(problem, np.ones(stock_value.shape, dtype=bool) if allowed is None else allowed)
    problem += stock_objective(stock_value, x), "stock_value"
    for i, constraint in enumerate(one_choice_each(x)):
        problem += constraint, f"one_choice_{i}"
    for family in families:
        for m, constraint in enumerate(family_rows(family, x)):
            problem += constraint, f"{family.name}_{m}_{family.row_names[m]}"
    return problem, x


def build_elastic(families: Sequence[Family]) -> tuple[pulp.LpProblem, Choices, list[pulp.LpVariable]]:
    """The model that asks by how much the last family must exceed its bounds while the others hold.

    Returns:
        The problem, its choices and the excess of each row of the last family, in the family's unit.
    """
    *held, last = families
    problem = pulp.LpProblem("least_excess", pulp.LpMinimize)
    x = choice_variables(problem, np.ones(last.coefficients.shape, dtype=bool))
    excess = [problem.add_variable(f"excess_{m}", lowBound=0) for m in range(len(last.bounds))]
    problem += pulp.lpSum(excess), "excess"
    for constraint in one_choice_each(x):
        problem += constraint
    for family in held:
        for constraint in family_rows(family, x):
            problem += constraint
    for constraint in family_rows(last, x, excess):
        problem += constraint
    return problem, x, excess
