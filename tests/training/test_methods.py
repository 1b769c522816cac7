"""The rivals' targets, and what is replayed."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.baselines import critical_ratio
from simulator.panel import Panel
from tests.panels import make_panel
from training.methods import CONSTANT, GBM_PICKED, GBM_STRONG, forecast_base_stock, method_targets, replay_of


def test_a_certain_forecast_orders_the_sum_of_the_protection_interval() -> None:
    panel = make_panel(np.ones((2, 9)), items={"lead_time_days": [2, 1], "review_period_days": [3, 1]})
    forecast = np.repeat(np.arange(1.0, 11.0, dtype=np.float32)[None, :, None], 2, axis=0).repeat(5, axis=2)
    assert forecast_base_stock(panel, np.array([0, 1]), np.array([5, 5]), forecast).tolist() == pytest.approx(
        [1 + 2 + 3 + 4, 1]
    )


def test_a_spread_forecast_covers_the_critical_share_of_a_gamma_demand() -> None:
    """Daily demand is gamma(16, 1/2): its 10, 50, 90 % points are given, the sum over the interval is simulated."""
    rng = np.random.default_rng(3)
    panel = make_panel(np.ones((1, 9)), items={"lead_time_days": 3, "review_period_days": 4})
    points = np.quantile(rng.gamma(16, 0.5, 200_000), [0.1, 0.25, 0.5, 0.75, 0.9]).astype(np.float32)
    target = forecast_base_stock(panel, np.array([0]), np.array([5]), np.tile(points, (1, 10, 1)))
    total = rng.gamma(16, 0.5, (100_000, 6)).sum(axis=1)
    assert (total <= target[0]).mean() == pytest.approx(critical_ratio(panel)[0], abs=0.01)


def test_sales_are_replayed_as_they_are_and_recovered_demand_where_asked() -> None:
    stock = np.ones((1, 20))
    stock[0, 12] = 0.5
    panel = make_panel(np.full((1, 20), 3.0), in_stock=stock)
    window = range(10, 20)
    assert replay_of(panel, window).world.demand[0].tolist() == [3.0] * 10
    recovered = replay_of(panel, window, "recovered").world.demand[0]
    assert np.delete(recovered, 2).tolist() == [3.0] * 9
    assert 3.5 < recovered[2] < 6.5  # half the day was sold out
    with pytest.raises(ValueError, match="sales, recovered, got 'wishes'"):
        replay_of(panel, window, "wishes")


def test_trees_learn_from_series_that_are_not_judged_and_hindsight_does_not(
    bakery: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.gbm.TREES", 5)
    some, judged, window = bakery.take(np.arange(0, 84, 6)), np.array([1, 4, 5, 9]), range(1100, 1114)
    whole = replay_of(some, window)
    every, picked, cut = (
        method_targets(replay, lambda *_: None, 0, None)
        for replay in (whole, whole._replace(judged=judged, beside=GBM_PICKED), replay_of(some.take(judged), window))
    )
    np.testing.assert_array_equal(picked[GBM_STRONG], every[GBM_STRONG][judged])
    assert np.abs(picked[GBM_PICKED] / picked[GBM_STRONG] - 1).max() > 0.01
    np.testing.assert_allclose(picked[CONSTANT], cut[CONSTANT])
    assert GBM_PICKED not in every
