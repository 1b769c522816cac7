"""One period of the clock `arrive-sell-count-order`.

`advance` runs (1) arrivals, (2) demand, lost where unmet, (3) the count of what is left. `place_order` is (4): the
order placed at the end of period t enters the pipeline and arrives at the start of period t + lead_time.

Written once against the Array API standard: NumPy arrays and torch tensors, with gradients, run the same lines.
Nothing here knows policies, calendars or files.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from array_api_compat import array_namespace

Array = Any  # a NumPy array or a torch tensor; the Array API standard has no common static type


class State(NamedTuple):
    """Stock of N series between two periods."""

    on_hand: Array  # (N,) units
    pipeline: Array  # (N, L) units; column j arrives at the start of the (j + 1)-th period from now

    @property
    def on_order(self) -> Array:
        """(N,) units ordered and not yet received."""
        xp = array_namespace(self.on_hand)
        return xp.sum(self.pipeline, axis=1)

    @property
    def inventory_position(self) -> Array:
        """(N,) units on hand and on order."""
        return self.on_hand + self.on_order


class Outcome(NamedTuple):
    """What one period did; every field is (N,) units."""

    received: Array
    sales: Array
    lost_sales: Array
    on_hand: Array  # left at the period's end, the quantity that holding cost is counted on


def advance(state: State, demand: Array) -> tuple[State, Outcome]:
    """Receive what is due, sell, lose the rest, count.

    Args:
        state: stock at the end of the period before.
        demand: (N,) units wanted in this period, >= 0.

    Returns:
        The state before ordering, and the period's outcome. Stock is conserved:
        on_hand before + received = sales + on_hand after, and demand = sales + lost_sales.
    """
    xp = array_namespace(state.on_hand)
    received = state.pipeline[:, 0]
    available = state.on_hand + received
    sales = xp.minimum(available, demand)
    on_hand = available - sales
    pipeline = xp.concat([state.pipeline[:, 1:], xp.zeros_like(state.pipeline[:, :1])], axis=1)
    return State(on_hand, pipeline), Outcome(received, sales, demand - sales, on_hand)


def place_order(state: State, order_quantity: Array, lead_time: Array) -> State:
    """Put an order at the end of the current period into the pipeline.

    Args:
        state: the state that `advance` returned.
        order_quantity: (N,) units, >= 0.
        lead_time: (N,) whole periods, between 1 and the pipeline's length L.
    """
    xp = array_namespace(state.on_hand)
    slots = xp.arange(state.pipeline.shape[1], dtype=lead_time.dtype)
    slot = xp.astype(slots[None, :] == (lead_time - 1)[:, None], state.pipeline.dtype)
    return State(state.on_hand, state.pipeline + slot * order_quantity[:, None])
