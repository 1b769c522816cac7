"""Compiled replays: every candidate for every series (Algorithm 2's tables), and one rule over many series.

Threads run over series, vector instructions over candidates; see `kernels.py`. The service never imports this module:
a cold compile and a read-only container do not mix.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from simulator.kernels import Constants, Rules, replay_kernel, sweep_kernel, totals_kernel
from simulator.metrics import LEAST_LOST, UnitTotals
from simulator.ordering import FIXED, ORDERING_MODES, ROUNDINGS, SLACK, OrderRules
from simulator.panel import F64
from simulator.rollout import Trajectory, World, as_columns


class SweepTable(NamedTuple):
    """Totals over the replayed window for every series and candidate; all (N, V)."""

    stock: F64  # unit-periods: the sum over periods of stock left at their ends
    lost_sales: F64  # units
    stockout_periods: F64  # periods in which some demand was lost
    wasted: F64  # units that perished
    stock_value: F64  # currency x periods: stock weighted by each period's `stock_weight`; empty without weights
    lost_value: F64  # currency: lost sales weighted by each period's `lost_weight`; empty without weights


class Weights(NamedTuple):
    """What a unit is worth in each period, where that changes over time; both (N, T)."""

    stock: F64  # currency per unit left at the period's end
    lost: F64  # currency per unit of demand lost


def as_array(values: Any, dtype: type) -> Any:
    """Contiguous and writable: any other kind of array would make numba compile a kernel once more."""
    return np.require(values, dtype, ["C", "W"])


def rule_arrays(rules: OrderRules, dtype: type, *, perishable: bool) -> Rules:
    """Order rules as the kernels take them; the one on shelf life only where rates are known (`perishable`)."""
    keep = rules.keep_days if perishable and rules.keep_days is not None else np.full(len(rules.max_stock), np.inf)
    columns = (
        rules.min_order_qty, rules.order_multiple, rules.max_order_qty, rules.min_stock, rules.max_stock, keep,
    )  # fmt: skip
    return Rules(*(as_array(column, dtype) for column in columns))


def constants(dtype: type) -> Constants:
    """The kernels' numbers in their precision."""
    return Constants(*(dtype(number) for number in (0, 1, 0.5, SLACK, LEAST_LOST)))


def is_fixed(ordering_mode: str) -> bool:
    """Whether days are ordered as they are, not up to.

    Raises:
        ValueError: for an unknown mode.
    """
    if ordering_mode not in ORDERING_MODES:
        raise ValueError(f"ordering_mode must be one of {', '.join(ORDERING_MODES)}, got {ordering_mode!r}")
    return ordering_mode == FIXED


def _inputs(world: World, dtype: type) -> dict[str, Any]:
    """The world as the kernels take it."""
    shape = world.demand.shape
    life = np.zeros(shape[0]) if world.shelf_life is None else world.shelf_life
    return {
        "demand": as_array(world.demand, dtype),
        "due": as_array(world.review_due, np.bool_),
        "lead": as_array(as_columns(world.lead_time), np.int32),
        "on_hand0": as_array(world.initial.on_hand, dtype),
        "pipeline0": as_array(world.initial.pipeline, dtype),
        "rules": rule_arrays(world.rules, dtype, perishable=world.daily_rate is not None),
        "life": as_array(life, np.int64),
        "rounding": ROUNDINGS.index(world.rules.rounding),
        "constants": constants(dtype),
    }


def sweep(
    world: World, daily_rate: F64, days: F64, ordering_mode: str, *, weights: Weights | None = None,
    dtype: type = np.float32,
) -> SweepTable:  # fmt: skip
    """Replay every constant number of inventory days for every series.

    Args:
        world: demand and rules; see `rollout`.
        daily_rate: (N, T) units a day known at each period's end; a target is days x rate.
        days: (V,) candidate inventory days.
        ordering_mode: `order_up_to` or `fixed`.
        weights: values of stock and lost sales that change over time.
        dtype: precision of the arithmetic; float64 takes twice as long.
    """
    given = _inputs(world, dtype)
    shape = (world.demand.shape[0], len(days))
    valued = shape if weights is not None else (0, shape[1])
    table = SweepTable(*(np.empty(shape if k < 4 else valued, dtype) for k in range(6)))
    if not shape[0]:
        return table
    rate = as_array(daily_rate, dtype)
    weighing = Weights(rate, rate) if weights is None else Weights(*(as_array(w, dtype) for w in weights))
    sweep_kernel(
        given["demand"], given["due"], rate, as_array(days, dtype), given["lead"], given["on_hand0"],
        given["pipeline0"], given["rules"], given["life"], *weighing, given["rounding"], is_fixed(ordering_mode),
        given["constants"],
        # A slot more than the longest lead time: an order may arrive in the very period whose slot is being emptied.
        world.pipeline_length + 1, *table,
    )  # fmt: skip
    return table


def sweep_chunks(
    world: World, daily_rate: F64, days: F64, ordering_mode: str, *, rows: int = 8192, weights: Weights | None = None,
    dtype: type = np.float32,
) -> Iterator[tuple[slice, SweepTable]]:  # fmt: skip
    """`sweep`, some rows at a time, so that memory does not grow with N; each table comes with its rows."""
    for at in range(0, world.demand.shape[0], rows):
        part = slice(at, min(at + rows, world.demand.shape[0]))
        cut = None if weights is None else Weights(*(weight[part] for weight in weights))
        yield part, sweep(world.take(part), daily_rate[part], days, ordering_mode, weights=cut, dtype=dtype)


def replay(world: World, targets: F64, ordering_mode: str, *, out: Trajectory | None = None) -> Trajectory:
    """`rollout(world, follow(targets))`, compiled.

    Args:
        world: demand and rules.
        targets: (N, T) target stock in units (`order_up_to`) or units to order (`fixed`); (N,) where they never change.
        ordering_mode: `order_up_to` or `fixed`.
        out: a trajectory of the same shape to write into; new memory costs as much as the replay itself.
    """
    shape = world.demand.shape
    record = Trajectory(*(np.empty(shape) for _ in Trajectory._fields)) if out is None else out
    record.wasted[:] = 0  # written only where something perishes
    replay_kernel(*_replayed(world, targets, ordering_mode), *record)
    return record


def replay_totals(world: World, targets: F64, ordering_mode: str) -> UnitTotals:
    """`unit_totals(replay(...))` without keeping what happened in between: twice as fast and flat in memory."""
    stock, lost, empty, wasted, demand = totals = np.empty((5, world.demand.shape[0]))
    totals_kernel(*_replayed(world, targets, ordering_mode), world.pipeline_length + 1, *totals)
    return UnitTotals(stock, lost, empty, wasted, demand, world.demand.shape[1])


def _replayed(world: World, targets: F64, ordering_mode: str) -> tuple[Any, ...]:
    given = _inputs(world, np.float64)
    wanted = as_array(as_columns(targets), np.float64)
    rate = wanted if world.daily_rate is None else as_array(world.daily_rate, np.float64)
    return (
        given["demand"], given["due"], wanted, rate, given["lead"], given["on_hand0"], given["pipeline0"],
        given["rules"], given["life"], given["rounding"], is_fixed(ordering_mode), given["constants"],
    )  # fmt: skip
