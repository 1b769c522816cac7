"""What an override earned, worked out by hand, and the replays that say the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from service.settling import Case, Settled, settle
from simulator.ordering import ORDER_UP_TO, rules_of
from simulator.panel import Panel
from simulator.step import State
from tests.panels import make_panel, make_rules, random_panel

HERE = ("i0", "here")


def settled(panel: Panel, cases: Sequence[Case], on_hand: Sequence[float], **columns: Any) -> Settled:
    """The cases are on the panel's first series, one on each; nothing is on order."""
    state = State(np.array(on_hand), np.zeros((len(cases), 3)))
    return settle(panel, np.arange(len(cases)), cases, state, make_rules(len(cases), **columns), ORDER_UP_TO)


def test_an_override_that_saw_a_rush_coming_is_credited_with_what_it_sold_more() -> None:
    """Lead time two days, a review every other day, the order on the evening of the second day, six days counted.

    The policy's own target is 20: 10 are ordered, 10 more two days later. Stock at the ends of the days: 5, 10, 0, 0, 0 with
    5 lost, 15. The override's is 35, so 25 are ordered, and the policy's own target asks for nothing two days later and for 15
    after four: 5, 25, 15, 5, 0, 10. That is 30 unit-days at 0.50 more and 5 lost units at 4.00 less.
    """
    demand = [[5, 5, 5, 5, 10, 10, 5, 5, 99]]
    items = {"review_period_days": 2, "review_offset_days": 1}
    panel = make_panel(demand, items=items)
    case = Case(HERE, panel.date_of(1), 2, 2, 5.0, target=35.0, policy_target=20.0)
    found = settled(panel, [case], [10.0])
    assert (found.stood.order_quantity[0], found.policy.order_quantity[0]) == (25, 10)
    assert (found.stood.lost_units[0], found.policy.lost_units[0]) == (0, 5)
    assert (found.stood.stock_periods[0], found.policy.stock_periods[0]) == (60, 30)
    assert (found.stood.total_cost[0], found.policy.total_cost[0]) == (30, 20 + 15)
    assert (found.saved_units[0], found.money[0]) == (5, 5)
    assert not found.understated[0]


def test_what_was_ordered_counts_as_it_was_ordered_whatever_the_pack() -> None:
    """With packs of six the two targets order 30 and 12; an order of 25 that was really placed stays 25."""
    panel = make_panel(np.full((2, 9), 5.0), items={"review_period_days": 2, "review_offset_days": 1})
    case = Case(HERE, panel.date_of(1), 2, 2, 5.0, target=35.0, policy_target=20.0)
    found = settled(panel, [case, case._replace(quantity=25.0)], [10.0, 10.0], order_multiple=6.0)
    assert found.stood.order_quantity.tolist() == [30, 25]
    assert found.policy.order_quantity.tolist() == [12, 12]


def test_what_perishes_is_paid_for() -> None:
    """Lead time and review one day, goods that sell for two days, 4 wanted a day. Twelve come in place of four: 8 stay over
    night, 4 of them are thrown away a day later, at 3.00 each, and the third day's four are ordered."""
    items = {"lead_time_days": 1, "review_period_days": 1, "shelf_life_days": 2, "unit_cost": 3.0}
    panel = make_panel([[4, 4, 4, 4, 4]], items=items)
    found = settled(panel, [Case(HERE, panel.date_of(0), 1, 1, 4.0, target=12.0, policy_target=4.0)], [0.0])
    assert found.stood.wasted_units[0] == 4
    assert found.stood.stock_periods[0] == 8
    assert found.policy.total_cost[0] == 0
    assert found.money[0] == -(8 * 0.5 + 4 * 3)


@pytest.mark.parametrize(
    ("column", "value", "at", "understated"),
    [
        ("in_stock", 0.5, 4, True),
        ("in_stock", 0.5, 1, False),  # before the replay
        ("in_stock", 0.5, 8, False),  # after it
        ("units_sold", np.nan, 4, True),
    ],
)
def test_sales_that_were_less_than_demand_are_said_to_be(
    column: str, value: float, at: int, *, understated: bool
) -> None:
    columns = {"units_sold": np.full((1, 9), 5.0), "in_stock": np.ones((1, 9))}
    columns[column][0, at] = value
    panel = make_panel(
        columns["units_sold"], in_stock=columns["in_stock"], items={"review_period_days": 2, "review_offset_days": 1}
    )
    case = Case(HERE, panel.date_of(1), 2, 2, 5.0, target=35.0, policy_target=20.0)
    assert settled(panel, [case], [10.0]).understated[0] == understated


def test_a_closed_day_without_sales_hides_no_demand() -> None:
    sold, shop = np.full((1, 9), 5.0), np.ones((1, 9))
    sold[0, 4], shop[0, 4] = np.nan, 0
    panel = make_panel(sold, open=shop, items={"review_period_days": 2, "review_offset_days": 1})
    case = Case(HERE, panel.date_of(1), 2, 2, 5.0, target=35.0, policy_target=20.0)
    assert not settled(panel, [case], [10.0]).understated[0]


def test_many_are_settled_together_as_each_is_alone() -> None:
    rng = np.random.default_rng(3)
    panel = random_panel(rng, series=6, periods=120)
    lead, review = panel.lead_periods, panel.review_periods
    rows = rng.integers(0, 6, 40)
    cases = [
        Case(
            (str(panel.items.item_id[n]), str(panel.items.location_id[n])), panel.date_of(int(rng.integers(40, 90))),
            int(lead[n]), int(review[n]), 3.0, float(rng.uniform(0, 60)), float(rng.uniform(0, 60)),
        )
        for n in rows
    ]  # fmt: skip
    state = State(rng.uniform(0, 20, 40), rng.uniform(0, 5, (40, 9)))
    rules = rules_of(panel.take(rows))
    together = settle(panel, rows, cases, state, rules, ORDER_UP_TO)
    assert len(set(together.money)) > 20
    for n, case in enumerate(cases):
        one = np.array([n])
        alone = State(state.on_hand[one], state.pipeline[one])
        found = settle(panel, rows[one], [case], alone, rules.take(one), ORDER_UP_TO)
        assert found.money[0] == pytest.approx(together.money[n])
        assert found.saved_units[0] == pytest.approx(together.saved_units[n])
        assert found.understated[0] == together.understated[n]
