"""Epoch labels: each cost curve equals a full replay in which the one order is replaced by the candidate."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from simulator.baselines import incumbent
from simulator.metrics import waste_cost
from simulator.ordering import ORDERING_MODES, constrain, raw_order_quantity, rules_of
from simulator.panel import F64, Panel
from simulator.rates import panel_rates
from simulator.rollout import replay_world
from simulator.schedule import review_schedule
from simulator.step import advance, perishing, place_order
from solver.labels import best_days, cost_curves, epochs_of, history_window, label_demand, with_offset
from tests.panels import make_panel, random_panel

SEEDS = st.integers(0, 2**32 - 1)
DAYS = np.array([0.0, 0.5, 1.0, 2.25, 4.0, 9.0, 30.0])


def replayed_cost(
    panel: Panel, demand: F64, window: range, n: int, t: int, days: float, rate: float, mode: str
) -> float:
    """Cost over the responsible periods of a replay of series `n` alone, its order at `t` being `days` of stock."""
    alone = panel.take(np.array([n]))
    rules = rules_of(alone)
    world = replay_world(alone, window, rules)
    rates = panel_rates(panel).daily_rate[[n]]
    targets = incumbent(panel, window)[[n]]  # the incumbent's service target belongs to the whole category
    schedule = review_schedule(alone, window)
    k = t - window.start
    counted = range(t + schedule.lead_time[0, k], t + schedule.protection[0, k] + 1)
    life = alone.shelf_life_periods
    state, cost = perishing(world.initial, life), 0.0
    for k, period in enumerate(window):
        state, outcome = advance(state, demand[[n], period], life)
        if period in counted:
            held = float(outcome.on_hand[0]) * panel.items.holding_cost_per_day[n] * panel.period_days
            cost += held + float(outcome.lost_sales[0]) * panel.items.lost_sale_cost[n]
            cost += float(outcome.wasted[0]) * waste_cost(alone.items)[0]
        if world.review_due[0, k]:
            own = period == t
            target = np.array([days * rate]) if own else targets[:, k]
            raw = raw_order_quantity(target, state.inventory_position, mode if own else "order_up_to")
            order = constrain(raw, state.inventory_position, rules, rates[:, period]).order_quantity
            state = place_order(state, order, world.lead_time[:, k])
    return cost


def labelled_panel(rng: np.random.Generator, days: int = 1) -> Panel:
    """Five series with packs, minimums, shelves, shelf lives and order days, in any mix of lead and review times."""
    count = 5
    return random_panel(
        rng, count, 70, period_days=days, quantity=str(rng.choice(["discrete", "continuous"])),
        items={
            "order_multiple": rng.choice([0, 1, 3, 6], count), "min_order_qty": rng.choice([0, 0, 5], count),
            "max_order_qty": rng.choice([np.nan, 20], count), "min_stock": rng.choice([np.nan, 3], count),
            "max_stock": rng.choice([np.nan, 25], count),
            "lead_time_days": rng.integers(1, 6, count) * days, "review_period_days": rng.integers(1, 5, count) * days,
            "shelf_life_days": rng.choice([np.nan, 1, 3, 8], count) * days, "unit_cost": rng.choice([np.nan, 2], count),
            "order_weekdays": rng.choice(["", "14", "246"], count) if days == 1 else "",
            "delivery_weekdays": rng.choice(["", "135"], count) if days == 1 else "",
            "order_cutoff_days": rng.choice([np.nan, 2], count) if days == 1 else np.nan,
        },
    )  # fmt: skip


@settings(max_examples=12, deadline=None)
@given(SEEDS, st.sampled_from(ORDERING_MODES), st.sampled_from([1, 7]), st.booleans())
@example(seed=1363, mode="order_up_to", days=7, recovered=False)  # a position of -2e-15 once ordered a minimum of 5
def test_a_cost_curve_equals_a_full_replay_with_that_one_order_replaced(
    seed: int, mode: str, days: int, recovered: bool
) -> None:
    rng = np.random.default_rng(seed)
    panel = labelled_panel(rng, days)
    window = range(30, 66)
    epochs = epochs_of(panel, panel_rates(panel), window, recovered=recovered)
    curves = cost_curves(panel, epochs, DAYS, ordering_mode=mode)
    demand, _ = label_demand(panel, recovered=recovered, before=window.stop)
    assert curves.shape == (len(epochs.series), len(DAYS))
    for e in rng.permutation(len(epochs.series))[:6]:
        for v, day in enumerate(DAYS):
            expected = replayed_cost(
                panel, demand, window, int(epochs.series[e]), int(epochs.period[e]), day, epochs.daily_rate[e], mode
            )
            assert curves[e, v] == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_a_cost_curve_by_hand() -> None:
    """Two a day, lead 1, review 2: the order at the end of t serves t + 1 and t + 2."""
    items = {"lead_time_days": 1, "review_period_days": 2, "holding_cost_per_day": 1.0, "lost_sale_cost": 10.0}
    panel = make_panel(np.full((1, 60), 2.0), items=items)
    epochs = epochs_of(panel, panel_rates(panel), range(30, 40))
    np.testing.assert_allclose(epochs.daily_rate, 2.0, rtol=1e-5)
    curves = cost_curves(panel, epochs._replace(daily_rate=np.full(len(epochs.series), 2.0)), np.array([1.0, 2.0, 3.0]))
    opened = epochs.period[1:]  # the first still stands on the opening stock
    assert len(opened) > 2
    # one day: 2 arrive, 2 sold, 2 lost. two days: 2 left over a night. three: 4 and 2 left
    np.testing.assert_allclose(curves[1:], np.tile([20.0, 2.0, 6.0], (len(opened), 1)))
    np.testing.assert_array_equal(best_days(curves[1:], np.array([1.0, 2.0, 3.0])), 2.0)


def test_equal_costs_choose_the_fewest_days() -> None:
    assert best_days(np.array([[5.0, 3.0, 3.0]]), np.array([1.0, 2.0, 3.0]))[0] == 2


@settings(max_examples=15, deadline=None)
@given(SEEDS)
def test_an_epoch_ends_before_its_window_does(seed: int) -> None:
    panel = labelled_panel(np.random.default_rng(seed))
    window = range(20, 50)
    epochs = epochs_of(panel, panel_rates(panel), window)
    schedule = review_schedule(panel, range(70))
    for n, t in zip(epochs.series, epochs.period, strict=True):
        assert t >= window.start
        assert t + schedule.protection[n, t] + 1 <= window.stop
        assert schedule.due[n, t]


@settings(max_examples=10, deadline=None)
@given(SEEDS)
def test_what_happens_from_the_windows_end_on_changes_no_label(seed: int) -> None:
    """Training cuts at `end`: a label that knew more would leak the test window into training."""
    rng = np.random.default_rng(seed)
    panel = labelled_panel(rng)
    end = 50
    changed = {}
    for name in ("units_sold", "in_stock", "promotion", "open"):
        column = getattr(panel, name).copy()
        column[:, end:] = rng.integers(0, 2, column[:, end:].shape)
        changed[name] = column
    other = replace(panel, **changed)
    one = epochs_of(panel, panel_rates(panel), range(20, end))
    two = epochs_of(other, panel_rates(other), range(20, end))
    for name, column in one._asdict().items():
        np.testing.assert_array_equal(column, getattr(two, name), err_msg=name)
    np.testing.assert_array_equal(cost_curves(panel, one, DAYS), cost_curves(other, two, DAYS))


def test_unknown_demand_between_order_and_outcome_leaves_the_epoch_out() -> None:
    sold = np.full((1, 60), 2.0)
    sold[0, 40] = np.nan
    panel = make_panel(sold, items={"lead_time_days": 2, "review_period_days": 1})
    epochs = epochs_of(panel, panel_rates(panel), range(30, 50))
    assert epochs.period.tolist() == [t for t in range(30, 48) if not t + 1 <= 40 <= t + 2]


def test_labels_meet_demand_recovered_from_stock_outs_and_not_the_sales_that_were_left() -> None:
    sold, stock, opened = np.full((1, 30), 2.0), np.ones((1, 30)), np.ones((1, 30))
    sold[0, 0] = stock[0, 0] = 0.0
    sold[0, 13], stock[0, 13] = 1.0, 0.5
    sold[0, 5], opened[0, 5] = 0.0, 0.0
    panel = make_panel(sold, in_stock=stock, open=opened)
    demand, known = label_demand(panel, recovered=True)
    np.testing.assert_allclose(demand[0, [2, 13, 5]], [2, 2, 0], rtol=0.05)
    np.testing.assert_array_equal(np.flatnonzero(~known[0]), [0])  # before it was ever in stock; a closed day is known
    np.testing.assert_allclose(label_demand(panel, recovered=False)[0], sold)


def test_labels_are_the_same_whether_their_demand_is_asked_for_once_or_every_time() -> None:
    panel = labelled_panel(np.random.default_rng(3))
    window, rates = range(20, 50), panel_rates(panel)
    for recovered in (True, False):
        demand = label_demand(panel, recovered=recovered, before=50)
        one = epochs_of(panel, rates, window, recovered=recovered)
        two = epochs_of(panel, rates, window, demand=demand)
        for name, column in one._asdict().items():
            np.testing.assert_array_equal(column, getattr(two, name), err_msg=name)


def test_shifting_the_calendar_through_a_cycle_makes_every_period_a_decision_once() -> None:
    """With the true calendar alone, a weekly review would teach the policy one weekday only."""
    panel = make_panel(np.full((2, 80), 2.0), items={"review_period_days": [3, 7], "lead_time_days": 1})
    rates, window = panel_rates(panel), range(30, 70)
    plain = epochs_of(panel, rates, window)
    assert epochs_of(with_offset(panel, 0), rates, window).period.tolist() == plain.period.tolist()
    for n, review in enumerate((3, 7)):
        periods: list[int] = []
        for shift in range(review):
            epochs = epochs_of(with_offset(panel, shift), rates, window)
            found = epochs.period[epochs.series == n]
            assert (np.diff(found) == review).all()
            periods += found.tolist()
        assert sorted(periods) == list(range(30, 70 - review))


def test_history_starts_where_the_baselines_know_enough() -> None:
    panel = make_panel(np.ones((1, 400)))
    assert history_window(panel, 300) == range(28, 300)
    assert history_window(panel, 40) == range(10, 40)
    assert history_window(make_panel(np.ones((1, 200)), period_days=7), 150) == range(26, 150)


def test_the_incumbents_days_are_its_target_in_days() -> None:
    panel = random_panel(np.random.default_rng(0))
    rates = panel_rates(panel)
    epochs = epochs_of(panel, rates, range(40, 90))
    targets = incumbent(panel, range(40, 90))
    np.testing.assert_allclose(
        epochs.incumbent_days * rates.daily_rate[epochs.series, epochs.period],
        targets[epochs.series, epochs.period - 40],
    )
