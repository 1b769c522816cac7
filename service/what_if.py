"""What stock would do under a recommendation, day by day, by the simulator's own step.

Pure arithmetic: it knows neither the store nor the policy. Demand is whatever the caller expects, usually the median
of the forecast, so the result is an expectation and not a promise.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import NamedTuple

import numpy as np

from simulator.panel import F64
from simulator.step import State, advance, place_order


class Projection(NamedTuple):
    """One series over the T periods after as_of; every field is (T,) units."""

    received: F64  # at the period's start
    lost_sales: F64  # demand that finds no stock
    on_hand: F64  # at the period's end


def arrivals(open_orders: Sequence[tuple[date, float]], as_of: date, period_days: int, periods: int) -> F64:
    """(T,) units on order by the period after `as_of` in which they arrive.

    An order whose date has passed is expected in the first period; what arrives after the last one is left out.
    """
    pipeline = np.zeros(periods)
    for day, quantity in open_orders:
        slot = max((day - as_of).days // period_days - 1, 0)
        if slot < periods:
            pipeline[slot] += quantity
    return pipeline


def project(on_hand: float, pipeline: F64, order_quantity: float, lead_periods: int, demand: F64) -> Projection:
    """Stock at each period's end when one order is placed now and none after it.

    Args:
        on_hand: units at the end of as_of.
        pipeline: (T,) units that arrive at the start of each of the next periods.
        order_quantity: units ordered at the end of as_of.
        lead_periods: the order arrives at the start of this period after as_of; at least 1.
        demand: (T,) units expected in each period.
    """
    length = max(len(demand), lead_periods)
    ahead = np.zeros((1, length))
    ahead[0, : len(pipeline)] = pipeline
    state = State(np.array([on_hand]), ahead)
    state = place_order(state, np.array([order_quantity]), np.array([lead_periods]))
    record = Projection(*(np.zeros(len(demand)) for _ in Projection._fields))
    for t, wanted in enumerate(demand):
        state, outcome = advance(state, np.array([wanted]))
        for field in Projection._fields:
            getattr(record, field)[t] = getattr(outcome, field)[0]
    return record
