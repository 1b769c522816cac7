"""From multipliers to a choice: HiGHS decides the few series for which the dual has no clear first choice.

Relative to multipliers, the regret of a candidate is its reduced value minus the least of its series. Any choice costs
at least the dual's value plus the sum of its regrets. So a choice within delta of the dual's value uses only candidates
with regrets up to delta: these are the series that matter, the **core**. All others keep their first choice, and HiGHS
chooses for the core under what they leave of the bounds. What it proves holds for the whole model as far as the core
reaches: a choice that uses a candidate outside costs at least the dual's value plus `reach`.

Source: reduced-cost fixing for multiple-choice knapsacks, as in Dyer, Kayal and Walsh 1984 and Pisinger 1995.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from simulator.panel import F32, F64, I64, Bools
from solver.constraints import LEAST, Family
from solver.dual import Near, all_rows, smallest
from solver.exact import ask_highs
from solver.executors import Ask
from solver.solution import chosen_sum, holds, relative_gap, usage_of

FIRST_CORE = 192  # series
PER_BOUND = 16  # series more for every bound
PER_ROW = 8  # series that every row gets at least, so that a small row can be met
GROWTH = 4
PUSH, MOST_PUSHES = 1.5, 40  # factor on the multipliers of broken rows, and how often
MOST_SERIES, MOST_COLUMNS = 10_000, 20_000  # a core that HiGHS is given to prove that nothing better exists
LEAST_GAP = 1e-9  # what a gap of zero means in floats
SHARE, GOOD = 0.25, 0.9  # of the gap: what HiGHS may leave, and how far above the dual's value is near enough


class Core(NamedTuple):
    """The series left to HiGHS."""

    series: I64  # (n,)
    allowed: Bools  # (n, V) candidates it may use
    reach: float  # every candidate left out has at least this regret


class Closing(NamedTuple):
    """The best choice found and what is proven."""

    choice: I64 | None  # (N,)
    bound: float  # no choice that holds every bound has a smaller objective; infinite where none exists


def close(
    ask: Ask, stock_value: F32 | F64, families: Sequence[Family], multipliers: F64, value: float, *, gap: float,
    deadline: float, doubt: Callable[[], None],
) -> Closing:  # fmt: skip
    """A choice that holds every bound, its core grown until the gap is met, growth is of no use, or time is up.

    Args:
        ask: the shards.
        stock_value: (N, V) objective.
        families: bounds, in the order of `multipliers`.
        multipliers: (M,) from the dual.
        value: the dual's value there.
        gap: relative gap that is good enough.
        deadline: `time.monotonic()` at which to stop.
        doubt: called when the first core holds no choice; raises where it can tell that nothing does.
    """
    first = np.concatenate(ask("choices", multipliers))
    base = chosen_sum(stock_value, first)
    best, objective = (first, base) if holds(families, first) else (None, np.inf)
    bound, flips = value, min(FIRST_CORE + PER_BOUND * len(multipliers), max(len(first) // 2, 1))
    unit = max(gap, LEAST_GAP) * max(abs(value), LEAST_GAP)
    regrets, useful = 0, True  # the first core is by flips alone
    while relative_gap(objective, bound) > gap and useful and (regrets == 0 or time.monotonic() < deadline):
        core = _core(ask, stock_value, families, multipliers, first, flips, regrets, objective - value)
        complete = core.reach >= objective - value
        limit = (deadline - time.monotonic()) * (1.0 if complete else 0.5)
        good = (value - base) / unit + GOOD
        chosen, core_bound = _close_core(stock_value, families, first, core, unit, good, limit)
        bound = max(bound, min(base + unit * core_bound, value + core.reach))
        better = chosen is not None and chosen_sum(stock_value, chosen) < objective and holds(families, chosen)
        if chosen is not None and better:
            best, objective = chosen, chosen_sum(stock_value, chosen)
        if best is None and regrets == 0:
            doubt()
            best = pushed(ask, stock_value, families, multipliers)
            objective = np.inf if best is None else chosen_sum(stock_value, best)
        stuck = regrets > 0 and chosen is not None and not better
        useful = core.reach < objective - value and not stuck
        regrets = max(regrets, flips) * GROWTH
    return Closing(best, bound)


def _core(
    ask: Ask, stock_value: F32 | F64, families: Sequence[Family], multipliers: F64, first: I64, flips: int,
    regrets: int, wanted: float,
) -> Core:  # fmt: skip
    """After the first core: all that can matter, where that is not too much for HiGHS, else the nearest `regrets`."""
    if regrets:
        whole = core_of(ask, stock_value, families, multipliers, first, flips, MOST_SERIES, wanted)
        if whole.reach >= wanted and whole.allowed.sum() <= MOST_COLUMNS:
            return whole
    return core_of(ask, stock_value, families, multipliers, first, flips, regrets, wanted)


def core_of(
    ask: Ask, stock_value: F32 | F64, families: Sequence[Family], multipliers: F64, first: I64, flips: int,
    regrets: int, wanted: float,
) -> Core:  # fmt: skip
    """The series nearest to another choice, and those of their candidates that are.

    Near by flip are those that a small change of multipliers would change: they fill what is left of the bounds at the
    least regret per unit. Near by regret are those that can be part of a better choice: they carry the proof.

    Args:
        ask: the shards.
        stock_value: (N, V) objective.
        families: bounds.
        multipliers: (M,).
        first: (N,) first choices.
        flips: series taken by flip, besides those that a small row gets.
        regrets: most series taken by regret.
        wanted: no candidate with a larger regret can improve on the choice at hand.
    """
    parts = ask("near", multipliers, flips, regrets + 1, PER_ROW)
    near = Near(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
    rows, count = all_rows(families), len(multipliers)
    by_regret = smallest(near.regret, rows[near.series], count, regrets + 1, 0)
    reach = float(near.regret[by_regret[regrets]]) if len(by_regret) > regrets else np.inf
    reach = min(reach, wanted)
    by_flip = smallest(near.flip, rows[near.series], count, flips, PER_ROW)
    turn = float(near.flip[by_flip[:flips]].max(initial=0.0))
    taken = np.union1d(by_flip, by_regret[:regrets])
    taken = taken[near.regret[taken] <= wanted]
    series = near.series[taken]
    regret, flip, repeated = _distances(stock_value, families, multipliers, series, first)
    allowed = (regret <= reach) | (flip <= np.maximum(turn, near.flip[taken])[:, None])
    allowed &= ~repeated
    allowed[np.arange(len(series)), first[series]] = True
    return Core(series, allowed, reach)


def pushed(ask: Ask, stock_value: F32 | F64, families: Sequence[Family], multipliers: F64) -> I64 | None:
    """Some choice that holds every bound: multipliers of broken rows are raised until none is broken, or given up."""
    bounds = np.concatenate([family.bounds for family in families])
    priced = multipliers
    for _ in range(MOST_PUSHES):
        choice = np.concatenate(ask("choices", priced))
        if holds(families, choice):
            return choice
        used = np.concatenate([usage_of(family, choice) for family in families])
        least = 1e-3 * chosen_sum(stock_value, choice) / np.maximum(np.abs(used), LEAST)
        priced = np.where(used > bounds, np.maximum(PUSH * priced, least), priced)
    return None


def _close_core(
    stock_value: F32 | F64,
    families: Sequence[Family],
    first: I64,
    core: Core,
    unit: float,
    good: float,
    time_limit_s: float,
) -> tuple[I64 | None, float]:
    """All series' choice and the core's lower bound, in `unit` above the first choices' objective."""
    series, kept = core.series, first[core.series]
    if not len(series):
        return None, np.inf
    stock = stock_value[series].astype(np.float64)
    above = (stock - stock[np.arange(len(series)), kept][:, None]) / unit
    inside = []
    for family in families:
        part = family._replace(coefficients=family.coefficients[series], rows=family.rows[series])
        others = usage_of(family, first) - usage_of(part, kept)
        inside.append(part._replace(bounds=family.bounds - others))
    answer = ask_highs(above, inside, core.allowed, gap_abs=SHARE, good=good, time_limit_s=max(time_limit_s, 0.1))
    if answer.choice is None:
        return None, answer.bound
    chosen = first.copy()
    chosen[series] = answer.choice
    return chosen, answer.bound


def _distances(
    stock_value: F32 | F64, families: Sequence[Family], multipliers: F64, series: I64, first: I64
) -> tuple[F64, F64, Bools]:
    """(n, V) each: regret and flip of some series' candidates, as in `Seconds`, and which repeat the one before."""
    reduced = stock_value[series].astype(np.float64)
    repeated = np.zeros(reduced.shape, dtype=bool)
    repeated[:, 1:] = reduced[:, 1:] == reduced[:, :-1]
    moved = np.zeros_like(reduced)
    each, kept = np.arange(len(series)), first[series]
    for k, rows in enumerate(all_rows(families)[series].T):
        price = np.where(rows >= 0, multipliers[rows], 0.0)[:, None]
        coefficients = families[k].coefficients[series].astype(np.float64)
        repeated[:, 1:] &= coefficients[:, 1:] == coefficients[:, :-1]
        reduced += price * coefficients
        moved += price * np.abs(coefficients - coefficients[each, kept][:, None])
    regret = reduced - reduced[each, kept][:, None]
    return regret, np.divide(regret, moved, out=np.full_like(regret, np.inf), where=moved > 0), repeated
