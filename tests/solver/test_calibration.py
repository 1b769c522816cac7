"""Labels calibrated to turnover, as a whole or by category, and the trade-off they are taken from."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from simulator.ordering import inventory_days_grid, rules_of
from simulator.rates import panel_rates
from solver.calibration import calibrate, calibrate_by_category, pareto_set, turnover_days
from solver.candidates import CandidateTables, candidate_tables
from solver.constraints import location_capacity
from solver.exact import solve_exact
from solver.lagrangian import Effort, Lagrangian
from solver.solution import LabelInfeasible, holds
from tests.panels import make_panel
from tests.tables import market_tables, random_tables


def shop(seed: int = 0) -> CandidateTables:
    """Twenty series of Poisson demand over 80 days."""
    rng = np.random.default_rng(seed)
    panel = make_panel(rng.poisson(rng.uniform(1, 9, (20, 1)), (20, 120)))
    return candidate_tables(panel, panel_rates(panel), range(40, 120), inventory_days_grid()[:60], rules_of(panel))


def test_calibration_hits_the_turnover_asked_for() -> None:
    tables = shop()
    for wanted in (2.0, 3.0):
        found = calibrate(tables, wanted, 1)
        assert turnover_days(tables, found, 1) == pytest.approx(wanted, rel=0.01)
        stock = sum(tables.stock_units[n, v] for n, v in enumerate(found.choice))
        assert turnover_days(tables, found, 1) == pytest.approx((stock / 80) / (tables.demand_units.sum() / 80))
        exact = calibrate(tables, wanted, 1, solve=partial(solve_exact, tables, gap=1e-3))
        assert turnover_days(tables, exact, 1) == pytest.approx(wanted, rel=0.01)


def test_a_turnover_out_of_reach_gives_the_closest_there_is() -> None:
    tables = random_tables(np.random.default_rng(0), 3, 4)
    least = tables.stock_units[:, 0].sum() / tables.demand_units.sum()
    assert turnover_days(tables, calibrate(tables, 0.0, 1), 1) == pytest.approx(least)
    most = np.where(tables.loss_value == tables.loss_value.min(axis=1)[:, None], tables.stock_units, np.inf).min(axis=1)
    found = calibrate(tables, 99.0, 1)
    assert turnover_days(tables, found, 1) == pytest.approx(most.sum() / tables.demand_units.sum())


def test_calibration_stays_under_further_bounds() -> None:
    """With the capacity of 3 days of turnover, 9 days cannot be had: the strictest level that fits is the answer."""
    tables = shop()
    place = np.array(["here"] * 20, dtype=object)
    room = calibrate(tables, 3.0, 1)
    stock = tables.stock_units[np.arange(20), room.choice].sum() / tables.periods
    families = [location_capacity(tables, place, {"here": float(stock)})]
    found = calibrate(tables, 9.0, 1, solve=Lagrangian(tables, families).solve)
    assert holds(families, found.choice)
    assert 2.9 < turnover_days(tables, found, 1) <= 3.03
    none = [location_capacity(tables, place, {"here": float(tables.stock_units[:, 0].sum() / tables.periods) * 0.9})]
    with pytest.raises(LabelInfeasible, match=r"location_capacity\[here\]"):
        calibrate(tables, 9.0, 1, solve=Lagrangian(tables, none).solve)


def test_every_category_gets_its_own_turnover() -> None:
    tables, _, _ = market_tables(np.random.default_rng(3), 400, 40, periods=60)
    category = np.array([f"category {n % 4}" for n in range(400)], dtype=object)
    targets = {name: 3.0 + 0.5 * n for n, name in enumerate(sorted(set(category)))}
    found = calibrate_by_category(tables, category, targets, 1)
    rows = np.arange(400)
    for name, wanted in targets.items():
        inside = category == name
        stock = tables.stock_units[rows, found.choice][inside].sum()
        assert stock / tables.demand_units[inside].sum() == pytest.approx(wanted, rel=0.01)
        assert found.turnover_days[name] == pytest.approx(wanted, rel=0.01)
    np.testing.assert_array_equal(found.inventory_days, tables.days[found.choice])
    assert len(set(found.alpha_loss.values())) == len(targets)
    del targets["category 1"]
    with pytest.raises(ValueError, match="target_turnover_days has none for 'category 1'"):
        calibrate_by_category(tables, category, targets, 1)


def test_the_pareto_set_runs_from_the_least_stock_to_the_least_loss_without_a_beaten_point() -> None:
    tables = shop()
    points = pareto_set(tables, 1, points=12)
    assert len(points) == 12
    stock = [point.solution.stock_value for point in points]
    loss = [point.solution.loss_value for point in points]
    assert (np.diff(stock) > 0).all()
    assert (np.diff(loss) < 0).all()
    assert stock[0] == pytest.approx(tables.stock_value.min(axis=1).sum())
    assert loss[-1] == pytest.approx(tables.loss_value.min(axis=1).sum())
    for point in points:
        assert point.turnover_days == turnover_days(tables, point.solution, 1)
        assert point.solution.gap <= 1e-4
    steps = np.diff([point.turnover_days for point in points])
    assert steps.max() < 0.25 * (points[-1].turnover_days - points[0].turnover_days)


def test_the_pareto_set_ends_where_further_bounds_end_it() -> None:
    tables = shop()
    place = np.array(["here"] * 20, dtype=object)
    middle = pareto_set(tables, 1, points=9)[4]
    stock = tables.stock_units[np.arange(20), middle.solution.choice].sum() / tables.periods
    families = [location_capacity(tables, place, {"here": float(stock)})]
    solve = partial(Lagrangian(tables, families).solve, effort=Effort(gap=1e-4))
    points = pareto_set(tables, 1, points=6, solve=solve)
    assert all(holds(families, point.solution.choice) for point in points)
    assert points[-1].turnover_days <= middle.turnover_days + 1e-9
    assert len(points) > 3


def test_a_pareto_set_of_one_point_is_refused() -> None:
    with pytest.raises(ValueError, match="points must be at least 2, got 1"):
        pareto_set(shop(), 1, points=1)
