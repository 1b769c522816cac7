"""The replay as a DynaPlex model: a trajectory draws one series and lives through its recorded demand.

Imported only where DynaPlex is installed; it compiles these classes, so they keep to the subset of Python it knows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from dynaplex.modelling import (
    Array1D,
    Array2D,
    FifoQueue,
    HorizonType,
    StateCategory,
    TrajectoryContext,
    Validity,
    const_dataclass,
    trajectory_context,
)
from dynaplex.validation import mdp, policy


@dataclass(slots=True)
class Shelf:
    """One series between two events."""

    series: int
    period: int
    on_hand: int
    pipeline: FifoQueue
    category: StateCategory


@trajectory_context
@dataclass
class Counts(TrajectoryContext):
    """What a trajectory reports: its series, unit-periods held, units lost."""

    series: int
    held: int
    lost_sales: int

    def __init__(self, model: RecordedDemand) -> None:
        super().__init__(model)
        self.series = 0
        self.held = 0
        self.lost_sales = 0


@mdp
@const_dataclass(init=False, slots=True)
class RecordedDemand:
    """Lost sales with a lead time, a review every period, demand as recorded."""

    demand: Array2D[np.int64]  # (N, T)
    lead_time: Array1D[np.int64]  # (N,)
    target_stock: Array1D[np.int64]  # (N,)
    series_count: int
    periods: int
    num_actions: int
    horizon_type: HorizonType

    def __init__(self, demand: np.ndarray, lead_time: np.ndarray, target_stock: np.ndarray) -> None:
        self.demand = np.ascontiguousarray(demand, dtype=np.int64)
        self.lead_time = np.ascontiguousarray(lead_time, dtype=np.int64)
        self.target_stock = np.ascontiguousarray(target_stock, dtype=np.int64)
        self.series_count, self.periods = demand.shape
        self.num_actions = int(target_stock.max()) + 1
        self.horizon_type = HorizonType.FINITE

    def make_context(self) -> Counts:
        return Counts(self)

    def get_initial_state(self, context: Counts) -> Shelf:
        series = int(context.rng.random() * self.series_count)
        context.series = series
        lead_time = int(self.lead_time[series])
        pipeline = FifoQueue()
        pipeline.reserve(lead_time)
        pipeline.fill(lead_time)
        on_hand = int(self.target_stock[series])
        return Shelf(series=series, period=0, on_hand=on_hand, pipeline=pipeline, category=StateCategory.AWAIT_EVENT)

    def modify_state_with_event(self, state: Shelf, context: Counts) -> None:
        """Receive, sell, lose, count."""
        state.on_hand += state.pipeline.pop_front()
        wanted = int(self.demand[state.series, state.period])
        if wanted > state.on_hand:
            context.lost_sales += wanted - state.on_hand
            state.on_hand = 0
        else:
            state.on_hand -= wanted
        context.held += state.on_hand
        state.period += 1
        context.time_elapsed += 1
        state.category = StateCategory.AWAIT_ACTION

    def modify_state_with_action(self, state: Shelf, context: Counts, action: int) -> None:
        """Order."""
        state.pipeline.push_back(action)
        if state.period == self.periods:
            state.category = StateCategory.FINAL
        else:
            state.category = StateCategory.AWAIT_EVENT

    def write_action_validity(self, state: Shelf, valid: Validity) -> None:
        for action in range(self.num_actions):
            valid.set(action, True)


@policy
@const_dataclass(slots=True)
class BaseStock:
    """Order what is missing to the series' target."""

    model: RecordedDemand

    def get_action(self, state: Shelf) -> int:
        missing = int(self.model.target_stock[state.series]) - state.on_hand - state.pipeline.sum()
        return max(missing, 0)
