"""The multiple-choice model: equal to brute force, honest where it cannot be solved, calibrated to turnover."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from simulator.ordering import ORDERING_MODES, inventory_days_grid, rules_of
from simulator.rates import panel_rates
from simulator.rollout import follow, replay_world, rollout
from solver.candidates import candidate_tables
from solver.constraints import location_capacity, lost_sales_bound
from solver.exact import solve_exact
from solver.formulation import build
from solver.solution import LabelInfeasible, LabelUnsolved
from tests.panels import random_panel
from tests.tables import random_tables


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_the_model_equals_brute_force(seed: int, alpha_loss: float) -> None:
    rng = np.random.default_rng(seed)
    tables = random_tables(rng, 4, 4)
    bound = float(tables.sale_value.sum()) * (1 - alpha_loss)
    totals = [
        (tables.stock_value[range(4), choice].sum(), tables.loss_value[range(4), choice].sum())
        for choice in product(range(4), repeat=4)
    ]
    assume(all(abs(lost - bound) > 1e-4 for _, lost in totals))  # HiGHS holds a bound to its own tolerance
    feasible = [stock for stock, lost in totals if lost <= bound]
    if not feasible:
        with pytest.raises(LabelInfeasible):
            solve_exact(tables, alpha_loss, gap=0.0)
        return
    found = solve_exact(tables, alpha_loss, gap=0.0)
    assert found.stock_value == pytest.approx(min(feasible))
    assert found.loss_value <= bound
    assert found.alpha_loss == alpha_loss
    assert found.bound <= found.stock_value <= found.bound + 1e-6
    np.testing.assert_array_equal(found.inventory_days, tables.days[found.choice])


def test_an_impossible_service_level_is_refused_with_what_is_lost_and_what_may_be() -> None:
    tables = random_tables(np.random.default_rng(0), 3, 3)
    tables = tables._replace(loss_value=tables.loss_value + 2.0, sale_value=np.array([10.0, 10.0, 10.0]))
    least = float(tables.loss_value.min(axis=1).sum())
    assert least >= 6
    message = f"lost_sales[all]: needs at least {least:.6g}, the bound is 3 ({least - 3:.6g} short)"
    with pytest.raises(LabelInfeasible, match=f"^{re.escape(message)}$"):
        solve_exact(tables, 0.9)


def test_bounds_that_fail_only_together_are_named_with_what_is_missing() -> None:
    """No lost sales takes both series to their second candidate: mean stock 2 and 4 at one place."""
    tables = random_tables(np.random.default_rng(0), 2, 2)._replace(
        stock_units=np.array([[0.0, 10.0], [0.0, 20.0]]), loss_value=np.array([[3.0, 0.0], [5.0, 0.0]])
    )
    place = np.array(["here", "here"], dtype=object)
    assert solve_exact(tables, 1.0, [location_capacity(tables, place, {"here": 6.0})]).choice.tolist() == [1, 1]
    message = "location_capacity[here]: needs at least 6, the bound is 5 (1 short) while lost_sales holds"
    with pytest.raises(LabelInfeasible, match=f"^{re.escape(message)}$"):
        solve_exact(tables, 1.0, [location_capacity(tables, place, {"here": 5.0})])


def test_too_little_time_is_not_called_impossible() -> None:
    tables = random_tables(np.random.default_rng(0), 200, 12)
    with pytest.raises(LabelUnsolved, match="HiGHS found no choice in 1e-09 s"):
        solve_exact(tables, 0.5, time_limit_s=1e-9)


def test_the_strictest_level_that_is_possible_is_solved() -> None:
    """The bound then leaves no slack at all, at any scale of money."""
    for scale in (1e-3, 1.0, 1e7):
        tables = random_tables(np.random.default_rng(1), 6, 5)
        tables = tables._replace(loss_value=tables.loss_value * scale / 3, sale_value=tables.sale_value * scale / 3)
        least = float(tables.loss_value.min(axis=1).sum())
        found = solve_exact(tables, 1 - least / float(tables.sale_value.sum()), gap=0.0)
        assert found.loss_value == pytest.approx(least)


@pytest.mark.parametrize("alpha_loss", [-0.1, 1.1])
def test_a_share_outside_zero_to_one_is_refused(alpha_loss: float) -> None:
    with pytest.raises(ValueError, match="alpha_loss must lie between 0 and 1, got"):
        solve_exact(random_tables(np.random.default_rng(0), 2, 2), alpha_loss)


def test_every_constraint_of_the_model_has_a_name_of_its_own() -> None:
    tables = random_tables(np.random.default_rng(0), 2, 3)
    place = np.array(["DC 1", "DC-1"], dtype=object)
    capacity = location_capacity(tables, place, {"DC 1": 1.0, "DC-1": 2.0})
    problem, choices = build(tables.stock_value, [lost_sales_bound(tables, 0.5), capacity])
    assert [constraint.name for constraint in problem.constraints()] == [
        "one_choice_0", "one_choice_1", "lost_sales_0_all", "location_capacity_0_DC_1", "location_capacity_1_DC_1",
    ]  # fmt: skip
    assert [len(row) for row in choices] == [3, 3]


def test_a_candidate_that_is_not_allowed_is_not_chosen() -> None:
    tables = random_tables(np.random.default_rng(0), 2, 3)
    allowed = np.array([[False, True, True], [True, False, False]])
    _, choices = build(tables.stock_value, [lost_sales_bound(tables, 0.5)], allowed)
    assert [sorted(row) for row in choices] == [[1, 2], [0]]


@pytest.mark.parametrize("mode", ORDERING_MODES)
def test_replaying_a_window_label_reproduces_its_stock_and_loss(mode: str) -> None:
    """The labeler's tables and the simulator are one world: same opening stock, same rules, same days and rates."""
    rng = np.random.default_rng(4)
    items = {
        "unit_cost": np.where(rng.random(6) < 0.5, np.nan, rng.uniform(1, 5, 6)),
        "unit_price": np.where(rng.random(6) < 0.5, np.nan, rng.uniform(5, 9, 6)),
        "order_multiple": [0, 2, 3, 0, 1, 6], "max_stock": [np.nan, 30, np.nan, 12, np.nan, np.nan],
    }  # fmt: skip
    panel = random_panel(rng, quantity="discrete", items=items)
    panel = replace(panel, price=np.where(rng.random(panel.price.shape) < 0.3, np.nan, panel.price))
    rates, window, rules = panel_rates(panel), range(40, 100), rules_of(panel)
    days = inventory_days_grid()[::6]
    tables = candidate_tables(panel, rates, window, days, rules, mode)
    label = solve_exact(tables, 0.7)
    targets = label.inventory_days[:, None] * rates.daily_rate[:, 40:100]
    record = rollout(replay_world(panel, window, rules), follow(targets), mode)
    cost = np.where(np.isnan(items["unit_cost"]), panel.items.holding_cost_per_day, items["unit_cost"])
    price = np.where(np.isnan(items["unit_price"]), panel.items.lost_sale_cost, items["unit_price"])
    own = np.where(np.isfinite(panel.price), panel.price, price[:, None])[:, 40:100]  # a period's own price counts
    assert (cost * record.on_hand.sum(axis=1)).sum() == pytest.approx(label.stock_value, rel=1e-5)
    assert (own * record.lost_sales).sum() == pytest.approx(label.loss_value, rel=1e-5)
    rows = np.arange(6)
    money = panel.items.holding_cost_per_day * record.on_hand.sum(axis=1)
    money += panel.items.lost_sale_cost * record.lost_sales.sum(axis=1)
    np.testing.assert_allclose(tables.total_cost[rows, label.choice], money, rtol=1e-5)
    np.testing.assert_allclose(tables.demand_units, (record.sales + record.lost_sales).sum(axis=1))
