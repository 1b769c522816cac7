"""Every candidate for every series in one numba kernel: the counterfactual tables of Algorithm 2.

Threads run over series, the inner loops over candidates. It does the arithmetic of `step` and `ordering` once more,
in float64, because a compiled loop is a hundred times faster; tests hold the two equal on every option.
The service never imports this module: a cold compile and a read-only container do not mix.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from simulator.metrics import LEAST_LOST
from simulator.ordering import FIXED, ORDERING_MODES, ROUNDINGS, SLACK
from simulator.panel import F64
from simulator.rollout import World


class SweepTable(NamedTuple):
    """Totals over the replayed window for every series and candidate; all (N, V)."""

    stock: F64  # unit-periods: the sum over periods of stock left at their ends
    lost_sales: F64  # units
    stockout_periods: F64  # periods in which some demand was lost


@numba.njit(inline="always")  # type: ignore[untyped-decorator]
def _packs(quantity, multiple, rounding):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    if multiple <= 0:
        return quantity
    packs = quantity / multiple
    slack = SLACK * (1 + abs(packs))
    if rounding == 0:
        return np.ceil(packs - slack) * multiple
    if rounding == 2:
        return np.floor(packs + slack) * multiple
    return np.floor(packs + 0.5 + slack) * multiple


@numba.njit(inline="always")  # type: ignore[untyped-decorator]
def _constrained(raw, position, least, multiple, most, display, shelf, rounding):  # type: ignore[no-untyped-def]  # pragma: no cover
    room = max(shelf - position, 0.0)
    wanted = min(max(raw, display - position), room)
    if wanted <= SLACK * (1 + abs(position)):
        return 0.0
    quantity = max(_packs(wanted, multiple, rounding), _packs(least, multiple, 0))
    limit = min(most, room)
    return min(quantity, _packs(limit, multiple, 2) if limit < np.inf else limit)


@numba.njit(parallel=True, cache=False)  # type: ignore[untyped-decorator]
def _kernel(  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    demand, due, rate, days, lead, on_hand0, pipeline0, least, multiple, most, display, shelf, rounding, fixed,
    stock, lost, empty,
):  # fmt: skip
    series, periods = demand.shape
    ring = pipeline0.shape[1]
    for n in numba.prange(series):
        for v in range(days.shape[0]):
            on_hand = on_hand0[n]
            pipeline = pipeline0[n].copy()
            on_order = pipeline.sum()
            held = 0.0
            missed = 0.0
            short = 0
            for t in range(periods):
                arriving = pipeline[t % ring]
                pipeline[t % ring] = 0.0
                on_order -= arriving
                on_hand += arriving
                wanted = demand[n, t]
                if wanted > on_hand:
                    missed += wanted - on_hand
                    short += wanted - on_hand > LEAST_LOST
                    on_hand = 0.0
                else:
                    on_hand -= wanted
                held += on_hand
                if due[n, t]:
                    position = on_hand + on_order
                    target = days[v] * rate[n, t]
                    raw = target if fixed else max(target - position, 0.0)
                    order = _constrained(raw, position, least[n], multiple[n], most[n], display[n], shelf[n], rounding)
                    pipeline[(t + lead[n]) % ring] += order
                    on_order += order
            stock[n, v] = held
            lost[n, v] = missed
            empty[n, v] = short


def sweep(world: World, daily_rate: F64, days: F64, ordering_mode: str) -> SweepTable:
    """Replay every constant number of inventory days for every series.

    Args:
        world: demand and rules; see `rollout`.
        daily_rate: (N, T) units a day known at each period's end; a target is days x rate.
        days: (V,) candidate inventory days.
        ordering_mode: `order_up_to` or `fixed`.
    """
    if ordering_mode not in ORDERING_MODES:
        raise ValueError(f"ordering_mode must be one of {', '.join(ORDERING_MODES)}, got {ordering_mode!r}")
    shape = (world.demand.shape[0], len(days))
    table = SweepTable(np.empty(shape), np.empty(shape), np.empty(shape))
    rules = world.rules
    # The ring needs a slot for an order that arrives `lead` periods on while slot t is being emptied.
    longest = max(int(world.lead_time.max()), world.initial.pipeline.shape[1])
    pipeline = np.zeros((shape[0], longest + 1))
    pipeline[:, : world.initial.pipeline.shape[1]] = world.initial.pipeline
    _kernel(
        np.ascontiguousarray(world.demand, dtype=np.float64), world.review_due,
        np.ascontiguousarray(daily_rate, dtype=np.float64), np.asarray(days, dtype=np.float64), world.lead_time,
        np.asarray(world.initial.on_hand, dtype=np.float64), pipeline,
        rules.min_order_qty, rules.order_multiple, rules.max_order_qty, rules.min_stock, rules.max_stock,
        ROUNDINGS.index(rules.rounding), ordering_mode == FIXED, *table,
    )  # fmt: skip
    return table
