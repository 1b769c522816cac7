"""The Lagrangian against brute force and HiGHS: same optimum, honest certificate, no broken bound."""

from __future__ import annotations

import re
from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from simulator.ordering import inventory_days_grid, rules_of
from simulator.panel import Panel
from simulator.rates import panel_rates
from solver.candidates import CandidateTables, candidate_tables
from solver.constraints import (
    Family,
    category_in_stock_rate,
    category_turnover_floor,
    location_capacity,
    lost_sales_bound,
    purchase_budget,
)
from solver.exact import solve_exact
from solver.lagrangian import Effort, Lagrangian, solve_lagrangian
from solver.solution import LabelInfeasible, Solution, holds, usage_of
from tests.tables import market_tables, planners_bounds, random_tables

SEEDS = st.integers(0, 2**32 - 1)


def drawn_families(rng: np.random.Generator, tables: CandidateTables) -> list[Family]:
    """Some of the families, at bounds that may or may not hold."""
    series = len(tables.demand_units)
    place = np.array([f"place {n}" for n in rng.integers(0, 2, series)], dtype=object)
    capacity = {name: float(rng.uniform(0.3, 2) * (place == name).sum()) for name in sorted(set(place))}
    rates = {name: float(rng.uniform(0, 0.8)) for name in sorted(set(place))}
    floors = {name: float(rng.uniform(0, 4)) for name in sorted(set(place))}
    budget = float(rng.uniform(2, 6) * series)
    every = [
        location_capacity(tables, place, capacity),
        category_in_stock_rate(tables, place, rates),
        category_turnover_floor(tables, place, floors, 1),
        purchase_budget(tables, budget, np.ones(series), np.zeros(series)),
    ]
    return [family for family in every if rng.random() < 0.4]


def assert_certified(tables: CandidateTables, families: list[Family], found: Solution, best: float) -> None:
    every = [lost_sales_bound(tables, found.alpha_loss), *families]
    assert holds(every, found.choice)
    assert found.bound <= best * (1 + 1e-9) + 1e-9
    assert best <= found.stock_value + 1e-9
    assert found.gap == pytest.approx((found.stock_value - found.bound) / max(abs(found.bound), 1e-300))
    rows = np.arange(len(found.choice))
    assert found.stock_value == pytest.approx(tables.stock_value[rows, found.choice].sum())
    for family in every:
        np.testing.assert_array_equal(found.usage[family.name], usage_of(family, found.choice))


