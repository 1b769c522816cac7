"""The multiple-choice model: equal to brute force, honest where it cannot be solved, calibrated to turnover."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from simulator.ordering import ORDERING_MODES, inventory_days_grid, rules_of
from simulator.rates import panel_rates
from simulator.rollout import follow, replay_world, rollout
from solver.calibration import calibrate, turnover_days
from solver.candidates import CandidateTables, candidate_tables
from solver.exact import LabelInfeasible, least_loss, solution_of, solve_exact
from solver.formulation import build
from tests.panels import make_panel, random_panel


def random_tables(rng: np.random.Generator, series: int, candidates: int) -> CandidateTables:
    """More days: more stock, less lost. Whole numbers, so that ties happen."""
    stock = np.sort(rng.integers(0, 12, (series, candidates)), axis=1) * 1.0
    loss = np.sort(rng.integers(0, 9, (series, candidates)), axis=1)[:, ::-1] * 1.0
    demand = rng.integers(1, 9, series) * 1.0
    return CandidateTables(
        days=np.arange(candidates) * 1.0, stock_value=stock, loss_value=loss, stock_units=stock,
        stockout_periods=np.ceil(loss / 3), total_cost=stock + loss, demand_units=demand, sale_value=loss[:, 0] + demand, periods=5,
    )  # fmt: skip


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
    np.testing.assert_array_equal(found.inventory_days, tables.days[found.choice])


def test_an_impossible_service_level_is_refused_with_what_is_lost_and_what_may_be() -> None:
    tables = random_tables(np.random.default_rng(0), 3, 3)
    tables = tables._replace(loss_value=tables.loss_value + 2.0, sale_value=np.array([10.0, 10.0, 10.0]))
    least = least_loss(tables)
    assert least >= 6
    with pytest.raises(LabelInfeasible, match=f"lost_sales: at least {least:.6g} is lost, the bound is 3$"):
        solve_exact(tables, 0.9)


def test_the_strictest_level_that_is_possible_is_solved() -> None:
    """The bound then leaves no slack at all, at any scale of money."""
    for scale in (1e-3, 1.0, 1e7):
        tables = random_tables(np.random.default_rng(1), 6, 5)
        tables = tables._replace(loss_value=tables.loss_value * scale / 3, sale_value=tables.sale_value * scale / 3)
        strictest = 1 - least_loss(tables) / float(tables.sale_value.sum())
        found = solve_exact(tables, strictest, gap=0.0)
        assert found.loss_value == pytest.approx(least_loss(tables))


@pytest.mark.parametrize("alpha_loss", [-0.1, 1.1])
def test_a_share_outside_zero_to_one_is_refused(alpha_loss: float) -> None:
    with pytest.raises(ValueError, match="alpha_loss must lie between 0 and 1, got"):
        build(random_tables(np.random.default_rng(0), 2, 2), alpha_loss)


def test_every_constraint_of_the_model_has_a_name() -> None:
    problem, choices = build(random_tables(np.random.default_rng(0), 2, 3), 0.5)
    assert [constraint.name for constraint in problem.constraints()] == ["one_choice_0", "one_choice_1", "lost_sales"]
    assert [len(row) for row in choices] == [3, 3]


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


def test_calibration_hits_the_turnover_asked_for() -> None:
    rng = np.random.default_rng(0)
    panel = make_panel(rng.poisson(rng.uniform(1, 9, (20, 1)), (20, 120)))
    window = range(40, 120)
    tables = candidate_tables(panel, panel_rates(panel), window, inventory_days_grid()[:60], rules_of(panel))
    for wanted in (2.0, 3.0):
        found = calibrate(tables, wanted, panel.period_days)
        assert turnover_days(tables, found, panel.period_days) == pytest.approx(wanted, rel=0.01)
        stock = sum(tables.stock_units[n, v] for n, v in enumerate(found.choice))
        assert turnover_days(tables, found, 1) == pytest.approx((stock / 80) / (tables.demand_units.sum() / 80))


def test_a_turnover_out_of_reach_gives_the_closest_there_is() -> None:
    tables = random_tables(np.random.default_rng(0), 3, 4)
    lowest = turnover_days(tables, solution_of(tables, np.zeros(3, dtype=np.int64), 0.0), 1)
    found = calibrate(tables, 0.0, 1, rounds=8)
    assert turnover_days(tables, found, 1) == pytest.approx(lowest)
