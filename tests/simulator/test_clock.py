"""One period, many periods, one series, many series: stock is conserved and orders arrive when they should."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.metrics import unit_totals
from simulator.ordering import FIXED, ORDER_UP_TO, ORDERING_MODES
from simulator.rollout import World, follow, opening_stock, replay_world, rollout
from simulator.step import State, advance, place_order
from simulator.sweep import Weights, replay, replay_totals, sweep, sweep_chunks
from tests.panels import make_panel, make_rules, no_rules

SEEDS = st.integers(0, 2**32 - 1)


def random_world(rng: np.random.Generator, series: int, periods: int) -> World:
    lead = rng.integers(1, 5, series)
    pipeline = rng.integers(0, 4, (series, 5)) * 1.0
    return World(
        demand=rng.poisson(3.0, (series, periods)) * 0.5,
        review_due=rng.random((series, periods)) < 0.6,
        lead_time=lead,
        rules=make_rules(series, order_multiple=rng.integers(0, 3, series)),
        initial=State(rng.integers(0, 9, series) * 1.0, pipeline),
    )


@settings(max_examples=25, deadline=None)
@given(SEEDS)
def test_stock_in_equals_stock_out_plus_stock_held(seed: int) -> None:
    rng = np.random.default_rng(seed)
    world, _ = any_world(rng)
    record = rollout(world, follow(rng.integers(0, 20, world.demand.shape) * 1.0))
    opening = world.initial.on_hand[:, None]
    np.testing.assert_allclose(
        opening + record.received.cumsum(axis=1),
        (record.sales + record.wasted).cumsum(axis=1) + record.on_hand,
        atol=1e-9,
    )
    np.testing.assert_allclose(record.sales + record.lost_sales, world.demand, atol=1e-12)
    assert (record.on_hand >= 0).all()
    assert (record.lost_sales >= 0).all()
    assert ((record.lost_sales == 0) | (record.on_hand == 0)).all()


@settings(max_examples=25, deadline=None)
@given(SEEDS)
def test_an_order_arrives_exactly_after_its_lead_time(seed: int) -> None:
    rng = np.random.default_rng(seed)
    world = random_world(rng, 5, 30)
    record = rollout(world, follow(rng.integers(0, 20, (5, 30)) * 1.0))
    for n, lead in enumerate(world.lead_time):
        expected = np.zeros(30)
        expected[:5] += world.initial.pipeline[n]
        expected[lead:] += record.order_quantity[n, : 30 - lead]
        np.testing.assert_array_equal(record.received[n], expected)


def test_an_order_placed_at_the_end_of_a_period_can_be_sold_from_the_start_of_the_one_after_a_lead_time_of_one() -> (
    None
):
    state = place_order(State(np.array([0.0]), np.zeros((1, 2))), np.array([4.0]), np.array([1]))
    state, outcome = advance(state, np.array([3.0]))
    assert outcome.received[0] == 4
    assert outcome.sales[0] == 3
    assert outcome.on_hand[0] == 1


def test_nothing_is_ordered_where_no_review_is_due() -> None:
    rng = np.random.default_rng(1)
    world = random_world(rng, 5, 30)
    record = rollout(world, follow(np.full((5, 30), 50.0)), FIXED)
    assert (record.order_quantity[~world.review_due] == 0).all()
    assert (record.order_quantity[world.review_due] > 0).all()


@settings(max_examples=10, deadline=None)
@given(SEEDS)
def test_many_series_together_equal_each_alone(seed: int) -> None:
    rng = np.random.default_rng(seed)
    world, targets = random_world(rng, 6, 25), rng.integers(0, 20, (6, 25)) * 1.0
    together = rollout(world, follow(targets))
    for n in range(6):
        rows = np.array([n])
        alone = World(
            world.demand[rows], world.review_due[rows], world.lead_time[rows], world.rules.take(rows),
            State(world.initial.on_hand[rows], world.initial.pipeline[rows]),
        )  # fmt: skip
        for whole, single in zip(together, rollout(alone, follow(targets[rows])), strict=True):
            np.testing.assert_array_equal(whole[rows], single)


@settings(max_examples=10, deadline=None)
@given(SEEDS)
def test_a_step_on_numpy_arrays_equals_a_step_on_torch_tensors(seed: int) -> None:
    rng = np.random.default_rng(seed)
    world = random_world(rng, 4, 12)
    here = world.initial
    there = State(torch.from_numpy(here.on_hand.copy()), torch.from_numpy(here.pipeline.copy()))
    for t in range(12):
        order = rng.integers(0, 9, 4) * 1.0
        here, outcome = advance(here, world.demand[:, t])
        there, same = advance(there, torch.from_numpy(world.demand[:, t].copy()))
        for one, other in zip(outcome, same, strict=True):
            np.testing.assert_array_equal(one, other.numpy())
        here = place_order(here, order, world.lead_time)
        there = place_order(there, torch.from_numpy(order), torch.from_numpy(world.lead_time))
        np.testing.assert_array_equal(here.inventory_position, there.inventory_position.numpy())


def test_the_gradient_of_cost_reaches_the_order_that_caused_it() -> None:
    """One unit more of an order that is left over costs one unit held; where demand is lost it saves one lost sale."""
    order = torch.tensor([5.0, 1.0], dtype=torch.float64, requires_grad=True)
    state = State(torch.zeros(2, dtype=torch.float64), torch.zeros((2, 2), dtype=torch.float64))
    state = place_order(state, order, torch.tensor([2, 2]))
    held = lost = torch.zeros(2, dtype=torch.float64)
    for demand in (0.0, 3.0):
        state, outcome = advance(state, torch.full((2,), demand, dtype=torch.float64))
        held, lost = held + outcome.on_hand, lost + outcome.lost_sales
    (held.sum() + 10 * lost.sum()).backward()  # type: ignore[no-untyped-call]
    assert order.grad is not None
    np.testing.assert_array_equal(order.grad.numpy(), [1.0, -10.0])


TEXTBOOK = [
    (4, 1, 12, 4.163), (4, 2, 16, 4.639), (4, 3, 20, 4.975), (4, 4, 25, 5.198),
    (9, 1, 13, 5.548), (9, 2, 19, 6.316), (9, 3, 23, 6.864), (9, 4, 28, 7.271),
]  # fmt: skip


@pytest.mark.parametrize(("penalty", "textbook_lead", "level", "cost"), TEXTBOOK)
def test_the_clock_reproduces_textbook_base_stock_costs(
    penalty: float, textbook_lead: int, level: int, cost: float
) -> None:
    """A lead time or an order that is one period off costs 5 % or more here; the textbook's L is lead_time = L + 1.

    Source: Zipkin 2008, Old and new methods for lost-sales inventory systems; Poisson(5) demand, h = 1, table of the
    best base-stock policies.
    """
    series, periods = 150, 4000
    demand = np.random.default_rng(20 + textbook_lead).poisson(5.0, (series, periods)) * 1.0
    levels = np.array([level - 1.0, level, level + 1.0])
    world = World(
        demand, np.ones(demand.shape, dtype=bool), np.full(series, textbook_lead + 1), no_rules(series),
        State(np.full(series, float(level)), np.zeros((series, textbook_lead + 1))),
    )  # fmt: skip
    table = sweep(world, np.ones(demand.shape), levels, ORDER_UP_TO)
    costs = (table.stock + penalty * table.lost_sales) / periods  # (series, 3)
    error = costs[:, 1].std(ddof=1) / np.sqrt(series)
    assert abs(costs[:, 1].mean() - cost) < 4 * error + 0.005 * cost
    for neighbour in (0, 2):
        worse = costs[:, neighbour] - costs[:, 1]
        assert worse.mean() > -4 * worse.std(ddof=1) / np.sqrt(series)


def test_rollout_and_sweep_agree_on_a_textbook_case() -> None:
    demand = np.random.default_rng(3).poisson(5.0, (4, 300)) * 1.0
    world = World(
        demand, np.ones(demand.shape, dtype=bool), np.full(4, 2), no_rules(4), State(np.full(4, 12.0), np.zeros((4, 2)))
    )
    record = rollout(world, follow(np.full(demand.shape, 12.0)))
    table = sweep(world, np.ones(demand.shape), np.array([12.0]), ORDER_UP_TO)
    np.testing.assert_allclose(record.on_hand.sum(axis=1), table.stock[:, 0])
    np.testing.assert_allclose(record.lost_sales.sum(axis=1), table.lost_sales[:, 0])


def any_world(rng: np.random.Generator, rounding: str = "up") -> tuple[World, np.ndarray]:
    """Every option at once, each off in about half of the series; with rates. All values are eighths: exact in float32."""
    series, periods = 5, 24

    def sometimes(values: np.ndarray, otherwise: float) -> np.ndarray:
        return np.where(rng.random(series) < 0.5, values, otherwise)

    rules = make_rules(
        series, rounding=rounding, min_order_qty=sometimes(rng.integers(1, 9, series), 0.0),
        order_multiple=sometimes(rng.choice([0.5, 1, 3, 6], series), 0.0),
        max_order_qty=sometimes(rng.integers(1, 20, series), np.inf),
        min_stock=sometimes(rng.integers(1, 9, series), 0.0),
        max_stock=sometimes(rng.integers(2, 25, series), np.inf),
    )  # fmt: skip
    life = sometimes(rng.integers(1, 9, series), 0).astype(np.int64)
    perishing = rng.random() < 0.7
    if perishing:
        rules = dataclasses.replace(rules, keep_days=np.where(life > 0, life + 2.0, np.inf))
    crossing = rng.random() < 0.5  # a lead time of its own for every order: a later one may overtake
    lead = rng.integers(1, 6, (series, periods) if crossing else series)
    pipeline = rng.integers(0, 5, (series, int(rng.integers(1, 8)))) * 1.0
    rate = rng.integers(0, 16, (series, periods)) / 8
    world = World(
        rng.poisson(3.0, (series, periods)) * 0.5, rng.random((series, periods)) < 0.5, lead, rules,
        State(rng.integers(0, 9, series) * 1.0, pipeline), life if perishing else None, rate if perishing else None,
    )  # fmt: skip
    return world, rate


@settings(max_examples=80, deadline=None)
@given(SEEDS, st.sampled_from(ORDERING_MODES), st.sampled_from(["up", "nearest", "down"]), st.booleans())
def test_the_sweep_kernel_equals_a_rollout_of_every_candidate(
    seed: int, mode: str, rounding: str, double: bool
) -> None:
    rng = np.random.default_rng(seed)
    world, rate = any_world(rng, rounding)
    weights = Weights(rng.uniform(0, 4, world.demand.shape), rng.uniform(0, 4, world.demand.shape))
    days = np.array([0.0, 0.25, 1.0, 3.5, 20.0])
    table = sweep(world, rate, days, mode, weights=weights, dtype=np.float64 if double else np.float32)
    close = {"atol": 1e-9} if double else {"atol": 1e-3, "rtol": 1e-4}
    for v, day in enumerate(days):
        record = rollout(world, follow(day * rate), mode)
        for found, expected in (
            (table.stock, record.on_hand), (table.lost_sales, record.lost_sales), (table.wasted, record.wasted),
            (table.stockout_periods, record.lost_sales > 1e-6), (table.stock_value, weights.stock * record.on_hand),
            (table.lost_value, weights.lost * record.lost_sales),
        ):  # fmt: skip
            np.testing.assert_allclose(found[:, v], expected.sum(axis=1), **close)


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.sampled_from(ORDERING_MODES), st.sampled_from(["up", "nearest", "down"]))
def test_the_compiled_replay_equals_the_rollout_step_by_step(seed: int, mode: str, rounding: str) -> None:
    rng = np.random.default_rng(seed)
    world, rate = any_world(rng, rounding)
    targets = rate * rng.integers(0, 9, rate.shape)
    used = replay(world, targets * 0 + 30, mode)  # whatever stood in the memory is written over
    for one, other in zip(replay(world, targets, mode, out=used), rollout(world, follow(targets), mode), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-9)


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.sampled_from(ORDERING_MODES), st.sampled_from(["up", "nearest", "down"]), st.booleans())
def test_totals_without_a_trajectory_equal_the_trajectorys(seed: int, mode: str, rounding: str, simple: bool) -> None:
    """With packs alone series walk side by side, otherwise one by one."""
    rng = np.random.default_rng(seed)
    world, rate = any_world(rng, rounding)
    if simple:
        rules = make_rules(5, order_multiple=rng.choice([0, 1, 2.5], 5))
        world = world._replace(rules=rules, shelf_life=None, daily_rate=None)
    targets = rate * rng.integers(0, 9, rate.shape)
    expected = unit_totals(rollout(world, follow(targets), mode))
    for one, other in zip(replay_totals(world, targets, mode), expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-9)
    level = targets[:, 0]
    expected = unit_totals(rollout(world, follow(np.repeat(level[:, None], rate.shape[1], axis=1)), mode))
    for one, other in zip(replay_totals(world, level, mode), expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-9)


@settings(max_examples=10, deadline=None)
@given(SEEDS)
def test_a_sweep_in_chunks_equals_the_whole(seed: int) -> None:
    world, rate = any_world(np.random.default_rng(seed))
    days = np.array([0.0, 1.0, 5.0])
    whole = sweep(world, rate, days, "order_up_to")
    for rows, part in sweep_chunks(world, rate, days, "order_up_to", rows=2):
        for one, other in zip(whole, part, strict=True):
            np.testing.assert_array_equal(one[rows], other)


@settings(max_examples=25, deadline=None)
@given(SEEDS)
def test_perishable_stock_goes_out_sold_or_wasted_and_never_older_than_its_life(seed: int) -> None:
    """Against a queue of single units, each with the period it came in."""
    rng = np.random.default_rng(seed)
    periods, life = 30, int(rng.integers(1, 6))
    world = World(
        rng.poisson(3.0, (1, periods)) * 1.0, rng.random((1, periods)) < 0.6, np.array([2]), no_rules(1),
        State(np.array([4.0]), np.zeros((1, 2))), np.array([life]),
    )  # fmt: skip
    record = rollout(world, follow(rng.integers(0, 20, (1, periods)) * 1.0))
    queue = [-1] * 4
    for t in range(periods):
        queue += [t] * int(record.received[0, t])
        sold = min(len(queue), int(world.demand[0, t]))
        queue = queue[sold:]
        fresh = [came for came in queue if t < came + life - 1]
        assert record.sales[0, t] == sold
        assert record.wasted[0, t] == len(queue) - len(fresh)
        queue = fresh
        assert record.on_hand[0, t] == len(queue)


def test_no_series_at_all_is_no_error() -> None:
    world, rate = any_world(np.random.default_rng(0))
    none = world.take(np.array([], dtype=np.int64))
    assert replay(none, rate[:0], "order_up_to").on_hand.shape == (0, 24)
    assert replay_totals(none, rate[:0, 0], "order_up_to").stock.shape == (0,)
    assert sweep(none, rate[:0], np.array([1.0]), "order_up_to").stock.shape == (0, 1)
    assert rollout(none, follow(rate[:0])).sales.shape == (0, 24)


def test_a_later_order_may_overtake_an_earlier_one() -> None:
    world = World(
        np.zeros((1, 6)), np.array([[True, True, False, False, False, False]]), np.array([[4, 1, 1, 1, 1, 1]]),
        no_rules(1), State(np.zeros(1), np.zeros((1, 1))),
    )  # fmt: skip
    record = rollout(world, follow(np.array([[5.0, 8.0, 0, 0, 0, 0]])))
    np.testing.assert_array_equal(record.order_quantity[0], [5, 3, 0, 0, 0, 0])  # what is on its way counts
    np.testing.assert_array_equal(record.received[0], [0, 0, 3, 0, 5, 0])


def test_an_unknown_ordering_mode_is_refused_by_sweep_and_rollout() -> None:
    world = random_world(np.random.default_rng(0), 2, 4)
    with pytest.raises(ValueError, match="ordering_mode must be one of order_up_to, fixed, got 'both'"):
        sweep(world, np.ones((2, 4)), np.array([1.0]), "both")
    with pytest.raises(ValueError, match="ordering_mode must be one of order_up_to, fixed, got 'both'"):
        rollout(world._replace(review_due=np.ones((2, 4), dtype=bool)), follow(np.ones((2, 4))), "both")


def test_the_opening_stock_is_the_recent_mean_over_lead_and_review() -> None:
    """Days that were mostly out of stock do not count; a discrete dataset opens with whole units."""
    sold, stock = np.full((1, 40), 3.0), np.ones((1, 40))
    sold[0, 20:25], stock[0, 20:25] = 0.0, 0.4
    sold[0, 30] = np.nan
    sold[0, 31] = 4.0
    panel = make_panel(sold, in_stock=stock)
    mean = (21 * 3 + 4) / 22  # of 28 days, five out of stock and one unknown
    np.testing.assert_allclose(opening_stock(panel, 40), [mean * 5], rtol=1e-6)
    np.testing.assert_allclose(opening_stock(make_panel(sold, in_stock=stock, quantity="discrete"), 40), [16])
    assert opening_stock(panel, 0)[0] == 0


def test_a_replayed_window_starts_with_nothing_on_order_and_counts_unknown_sales_as_no_demand() -> None:
    panel = make_panel([[1.0, 2.0, np.nan, 4.0], [1.0, 1.0, 1.0, 1.0]], items={"lead_time_days": [1, 3]})
    world = replay_world(panel, range(1, 4), no_rules(2))
    np.testing.assert_array_equal(world.demand, [[2, 0, 4], [1, 1, 1]])
    np.testing.assert_array_equal(world.initial.pipeline, np.zeros((2, 3)))
    np.testing.assert_array_equal(
        replay_world(panel, range(1, 4), no_rules(2), np.array([7.0, 8.0])).initial.on_hand, [7, 8]
    )
