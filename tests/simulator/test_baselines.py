"""The rules that a policy has to beat, against figures worked out by hand or by SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from simulator.baselines import (
    baseline_windows,
    category_critical_ratio,
    critical_ratio,
    demand_quantile,
    incumbent,
    pto_gamma,
    pto_normal,
)
from tests.panels import make_panel, random_panel

COSTS = {"lost_sale_cost": 9.0, "holding_cost_per_day": 0.5, "lead_time_days": 2, "review_period_days": 2}
SALES = np.array([[2.0, 4.0, 6.0, 4.0, 2.0, 6.0]])  # mean 4, sample variance 16 / 5


def test_the_critical_ratio_weighs_a_lost_sale_against_a_cycle_of_holding() -> None:
    assert critical_ratio(make_panel(SALES, items=COSTS))[0] == pytest.approx(9 / (9 + 0.5 * 2))
    weekly = make_panel(SALES, period_days=7, items=COSTS | {"review_period_days": 7})
    assert critical_ratio(weekly)[0] == pytest.approx(9 / (9 + 0.5 * 7))


def test_a_cost_of_zero_leaves_every_target_finite() -> None:
    """A ratio of exactly 0 or 1 has no finite quantile, and one infinite order makes a whole replay NaN."""
    items = {"lost_sale_cost": [0.0, 1.0, 0.0], "holding_cost_per_day": [1.0, 0.0, 0.0]}
    panel = make_panel(np.random.default_rng(0).poisson(3, (3, 40)), items=items)
    for targets in (pto_normal(panel, range(30, 40), 14), pto_gamma(panel, range(30, 40), 14)):
        assert np.isfinite(targets).all()
        assert (targets >= 0).all()


def test_pto_normal_by_hand() -> None:
    target = pto_normal(make_panel(SALES, items=COSTS), range(5, 6), 6)
    z = 1.2815515655446004  # the 90 % point
    assert target[0, 0] == pytest.approx(4 * 3 + z * np.sqrt(16 / 5) * np.sqrt(3))  # protection 2 + 2 - 1


def test_pto_gamma_is_the_gamma_quantile_of_demand_over_the_protection_interval() -> None:
    target = pto_gamma(make_panel(SALES, items=COSTS), range(5, 6), 6)
    shape, scale = 3 * 16 / (16 / 5), (16 / 5) / 4
    assert target[0, 0] == pytest.approx(stats.gamma(shape, scale=scale).ppf(0.9))
    given = pto_gamma(make_panel(SALES, items=COSTS), range(5, 6), 6, np.array([0.5]))
    assert given[0, 0] == pytest.approx(stats.gamma(shape, scale=scale).ppf(0.5))


def test_steady_demand_needs_no_safety_stock() -> None:
    panel = make_panel(np.full((1, 40), 3.0), items=COSTS)
    for targets in (pto_normal(panel, range(30, 40), 14), pto_gamma(panel, range(30, 40), 14)):
        np.testing.assert_allclose(targets, 9.0)


def test_only_the_window_counts_and_only_what_was_seen_of_it() -> None:
    sold, stock = np.array([[99.0, 2.0, 4.0, 0.0, np.nan, 3.0]]), np.array([[1.0, 1.0, 1.0, 0.1, 1.0, 0.5]])
    panel = make_panel(sold, in_stock=stock, items=COSTS)
    target = pto_normal(panel, range(5, 6), 5)
    mean, deviation = 4.0, 2.0  # of 2, 4 and 3 / 0.5
    assert target[0, 0] == pytest.approx(mean * 3 + 1.2815515655446004 * deviation * np.sqrt(3), rel=1e-6)


def test_without_any_demand_seen_the_targets_are_zero() -> None:
    panel = make_panel([[np.nan] * 30, [0.0] * 30], items=COSTS)
    for targets in (
        pto_normal(panel, range(30), 14), pto_gamma(panel, range(30), 14),
        demand_quantile(panel, range(30), 0.85, 28),
    ):  # fmt: skip
        np.testing.assert_array_equal(targets, 0)


def test_a_demand_quantile_covers_every_period_of_the_protection_interval() -> None:
    panel = make_panel(SALES, items=COSTS)
    assert demand_quantile(panel, range(5, 6), 0.5, 6)[0, 0] == 3 * 4
    assert demand_quantile(panel, range(5, 6), 0.85, 6)[0, 0] == pytest.approx(3 * np.quantile(SALES, 0.85))


def test_a_category_shares_one_service_target() -> None:
    items = COSTS | {"lost_sale_cost": [1.0, 3.0, 9.0], "category": ["a", "b", "a"]}
    panel = make_panel(np.ones((3, 5)), items=items)
    np.testing.assert_allclose(category_critical_ratio(panel), [(0.5 + 0.9) / 2, 0.75, (0.5 + 0.9) / 2])


def test_the_incumbent_is_the_gamma_level_at_the_categorys_target() -> None:
    panel = random_panel(np.random.default_rng(0))
    np.testing.assert_array_equal(
        incumbent(panel, range(40, 60)), pto_gamma(panel, range(40, 60), 28, category_critical_ratio(panel))
    )
    assert baseline_windows(1) == (14, 28)
    assert baseline_windows(7) == (13, 26)


def test_targets_of_many_periods_equal_the_targets_of_each_alone() -> None:
    panel = random_panel(np.random.default_rng(0))
    whole = pto_gamma(panel, range(20, 40), 14)
    for t in range(20, 40):
        np.testing.assert_allclose(whole[:, t - 20], pto_gamma(panel, range(t, t + 1), 14)[:, 0])
