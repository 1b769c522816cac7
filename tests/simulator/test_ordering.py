"""From a raw quantity to an order: every constraint, the order they apply in, and what float arithmetic may not do."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.ordering import (
    CONSTRAINTS,
    FIXED,
    ORDER_UP_TO,
    ROUNDINGS,
    Order,
    OrderRules,
    constrain,
    inventory_days_grid,
    raw_order_quantity,
    rules_of,
)
from tests.panels import make_panel, make_rules

SEEDS = st.integers(0, 2**32 - 1)


def order(raw: float, position: float = 0.0, *, rounding: str = "up", **rules: float) -> tuple[float, list[str]]:
    """The quantity ordered and the names of the constraints that bit."""
    made = constrain(np.array([raw]), np.array([position]), make_rules(1, rounding=rounding, **rules))
    return float(made.order_quantity[0]), bitten(made)


@pytest.mark.parametrize(
    ("raw", "position", "multiple", "rules", "quantity", "bit"),
    [
        (30.0, 2.0, 0.0, {"keep_days": 5.0}, 8.0, ["shelf_life_days"]),  # 2 a day for 5 days, 2 are there
        (6.0, 2.0, 0.0, {"keep_days": 5.0}, 6.0, []),
        (6.0, 12.0, 0.0, {"keep_days": 5.0}, 0.0, ["shelf_life_days"]),
        (30.0, 2.0, 12.0, {"keep_days": 5.0}, 12.0, ["order_multiple", "shelf_life_days"]),  # a whole pack or none ever
        (30.0, 2.0, 0.0, {"keep_days": np.inf}, 30.0, []),
        (30.0, 2.0, 0.0, {"keep_days": 1.0, "min_stock": 6.0}, 4.0, ["min_stock", "shelf_life_days"]),
        (30.0, 2.0, 0.0, {"orderable": False}, 0.0, ["orderable_until"]),
        (0.0, 2.0, 0.0, {"orderable": False}, 0.0, []),
        (30.0, 2.0, 0.0, {"orderable": True}, 30.0, []),
    ],
)  # fmt: skip
def test_shelf_life_caps_what_is_asked_for_and_a_phased_out_item_is_not_ordered(
    raw: float, position: float, multiple: float, rules: dict[str, Any], quantity: float, bit: list[str]
) -> None:
    base = make_rules(1, order_multiple=multiple, min_stock=rules.pop("min_stock", 0.0))
    made_rules = replace(base, **{name: np.array([value]) for name, value in rules.items()})
    made = constrain(np.array([raw]), np.array([position]), made_rules, np.array([2.0]))
    assert made.order_quantity[0] == quantity
    assert bitten(made) == bit


def test_a_rate_of_zero_and_stock_that_keeps_make_no_number_that_is_none() -> None:
    rules = replace(make_rules(2), keep_days=np.array([np.inf, 4.0]))
    made = constrain(np.array([3.0, 3.0]), np.zeros(2), rules, np.zeros(2))
    assert made.order_quantity.tolist() == [3.0, 0.0]


def test_the_rules_of_a_panel_hold_its_shelf_lives_and_last_order_dates() -> None:
    panel = make_panel(
        np.ones((3, 5)),
        items={
            "shelf_life_days": [np.nan, 4, 2],
            "lead_time_days": 3,
            "orderable_until": ["", "2024-01-03", "2024-01-02"],
        },
    )
    rules = rules_of(panel, on=date(2024, 1, 3))
    assert rules.keep_days is not None
    assert rules.keep_days.tolist() == [np.inf, 3 + 4 - 1, 3 + 2 - 1]
    assert rules.orderable is not None
    assert rules.orderable.tolist() == [True, True, False]
    cut_off = replace(panel, items=replace(panel.items, order_cutoff_days=np.array([0.0, 1.0, 0.0])))
    ended = rules_of(cut_off, on=date(2024, 1, 3)).orderable
    assert ended is not None
    assert ended.tolist() == [True, False, False]  # its order day would be the 4th
    assert rules_of(panel).orderable is None
    assert rules_of(make_panel(np.ones((1, 5)))).keep_days is None


def bitten(made: Order) -> list[str]:
    return [rule for flag, rule in CONSTRAINTS.items() if getattr(made, flag)[0]]


@pytest.mark.parametrize(
    ("arguments", "quantity", "bit"),
    [
        ({"raw": 7.3}, 7.3, []),
        ({"raw": 0.0, "min_order_qty": 5, "order_multiple": 6}, 0, []),
        ({"raw": 7.3, "order_multiple": 6}, 12, ["order_multiple"]),
        ({"raw": 7.3, "order_multiple": 6, "rounding": "nearest"}, 6, ["order_multiple"]),
        ({"raw": 9.0, "order_multiple": 6, "rounding": "nearest"}, 12, ["order_multiple"]),
        ({"raw": 11.9, "order_multiple": 6, "rounding": "down"}, 6, ["order_multiple"]),
        ({"raw": 2.0, "order_multiple": 6, "rounding": "down"}, 0, ["order_multiple"]),
        ({"raw": 12.0, "order_multiple": 6}, 12, []),
        ({"raw": 2.0, "min_order_qty": 5}, 5, ["min_order_qty"]),
        ({"raw": 2.0, "min_order_qty": 5, "order_multiple": 4}, 8, ["min_order_qty", "order_multiple"]),
        ({"raw": 30.0, "max_order_qty": 20, "order_multiple": 6}, 18, ["max_order_qty"]),
        ({"raw": 2.0, "min_order_qty": 10, "max_order_qty": 5}, 5, ["min_order_qty", "max_order_qty"]),
        ({"raw": 1.0, "position": 3.0, "min_stock": 8}, 5, ["min_stock"]),
        ({"raw": 0.0, "position": 9.0, "min_stock": 8}, 0, []),
        ({"raw": 9.0, "position": 3.0, "max_stock": 8}, 5, ["max_stock"]),
        ({"raw": 9.0, "position": 3.0, "max_stock": 8, "order_multiple": 4}, 4, ["order_multiple", "max_stock"]),
        ({"raw": 9.0, "position": 8.0, "max_stock": 8}, 0, ["max_stock"]),
        ({"raw": 0.0, "position": 1.0, "min_stock": 9, "max_stock": 4}, 3, ["min_stock", "max_stock"]),
    ],
)
def test_each_constraint_does_what_its_name_says_and_is_named_where_it_bit(
    arguments: dict[str, Any], quantity: float, bit: list[str]
) -> None:
    made, named = order(**arguments)
    assert made == pytest.approx(quantity)
    assert named == bit


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("multiple", [0.1, 0.3, 1.0, 6.0, 144.0])
def test_what_float_arithmetic_leaves_behind_the_comma_orders_no_extra_pack(rounding: str, multiple: float) -> None:
    """0.1 x 3 is more than 0.3; nobody wants a pack for that."""
    for packs in (1, 3, 7, 1000):
        for noise in (-1e-9, 0.0, 1e-9):
            exact = multiple * packs
            made, named = order(exact * (1 + noise), order_multiple=multiple, rounding=rounding)
            assert made == pytest.approx(exact)
            assert named == []


@pytest.mark.parametrize("position", [0.0, 3.0, 1e5])
def test_what_float_arithmetic_leaves_of_a_difference_is_not_lifted_to_the_minimum(position: float) -> None:
    """A target that equals the position but for the last digit once ordered the whole minimum."""
    noise = 1e-9 * (1 + position)
    assert order(noise, position, min_order_qty=5.0, order_multiple=2.0) == (0, [])
    assert order(0.0, position - noise, min_order_qty=5.0, min_stock=position) == (0, [])
    assert order(noise, position, min_order_qty=5.0, max_stock=position) == (0, [])


def test_half_a_pack_rounds_up_to_the_nearest_also_behind_float_noise() -> None:
    for noise in (-1e-9, 0.0, 1e-9):
        assert order(9.0 * (1 + noise), order_multiple=6, rounding="nearest")[0] == 12


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.sampled_from(ROUNDINGS))
def test_an_order_breaks_no_maximum_and_is_whole_packs(seed: int, rounding: str) -> None:
    rng = np.random.default_rng(seed)
    count = 40
    rules = make_rules(
        count, rounding=rounding, min_order_qty=rng.integers(0, 12, count), order_multiple=rng.integers(0, 7, count),
        max_order_qty=np.where(rng.random(count) < 0.5, rng.uniform(0, 30, count), np.inf),
        min_stock=rng.integers(0, 12, count),
        max_stock=np.where(rng.random(count) < 0.5, rng.uniform(0, 30, count), np.inf),
    )  # fmt: skip
    raw, position = np.maximum(rng.uniform(-5, 30, count), 0.0), rng.uniform(0, 30, count)
    quantity = constrain(raw, position, rules).order_quantity
    assert (quantity >= 0).all()
    assert (quantity <= rules.max_order_qty + 1e-4).all()
    assert (quantity[quantity > 0] + position[quantity > 0] <= rules.max_stock[quantity > 0] + 1e-4).all()
    packed = rules.order_multiple > 0
    assert (np.abs(quantity[packed] / rules.order_multiple[packed] % 1) < 1e-9).all()
    assert (quantity[(raw == 0) & (position >= rules.min_stock)] == 0).all()


def test_the_constraints_are_the_same_on_torch_tensors() -> None:
    rng = np.random.default_rng(5)
    columns = {name: rng.integers(0, 9, 50) * 1.0 for name in ("min_order_qty", "order_multiple", "min_stock")}
    columns |= {name: rng.integers(5, 30, 50) * 1.0 for name in ("max_order_qty", "max_stock")}
    raw, position = rng.integers(0, 30, 50) * 1.0, rng.integers(0, 20, 50) * 1.0
    here = constrain(raw, position, OrderRules(**columns))
    tensors = {name: torch.from_numpy(column) for name, column in columns.items()}
    there = constrain(torch.from_numpy(raw), torch.from_numpy(position), OrderRules(**tensors))
    for one, other in zip(here, there, strict=True):
        np.testing.assert_array_equal(one, other.numpy())


def test_a_discrete_dataset_orders_whole_units_where_no_pack_is_given() -> None:
    items = {"order_multiple": [0.0, 6.0], "max_order_qty": [np.nan, 8.0]}
    discrete = rules_of(make_panel(np.ones((2, 3)), quantity="discrete", items=items))
    np.testing.assert_array_equal(discrete.order_multiple, [1, 6])
    np.testing.assert_array_equal(discrete.max_order_qty, [np.inf, 8])
    made = constrain(np.array([2.2, 2.2]), np.zeros(2), discrete)
    np.testing.assert_array_equal(made.order_quantity, [3, 6])
    continuous = rules_of(make_panel(np.ones((2, 3)), items=items))
    np.testing.assert_array_equal(continuous.order_multiple, [0, 6])


def test_order_up_to_orders_what_is_missing_and_fixed_orders_the_target() -> None:
    target, position = np.array([5.0, 5.0]), np.array([3.0, 9.0])
    np.testing.assert_array_equal(raw_order_quantity(target, position, ORDER_UP_TO), [2, 0])
    np.testing.assert_array_equal(raw_order_quantity(target, position, FIXED), [5, 5])


def test_an_unknown_mode_or_rounding_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="ordering_mode must be one of order_up_to, fixed, got 'weekly'"):
        raw_order_quantity(np.ones(1), np.ones(1), "weekly")
    with pytest.raises(ValueError, match="rounding must be one of up, nearest, down, got 'bankers'"):
        make_rules(1, rounding="bankers")


def test_the_grid_of_days_is_quarters_up_to_two_weeks_and_days_up_to_ninety() -> None:
    grid = inventory_days_grid()
    assert grid[0] == 0
    assert grid[-1] == 90
    assert len(grid) == 57 + 76
    steps = np.diff(grid)
    np.testing.assert_array_equal(steps[:56], 0.25)
    np.testing.assert_array_equal(steps[56:], 1.0)
