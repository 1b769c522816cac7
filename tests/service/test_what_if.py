"""The projection is the simulator's own clock, one order and the forecast as demand."""

from __future__ import annotations

from datetime import date

import numpy as np

from service.what_if import arrivals, project


def test_stock_falls_by_demand_and_rises_by_what_arrives() -> None:
    pipeline = np.array([0.0, 4, 0, 0])
    found = project(10, pipeline, 20, lead_periods=3, demand=np.array([6.0, 6, 6, 6]))
    assert found.on_hand.tolist() == [4, 2, 16, 10]
    assert found.received.tolist() == [0, 4, 20, 0]
    assert found.lost_sales.tolist() == [0, 0, 0, 0]


def test_demand_without_stock_is_lost_and_not_owed() -> None:
    found = project(5, np.zeros(3), 8, lead_periods=3, demand=np.array([4.0, 4, 4]))
    assert found.on_hand.tolist() == [1, 0, 4]
    assert found.lost_sales.tolist() == [0, 3, 0]


def test_an_order_that_arrives_after_the_last_day_changes_nothing_before() -> None:
    demand = np.array([2.0, 2])
    ordered = project(9, np.zeros(2), 50, lead_periods=5, demand=demand)
    assert ordered.on_hand.tolist() == project(9, np.zeros(2), 0, 5, demand).on_hand.tolist() == [7, 5]


def test_open_orders_arrive_on_their_date_and_late_ones_first() -> None:
    as_of = date(2019, 4, 30)
    orders = [(date(2019, 5, 1), 1.0), (date(2019, 5, 3), 2.0), (date(2019, 4, 20), 4.0), (date(2019, 5, 9), 8.0)]
    assert arrivals(orders, as_of, 1, 4).tolist() == [5, 0, 2, 0]
    weekly = [(date(2019, 5, 7), 1.0), (date(2019, 5, 14), 2.0)]
    assert arrivals(weekly, as_of, 7, 3).tolist() == [1, 2, 0]
