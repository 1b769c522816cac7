"""Other rules, the same demand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from simulator.lead_times import LeadTimeHistory
from simulator.observation import panel_rates
from simulator.panel import Panel
from tests.panels import make_panel
from training.methods import replay_of
from training.scenarios import (
    AS_GIVEN,
    CARRYING_RATE,
    COVER_DAYS,
    PACKS,
    apply_scenario,
    drawn_lead_times,
    orders_before,
)

START = 1035


def test_as_given_changes_nothing(few: Panel) -> None:
    assert apply_scenario(few, AS_GIVEN, START)[0] is few


def test_drawn_packs_hold_a_few_days_of_demand_and_the_least_order_is_one_or_two(bakery: Panel) -> None:
    drawn, words = apply_scenario(bakery, "packs", START)
    pack, least = drawn.items.order_multiple, drawn.items.min_order_qty
    assert set(pack) <= set(PACKS.tolist())
    assert len(set(pack)) > 8
    assert set(least / pack) == {1.0, 2.0}
    cover = pack / panel_rates(bakery).daily_rate[:, START - 1]
    middle = (pack > 1) & (pack < PACKS[-1])
    assert (cover[middle] > COVER_DAYS[0] * 0.7).all()
    assert (cover[middle] < COVER_DAYS[1] * 1.4).all()
    assert "drawn" in words


def test_packs_belong_to_the_series_and_not_to_its_place_or_the_future(bakery: Panel) -> None:
    some = np.array([40, 3, 77])
    whole, part = apply_scenario(bakery, "packs", START)[0], apply_scenario(bakery.take(some), "packs", START)[0]
    assert part.items.order_multiple.tolist() == whole.items.order_multiple[some].tolist()
    later = bakery.units_sold.copy()
    later[:, START:] *= 9
    peeked = apply_scenario(replace(bakery, units_sold=later), "packs", START)[0]
    assert peeked.items.order_multiple.tolist() == whole.items.order_multiple.tolist()


def test_packs_of_a_continuous_dataset_may_have_any_size() -> None:
    panel = make_panel(np.full((3, 60), 0.4))
    pack = apply_scenario(panel, "packs", 50)[0].items.order_multiple
    assert ((pack > 0.39) & (pack < 2.01)).all()
    assert len(set(pack)) == 3


def test_the_carrying_rate_is_a_quarter_of_the_cost_a_year(few: Panel) -> None:
    held = apply_scenario(few, "carrying", START)[0].items.holding_cost_per_day
    assert held * 365 == pytest.approx(few.items.unit_cost * CARRYING_RATE)


def test_series_without_a_cost_keep_their_holding_cost_and_are_counted() -> None:
    panel = make_panel(np.ones((2, 9)), items={"unit_cost": [365.0, np.nan], "holding_cost_per_day": 0.7})
    changed, words = apply_scenario(panel, "carrying", 5)
    assert changed.items.holding_cost_per_day.tolist() == [0.25, 0.7]
    assert "1 series without a unit cost" in words
    with pytest.raises(ValueError, match="unit_cost"):
        apply_scenario(make_panel(np.ones((2, 9))), "carrying", 5)


def test_an_unknown_scenario_is_refused(few: Panel) -> None:
    with pytest.raises(ValueError, match="packs, carrying, lead-times, got 'war'"):
        apply_scenario(few, "war", START)


def test_drawn_lead_times_change_when_goods_come_and_nothing_else(few: Panel) -> None:
    count = 20
    orders = LeadTimeHistory(
        np.zeros(count, dtype=np.int64), few.start_day + np.arange(count), np.tile([1.0, 9.0], count // 2)
    )
    given = replay_of(few, range(START, START + 60))
    drawn, words = drawn_lead_times(given, orders, 0)
    assert set(np.unique(drawn.world.lead_time[0])) <= {1, 9}
    assert drawn.world.demand is given.world.demand
    assert drawn.panel is given.panel
    assert "drawn from 20 orders" in words
    later = orders._replace(order_day=orders.order_day + START + 100)
    assert len(orders_before(few, given.periods, orders).series) == count
    for none in (later, None):
        with pytest.raises(ValueError, match="orders received before the window"):
            orders_before(few, given.periods, none)
