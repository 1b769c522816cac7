"""What a solver answers with, and how it says that there is no answer.

One definition of "holds a bound" for every solver: a float sum may exceed its bound by `SLACK` of what was summed, no
more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from simulator.panel import F32, F64, I64
from solver.candidates import CandidateTables
from solver.constraints import Family

SLACK = 1e-9
MOST_NAMED = 5  # rows in a message


class LabelInfeasible(ValueError):
    """No choice of days holds every bound; the text names family and row, and by how much they miss."""


class LabelUnsolved(RuntimeError):
    """No choice was found in time, and none was proven impossible."""


class Solution(NamedTuple):
    """One choice of candidate for every series, with its certificate."""

    choice: I64  # (N,) index into the candidate days
    inventory_days: F64  # (N,)
    stock_value: float  # the objective, currency x periods
    loss_value: float  # currency
    alpha_loss: float  # the share that was asked for
    bound: float  # no choice that holds every bound has a smaller objective
    gap: float  # (stock_value - bound) / |bound|
    multipliers: dict[str, F64]  # family -> (M,) objective saved per unit of bound; empty where the solver has none
    usage: dict[str, F64]  # family -> (M,) the left-hand side of every row
    iterations: int  # passes over the tables


def solution_of(
    tables: CandidateTables, families: Sequence[Family], alpha_loss: float, choice: I64, bound: float,
    multipliers: dict[str, F64] | None = None, iterations: int = 0,
) -> Solution:  # fmt: skip
    """The totals of a choice; `bound` is capped at the choice's own objective, where float sums cross."""
    stock = chosen_sum(tables.stock_value, choice)
    bound = min(bound, stock)
    return Solution(
        choice=choice,
        inventory_days=tables.days[choice],
        stock_value=stock,
        loss_value=chosen_sum(tables.loss_value, choice),
        alpha_loss=alpha_loss,
        bound=bound,
        gap=relative_gap(stock, bound),
        multipliers=multipliers or {},
        usage={family.name: usage_of(family, choice) for family in families},
        iterations=iterations,
    )


def relative_gap(objective: float, bound: float) -> float:
    """How far an objective may lie above the optimum, relative to the bound."""
    return 0.0 if objective <= bound else (objective - bound) / max(abs(bound), 1e-300)


def chosen_sum(table: F32 | F64, choice: I64) -> float:
    """The sum over series of the chosen candidates' entries of an (N, V) table."""
    return float(table[np.arange(len(choice)), choice].sum(dtype=np.float64))


def usage_of(family: Family, choice: I64) -> F64:
    """(M,) the left-hand sides of a family's rows."""
    return row_sums(family, family.coefficients[np.arange(len(choice)), choice])


def excess(family: Family, amounts: F32 | F64) -> F64:
    """(M,) by how much rows that sum (N,) amounts exceed their bounds; 0 where float arithmetic explains it."""
    over = row_sums(family, amounts) - family.bounds
    slack = SLACK * np.maximum(np.abs(family.bounds), row_sums(family, np.abs(amounts)))
    return np.where(over > slack, over, 0.0)


def holds(families: Sequence[Family], choice: I64) -> bool:
    """Whether a choice holds every bound."""
    rows = np.arange(len(choice))
    return not any(excess(family, family.coefficients[rows, choice]).any() for family in families)


def require_reachable(families: Sequence[Family]) -> None:
    """Refuse bounds that a row cannot hold even alone.

    Raises:
        LabelInfeasible: for the first such row.
    """
    for family in families:
        short = excess(family, family.coefficients.min(axis=1))
        missed = np.flatnonzero(short)
        if len(missed):
            raise shortage(family, missed[:1], float(short[missed[0]]))


def row_sums(family: Family, amounts: F32 | F64) -> F64:
    """(M,) sums of (N,) amounts over each row's series."""
    inside = family.rows >= 0
    weights = amounts[inside].astype(np.float64)
    sums = np.bincount(family.rows[inside], weights=weights, minlength=len(family.bounds))
    return np.asarray(sums, dtype=np.float64)


def shortage(family: Family, rows: I64, short: float, held: Sequence[Family] = ()) -> LabelInfeasible:
    """The error that says by how much rows of a family miss their bounds.

    Args:
        family: the family that cannot hold.
        rows: its rows in excess.
        short: least total excess over them, in the family's own unit.
        held: families that do hold meanwhile; without them each row fails alone.
    """
    bound = float(family.bounds[rows].sum())
    names = ", ".join(family.label(row) for row in rows[:MOST_NAMED])
    names += f" and {len(rows) - MOST_NAMED} more" if len(rows) > MOST_NAMED else ""
    together = " together" * (len(rows) > 1)
    if family.at_least:
        text = f"{names}: at most {-(bound + short):.6g} can be reached{together}, the bound is {-bound:.6g}"
    else:
        text = f"{names}: needs at least {bound + short:.6g}{together}, the bound is {bound:.6g}"
    text += f" ({short:.6g} short)"
    others = ", ".join(other.name for other in held)
    return LabelInfeasible(f"{text} while {others} hold{'s' * (len(held) == 1)}" if held else text)
