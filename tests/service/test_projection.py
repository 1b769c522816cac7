"""The projection is the simulator's own clock, one order and the forecast as demand; its prices are those of a replay."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.projection import Supply, UnitCosts, arrivals, orders, price, project
from simulator.ordering import ORDER_UP_TO, ORDERING_MODES, OrderRules
from simulator.panel import F64
from simulator.rollout import World, follow, rollout
from simulator.step import State, advance, perishing, place_order
from tests.panels import make_rules, no_rules

COSTS = UnitCosts(holding=0.5, lost=4.0, wasted=2.0)
DAYS = np.linspace(0, 12, 25)


def series(seed: int) -> tuple[Supply, F64]:
    """A supply and its demand along some paths, of any lengths."""
    rng = np.random.default_rng(seed)
    lead, review = int(rng.integers(1, 6)), int(rng.integers(1, 6))
    periods = lead + review - 1
    arriving = np.where(rng.random(periods) < 0.4, rng.integers(1, 20, periods), 0).astype(float)
    supply = Supply(float(rng.integers(0, 40)), arriving, lead, int(rng.choice([0, 1, 2, 4, 50])))
    return supply, rng.poisson(6, (8, periods)).astype(float)


def some_rules(seed: int) -> OrderRules:
    rng = np.random.default_rng(seed)
    return make_rules(
        1, order_multiple=float(rng.choice([0, 1, 6])), min_order_qty=float(rng.choice([0, 10])),
        max_order_qty=float(rng.choice([30, np.inf])), rounding=str(rng.choice(["up", "nearest", "down"])),
    )  # fmt: skip


def test_stock_falls_by_demand_and_rises_by_what_arrives() -> None:
    found = project(Supply(10, np.array([0.0, 4, 0, 0]), 3), 20, np.array([[6.0, 6, 6, 6]]))
    assert found.on_hand.tolist() == [[4, 2, 16, 10]]
    assert found.received.tolist() == [[0, 4, 20, 0]]
    assert found.lost_sales.tolist() == [[0, 0, 0, 0]]


def test_demand_without_stock_is_lost_and_not_owed() -> None:
    found = project(Supply(5, np.zeros(3), 3), 8, np.array([[4.0, 4, 4]]))
    assert found.on_hand.tolist() == [[1, 0, 4]]
    assert found.lost_sales.tolist() == [[0, 3, 0]]


def test_an_order_that_arrives_after_the_last_day_changes_nothing_before() -> None:
    demand, supply = np.array([[2.0, 2]]), Supply(9, np.zeros(2), 5)
    assert project(supply, 50, demand).on_hand.tolist() == project(supply, 0, demand).on_hand.tolist() == [[7, 5]]


def test_open_orders_arrive_on_their_date_and_late_ones_first() -> None:
    as_of = date(2019, 4, 30)
    coming = [(date(2019, 5, 1), 1.0), (date(2019, 5, 3), 2.0), (date(2019, 4, 20), 4.0), (date(2019, 5, 9), 8.0)]
    assert arrivals(coming, as_of, 1, 4).tolist() == [5, 0, 2, 0]
    assert arrivals([], as_of, 1, 2).tolist() == [0, 0]


def test_goods_that_come_within_a_week_are_sold_from_the_next_one() -> None:
    as_of = date(2019, 4, 30)
    weekly = [(date(2019, 5, 7), 1.0), (date(2019, 5, 14), 2.0), (date(2019, 5, 9), 4.0)]
    assert arrivals(weekly, as_of, 7, 3).tolist() == [1, 6, 0]


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(ORDERING_MODES))
def test_every_order_and_its_costs_are_those_of_a_rollout(seed: int, mode: str) -> None:
    """As_of is a period of its own in the replay, in which nothing is sold, received or held."""
    supply, paths = series(seed)
    supply, demand, rules = supply._replace(shelf_life=0), paths[:1], some_rules(seed)
    count, first = len(DAYS), supply.lead_periods
    due = np.zeros((count, len(supply.arriving) + 1), dtype=bool)
    due[:, 0] = True
    world = World(
        demand=np.tile(np.pad(demand, ((0, 0), (1, 0))), (count, 1)), review_due=due,
        lead_time=np.full(count, first), rules=rules.take(np.zeros(count, dtype=int)),
        initial=State(np.full(count, supply.on_hand), np.tile(np.pad(supply.arriving, (1, 0)), (count, 1))),
    )  # fmt: skip
    replayed = rollout(world, follow(np.tile(DAYS[:, None] * 6.5, due.shape[1])), mode)
    quantities = orders(DAYS, 6.5, supply.on_hand + supply.arriving.sum(), rules, mode)
    assert quantities.tolist() == replayed.order_quantity[:, 0].tolist()
    curve = price(supply, quantities, demand, COSTS)
    lost = replayed.lost_sales[:, first:]
    assert curve.holding_cost == pytest.approx(replayed.on_hand[:, first:].sum(axis=1) * COSTS.holding)
    assert curve.stockout_cost == pytest.approx(lost.sum(axis=1) * COSTS.lost)
    assert curve.stockout_probability.tolist() == (lost > 0).any(axis=1).tolist()
    own = project(supply, float(quantities[-1]), demand)
    assert own.on_hand[0].tolist() == replayed.on_hand[-1, 1:].tolist()


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000))
def test_paths_together_cost_the_mean_of_each_alone_also_where_stock_perishes(seed: int) -> None:
    supply, demand = series(seed)
    curve = price(supply, np.array([0.0, 17, 17, 30]), demand, COSTS)
    for n, quantity in enumerate((0.0, 17, 17, 30)):
        costs = np.array([replayed_costs(supply, quantity, path) for path in demand])
        found = curve.holding_cost[n], curve.stockout_cost[n], curve.waste_cost[n]
        assert found == pytest.approx(tuple(costs.mean(axis=0)))
        assert curve.total_cost[n] == pytest.approx(costs.mean(axis=0).sum())


def replayed_costs(supply: Supply, quantity: float, path: F64) -> tuple[float, float, float]:
    """Holding, stock-out and waste cost of one order on one path, by a plain pipeline."""
    life = np.array([supply.shelf_life])
    state = perishing(State(np.array([supply.on_hand]), supply.arriving[None, :]), life)
    state = place_order(state, np.array([quantity]), np.array([supply.lead_periods]))
    costs = np.zeros(3)
    for t, wanted in enumerate(path):
        state, outcome = advance(state, np.array([wanted]), life)
        if t >= supply.lead_periods - 1:
            costs += [outcome.on_hand[0], outcome.lost_sales[0], outcome.wasted[0]]
    held, lost, wasted = costs * [COSTS.holding, COSTS.lost, COSTS.wasted]
    return float(held), float(lost), float(wasted)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000))
def test_more_days_hold_more_and_lose_less(seed: int) -> None:
    supply, demand = series(seed)
    quantities = orders(DAYS, 6.5, supply.on_hand, some_rules(seed), ORDER_UP_TO)
    curve = price(supply, quantities, demand, COSTS)
    for column in curve:
        assert (column >= 0).all()
    assert (np.diff(quantities) >= 0).all()
    assert (np.diff(curve.holding_cost) >= -1e-9).all()
    for falling in (curve.stockout_cost, curve.lost_sales, curve.stockout_probability):
        assert (np.diff(falling) <= 1e-9).all()


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000))
def test_no_unit_is_made_or_lost_on_the_way(seed: int) -> None:
    supply, demand = series(seed)
    supply = supply._replace(shelf_life=0)
    found = project(supply, 25, demand)
    sold = demand - found.lost_sales
    assert found.received.sum(axis=1) == pytest.approx(supply.arriving.sum() + 25)
    left = supply.on_hand + np.cumsum(found.received - sold, axis=1)
    assert found.on_hand == pytest.approx(left)


def test_costs_before_the_order_arrives_are_none_of_its_own() -> None:
    costly = Supply(100, np.zeros(4), lead_periods=4)
    curve = price(costly, np.array([0.0, 5]), np.array([[25.0, 25, 25, 25]]), COSTS)
    assert curve.holding_cost.tolist() == [0, 5 * COSTS.holding]
    assert price(costly._replace(on_hand=0), np.array([25.0]), np.full((1, 4), 25.0), COSTS).stockout_cost.tolist() == [
        0
    ]


def test_an_item_without_rules_is_ordered_up_to_its_days() -> None:
    found = orders(np.array([0.0, 2, 3.5]), 10.0, 15.0, no_rules(1), ORDER_UP_TO)
    assert found.tolist() == [0, 5, 20]
