"""What one order would have cost for every number of days: the cost curves of epoch labels.

The order's quantity follows the item's rules, its stock meets the demand of the periods it is responsible for. Where the
epochs come from is `labels.py`'s business.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from simulator.kernels import curve_kernel
from simulator.ordering import ROUNDINGS, OrderRules
from simulator.panel import F64, I64
from simulator.sweep import as_array, constants, is_fixed, rule_arrays


class Epochs(NamedTuple):
    """E decisions, each with what its cost curve follows from. Money and units as in the items table."""

    series: I64  # (E,) row of the panel
    period: I64  # (E,) t, at whose end the order is placed
    inventory_position: F64  # (E,) units before ordering
    stock_before_arrival: F64  # (E,) units there when the order arrives, without it
    demand: F64  # (E, R) units in the responsible periods; 0 behind the review period
    review: I64  # (E,) responsible periods, at most R
    young: F64  # (E, R) units of earlier receipts that have not perished by the end of each responsible period
    daily_rate: F64  # (E,) units a day known at the end of t
    incumbent_days: F64  # (E,) the incumbent's target, in days
    on_hand: F64  # (E,) units at the end of t
    arriving: F64  # (E, L) units ordered before t that arrive in the periods after it


def epoch_costs(
    epochs: Epochs, days: F64, rules: OrderRules, shelf_life: I64, unit_costs: tuple[F64, F64, F64], ordering_mode: str
) -> F64:
    """(E, V) currency: what the order of each epoch would have cost for every candidate.

    Args:
        epochs: the decisions.
        days: (V,) candidates.
        rules: the series' constraints.
        shelf_life: (N,) periods, 0 where stock keeps.
        unit_costs: (N,) each: of holding a unit for a period, of a unit of lost demand, of a unit wasted.
        ordering_mode: `order_up_to` or `fixed`.
    """
    cost = np.empty((len(epochs.series), len(days)))
    curve_kernel(
        as_array(epochs.series, np.int64), as_array(epochs.daily_rate, np.float64),
        as_array(epochs.inventory_position, np.float64), as_array(epochs.stock_before_arrival, np.float64),
        as_array(epochs.demand, np.float64), as_array(epochs.review, np.int64), as_array(epochs.young, np.float64),
        as_array(days, np.float64), rule_arrays(rules, np.float64, perishable=True), as_array(shelf_life, np.int64),
        *(as_array(column, np.float64) for column in unit_costs), ROUNDINGS.index(rules.rounding),
        is_fixed(ordering_mode), constants(np.float64), cost,
    )  # fmt: skip
    return cost
