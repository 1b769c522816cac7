"""Families of bounds: their sums by hand, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from solver.calibration import turnover_days
from solver.candidates import CandidateTables
from solver.constraints import (
    Family,
    category_in_stock_rate,
    category_turnover,
    category_turnover_floor,
    check_families,
    location_capacity,
    lost_sales_bound,
    purchase_budget,
)
from solver.solution import LabelInfeasible, excess, holds, require_reachable, solution_of, usage_of
from tests.tables import random_tables

BY_HAND = CandidateTables(
    days=np.array([1.0, 2.0]),
    stock_value=np.array([[10.0, 30.0], [20.0, 60.0], [5.0, 15.0]]),
    loss_value=np.array([[8.0, 0.0], [6.0, 2.0], [4.0, 0.0]]),
    stock_units=np.array([[4.0, 12.0], [2.0, 6.0], [4.0, 12.0]]),
    stockout_periods=np.array([[2.0, 0.0], [1.0, 1.0], [4.0, 0.0]]),
    total_cost=np.zeros((3, 2)),
    demand_units=np.array([8.0, 4.0, 8.0]),
    sale_value=np.array([16.0, 12.0, 8.0]),
    periods=4,
)
FEW, MANY = np.array([0, 0, 0]), np.array([1, 1, 1])
PLACE = np.array(["a", "b", "a"], dtype=object)


def test_lost_sales_are_bounded_by_the_share_of_sales_that_may_be_lost() -> None:
    family = lost_sales_bound(BY_HAND, 0.75)
    assert family.bounds.tolist() == [9.0]
    assert usage_of(family, FEW).tolist() == [18.0]
    assert usage_of(family, MANY).tolist() == [2.0]
    assert family.label(0) == "lost_sales[all]"


def test_a_location_holds_its_mean_stock_in_units_or_volume() -> None:
    units = location_capacity(BY_HAND, PLACE, {"b": 1.0, "a": 3.0})
    assert units.row_names == ("b", "a")
    assert usage_of(units, FEW).tolist() == [0.5, 2.0]
    assert usage_of(units, MANY).tolist() == [1.5, 6.0]
    volume = location_capacity(BY_HAND, PLACE, {"a": 3.0}, unit_volume=np.array([2.0, 9.0, 0.5]))
    assert usage_of(volume, MANY).tolist() == [7.5]
    assert not holds([volume], MANY)
    assert holds([volume], FEW)


def test_a_purchase_budget_counts_what_is_sold_and_what_is_built_up_at_cost() -> None:
    family = purchase_budget(
        BY_HAND, 40.0, unit_cost=np.array([1.0, 2.0, 3.0]), opening_units=np.array([1.0, 0.0, 0.0])
    )
    # sold: 8 less half, 4 less half, 8 less half; mean stock: 1, 0.5, 1
    assert usage_of(family, FEW)[0] == pytest.approx(1 * (4 + 1 - 1) + 2 * (2 + 0.5) + 3 * (4 + 1))
    assert family.bounds.tolist() == [40.0]


def test_an_in_stock_rate_is_a_share_of_series_and_periods() -> None:
    family = category_in_stock_rate(BY_HAND, PLACE, {"a": 0.9, "b": 0.5})
    np.testing.assert_allclose(family.bounds, [0.1, 0.5])
    np.testing.assert_allclose(usage_of(family, FEW), [6 / 8, 1 / 4])
    with pytest.raises(ValueError, match=r"in_stock_rate of 'a' must lie between 0 and 1, got 1\.5"):
        category_in_stock_rate(BY_HAND, PLACE, {"a": 1.5})


def test_a_categorys_turnover_is_that_of_its_labels() -> None:
    most = category_turnover(BY_HAND, np.array(["x"] * 3, dtype=object), {"x": 2.0}, 7)
    label = solution_of(BY_HAND, [], 0.0, MANY, 0.0)
    assert usage_of(most, MANY)[0] == pytest.approx(turnover_days(BY_HAND, label, 7))
    least = category_turnover_floor(BY_HAND, PLACE, {"a": 1.0}, 7)
    assert usage_of(least, FEW)[0] == pytest.approx(-8 * 7 / 16)
    assert holds([least], FEW)
    assert not holds([category_turnover_floor(BY_HAND, PLACE, {"a": 4.0}, 7)], FEW)


def test_a_series_without_a_row_counts_nowhere() -> None:
    family = location_capacity(BY_HAND, PLACE, {"b": 1.0})
    assert family.rows.tolist() == [-1, 0, -1]
    assert usage_of(family, MANY).tolist() == [1.5]


def test_a_bound_for_a_place_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="location_capacity: no series belongs to 'c'"):
        location_capacity(BY_HAND, PLACE, {"a": 1.0, "c": 1.0})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"coefficients": np.zeros((3, 3))}, r"own: coefficients have shape \(3, 3\), tables \(3, 2\)"),
        ({"row_names": ("a", "a")}, "own: 2 bounds need as many different row names"),
        ({"rows": np.array([0, 1, 2])}, "own: rows must lie between -1 and 1"),
        ({"bounds": np.array([1.0, np.nan])}, "own: coefficients and bounds must be finite"),
        ({"name": "lost_sales"}, "two families have the same name"),
    ],
)
def test_a_family_that_does_not_fit_is_refused(change: dict[str, object], message: str) -> None:
    good = Family("own", np.zeros((3, 2)), np.array([0, 1, -1]), np.array([1.0, 2.0]), ("a", "b"))
    lost = lost_sales_bound(BY_HAND, 0.0)
    check_families((3, 2), [lost, good])
    with pytest.raises(ValueError, match=message):
        check_families((3, 2), [lost, good._replace(**change)])


def test_a_row_that_cannot_hold_even_alone_is_named_with_what_is_missing() -> None:
    family = location_capacity(BY_HAND, PLACE, {"b": 1.0, "a": 1.25})
    with pytest.raises(
        LabelInfeasible, match=r"^location_capacity\[a\]: needs at least 2, the bound is 1.25 \(0.75 short\)$"
    ):
        require_reachable([lost_sales_bound(BY_HAND, 0.0), family])
    least = category_turnover_floor(BY_HAND, PLACE, {"a": 3.0}, 1)
    expected = r"^category_turnover_floor\[a\]: at most 1.5 can be reached, the bound is 3 \(1.5 short\)$"
    with pytest.raises(LabelInfeasible, match=expected):
        require_reachable([least])


def test_rounding_breaks_no_bound_and_nothing_else_is_forgiven() -> None:
    tables = random_tables(np.random.default_rng(0), 50, 4)
    family = lost_sales_bound(tables, 0.3)
    amounts = np.full(50, float(family.bounds[0]) / 50)
    assert not excess(family, amounts * (1 + 1e-12)).any()
    assert excess(family, amounts * (1 + 1e-8))[0] > 0
