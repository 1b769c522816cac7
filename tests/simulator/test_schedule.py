"""Order days, receipts and how long an order has to last."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.panel import Panel
from simulator.schedule import lead_and_review, review_schedule
from tests.panels import make_panel, random_panel

SEEDS = st.integers(0, 2**32 - 1)
MONDAY = date(2024, 1, 1)


def one(periods: int = 40, *, order_open: Any = None, delivery_open: Any = None, **items: Any) -> Panel:
    """One series from a Monday on; closed days are given by their number."""

    def share(closed: Any) -> Any:
        if closed is None:
            return None
        flags = np.ones((1, periods), dtype=np.float32)
        flags[0, closed] = 0
        return flags

    return make_panel(
        np.ones((1, periods)), start=MONDAY, items={"lead_time_days": 2, "review_period_days": 1, **items},
        order_open=share(order_open), delivery_open=share(delivery_open),
    )  # fmt: skip


def order_days(panel: Panel, count: int = 21) -> list[int]:
    return np.flatnonzero(review_schedule(panel, range(count)).due[0]).tolist()


def test_without_calendars_the_review_period_alone_decides() -> None:
    panel = one(review_period_days=3, review_offset_days=1, lead_time_days=4)
    found = review_schedule(panel, range(8))
    assert np.flatnonzero(found.due[0]).tolist() == [1, 4, 7]
    assert (found.lead_time == 4).all()
    assert (found.protection == 6).all()


def test_orders_are_placed_only_on_their_weekdays_and_last_until_the_next_one_arrives() -> None:
    panel = one(order_weekdays="14")  # Monday and Thursday
    found = review_schedule(panel, range(8))
    assert order_days(panel, 12) == [0, 3, 7, 10]
    assert found.lead_time[0, [0, 3, 7]].tolist() == [2, 2, 2]
    assert found.protection[0, [0, 3, 7]].tolist() == [3 + 2 - 1, 4 + 2 - 1, 3 + 2 - 1]


def test_a_review_on_a_day_without_orders_moves_to_the_next_one_with() -> None:
    panel = one(order_weekdays="5", review_period_days=10)  # reviews on days 0, 10, 20; Fridays are 4, 11, 18, 25
    assert order_days(panel, 30) == [4, 11, 25]


def test_a_closed_day_moves_an_order_and_a_receipt() -> None:
    panel = one(review_period_days=7, order_open=[7, 8], delivery_open=[2, 3])
    found = review_schedule(panel, range(15))
    assert order_days(panel, 15) == [0, 9, 14]
    assert found.lead_time[0, 0] == 4  # days 2 and 3 receive nothing
    assert found.protection[0, 0] == 9 + 2 - 1
    assert found.lead_time[0, 9] == 2


def test_goods_come_on_delivery_days() -> None:
    panel = one(order_weekdays="1", delivery_weekdays="35", lead_time_days=1)  # ordered Monday, Wednesday or Friday
    found = review_schedule(panel, range(7))
    assert found.lead_time[0, 0] == 2
    assert found.protection[0, 0] == 8


def test_of_orders_that_would_come_together_only_the_last_is_placed() -> None:
    panel = one(delivery_weekdays="5", lead_time_days=1)  # ordered daily, received on Fridays: Thursday will do
    found = review_schedule(panel, range(14))
    assert np.flatnonzero(found.due[0]).tolist() == [3, 10]
    assert found.protection[0, 3] == 7


def test_a_cut_off_moves_the_decision_before_the_order_day() -> None:
    panel = one(order_weekdays="4", order_cutoff_days=2)  # for Thursday one decides on Tuesday
    found = review_schedule(panel, range(14))
    assert np.flatnonzero(found.due[0]).tolist() == [1, 8]
    assert found.lead_time[0, 1] == 2 + 2
    assert found.protection[0, 1] == 7 + 4 - 1


def test_nothing_is_ordered_after_the_last_order_date() -> None:
    panel = one(review_period_days=2, orderable_until="2024-01-05")
    assert order_days(panel) == [0, 2, 4]


def test_an_order_placed_where_none_is_due_follows_the_same_calendars() -> None:
    panel = one(order_weekdays="1", delivery_weekdays="1")
    lead, review = lead_and_review(panel, np.array([0]), np.array([2]))  # decided on a Wednesday: ordered on Monday
    assert (lead[0], review[0]) == (14 - 2, 7)


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.integers(1, 60))
def test_dropping_the_oldest_history_moves_no_order_day(seed: int, dropped: int) -> None:
    rng = np.random.default_rng(seed)
    panel = calendar_panel(rng)
    later = replace(
        panel, start=panel.date_of(dropped), order_open=panel.order_open[:, dropped:],  # type: ignore[index]
        delivery_open=panel.delivery_open[:, dropped:],  # type: ignore[index]
        **{name: getattr(panel, name)[:, dropped:] for name in
           ("units_sold", "in_stock", "price", "promotion", "open", "holiday", "school_holiday")},
    )  # fmt: skip
    # An order day whose review fell on closed days that are now forgotten may move; none later.
    whole, cut = review_schedule(panel, range(dropped + 10, 120)), review_schedule(later, range(10, 120 - dropped))
    for one_way, other in zip(whole, cut, strict=True):
        np.testing.assert_array_equal(one_way, other)


def calendar_panel(rng: np.random.Generator, **items: Any) -> Panel:
    """Series with any mix of order days, delivery days, cut-offs, last dates and closed days."""
    count, periods = 6, 120
    days = ["", "1", "135", "24", "1234567", "67"]
    panel = random_panel(
        rng, count, periods,
        items={
            "order_weekdays": rng.permutation(days), "delivery_weekdays": rng.permutation(days),
            "order_cutoff_days": rng.choice([np.nan, 0, 1, 3], count),
            "orderable_until": rng.choice(["", "", "2024-03-20"], count), **items,
        },
    )  # fmt: skip
    closed = (rng.random((2, count, periods)) > 0.08).astype(np.float32)
    return replace(panel, order_open=closed[0], delivery_open=closed[1])


@settings(max_examples=30, deadline=None)
@given(SEEDS)
def test_the_whole_schedule_equals_a_walk_through_the_days(seed: int) -> None:
    """Against a plain loop that keeps a pending review and looks for the next day with orders or receipts."""
    panel = calendar_panel(np.random.default_rng(seed))
    window = range(30, 70)
    found = review_schedule(panel, window)
    items = panel.items
    for n in range(panel.series_count):

        def free(day: int, weekdays: str, share: Any, n: int = n) -> bool:
            known = share[n, day] if 0 <= day < panel.period_count else 1
            return known != 0 and (not weekdays or str((panel.start.weekday() + day) % 7 + 1) in weekdays)

        orders = [free(d, items.order_weekdays[n], panel.order_open) for d in range(-90, 300)]
        receipts = [free(d, items.delivery_weekdays[n], panel.delivery_open) for d in range(-90, 300)]
        origin = (panel.start - panel.review_origin).days - items.review_offset_days[n]
        pending, decided = False, []
        for d in range(-90, 300):
            pending |= (origin + d) % items.review_period_days[n] == 0
            if pending and orders[d + 90]:
                decided.append(d)
                pending = False
        lead = int(items.lead_time_days[n])

        def receipt(order: int, lead: int = lead, receipts: list[bool] = receipts) -> int:
            return next(d for d in range(order + lead, 300) if receipts[d + 90])

        until = items.orderable_until[n]
        settled = [d for d in decided if d < 200 and (not until or panel.date_of(d).isoformat() <= until)]
        later = [receipt(d) for d in settled[1:]] + [1000]
        decided = [d for d, after in zip(settled, later, strict=True) if after > receipt(d)]
        cutoff = int(np.nan_to_num(items.order_cutoff_days[n]))
        for k, t in enumerate(window):
            d = t + cutoff
            assert found.due[n, k] == (d in decided)
            if d in decided:
                another = d + int(items.review_period_days[n])  # where this is the last one ever
                ever = next(x for x in range(another, 300) if orders[x + 90])
                after = next((x for x in decided if x > d), ever)
                assert found.lead_time[n, k] == receipt(d) - t
                assert found.protection[n, k] == max(receipt(after), receipt(receipt(d) + 1 - lead)) - t - 1
            assert found.protection[n, k] >= found.lead_time[n, k]  # an order always has a period of its own


def test_one_series_alone_has_the_schedule_it_has_among_others() -> None:
    panel = calendar_panel(np.random.default_rng(5))
    rows, periods = np.array([4, 0, 4]), np.array([33, 40, 61])
    lead, review = lead_and_review(panel, rows, periods)
    for k, (n, t) in enumerate(zip(rows, periods, strict=True)):
        found = review_schedule(panel.take(np.array([n])), range(t, t + 1))
        assert (lead[k], lead[k] + review[k] - 1) == (found.lead_time[0, 0], found.protection[0, 0])


@pytest.mark.parametrize("periods", [range(-5, 3), range(100, 140)])
def test_a_window_may_reach_beyond_the_recorded_days(periods: range) -> None:
    panel = calendar_panel(np.random.default_rng(1))
    assert review_schedule(panel, periods).due.shape == (6, len(periods))
