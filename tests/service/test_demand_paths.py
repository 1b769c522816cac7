"""Demand paths keep every period's forecast and hang together as stated."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtri

from service.demand_paths import LEVELS, PATHS, SHARED, demand_paths
from simulator.contract import OUTPUTS
from simulator.panel import F64


def forecast(periods: int) -> F64:
    """(T, Q) quantiles far above zero."""
    return 100 + 10 * ndtri(LEVELS)[None, :] * np.arange(1, periods + 1)[:, None] ** 0.5


def test_the_levels_are_those_of_the_contract() -> None:
    meaning = next(meaning for name, *_, meaning in OUTPUTS if name == "forecast")
    assert meaning == "demand quantiles " + ", ".join(f"{level:g}" for level in LEVELS)


def test_every_period_has_the_distribution_that_was_forecast() -> None:
    quantiles = forecast(9)
    drawn = demand_paths(quantiles, whole=False)
    assert drawn.shape == (PATHS, 9)
    for t, points in enumerate(quantiles):
        shares = (drawn[:, t, None] <= points).mean(axis=0)
        assert shares == pytest.approx(LEVELS, abs=1 / PATHS)


def test_demand_known_for_certain_is_the_same_on_every_path() -> None:
    certain = np.repeat([[3.0], [0.0], [7.0]], len(LEVELS), axis=1)
    assert (demand_paths(certain, whole=False) == [3, 0, 7]).all()


def test_tails_run_on_at_the_rate_of_the_last_two_quantiles() -> None:
    """Of an exponential demand the upper quantiles tell the whole tail."""
    quantiles = -10 * np.log(1 - LEVELS)[None, :]
    drawn = np.sort(demand_paths(quantiles, whole=False)[:, 0])
    level = (np.arange(PATHS) + 0.5) / PATHS
    tail = level > LEVELS[-1]
    assert drawn[tail] == pytest.approx(-10 * np.log(1 - level[tail]))
    assert drawn.min() >= 0


def test_any_two_periods_share_the_stated_part_of_their_cause() -> None:
    scores = (demand_paths(np.tile(ndtri(LEVELS) + 50, (30, 1)), whole=False)).argsort(axis=0).argsort(axis=0)
    normal = ndtri((scores + 0.5) / PATHS)
    apart = np.corrcoef(normal.T)[np.triu_indices(30, 1)]
    assert apart.mean() == pytest.approx(SHARED, abs=0.01)
    assert abs(apart - SHARED).mean() < 0.03  # random paths would be off by 0.05


def test_sums_vary_more_than_if_periods_were_independent() -> None:
    drawn = demand_paths(np.tile(100 + 10 * ndtri(LEVELS), (14, 1)), whole=False)
    alone = drawn.var(axis=0).sum()
    assert drawn.sum(axis=1).var() == pytest.approx(alone * (1 + 13 * SHARED), rel=0.1)


def test_whole_units_are_drawn_where_customers_buy_whole_units() -> None:
    quantiles = np.array([[0.0, 0.1, 0.4, 0.9, 1.6]])
    whole, parts = demand_paths(quantiles, whole=True), demand_paths(quantiles, whole=False)
    assert (whole == whole.round()).all()
    assert (abs(whole - parts) <= 0.5).all()
    assert (whole == 0).mean() == pytest.approx((parts < 0.5).mean())


def test_quantiles_that_cross_or_lie_below_zero_are_put_in_order() -> None:
    drawn = demand_paths(np.array([[-3.0, 2.0, 1.0, 5.0, 4.0]]), whole=False)
    assert (drawn >= 0).all()
    assert np.quantile(drawn, 0.5) == pytest.approx(2.0, abs=0.1)


def test_the_same_question_has_the_same_paths() -> None:
    assert (demand_paths(forecast(5), whole=True) == demand_paths(forecast(5), whole=True)).all()
