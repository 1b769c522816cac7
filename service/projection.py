"""Stock after as_of, period by period, and what an order placed then would cost, by the simulator's own step.

Pure arithmetic on one series: it knows neither the store nor the policy. Demand is whatever the caller expects, along one
path or many, so results are expectations and not promises. One order is placed now and none after it: later orders arrive
when the periods that this one is responsible for are over.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import NamedTuple

import numpy as np

from simulator.metrics import LEAST_LOST
from simulator.ordering import OrderRules, constrain, raw_order_quantity
from simulator.panel import F64, I64
from simulator.step import Outcome, State, advance, perishing
from simulator.stock import arrival_slots


class Supply(NamedTuple):
    """What one series has, and when an order placed now would come."""

    on_hand: float  # units at the end of as_of
    arriving: F64  # (T,) units that come in at the start of each of the next periods, besides the order
    lead_periods: int  # the order arrives at the start of this period after as_of; at least 1
    shelf_life: int = 0  # periods in which a received unit can be sold; 0 where it keeps


class Projection(NamedTuple):
    """The T periods after as_of; every field is (S, T) units along S paths, or (T,) along one."""

    received: F64  # at the period's start
    lost_sales: F64  # demand that finds no stock
    on_hand: F64  # at the period's end


class UnitCosts(NamedTuple):
    """What a unit costs, in currency."""

    holding: float  # left at a period's end
    lost: float  # of demand that finds no stock
    wasted: float  # perished


class Curve(NamedTuple):
    """What each of V orders is expected to cost over the periods that it is responsible for; all (V,)."""

    holding_cost: F64  # currency
    stockout_cost: F64
    waste_cost: F64
    lost_sales: F64  # units
    stockout_probability: F64  # that some demand is lost in these periods

    @property
    def total_cost(self) -> F64:
        """(V,) currency."""
        return self.holding_cost + self.stockout_cost + self.waste_cost


def arrivals(open_orders: Sequence[tuple[date, float]], as_of: date, period_days: int, periods: int) -> F64:
    """(T,) units on order by the period after `as_of` in which they can be sold.

    An order whose date has passed is expected in the first period; what arrives after the last one is left out.
    """
    days = np.array([(day - as_of).days for day, _ in open_orders], dtype=np.int64)
    units = np.array([quantity for _, quantity in open_orders], dtype=np.float64)
    slots = arrival_slots(days, period_days)
    return np.asarray(np.bincount(slots[slots < periods], units[slots < periods], periods), dtype=np.float64)


def orders(
    days: F64, daily_rate: float, inventory_position: float, rules: OrderRules, ordering_mode: str
) -> F64:  # fmt: skip
    """(V,) units to order for each number of days, after the item's rules.

    Args:
        days: (V,) inventory days.
        daily_rate: units a day.
        inventory_position: units on hand and on order.
        rules: those of this one series.
        ordering_mode: `order_up_to` or `fixed`.
    """
    position, rate = np.full(len(days), inventory_position), np.full(len(days), daily_rate)
    raw = raw_order_quantity(days * rate, position, ordering_mode)
    quantities: F64 = constrain(raw, position, rules.take(np.zeros(len(days), dtype=np.int64)), rate).order_quantity
    return quantities


def project(supply: Supply, order_quantity: float, demand: F64) -> Projection:
    """Stock at each period's end when one order is placed now.

    Args:
        supply: what is there and what comes.
        order_quantity: units ordered at the end of as_of.
        demand: (S, T) units in each period, along S paths.
    """
    record = Projection(*(np.zeros(demand.shape) for _ in Projection._fields))
    state, life = _opening(supply, demand)
    for t, arriving in enumerate(supply.arriving):
        own = order_quantity if t == supply.lead_periods - 1 else 0.0
        state, outcome = _period(state, np.full(len(demand), arriving + own), demand[:, t], life)
        for field in Projection._fields:
            getattr(record, field)[:, t] = getattr(outcome, field)
    return record


def price(supply: Supply, order_quantity: F64, demand: F64, costs: UnitCosts) -> Curve:
    """What each of some orders would cost from its arrival to the last period, on average over the paths.

    All of them meet the same paths, so that they differ by what they order and not by chance. Up to the arrival they share
    one stock; from there on every order has its own, and orders of equal size are replayed once.

    Args:
        supply: what is there and what comes; its last period is the last one that the order is responsible for.
        order_quantity: (V,) units ordered at the end of as_of.
        demand: (S, T) units in each period, along S paths.
        costs: of a unit.
    """
    different, back = np.unique(order_quantity, return_inverse=True)
    first, count = supply.lead_periods - 1, len(different)
    state, life = _opening(supply, demand)
    for t in range(first):
        state, _ = _period(state, np.full(len(demand), supply.arriving[t]), demand[:, t], life)
    state = State(*(None if x is None else np.concatenate([x] * count) for x in state))
    life = np.tile(life, count)
    held, lost, wasted = totals = np.zeros((3, len(life)))
    for t in range(first, len(supply.arriving)):
        own = np.repeat(different, len(demand)) if t == first else 0.0
        state, outcome = _period(
            state, own + np.full(len(life), supply.arriving[t]), np.tile(demand[:, t], count), life
        )
        held += outcome.on_hand
        lost += outcome.lost_sales
        wasted += outcome.wasted
    stock, missed, thrown = totals.reshape(3, count, len(demand)).mean(axis=2)
    short = (lost > LEAST_LOST).reshape(count, len(demand)).mean(axis=1)
    found = Curve(stock * costs.holding, missed * costs.lost, thrown * costs.wasted, missed, short)
    return Curve(*(column[back] for column in found))


def _opening(supply: Supply, demand: F64) -> tuple[State, I64]:
    """The state of S paths at the end of as_of, and the shelf life (S,) that its steps take."""
    paths, periods = demand.shape
    perishes = 0 < supply.shelf_life <= periods + 1  # later than that, nothing does while we look
    life = np.full(paths, supply.shelf_life if perishes else 0, dtype=np.int64)
    state = State(np.full(paths, float(supply.on_hand)), np.zeros((paths, 1)))
    return perishing(state, life) if perishes else state, life


def _period(state: State, arriving: F64, demand: F64, shelf_life: I64) -> tuple[State, Outcome]:
    """One step. Its arrivals are known beforehand, and they are all that it takes from a pipeline."""
    return advance(state._replace(pipeline=arriving[:, None]), demand, shelf_life)
