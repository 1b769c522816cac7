"""A backtest over several windows, each from a fresh opening stock."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.baselines import incumbent
from simulator.rollout import follow, rollout
from tests.panels import make_panel
from training.backtest import Contender, backtest
from training.methods import CONSTANT, INCUMBENT, REFERENCE, replay_of


def test_windows_add_up_without_what_no_order_can_change() -> None:
    rng = np.random.default_rng(0)
    panel = make_panel(
        rng.poisson(6.0, (3, 80)),
        items={"lead_time_days": [1, 2, 4], "review_period_days": [1, 2, 3], "holding_cost_per_day": 0.3,
               "lost_sale_cost": 2.0},
    )  # fmt: skip
    windows = [range(50, 65), range(65, 80)]
    never = Contender("never", "never", lambda _observer, rows, _t, _state: np.zeros(len(rows)))
    done = backtest([replay_of(panel, window) for window in windows], [never], lambda *_: None)
    expected, least = np.zeros(3), np.zeros(3)
    for window in windows:
        world = replay_of(panel, window).world
        kept, none = (
            rollout(world, follow(target)) for target in (incumbent(panel, window), np.zeros(world.demand.shape))
        )
        for n, lead in enumerate((1, 2, 4)):
            first = int(np.flatnonzero(world.review_due[n])[0]) + lead
            np.testing.assert_array_equal(kept.on_hand[n, :first], none.on_hand[n, :first])
            expected[n] += 0.3 * kept.on_hand[n, first:].sum() + 2.0 * kept.lost_sales[n, first:].sum()
            least[n] += world.demand.shape[1] - first
    np.testing.assert_allclose(done.totals[INCUMBENT].total_cost, expected)
    np.testing.assert_array_equal(done.totals["never"].periods, least)
    assert done.totals["never"].sales.sum() < done.totals[INCUMBENT].sales.sum()
    assert done.windows == windows
    assert done.replay.periods == windows[-1]


def test_one_number_for_all_series_costs_no_less_than_one_for_each() -> None:
    panel = make_panel(np.random.default_rng(1).poisson(5.0, (4, 70)), items={"lead_time_days": [1, 3, 5, 7]})
    done = backtest([replay_of(panel, range(50, 70))], [], lambda *_: None)
    one, each = done.totals[CONSTANT].total_cost.sum(), done.totals[REFERENCE].total_cost.sum()
    assert one >= each
    days = done.targets[CONSTANT] / done.replay.rates.daily_rate[:, 50:]
    assert days == pytest.approx(np.full_like(days, days[0, 0]))
