"""A policy over a panel's demand: the loop around `step`.

A policy is a function of the period and the state that answers with a target stock; whatever else it needs it has
computed beforehand from what `observation.visible` shows. Demand is handed to the loop, never to the policy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from simulator.ordering import ORDER_UP_TO, OrderRules, constrain, raw_order_quantity
from simulator.panel import F64, I64, Bools, Panel
from simulator.schedule import review_schedule
from simulator.step import State, advance, perishing, place_order

Policy = Callable[[int, State], F64]  # (period of the replay, state at its end) -> (N,) target stock in units


class World(NamedTuple):
    """What the replay needs besides a policy."""

    demand: F64  # (N, T) units wanted
    review_due: Bools  # (N, T) whether an order may be placed at the period's end
    lead_time: I64  # (N,) periods, or (N, T) of the order placed at each period's end; orders may cross
    rules: OrderRules
    initial: State
    shelf_life: I64 | None = None  # (N,) periods, 0 where stock keeps; None where all of it does
    daily_rate: F64 | None = None  # (N, T) units a day, which the rule on shelf life caps orders by

    def take(self, rows: Any) -> World:
        """The world of some series only."""
        initial = State(self.initial.on_hand[rows], self.initial.pipeline[rows])
        return World(
            self.demand[rows], self.review_due[rows], self.lead_time[rows], self.rules.take(rows), initial,
            None if self.shelf_life is None else self.shelf_life[rows],
            None if self.daily_rate is None else self.daily_rate[rows],
        )  # fmt: skip

    @property
    def pipeline_length(self) -> int:
        """Periods ahead in which an order, old or new, may arrive."""
        return max(int(self.lead_time.max(initial=1)), int(self.initial.pipeline.shape[1]))


class Trajectory(NamedTuple):
    """What happened; all (N, T) units."""

    on_hand: F64  # at each period's end, after sales and waste
    sales: F64
    lost_sales: F64
    received: F64
    order_quantity: F64
    wasted: F64  # perished


def rollout(world: World, policy: Policy, ordering_mode: str = ORDER_UP_TO) -> Trajectory:
    """Replay the demand under the policy, one `step` at a time; the reference for the compiled `sweep.replay`.

    Args:
        world: demand, calendar, lead times, rules and opening stock.
        policy: called once at the end of every period in which any series is due.
        ordering_mode: `order_up_to` or `fixed`.
    """
    shape = world.demand.shape
    record = Trajectory(*(np.zeros(shape) for _ in Trajectory._fields))
    missing = world.pipeline_length - world.initial.pipeline.shape[1]
    state = world.initial._replace(pipeline=np.pad(world.initial.pipeline, ((0, 0), (0, missing))))
    if world.shelf_life is not None:
        state = perishing(state, world.shelf_life)
    lead_time = np.broadcast_to(as_columns(world.lead_time), shape)
    for t in range(shape[1]):
        state, outcome = advance(state, world.demand[:, t], world.shelf_life)
        record.on_hand[:, t], record.sales[:, t] = outcome.on_hand, outcome.sales
        record.lost_sales[:, t], record.received[:, t] = outcome.lost_sales, outcome.received
        record.wasted[:, t] = outcome.wasted
        if world.review_due[:, t].any():
            position = state.inventory_position
            raw = raw_order_quantity(policy(t, state), position, ordering_mode)
            rate = None if world.daily_rate is None else world.daily_rate[:, t]
            order = constrain(raw, position, world.rules, rate).order_quantity
            order = np.where(world.review_due[:, t], order, 0.0)
            state = place_order(state, order, lead_time[:, t])
            record.order_quantity[:, t] = order
    return record


def as_columns(numbers: Any) -> Any:
    """(N, 1) of one number for each series, (N, T) as it is."""
    return numbers[:, None] if numbers.ndim == 1 else numbers


def follow(targets: F64) -> Policy:
    """The policy whose target stocks (N, T) were computed beforehand."""
    return lambda t, _state: targets[:, t]


def opening_stock(panel: Panel, start: int) -> F64:
    """(N,) units: mean sales over the last 28 days with `in_stock` > 0.5, times (lead + review); nothing on order."""
    span = 28 // panel.period_days
    sold = panel.units_sold[:, max(start - span, 0) : start]
    usable = np.isfinite(sold) & (panel.in_stock[:, max(start - span, 0) : start] > 0.5)
    mean = np.where(usable, sold, 0.0).sum(axis=1) / np.maximum(usable.sum(axis=1), 1)
    stock = mean * (panel.lead_periods + panel.review_periods)
    return np.asarray(np.ceil(stock - 1e-6) if panel.discrete else stock, dtype=np.float64)


def replay_world(
    panel: Panel, periods: range, rules: OrderRules, initial: F64 | None = None, *, daily_rate: F64 | None = None
) -> World:
    """The world of `units_sold` replayed as demand over `periods`; unknown sales count as no demand.

    Args:
        panel: the dataset; its calendars say when orders are placed and arrive.
        periods: the window.
        rules: order constraints.
        initial: (N,) units on hand at the start; the protocol's opening stock where None.
        daily_rate: (N, T) units a day, for the rule on shelf life.
    """
    on_hand = opening_stock(panel, periods.start) if initial is None else initial
    schedule = review_schedule(panel, periods)
    life = panel.shelf_life_periods
    return World(
        demand=np.nan_to_num(panel.units_sold[:, periods.start : periods.stop]).astype(np.float64),
        review_due=schedule.due,
        lead_time=schedule.lead_time,
        rules=rules,
        initial=State(on_hand, np.zeros((panel.series_count, int(schedule.lead_time.max(initial=1))))),
        shelf_life=life if (life > 0).any() else None,
        daily_rate=daily_rate,
    )
