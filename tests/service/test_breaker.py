"""A broken feed or a wrong unit trips the breaker and is named; an ordinary night, or a handful of series, does not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.breaker import LEAST_SERIES, Batch, Finding, Limits, examine

MANY = settings(max_examples=60, deadline=None)
SEEDS = st.integers(0, 2**32 - 1)
FAULTS = ("packs for pieces", "no stock", "no history", "no orders")


def night(rng: np.random.Generator, places: int = 4, each: tuple[int, int] = (80, 140)) -> Batch:
    """An ordinary batch: lumpy orders like the last ones, some shelves empty, hardly a history that ends early."""
    sizes = rng.integers(*each, places)
    count = int(sizes.sum())
    usual = rng.gamma(2.0, 20.0, count)
    quantities = [np.round(usual * rng.gamma(4.0, 0.25, count)) * (rng.random(count) < 0.7) for _ in range(2)]
    return Batch(
        location_id=np.repeat(np.array([f"S{n}" for n in range(places)], dtype=object), sizes),
        category=np.array([f"c{n}" for n in rng.integers(0, 3, count)], dtype=object),
        order_quantity=quantities[0],
        unit_cost=np.where(rng.random(count) < 0.1, np.nan, rng.uniform(0.5, 3.0, count)),
        last_quantity=np.where(rng.random(count) < 0.1, np.nan, quantities[1]),
        zero_stock=rng.random(count) < 0.1,
        history_ends_early=rng.random(count) < 0.02,
    )


def spoiled(batch: Batch, rows: Any, fault: str) -> Batch:
    """The batch with a fault in some rows."""
    changed = {
        "packs for pieces": {"order_quantity": np.where(rows, batch.order_quantity * 48 + 200, batch.order_quantity)},
        "no orders": {"order_quantity": np.where(rows, 0.0, batch.order_quantity)},
        "no stock": {"zero_stock": batch.zero_stock | rows},
        "no history": {"history_ends_early": batch.history_ends_early | rows},
    }
    return batch._replace(**changed[fault])


def tripped(found: list[Finding]) -> set[tuple[str, str]]:
    """What is beyond its limit, and where; "" is the whole batch."""
    return {(one.measure, "" if one.whole_batch else one.location_id) for one in found}


@MANY
@given(SEEDS)
def test_an_ordinary_night_passes(seed: int) -> None:
    assert examine(night(np.random.default_rng(seed)), Limits()) == []


@MANY
@given(SEEDS, st.sampled_from(FAULTS))
def test_a_fault_in_one_location_names_it_and_no_other(seed: int, fault: str) -> None:
    rng = np.random.default_rng(seed)
    batch = night(rng)
    guilty = f"S{rng.integers(4)}"
    found = examine(spoiled(batch, batch.location_id == guilty, fault), Limits())
    assert guilty in {one.location_id for one in found if not one.whole_batch}
    assert {one.location_id for one in found} <= {guilty, ""}
    for one in found:
        assert one.location_id in one.sentence
        assert one.value != one.limit


@MANY
@given(SEEDS, st.sampled_from(FAULTS))
def test_a_fault_everywhere_is_found_in_the_whole_batch_and_blamed_on_no_location(seed: int, fault: str) -> None:
    batch = night(np.random.default_rng(seed))
    found = examine(spoiled(batch, np.ones(len(batch.order_quantity), dtype=bool), fault), Limits())
    whole = [one for one in found if one.whole_batch]
    assert len(whole) == 1
    assert (whole[0].location_id, whole[0].category) == ("", "")
    assert "no single location is the cause" in whole[0].sentence
    assert {one.location_id for one in found if not one.whole_batch} == {"S0", "S1", "S2", "S3"}


@MANY
@given(SEEDS, st.sampled_from(["packs for pieces", "no stock"]))
def test_a_fault_in_one_category_names_it(seed: int, fault: str) -> None:
    rng = np.random.default_rng(seed)
    batch = night(rng)._replace(category=np.array(["a", "b"], dtype=object)[rng.integers(0, 2, 0)])
    batch = batch._replace(
        category=np.where(rng.random(len(batch.order_quantity)) < 0.75, "fresh", "dry").astype(object)
    )
    whole = [one for one in examine(spoiled(batch, batch.category == "fresh", fault), Limits()) if one.whole_batch]
    assert [(one.location_id, one.category) for one in whole] == [("", "fresh")]


@MANY
@given(SEEDS, st.integers(1, LEAST_SERIES - 1), st.sampled_from(FAULTS))
def test_a_handful_of_series_raises_no_alarm_without_a_limit_in_money(seed: int, count: int, fault: str) -> None:
    batch = Batch(*(column[:count] for column in night(np.random.default_rng(seed))))
    assert examine(spoiled(batch, np.ones(count, dtype=bool), fault), Limits()) == []


@MANY
@given(SEEDS, st.sampled_from(FAULTS), st.floats(1.0, 1e6))
def test_more_of_what_is_too_much_never_passes_again(seed: int, fault: str, factor: float) -> None:
    """Larger orders keep value and growth tripped, further faults the shares, smaller orders the fall."""
    rng = np.random.default_rng(seed)
    limits = Limits(batch_value=20_000, location_value=6_000)
    batch = night(rng, each=(5, 60))
    some = rng.random(len(batch.order_quantity)) < rng.random()
    before = spoiled(batch, some, fault)
    more = rng.random(len(batch.order_quantity)) < 0.5
    scale = 1 / factor if fault == "no orders" else factor
    after = before._replace(
        order_quantity=np.where(more, before.order_quantity * scale, before.order_quantity),
        zero_stock=before.zero_stock | more, history_ends_early=before.history_ends_early | more,
    )  # fmt: skip
    falling = {"order_fall"} if fault != "no orders" else {"order_value", "order_growth"}
    kept = {one for one in tripped(examine(before, limits)) if one[0] not in falling}
    assert kept <= tripped(examine(after, limits))


def test_one_absurd_order_trips_a_limit_in_money_and_names_its_location() -> None:
    batch = Batch(*(column[:3] for column in night(np.random.default_rng(1), places=3, each=(1, 2))))
    batch = batch._replace(unit_cost=np.array([2.0, np.nan, 4.0]), order_quantity=np.array([5.0, 1e6, 0.0]))
    found = examine(batch, Limits(batch_value=50_000, location_value=40_000), "EUR")
    assert [(one.measure, one.whole_batch, one.location_id) for one in found] == [
        ("order_value", True, "S1"), ("order_value", False, "S1"),
    ]  # fmt: skip
    assert found[0].value == pytest.approx(
        5 * 2 + 1e6 * 3
    )  # an order without a cost counts at the median of the others'
    assert found[1].sentence == "S1: orders of 1 series cost 3,000,000.00 EUR, the limit is 40,000.00 EUR."


def test_orders_without_any_cost_are_compared_in_units() -> None:
    batch = night(np.random.default_rng(2))
    batch = batch._replace(unit_cost=np.full(len(batch.order_quantity), np.nan))
    assert examine(batch, Limits()) == []
    found = examine(spoiled(batch, batch.location_id == "S2", "packs for pieces"), Limits())
    assert ("order_growth", "S2") in tripped(found)


def test_larger_orders_beside_lost_stock_point_to_the_inventory_feed() -> None:
    batch = night(np.random.default_rng(3))
    here = batch.location_id == "S1"
    found = examine(spoiled(spoiled(batch, here, "packs for pieces"), here, "no stock"), Limits())
    mine = {one.measure: one for one in found if not one.whole_batch}
    assert {measure: one.feed for measure, one in mine.items()} == {
        "order_growth": "inventory",
        "zero_stock": "inventory",
    }
    count = int(here.sum())
    assert mine["zero_stock"].sentence == (
        f"S1: {count} of {count} series have no stock on hand, 100%; more than 50% are not normal. "
        "Look at the inventory feed first."
    )
    alone = examine(spoiled(batch, here, "packs for pieces"), Limits())
    assert {one.feed for one in alone} == {""}


def test_a_small_location_is_blamed_through_the_whole_batch() -> None:
    """It has too few series to be judged by itself, but what it orders is most of the money."""
    batch = night(np.random.default_rng(4), places=3)
    few = np.flatnonzero(batch.location_id == "S0")
    batch = Batch(*(np.delete(column, few[3:]) for column in batch))
    orders = np.where(batch.location_id == "S0", 1e5, batch.order_quantity)
    last = np.where(batch.location_id == "S0", 10.0, batch.last_quantity)
    found = examine(batch._replace(order_quantity=orders, last_quantity=last), Limits())
    assert [(one.measure, one.whole_batch, one.location_id) for one in found] == [("order_growth", True, "S0")]
    assert "S0 alone is the cause" in found[0].sentence


@MANY
@given(SEEDS)
def test_a_category_is_to_blame_where_the_others_order_nothing(seed: int) -> None:
    """What float arithmetic leaves of their sums is no growth."""
    rng = np.random.default_rng(seed)
    batch = night(rng)
    fresh = rng.random(len(batch.order_quantity)) < 0.8
    last = np.where(fresh, rng.random(len(fresh)), 0.0)
    batch = batch._replace(
        category=np.where(fresh, "fresh", "dry").astype(object), order_quantity=last * 7.3, last_quantity=last
    )
    whole = [one for one in examine(batch, Limits()) if one.whole_batch]
    assert [(one.measure, one.location_id, one.category) for one in whole] == [("order_growth", "", "fresh")]


def test_more_series_make_the_same_growth_more_certain() -> None:
    """Four times the last orders is chance for fifteen lumpy series, and none for fifteen hundred."""
    for count, expected in ((15, set()), (1500, {("order_growth", ""), ("order_growth", "S")})):
        last = np.tile([30.0, 0.0, 0.0], count // 3)
        flags = np.zeros(count, dtype=bool)
        names = np.full(count, "S", dtype=object)
        batch = Batch(names, names, last * 4, np.ones(count), last, flags, flags)
        assert tripped(examine(batch, Limits())) == expected


def test_one_large_order_is_no_growth_of_its_location() -> None:
    batch = night(np.random.default_rng(9))
    first = np.arange(len(batch.order_quantity)) == int(np.argmax(np.isfinite(batch.last_quantity)))
    place = str(batch.location_id[first][0])
    assert examine(batch._replace(order_quantity=np.where(first, 2e4, batch.order_quantity)), Limits()) == []
    found = examine(batch._replace(order_quantity=np.where(first, 1e6, batch.order_quantity)), Limits())
    assert [(one.measure, one.whole_batch, one.location_id) for one in found] == [("order_growth", True, place)]


def test_series_without_a_last_order_are_not_compared() -> None:
    batch = night(np.random.default_rng(5))
    batch = batch._replace(last_quantity=np.full(len(batch.order_quantity), np.nan))
    assert examine(spoiled(batch, batch.location_id == "S0", "packs for pieces"), Limits()) == []


def test_an_empty_batch_passes() -> None:
    assert examine(Batch(*(column[:0] for column in night(np.random.default_rng(6)))), Limits(batch_value=1)) == []


@pytest.mark.parametrize(
    ("fields", "named"),
    [({"growth": 1.0}, "growth"), ({"fall": float("nan")}, "fall"), ({"zero_stock_share": 1.0}, "zero_stock_share"),
     ({"history_end_share": -0.1}, "history_end_share"), ({"batch_value": 0.0}, "batch_value")],
)  # fmt: skip
def test_limits_that_can_never_be_or_always_are_passed_are_refused(fields: dict[str, float], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        replace(Limits(), **fields)


@pytest.mark.parametrize(
    ("column", "value"),
    [("order_quantity", -1.0), ("order_quantity", np.nan), ("unit_cost", np.inf), ("last_quantity", -3.0)],
)
def test_a_bad_number_is_named_with_its_row(column: str, value: float) -> None:
    batch = night(np.random.default_rng(7))
    numbers = getattr(batch, column).copy()
    numbers[3] = value
    with pytest.raises(ValueError, match=f"{column} .* got {value} in row 3"):
        examine(batch._replace(**{column: numbers}), Limits())


def test_columns_of_different_lengths_are_refused() -> None:
    batch = night(np.random.default_rng(8))
    with pytest.raises(ValueError, match="zero_stock has 2 rows"):
        examine(batch._replace(zero_stock=batch.zero_stock[:2]), Limits())
