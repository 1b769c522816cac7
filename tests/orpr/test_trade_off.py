"""Limits of locations as bounds of the label's model."""

from __future__ import annotations

import numpy as np
import pytest

from orpr.trade_off import limit_families
from simulator.ordering import rules_of
from simulator.panel import Panel
from simulator.rates import panel_rates
from simulator.rollout import follow, replay_world, rollout
from simulator.stock import Limits
from solver.calibration import pareto_set
from solver.candidates import CandidateTables, candidate_tables
from solver.lagrangian import Lagrangian
from solver.solution import LabelInfeasible
from tests.panels import make_panel

WINDOW = range(40, 100)
DAYS = np.arange(1.0, 13.0)


@pytest.fixture(scope="module")
def panel() -> Panel:
    """Six series at two places; half of them have a volume and a cost."""
    sold = np.random.default_rng(1).poisson(4.0, (6, 100))
    items = {
        "location_id": ["a", "a", "a", "b", "b", "b"], "unit_volume": [2.0, np.nan, 3.0] * 2,
        "unit_cost": [3.0, np.nan, 1.5] * 2, "unit_price": [5.0, 4.0, 2.0] * 2, "holding_cost_per_day": 0.25,
    }  # fmt: skip
    return make_panel(sold, items=items)


@pytest.fixture(scope="module")
def tables(panel: Panel) -> CandidateTables:
    return candidate_tables(panel, panel_rates(panel), WINDOW, DAYS, rules_of(panel))


def test_volume_and_budget_are_what_a_replay_holds_and_buys(panel: Panel, tables: CandidateTables) -> None:
    world = replay_world(panel, WINDOW, rules_of(panel))
    volume, budget = limit_families(panel, tables, world, Limits({"b": 99.0}, {"a": 800.0, "b": 900.0}))
    assert (volume.row_names, budget.row_names) == (("b",), ("a", "b"))
    assert volume.rows.tolist() == [-1, -1, -1, 0, 0, 0]
    assert budget.rows.tolist() == [0, 0, 0, 1, 1, 1]
    rates = panel_rates(panel).daily_rate[:, WINDOW.start : WINDOW.stop]
    for v in (0, 5, 11):
        record = rollout(world, follow(DAYS[v] * rates))
        mean = record.on_hand.mean(axis=1)
        np.testing.assert_allclose(volume.coefficients[:, v], [2, 1, 3, 2, 1, 3] * mean, rtol=1e-4)
        bought = record.sales.sum(axis=1) + mean - world.initial.on_hand
        cost = np.array([3.0, 0.25, 1.5] * 2)  # where no cost is known, holding stands for it
        np.testing.assert_allclose(budget.coefficients[:, v], cost * bought, rtol=1e-3, atol=1e-2)


def test_no_limits_are_no_bounds(panel: Panel, tables: CandidateTables) -> None:
    world = replay_world(panel, WINDOW, rules_of(panel))
    assert limit_families(panel, tables, world, None) == []
    assert limit_families(panel, tables, world, Limits({}, {})) == []


def test_the_trade_off_under_limits_reaches_the_strictest_level_that_they_allow(
    panel: Panel, tables: CandidateTables
) -> None:
    world = replay_world(panel, WINDOW, rules_of(panel))
    free = Lagrangian(tables).solve(0.9)
    (loose,) = limit_families(panel, tables, world, Limits({}, {"b": 1e9}))
    spent = float(loose.coefficients[np.arange(6), free.choice][3:].sum())
    families = limit_families(panel, tables, world, Limits({}, {"b": spent}))
    solve = Lagrangian(tables, families).solve
    last = pareto_set(tables, 1, points=5, solve=solve)[-1].solution.alpha_loss
    assert last >= 0.9 - 0.002
    with pytest.raises(LabelInfeasible):
        solve(last + 0.005)


def test_a_budget_holds_in_the_labels_or_is_refused_by_name(panel: Panel, tables: CandidateTables) -> None:
    world = replay_world(panel, WINDOW, rules_of(panel))
    free = Lagrangian(tables).solve(0.98)
    (family,) = limit_families(panel, tables, world, Limits({}, {"b": 1e9}))
    spent = float(family.coefficients[np.arange(6), free.choice][3:].sum())
    (tight,) = limit_families(panel, tables, world, Limits({}, {"b": spent - 1.0}))
    bound = Lagrangian(tables, [tight]).solve(0.98)
    assert float(tight.coefficients[np.arange(6), bound.choice][3:].sum()) <= spent - 1.0
    assert bound.stock_value >= free.stock_value
    (none,) = limit_families(panel, tables, world, Limits({}, {"b": 0.0}))
    with pytest.raises(LabelInfeasible, match=r"location_budget\[b\]: needs at least"):
        Lagrangian(tables, [none]).solve(0.5)
