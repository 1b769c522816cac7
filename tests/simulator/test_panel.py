"""Axes, dates and the review calendar."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.panel import Panel
from simulator.schedule import review_schedule
from tests.panels import make_panel, random_panel


def without_oldest(panel: Panel, periods: int) -> Panel:
    """The same panel, its first periods forgotten."""
    names = ("units_sold", "in_stock", "price", "promotion", "open", "holiday", "school_holiday")
    cut = {name: getattr(panel, name)[:, periods:] for name in names}
    return replace(panel, start=panel.date_of(periods), **cut)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 60), st.sampled_from([1, 7]), st.integers(0, 2**32 - 1), st.integers(-40, 40))
def test_dropping_the_oldest_history_moves_no_order_day(dropped: int, days: int, seed: int, origin: int) -> None:
    rng = np.random.default_rng(seed)
    start = date(2024, 1, 1)
    panel = make_panel(
        np.ones((5, 70)), period_days=days, start=start, review_origin=start + timedelta(days=origin),
        items={"review_period_days": rng.integers(1, 40, 5), "review_offset_days": rng.integers(0, 40, 5)},
    )  # fmt: skip
    later = without_oldest(panel, dropped)
    np.testing.assert_array_equal(
        review_schedule(later, range(70 - dropped)).due, review_schedule(panel, range(70)).due[:, dropped:]
    )


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 30), st.integers(0, 60), st.sampled_from([1, 7]), st.integers(-40, 40))
def test_reviews_come_exactly_once_in_a_review_period(review: int, offset: int, days: int, origin: int) -> None:
    """Weekly periods round the review period up and take the period that the review's day falls in."""
    start = date(2024, 1, 1)
    panel = make_panel(
        np.ones((1, 80)), period_days=days, start=start, review_origin=start + timedelta(days=origin),
        items={"review_period_days": review, "review_offset_days": offset},
    )  # fmt: skip
    due = np.flatnonzero(review_schedule(panel, range(80)).due[0])
    assert (np.diff(due) == -(-review // days)).all()
    first = (panel.date_of(int(due[0])) - panel.review_origin).days - offset
    assert first % (-(-review // days) * days) < days


def test_the_review_formula_of_the_input_format_holds_to_the_day() -> None:
    panel = make_panel(
        np.ones((1, 30)), review_origin=date(2023, 12, 30), items={"review_period_days": 7, "review_offset_days": 3}
    )
    due = review_schedule(panel, range(30)).due[0]
    for t in range(30):
        assert due[t] == (((panel.date_of(t) - panel.review_origin).days - 3) % 7 == 0)


def test_lead_and_review_times_round_up_to_whole_periods() -> None:
    panel = make_panel(
        np.ones((3, 4)), period_days=7, items={"lead_time_days": [1, 7, 8], "review_period_days": [7, 10, 14]}
    )
    assert panel.lead_periods.tolist() == [1, 1, 2]
    assert panel.review_periods.tolist() == [1, 2, 2]
    assert review_schedule(panel, range(1)).protection[:, 0].tolist() == [1, 2, 3]


def test_dates_and_periods_are_each_others_inverse() -> None:
    panel = make_panel(np.ones((1, 5)), period_days=7)
    for t in range(-2, 8):
        assert panel.period_of(panel.date_of(t)) == t
        assert panel.period_of(panel.date_of(t) + timedelta(days=6)) == t
    assert panel.start_day == (panel.start - date(1970, 1, 1)).days


def test_the_last_recorded_period_is_the_last_with_any_sale_known() -> None:
    assert make_panel([[1, np.nan, np.nan], [1, 2, np.nan]]).last_recorded == 1
    assert make_panel([[np.nan, np.nan]]).last_recorded == -1


def test_taking_rows_keeps_every_column_together() -> None:
    panel = random_panel(np.random.default_rng(0))
    taken = panel.take(np.array([3, 1]))
    assert taken.items.item_id.tolist() == ["i3", "i1"]
    assert taken.names == ["i3@place 1", "i1@place 1"]
    for name in ("units_sold", "in_stock", "price", "promotion", "open", "on_hand", "open_orders"):
        np.testing.assert_array_equal(getattr(taken, name), getattr(panel, name)[[3, 1]])


def test_arrays_of_different_shapes_are_refused_by_name() -> None:
    panel = make_panel(np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"price has shape \(2, 4\), units_sold has \(2, 3\)"):
        replace(panel, price=np.ones((2, 4), dtype=np.float32))
    with pytest.raises(ValueError, match=r"oos_mask has shape \(2, 4\), units_sold has \(2, 3\)"):
        replace(panel, oos_mask=np.zeros((2, 4), dtype=np.int32))
    with pytest.raises(ValueError, match="items has 1 series, units_sold has 2"):
        replace(panel, items=panel.items.take(np.array([0])))
    with pytest.raises(ValueError, match="period_days must be at least 1, got 0"):
        replace(panel, period_days=0)
