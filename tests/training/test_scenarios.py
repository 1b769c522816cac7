"""Other rules, the same demand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from simulator.baselines import category_base_stock
from simulator.lead_times import LeadTimeHistory
from simulator.observation import panel_rates
from simulator.panel import Panel
from simulator.rates import rate_sources
from simulator.schedule import review_schedule
from tests.panels import make_panel
from training.backtest import backtest
from training.methods import CATEGORY_MEAN, replay_of
from training.scenarios import (
    AS_GIVEN,
    CARRYING_RATE,
    COVER_DAYS,
    PACKS,
    apply_scenario,
    drawn_lead_times,
    new_series,
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
    with pytest.raises(ValueError, match=r"packs, carrying, lead-times, cold-0, .*, got 'war'"):
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


@pytest.mark.parametrize("days", [0, 14])
def test_new_items_are_known_for_the_last_days_only_and_the_others_stay(bakery: Panel, days: int) -> None:
    changed, words = apply_scenario(bakery, f"cold-{days}", START)
    rows = new_series(bakery)
    assert 5 < len(rows) < 30
    assert f"{len(rows)}, drawn by a hash, are new" in words
    others = np.setdiff1d(np.arange(bakery.series_count), rows)
    np.testing.assert_array_equal(changed.units_sold[others], bakery.units_sold[others])
    np.testing.assert_array_equal(changed.units_sold[rows, START - days :], bakery.units_sold[rows, START - days :])
    assert np.isnan(changed.units_sold[rows, : START - days]).all()
    assert not panel_rates(changed).has_history[rows, START - days - 1].any()


def test_a_reference_is_an_old_item_of_the_same_category_and_place(bakery: Panel) -> None:
    changed, _ = apply_scenario(bakery, "cold-0-reference", START)
    rows, items = new_series(bakery), bakery.items
    series = list(zip(items.item_id, items.location_id, strict=True))
    for n in rows:
        other = series.index((changed.items.reference_item_id[n], items.location_id[n]))
        assert other not in rows
        assert items.category[other] == items.category[n]
    sources = rate_sources(changed, panel_rates(changed), START - 1)
    assert {sources[n] for n in rows} == {"reference_item"}


def test_new_items_are_judged_alone_beside_their_category_s_base_stock(
    bakery: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.gbm.TREES", 5)
    some = bakery.take(np.arange(0, 84, 3))
    changed, _ = apply_scenario(some, "cold-7", 1100)
    rows = new_series(some)
    replay = replay_of(changed, range(1100, 1130))._replace(judged=rows, beside=CATEGORY_MEAN)
    done = backtest([replay], [], lambda *_: None)
    assert done.replay.panel.names == [some.names[n] for n in rows]
    assert {len(total.total_cost) for total in done.totals.values()} == {len(rows)}
    assert CATEGORY_MEAN in done.totals
    expected = category_base_stock(changed, replay.rates, replay.periods)[rows]
    np.testing.assert_allclose(done.targets[CATEGORY_MEAN], expected)
    prior, cycle = (
        replay.rates.prior_daily_rate[rows, 1100],
        review_schedule(changed, replay.periods).protection[rows, 0],
    )
    assert (expected[:, 0] > prior * cycle).all()  # a quantile of 0.8 or more of a skewed demand


def test_a_dataset_too_small_for_new_items_says_so(bakery: Panel) -> None:
    with pytest.raises(ValueError, match="needs more series"):
        apply_scenario(bakery.take(new_series(bakery)), "cold-0", START)
