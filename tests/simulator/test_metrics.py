"""Costs, service and the paired bootstrap, against sums done by hand."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.metrics import paired_ratio, series_totals, summarise, unit_totals
from simulator.rollout import Trajectory
from tests.panels import make_items


def test_the_metrics_of_a_short_replay_by_hand() -> None:
    on_hand = np.array([[3.0, 1.0], [0.0, 0.0]])
    sales, lost = np.array([[2.0, 2.0], [4.0, 0.0]]), np.array([[0.0, 0.0], [1.0, 3.0]])
    none, wasted = np.zeros((2, 2)), np.array([[0.0, 2.0], [0.0, 3.0]])
    trajectory = Trajectory(on_hand, sales, lost, none, none, wasted)
    items = make_items(2, holding_cost_per_day=[0.5, 1.0], lost_sale_cost=[4.0, 2.0], unit_cost=[1.5, np.nan])
    totals = series_totals(unit_totals(trajectory), items, 7)
    np.testing.assert_allclose(totals.holding_cost, [(3 + 1) * 0.5 * 7, 0])
    np.testing.assert_allclose(totals.stockout_cost, [0, (1 + 3) * 2])
    np.testing.assert_allclose(totals.mean_daily_demand, [4 / 14, 8 / 14])
    found = summarise(totals)
    assert found.turnover_days == pytest.approx(2 / (12 / 14))
    assert found.in_stock_rate == 0.5
    assert found.fill_rate == pytest.approx(8 / 12)
    assert found.holding_cost == 14
    assert found.stockout_cost == 8
    assert found.waste_cost == 2 * 1.5 + 3 * 2  # a unit whose cost is unknown costs a lost sale
    assert found.total_cost == 31


def test_the_ratio_of_a_cost_to_itself_is_one_without_doubt() -> None:
    """Resampled in pairs, equal costs leave no interval, however uneven the series are."""
    cost = np.random.default_rng(0).lognormal(0, 3, 50)
    assert paired_ratio(cost, cost, np.random.default_rng(1)) == (1.0, 1.0, 1.0)


def test_the_interval_of_a_ratio_lies_around_it() -> None:
    rng = np.random.default_rng(0)
    reference = rng.uniform(1, 2, 200)
    cost = 0.8 * reference + rng.normal(0, 0.05, 200)
    ratio, low, high = paired_ratio(cost, reference, np.random.default_rng(1))
    assert ratio == pytest.approx(cost.sum() / reference.sum())
    assert 0.77 < low < ratio < high < 0.83
