"""Promotion windows by hand, drawn surges, promoted orders, and the reward on an order's own curve."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from simulator.panel import F64, Panel
from tests.panels import make_panel
from tests.training.conftest import END
from training.align import traces_of
from training.config import AlignConfig, TrainConfig
from training.dataset import TrainingSet, promoted_orders
from training.known import Past
from training.methods import replay_of
from training.promotion_windows import PROMOTION, ROUTINE, as_rows, promotion_windows, replay_windows
from training.rewards import Actions, rewards
from training.run import Result
from training.surges import lift_spread, surging


def promoted_panel(periods: int = 12) -> Panel:
    """Two series, reviewed every 2 periods, lead time 3; the first is promoted in periods 4 and 5."""
    promotion = np.zeros((2, periods))
    promotion[0, 4:6] = 1.0
    return make_panel(
        np.full((2, periods), 2.0), promotion=promotion, items={"lead_time_days": 3, "review_period_days": 2}
    )


def test_a_promotion_window_holds_the_promotion_and_the_review_cycle_behind_it() -> None:
    inside = promotion_windows(promoted_panel(), range(3, 12))
    assert inside[0].tolist() == [False, True, True, True, True, False, False, False, False]
    assert not inside[1].any()


def test_an_order_is_promoted_where_a_period_that_it_is_responsible_for_is() -> None:
    """The order of period t is responsible for t + 3 and t + 4; 4 and 5 are promoted."""
    periods = np.arange(7)
    found = promoted_orders(promoted_panel(), np.zeros(7, dtype=np.int64), periods)
    assert found.tolist() == [True, True, True, False, False, False, False]


def test_costs_are_told_apart_by_window_and_add_up() -> None:
    panel = promoted_panel(40)
    replay = replay_of(panel, range(2, 40))
    done = replay_windows(replay, {"none": lambda _o, rows, _t, _s: np.zeros(len(rows))})["none"]
    assert done.totals[PROMOTION].demand.tolist() == [8.0]  # 4 periods of 2 units
    assert len(done.totals[ROUTINE].demand) == 2
    whole = sum(float(done.totals[window].total_cost.sum()) for window in (PROMOTION, ROUTINE))
    assert whole == pytest.approx(float(done.totals["all"].total_cost.sum()))
    rows = as_rows({"none": done.totals, "same": done.totals}, "none", 0)
    assert [row["total_cost_ratio"][0] for row in rows] == [1.0] * 6


def test_each_number_stands_beside_the_references() -> None:
    replay = replay_of(promoted_panel(40), range(2, 40))
    done = replay_windows(
        replay, {"none": lambda _o, rows, _t, _s: np.zeros(len(rows)), "some": lambda _o, rows, _t, _s: np.full(len(rows), 6.0)}
    )  # fmt: skip
    rows = {
        (row["window"], row["policy"]): row
        for row in as_rows({name: one.totals for name, one in done.items()}, "none", 0)
    }
    mine, base = rows["all", "some"], rows["all", "none"]
    assert base["in_stock_gain"] == (0.0, 0.0, 0.0)
    assert mine["turnover_ratio"][0] == pytest.approx(mine["turnover_days"] / base["turnover_days"])
    assert mine["in_stock_gain"][0] == pytest.approx(mine["in_stock_rate"] - base["in_stock_rate"])
    assert mine["stockout_ratio"][0] == pytest.approx(mine["stockout_cost"] / base["stockout_cost"])
    assert mine["holding_ratio"][0] == pytest.approx(mine["holding_cost"] / base["holding_cost"])
    assert mine["in_stock_gain"][0] > 0
    for name in ("in_stock_gain", "stockout_ratio", "total_cost_ratio", "lost_sales_ratio"):
        number, low, high = mine[name]
        assert low <= number <= high


def test_a_surge_lifts_promotions_before_the_end_and_nothing_else(few: Panel) -> None:
    drawn = surging(few, 900, np.random.default_rng(0))
    promoted = np.nan_to_num(few.promotion) > 0
    same = ~promoted.copy()
    same[:, 900:] = True
    np.testing.assert_array_equal(drawn.units_sold[same], few.units_sold[same])
    before = promoted & (np.arange(few.period_count) < 900) & (few.units_sold > 10)
    ratio = drawn.units_sold[before] / few.units_sold[before]
    assert before.sum() > 50
    assert 1.0 < np.mean(ratio) < np.exp(3 * lift_spread(few, 900))
    assert (drawn.units_sold[before] == np.round(drawn.units_sold[before])).all()


def selling(lifts: F64, after: float = 1.0) -> Panel:
    """Series that sell ten a day, in promotions their lift of that, in those from period 40 on `after` times as much."""
    promotion = np.zeros((len(lifts), 60))
    promotion[:, [*range(10, 15), *range(25, 30), *range(45, 50)]] = 1.0
    times = np.where(np.arange(60) < 40, lifts[:, None], after * lifts[:, None])
    return make_panel(np.where(promotion > 0, 10.0 * times, 10.0), promotion=promotion)


def test_surges_are_as_large_as_the_dataset_s_own_series_lie_apart() -> None:
    lifts = np.exp(np.random.default_rng(0).normal(0.4, 0.25, 400))
    panel = selling(lifts)
    assert lift_spread(panel, 60) == pytest.approx(np.log(lifts).std(), rel=1e-3)
    drawn = surging(panel, 60, np.random.default_rng(1)).units_sold[:, 12] / panel.units_sold[:, 12]
    assert (drawn >= 1.0).all()
    assert np.sqrt(np.mean(np.log(drawn) ** 2)) == pytest.approx(np.log(lifts).std(), rel=0.1)
    alike = selling(np.full(5, 2.0))
    np.testing.assert_allclose(surging(alike, 60, np.random.default_rng(1)).units_sold, alike.units_sold)


def test_what_later_promotions_sold_does_not_tell_how_large_surges_are() -> None:
    lifts = np.exp(np.random.default_rng(0).normal(0.4, 0.25, 40))
    later = lift_spread(selling(lifts, after=5.0), 40)
    assert later == lift_spread(selling(lifts), 40) > 0.1


def test_promoted_orders_weigh_more_where_asked(few: Panel, tiny: TrainConfig) -> None:
    labels = replace(tiny.labels, drawn_variants=0)
    plain, heavy = (
        TrainingSet([Past(few, END)], replace(labels, promotion_weight=weight), 0, 0.0).copies[0]
        for weight in (1.0, 3.0)
    )
    promoted = promoted_orders(few, heavy.series, heavy.period)
    assert (plain.weight == 1.0).all()
    assert heavy.weight[promoted].mean() == pytest.approx(3 * heavy.weight[~promoted].mean())


def test_surges_are_further_decisions_of_the_same_dataset(few: Panel, tiny: TrainConfig) -> None:
    labels = replace(tiny.labels, drawn_variants=0, surge_share=0.5)
    data = TrainingSet([Past(few, END)], labels, 0, 0.5)
    assert [known.panel.name for known in data.known] == ["bakery", "bakery, drawn surges"]
    assert len(data.copies[1].series) == pytest.approx(0.5 * len(data.copies[0].series), rel=0.2)


def test_the_curve_s_reward_is_minus_the_cost_of_the_order_s_own_periods(
    training_set: TrainingSet, trained: Result
) -> None:
    config = AlignConfig(samples=500, horizon=21)
    traces = traces_of(trained.network, training_set, config, np.random.default_rng(0))[0]
    traces = traces._replace(rival=traces.incumbent)
    rows, grid = np.array([3, 40]), training_set.grid
    days = np.stack([grid[[0, 7, len(grid) - 1]]] * 2)
    expected = -traces.copy.curves[traces.chosen[rows]][:, [0, 7, len(grid) - 1]]
    mean = grid[[3, 5]]
    np.testing.assert_allclose(rewards(traces, rows, Actions(days, mean), config).curve, expected)
    half = replace(config, near=0.5)  # the grid is even here, so half-way to two steps further is one step further
    two_on = Actions(np.stack([grid[[3, 5]], grid[[5, 7]]]), mean)
    found = rewards(traces, rows, two_on, half).curve
    curves = traces.copy.curves[traces.chosen[rows]]
    np.testing.assert_allclose(found, -2 * np.stack([curves[0, [3, 4]], curves[1, [5, 6]]]), rtol=1e-6)
