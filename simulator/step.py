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
    recent: Array | None = None  # (N, M) units received j periods ago; only where stock perishes, see `perishing`

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
    wasted: Array  # thrown away at the period's end because its shelf life was over
    on_hand: Array  # left at the period's end, the quantity that holding cost is counted on


def perishing(state: State, shelf_life: Array) -> State:
    """The state with room to remember receipts, so that old stock perishes.

    Stock on hand counts as received in the period before, as nothing is known of its age.

    Args:
        state: stock between two periods.
        shelf_life: (N,) periods in which a received unit can be sold; 0 where it keeps for ever.
    """
    xp = array_namespace(state.on_hand)
    remembered = max(int(xp.max(shelf_life)) - 1, 1) if shelf_life.shape[0] else 1
    older = xp.zeros((state.on_hand.shape[0], remembered - 1), dtype=state.on_hand.dtype)
    return state._replace(recent=xp.concat([state.on_hand[:, None], older], axis=1))


def advance(state: State, demand: Array, shelf_life: Array | None = None) -> tuple[State, Outcome]:
    """Receive what is due, sell the oldest first, lose the rest, throw away what has perished, count.

    A unit received in t can be sold in t .. t + shelf_life - 1. Because the oldest is sold first, what may stay is at
    most what came in during the last shelf_life - 1 periods; no ages need to be kept.

    Args:
        state: stock at the end of the period before; made by `perishing` where a shelf life is given.
        demand: (N,) units wanted in this period, >= 0.
        shelf_life: (N,) periods, 0 where stock keeps; None where all of it does.

    Returns:
        The state before ordering, and the period's outcome. Stock is conserved:
        on_hand before + received = sales + wasted + on_hand after, and demand = sales + lost_sales.
    """
    xp = array_namespace(state.on_hand)
    received = state.pipeline[:, 0]
    available = state.on_hand + received
    sales = xp.minimum(available, demand)
    left = available - sales
    recent, on_hand = state.recent, left
    if recent is not None and shelf_life is not None:
        recent = xp.concat([received[:, None], recent[:, :-1]], axis=1)
        age = xp.arange(recent.shape[1], dtype=shelf_life.dtype)
        young = xp.sum(xp.where(age[None, :] < (shelf_life - 1)[:, None], recent, xp.zeros_like(recent)), axis=1)
        on_hand = xp.where(shelf_life > 0, xp.minimum(left, young), left)
    pipeline = xp.concat([state.pipeline[:, 1:], xp.zeros_like(state.pipeline[:, :1])], axis=1)
    return State(on_hand, pipeline, recent), Outcome(received, sales, demand - sales, left - on_hand, on_hand)


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
    return state._replace(pipeline=state.pipeline + slot * order_quantity[:, None])