@settings(max_examples=60, deadline=None)
@given(SEEDS)
def test_both_solvers_equal_brute_force_under_any_families(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tables = random_tables(rng, int(rng.integers(1, 6)), int(rng.integers(1, 5)))
    families, alpha_loss = drawn_families(rng, tables), float(rng.uniform(0, 1))
    every = [lost_sales_bound(tables, alpha_loss), *families]
    series, candidates = tables.stock_value.shape
    totals = []
    for choice in map(np.array, product(range(candidates), repeat=series)):
        over = np.concatenate([usage_of(family, choice) - family.bounds for family in every])
        assume(np.abs(over).min() > 1e-6)  # the solvers hold a bound to a tolerance
        totals.append((tables.stock_value[range(series), choice].sum(), over.max() <= 0))
    feasible = [stock for stock, fits in totals if fits]
    if not feasible:
        for solve in (solve_exact, solve_lagrangian):
            with pytest.raises(LabelInfeasible, match=r"\[.*\]: .* the bound is .* short\)"):
                solve(tables, alpha_loss, families)
        return
    exact = solve_exact(tables, alpha_loss, families, gap=0.0)
    found = solve_lagrangian(tables, alpha_loss, families, gap=0.0)
    assert exact.stock_value == pytest.approx(min(feasible))
    assert found.stock_value == pytest.approx(min(feasible))
    for solution in (exact, found):
        assert_certified(tables, families, solution, min(feasible))
        assert solution.gap <= 1e-6


@pytest.mark.parametrize("several", [False, True])
def test_a_market_of_500_agrees_with_highs(several: bool) -> None:
    rng = np.random.default_rng(1)
    tables, location, category = market_tables(rng, 500, 30)
    families = []
    if several:
        families = planners_bounds(rng, tables, location, category, solve_lagrangian(tables, 0.93).choice)
    exact = solve_exact(tables, 0.93, families, gap=1e-4)
    found = solve_lagrangian(tables, 0.93, families, gap=1e-4)
    assert found.gap <= 1e-4
    assert exact.gap <= 1e-4
    assert_certified(tables, families, found, min(exact.stock_value, found.stock_value))
    assert found.stock_value <= exact.stock_value * (1 + 1e-4)
    assert exact.bound <= found.stock_value


def test_the_bakery_agrees_with_highs(bakery: Panel) -> None:
    window, days = range(400, 490), inventory_days_grid()[4:60:2]
    tables = candidate_tables(bakery, panel_rates(bakery), window, days, rules_of(bakery))
    place = bakery.items.location_id
    base = solve_lagrangian(tables, 0.9)
    assert base.stock_value == pytest.approx(solve_exact(tables, 0.9, gap=1e-6).stock_value, rel=2e-6)
    stock = tables.stock_units[np.arange(len(place)), base.choice] / tables.periods
    capacity = {name: float(stock[place == name].sum()) * 0.97 for name in sorted(set(place))[:2]}
    families = [location_capacity(tables, place, capacity)]
    found = solve_lagrangian(tables, 0.9, families)
    exact = solve_exact(tables, 0.9, families, gap=1e-6)
    assert found.stock_value == pytest.approx(exact.stock_value, rel=2e-6)
    assert found.stock_value > base.stock_value
    assert_certified(tables, families, found, min(found.stock_value, exact.stock_value))


def test_thousands_of_series_are_certified_from_any_start() -> None:
    tables, _, _ = market_tables(np.random.default_rng(2), 6000, 40, periods=40)
    solver, effort = Lagrangian(tables), Effort(gap=1e-5)
    for alpha_loss in (0.0, 0.6, 0.85):
        found = solver.solve(alpha_loss, effort)
        assert found.gap <= 1e-5
        assert_certified(tables, [], found, found.stock_value)
    afresh = Lagrangian(tables).solve(0.85, effort)
    assert afresh.bound <= found.stock_value
    assert found.bound <= afresh.stock_value


def test_multipliers_say_what_a_bound_costs() -> None:
    rng = np.random.default_rng(4)
    tables, _, _ = market_tables(rng, 2000, 30, periods=40)
    sale = float(tables.sale_value.sum())
    low, high = (solve_lagrangian(tables, alpha_loss) for alpha_loss in (0.799, 0.801))
    saved = (high.stock_value - low.stock_value) / (0.002 * sale)
    assert solve_lagrangian(tables, 0.8).multipliers["lost_sales"][0] == pytest.approx(saved, rel=0.02)


def test_single_precision_tables_are_solved_as_they_are() -> None:
    tables, _, _ = market_tables(np.random.default_rng(5), 300, 20, periods=40)
    single = tables._replace(
        **{name: getattr(tables, name).astype(np.float32) for name in ("stock_value", "loss_value", "stock_units")}
    )
    found = solve_lagrangian(single, 0.7)
    assert found.gap <= 1e-6
    assert found.stock_value == pytest.approx(solve_lagrangian(tables, 0.7).stock_value, rel=1e-5)
    assert holds([lost_sales_bound(single, 0.7)], found.choice)


@pytest.mark.parametrize("share", [0.333, 0.45, 0.9])
def test_series_that_are_all_alike_change_their_mind_together(share: float) -> None:
    """The dual is then one sharp edge, and at its top every series is indifferent between all candidates."""
    days = np.arange(20.0)
    stock, loss = np.tile(days, (60, 1)), np.tile(np.maximum(10 - days, 0), (60, 1))
    full = np.full(60, 10.0)
    tables = CandidateTables(days, stock, loss, stock, loss, stock + loss, full, full, 5)
    found = solve_lagrangian(tables, share)
    assert found.stock_value == np.ceil(600 * share)
    assert found.gap == pytest.approx(0)


def test_the_strictest_level_there_is_keeps_the_least_loss_at_the_least_stock() -> None:
    tables, _, _ = market_tables(np.random.default_rng(6), 5000, 40, periods=40)
    least = tables.loss_value.min(axis=1)
    stock = np.where(tables.loss_value == least[:, None], tables.stock_value, np.inf).min(axis=1).sum()
    found = solve_lagrangian(tables, 1 - float(least.sum() / tables.sale_value.sum()))
    assert found.stock_value == pytest.approx(stock, rel=1e-6)
    with pytest.raises(LabelInfeasible, match=r"^lost_sales\[all\]: needs at least"):
        solve_lagrangian(tables, 1.0)


def test_bounds_that_fail_only_together_are_named_with_what_is_missing() -> None:
    """A third of sales may be lost, so two of three alike series stand full at each of two places."""
    days = np.array([0.0, 1.0])
    stock, loss = np.tile([0.0, 30.0], (600, 1)), np.tile([1.0, 0.0], (600, 1))
    ones = np.ones(600)
    tables = CandidateTables(days, stock, loss, stock, loss, stock + loss, ones, ones, 10)
    place = np.array(["north", "south"] * 300, dtype=object)
    families = [location_capacity(tables, place, {"north": 500.0, "south": 700.0})]
    message = "location_capacity[north], location_capacity[south]: needs at least 1500 together, the bound is 1200 "
    with pytest.raises(LabelInfeasible, match=re.escape(message + "(300 short) while lost_sales holds")):
        solve_lagrangian(tables, 1 - 1 / 6, families)
    message = "location_capacity[north]: needs at least 600, the bound is 500 (100 short) while lost_sales holds"
    families = [location_capacity(tables, place, {"north": 500.0})]
    with pytest.raises(LabelInfeasible, match=re.escape(message)):
        solve_lagrangian(tables, 1 - 1 / 6, families)


def test_an_impossible_effort_is_refused() -> None:
    with pytest.raises(ValueError, match="gap must be at least 0 and time_limit_s above 0, got -1"):
        Effort(gap=-1.0)
