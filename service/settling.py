"""What an expert's number earned against the policy's own, by replay of the sales that followed. Arrays in, arrays out.

Two replays begin with the stock and the open orders that the decision saw, and meet the sales that the history shows. In one
the order went up to the target that stood, in the other up to the policy's own, both after the item's rules; from there on
both order up to the policy's own target at every review, so that all that differs is this one order. They end two review
cycles after it arrived: lead time + 2 review periods after the order. What the larger order has left then is worth nothing
more, and costs nothing more. Sales are taken for demand, which they are where nothing ran out; else both replays know too
little of it (`understated`).

It knows neither SQL nor HTTP, and replays with the simulator's own step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from typing import NamedTuple

import numpy as np

from service.series import Series
from simulator.metrics import series_totals, unit_totals
from simulator.ordering import OrderRules, constrain, raw_order_quantity
from simulator.panel import F64, I64, Bools, Panel
from simulator.rollout import Trajectory, World, follow, rollout
from simulator.schedule import review_schedule
from simulator.step import State, place_order

CYCLES = 2  # review periods after the receipt


class Case(NamedTuple):
    """One decision whose order was due."""

    series: Series
    day: date  # the order was placed at its end; first day of a period
    lead: int  # periods until it came, at least 1
    review: int  # periods that it was responsible for, at least 1
    daily_rate: float  # units a day
    target: float  # units that stood
    policy_target: float  # units, of the policy alone
    quantity: float | None = None  # units that were ordered, where no target says how many

    @property
    def periods(self) -> int:
        """How many after the order are replayed."""
        return self.lead + CYCLES * self.review


class Replayed(NamedTuple):
    """What happened in N replays; all (N,)."""

    order_quantity: F64  # units of the order in question
    lost_units: F64
    stock_periods: F64  # unit-periods: stock left at the periods' ends
    wasted_units: F64
    lost_sale_cost: F64  # currency
    holding_cost: F64
    waste_cost: F64

    @property
    def total_cost(self) -> F64:
        """(N,) currency."""
        return self.lost_sale_cost + self.holding_cost + self.waste_cost


class Settled(NamedTuple):
    """N decisions, with the number that stood and with the policy's own."""

    stood: Replayed
    policy: Replayed
    understated: Bools  # (N,) whether demand was more than the sales, or is not known

    @property
    def saved_units(self) -> F64:
        """(N,) units sold more than with the policy's own number."""
        return self.policy.lost_units - self.stood.lost_units

    @property
    def money(self) -> F64:
        """(N,) currency: by how much cheaper it was than the policy's own number."""
        return self.policy.total_cost - self.stood.total_cost


def settle(
    panel: Panel, rows: I64, cases: Sequence[Case], state: State, rules: OrderRules, ordering_mode: str
) -> Settled:
    """Settle N decisions.

    Args:
        panel: their series, with sales up to the last period that is replayed.
        rows: (N,) row of each in the panel.
        cases: the decisions.
        state: (N,) stock and what was on its way when they were made, without their orders.
        rules: their N series' rules of then.
        ordering_mode: of the policy.
    """
    world, counted, understated = _world(panel, rows, cases, state, rules)
    rate = np.array([case.daily_rate for case in cases])
    lead = np.array([case.lead for case in cases])
    own = np.array([case.policy_target for case in cases])
    own_order = _ordered(own, state, rules, ordering_mode, rate)
    order = _ordered(np.array([case.target for case in cases]), state, rules, ordering_mode, rate)
    order = np.array([q if case.quantity is None else case.quantity for q, case in zip(order, cases, strict=True)])
    stood, alone = (_replayed(panel, rows, world, counted, q, lead, own, ordering_mode) for q in (order, own_order))
    return Settled(stood, alone, understated)


def _world(
    panel: Panel, rows: I64, cases: Sequence[Case], state: State, rules: OrderRules
) -> tuple[World, Bools, Bools]:  # fmt: skip
    """What both replays of N decisions meet in their T periods; (N, T) which of these count; (N,) whether the sales in them
    are less than demand."""
    periods = np.array([case.periods for case in cases])
    first = np.array([panel.period_of(case.day) + 1 for case in cases])
    columns = first[:, None] + np.arange(periods.max())  # (N, T) periods of the panel
    counted = np.arange(periods.max()) < periods[:, None]
    known = (columns >= 0) & (columns < panel.period_count)
    at = rows[:, None], np.clip(columns, 0, panel.period_count - 1)
    sold = np.where(known, panel.units_sold[at], np.nan)
    shut = np.nan_to_num(panel.open[at], nan=1.0) == 0
    unclear = (known & (panel.in_stock[at] < 1)) | (np.isnan(sold) & ~shut)
    schedule = review_schedule(panel, range(int(first.min()), int(columns.max()) + 1))
    when = rows[:, None], columns - first.min()
    rate, life = np.array([case.daily_rate for case in cases]), panel.shelf_life_periods[rows]
    world = World(
        demand=np.where(counted, np.nan_to_num(sold), 0.0).astype(np.float64),
        review_due=schedule.due[when],
        lead_time=schedule.lead_time[when],
        rules=rules,
        initial=state,
        shelf_life=life if (life > 0).any() else None,
        daily_rate=np.broadcast_to(rate[:, None], columns.shape),
    )
    return world, counted, (unclear & counted).any(axis=1)


def _ordered(target: F64, state: State, rules: OrderRules, ordering_mode: str, rate: F64) -> F64:
    position = state.inventory_position
    quantity: F64 = constrain(raw_order_quantity(target, position, ordering_mode), position, rules, rate).order_quantity
    return quantity


def _replayed(
    panel: Panel, rows: I64, world: World, counted: Bools, order: F64, lead: I64, later: F64, ordering_mode: str
) -> Replayed:  # fmt: skip
    """One replay with an order (N,) placed before its first period, and orders up to `later` (N,) after it."""
    missing = int(lead.max()) - world.initial.pipeline.shape[1]
    opening = world.initial._replace(pipeline=np.pad(world.initial.pipeline, ((0, 0), (0, max(missing, 0)))))
    world = world._replace(initial=place_order(opening, order, lead), rules=replace(world.rules, orderable=None))
    path = rollout(world, follow(np.broadcast_to(later[:, None], world.demand.shape)), ordering_mode)
    units = unit_totals(Trajectory(*(np.where(counted, column, 0.0) for column in path)))
    costs = series_totals(units, panel.items.take(rows), panel.period_days)
    return Replayed(
        order, units.lost_sales, units.stock, units.wasted, costs.stockout_cost, costs.holding_cost, costs.waste_cost
    )
