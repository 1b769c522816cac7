"""From inventory days to an order quantity: the grid of days, the order-up-to rule, and the item's constraints.

Pure arithmetic on arrays (Array API). It does not know where days come from or when a review is due.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from datetime import date
from typing import Any, NamedTuple

import numpy as np
from array_api_compat import array_namespace

from simulator.panel import EPOCH, F64, Panel

Array = Any

ORDER_UP_TO = "order_up_to"
FIXED = "fixed"
ORDERING_MODES = (ORDER_UP_TO, FIXED)
ROUNDINGS = ("up", "nearest", "down")
SLACK = 1e-6  # relative: what float arithmetic may leave of packs, or of a position, behind the comma


def inventory_days_grid() -> F64:
    """(V,) the default action grid: 0 to 14 by quarter days, then 15 to 90 by days.

    Whole days are coarse where a cycle is short; beyond two weeks a quarter of a day decides nothing.
    """
    return np.concatenate([np.arange(0, 14.25, 0.25), np.arange(15.0, 91.0)])


@dataclass(frozen=True)
class OrderRules:
    """The constraints that turn a raw quantity into one that can be ordered.

    Arrays are (N,) units. No constraint is 0 for a minimum or a multiple, infinity for a maximum. `keep_days` is how
    many days of demand may be on hand and on order before some of it is expected to perish. `rounding` is how a
    quantity meets its multiple: ERP systems differ and have changed theirs, so it is always explicit.
    """

    min_order_qty: Array
    order_multiple: Array
    max_order_qty: Array
    min_stock: Array
    max_stock: Array
    keep_days: Array | None = None  # (N,) days, infinity where stock keeps; None where all of it does
    orderable: Array | None = None  # (N,) whether an order may still be placed; None where all may
    rounding: str = "up"

    def __post_init__(self) -> None:
        if self.rounding not in ROUNDINGS:
            raise ValueError(f"rounding must be one of {', '.join(ROUNDINGS)}, got {self.rounding!r}")

    def take(self, rows: Any) -> OrderRules:
        """The rules of some series only."""
        columns = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "rounding"}
        cut: dict[str, Any] = {name: None if c is None else c[rows] for name, c in columns.items()}
        return replace(self, **cut)


class Order(NamedTuple):
    """(N,) each; the flags name the constraint that changed the quantity."""

    raw_order_quantity: Array
    order_quantity: Array
    minimum_bit: Array
    multiple_bit: Array
    maximum_bit: Array
    display_bit: Array
    shelf_bit: Array
    life_bit: Array
    ended_bit: Array


CONSTRAINTS = {
    "minimum_bit": "min_order_qty",
    "multiple_bit": "order_multiple",
    "maximum_bit": "max_order_qty",
    "display_bit": "min_stock",
    "shelf_bit": "max_stock",
    "life_bit": "shelf_life_days",
    "ended_bit": "orderable_until",
}


def rules_of(panel: Panel, rounding: str = "up", *, on: date | None = None) -> OrderRules:
    """The rules that a panel's items carry. In a discrete dataset a multiple of 0 means whole units.

    Args:
        panel: the dataset.
        rounding: how a quantity meets its multiple.
        on: where given, items whose `orderable_until` lies before it, or before the order day that it is the cut-off of, can no longer be ordered. A replay leaves it out:
            its calendar of order days ends there by itself.
    """
    items = panel.items
    multiple = np.where(items.order_multiple > 0, items.order_multiple, 1.0 if panel.discrete else 0.0)
    life, cutoff = panel.shelf_life_periods, np.nan_to_num(items.order_cutoff_days)
    keep = (panel.lead_periods + life - 1.0) * panel.period_days
    return OrderRules(
        min_order_qty=np.nan_to_num(items.min_order_qty),
        order_multiple=multiple,
        max_order_qty=np.where(items.max_order_qty > 0, items.max_order_qty, np.inf),
        min_stock=np.nan_to_num(items.min_stock),
        max_stock=np.where(items.max_stock > 0, items.max_stock, np.inf),
        keep_days=np.where(life > 0, keep, np.inf) if (life > 0).any() else None,
        orderable=None if on is None else panel.orderable_until_day >= (on - EPOCH).days + cutoff,
        rounding=rounding,
    )


def raw_order_quantity(target_stock: Array, inventory_position: Array, ordering_mode: str) -> Array:
    """Units to order before constraints.

    `order_up_to`: what is missing to the target. `fixed`: the target itself at every review (Algorithm 2 of the ORPR
    paper to the letter).

    Raises:
        ValueError: for another mode.
    """
    xp = array_namespace(target_stock)
    if ordering_mode == ORDER_UP_TO:
        missing = target_stock - inventory_position
        return xp.where(missing > 0, missing, xp.zeros_like(missing))
    if ordering_mode == FIXED:
        return target_stock
    raise ValueError(f"ordering_mode must be one of {', '.join(ORDERING_MODES)}, got {ordering_mode!r}")


def _to_multiple(quantity: Array, multiple: Array, rounding: str) -> Array:
    """Round to the multiple, forgiving what float arithmetic leaves behind the comma."""
    xp = array_namespace(quantity)
    divisor = xp.where(multiple > 0, multiple, xp.ones_like(multiple))
    packs = quantity / divisor
    slack = SLACK * (1 + xp.abs(packs))
    if rounding == "up":
        packs = xp.ceil(packs - slack)
    elif rounding == "down":
        packs = xp.floor(packs + slack)
    else:
        packs = xp.floor(packs + 0.5 + slack)
    return xp.where(multiple > 0, packs * divisor, quantity)


def constrain(raw: Array, inventory_position: Array, rules: OrderRules, daily_rate: Array | None = None) -> Order:
    """Apply shelf life, display minimum, shelf capacity, maximum, multiple, minimum and phase-out, in this order.

    A raw quantity of zero stays zero unless the display minimum asks for more; what float arithmetic leaves of a
    difference counts as zero, or the minimum would lift it to a real order. The shelf life caps what is asked for, not
    the pack it is rounded to: an item whose pack outlasts its life could never be ordered again. The minimum and the
    multiple may lift an order above the maximum's multiple; the maximum then wins, rounded down to whole packs.

    Args:
        raw: (N,) units, >= 0.
        inventory_position: (N,) units.
        rules: the items' constraints.
        daily_rate: (N,) units a day, for the shelf life; without it no shelf life is applied.
    """
    xp = array_namespace(raw)
    zero = xp.zeros_like(raw)
    asked = raw
    if rules.keep_days is not None and daily_rate is not None:
        keeps = ~xp.isfinite(rules.keep_days)
        sellable = daily_rate * xp.where(keeps, zero, rules.keep_days)  # no product of a rate of 0 and infinity
        sellable = xp.where(keeps, raw + inventory_position, sellable)
        asked = xp.minimum(raw, xp.maximum(sellable - inventory_position, zero))
    lifted = xp.maximum(asked, rules.min_stock - inventory_position)
    room = xp.maximum(rules.max_stock - inventory_position, zero)
    shelved = xp.minimum(lifted, room)
    noise = SLACK * (1 + xp.abs(inventory_position))
    wanted = shelved > noise
    packed = _to_multiple(shelved, rules.order_multiple, rules.rounding)
    least = _to_multiple(rules.min_order_qty, rules.order_multiple, "up")
    reached = xp.where(wanted & (packed < least), least, packed)
    most = _to_multiple(xp.minimum(rules.max_order_qty, room), rules.order_multiple, "down")
    allowed = xp.where(wanted, xp.minimum(reached, most), zero)
    final = allowed if rules.orderable is None else xp.where(rules.orderable, allowed, zero)
    return Order(
        raw_order_quantity=raw,
        order_quantity=final,
        minimum_bit=wanted & (packed < least) & (final > 0),
        multiple_bit=wanted & (xp.abs(packed - shelved) > 1e-4 * (1 + shelved)),
        maximum_bit=wanted & (reached > rules.max_order_qty),
        display_bit=lifted > asked + noise,
        shelf_bit=(shelved < lifted - noise) | (wanted & (reached > room)),
        life_bit=asked < raw - noise,
        ended_bit=final < allowed,
    )
