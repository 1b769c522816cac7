"""Demand that is known, and what a shelf that runs empty during the day leaves of it: censored on purpose.

The shelf runs out because the day sells well, so the censoring depends on the very demand it hides, as in a shop.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from simulator.panel import F64, I32, Panel
from tests.panels import make_panel

HOURS = 24
PROFILE = np.array([0] * 6 + [3, 7, 11, 11, 9, 7, 5, 4, 4, 6, 8, 9, 7, 5, 3, 1] + [0] * 2) / 100  # two peaks
MORNING = np.array([0] * 6 + [12, 20, 18, 12, 8, 6, 4, 3, 3, 3, 3, 3, 2, 1, 1, 1] + [0] * 2) / 100
WEEKDAYS = np.array([0.85, 0.85, 0.9, 0.95, 1.1, 1.3, 1.05])
OUT_ALL_DAY = 0.02  # of the days on which the shelf is refilled each morning
PROCESSES = ("tight", "loose", "reviewed")


class Shelf(NamedTuple):
    """What a shelf let through; all (N, T)."""

    sales: F64  # units
    exposure: F64  # 0..1 share of the day's demand before it ran empty, by the profile
    oos_mask: I32  # hours that were empty for most of it
    in_stock: F64  # share of the selling hours that were not


def hourly(rng: np.random.Generator, rate: F64, profile: F64, day_shape: float) -> F64:
    """(N, T, 24) Poisson demand whose days have a gamma factor of their own."""
    factor = rng.gamma(day_shape, 1 / day_shape, rate.shape) if np.isfinite(day_shape) else np.ones_like(rate)
    return rng.poisson((rate * factor)[..., None] * profile).astype(np.float64)


def drawn_rates(rng: np.random.Generator, series: int, periods: int, mean: float = 9.0) -> F64:
    """(N, T) expected units a day: slow and fast series, a weekday pattern, a level that wanders."""
    level = mean * np.exp(
        rng.normal(-0.3, 0.8, (series, 1)) + np.cumsum(rng.normal(0, 0.02, (series, periods)), axis=1)
    )
    return level * WEEKDAYS[np.arange(periods) % 7]


def morning_stock(rng: np.random.Generator, demand: F64, process: str) -> F64:
    """(N, T) units on the shelf in the morning.

    tight: the same every day. loose: as well as somebody guesses. reviewed: filled up every third day. In the first two
    the shelf stays empty on a few days.
    """
    usual = demand.mean(axis=1, keepdims=True)
    if process == "reviewed":
        full = np.round(3.1 * usual[:, 0])
        stock, left = np.zeros(demand.shape), full
        offset = rng.integers(0, 3, len(demand))
        for t in range(demand.shape[1]):
            left = np.where((t + offset) % 3 == 0, np.maximum(left, full), left)
            stock[:, t] = left
            left = np.maximum(left - demand[:, t], 0)
        return stock
    guess = np.exp(rng.normal(0.05, 0.4, demand.shape)) if process == "loose" else np.ones(demand.shape)
    return np.where(rng.random(demand.shape) < OUT_ALL_DAY, 0.0, np.round(1.1 * usual * guess))


def run_out(wanted: F64, stock: F64, profile: F64) -> Shelf:
    """Sell (N, T, 24) from (N, T) in the morning until it is gone; within an hour, demand comes evenly."""
    gone = np.cumsum(wanted, axis=2)
    before = gone - wanted
    part = np.clip((stock[..., None] - before) / np.maximum(wanted, 1), 0, 1)
    part = np.where(wanted > 0, part, before < stock[..., None])
    exposure = (part * profile).sum(axis=2)
    empty = part < 0.5
    mask = (empty * (1 << np.arange(HOURS))).sum(axis=2).astype(np.int32)
    selling = profile > 0
    return Shelf(np.minimum(gone[..., -1], stock), exposure, mask, 1 - empty[..., selling].mean(axis=2))


def taken_off(rng: np.random.Generator, wanted: F64, profile: F64) -> Shelf:
    """Not a run-out: on two days in five the shelf is cleared from an hour on, whatever the day sold."""
    hour = np.where(rng.random(wanted.shape[:2]) < 0.4, rng.integers(8, 22, wanted.shape[:2]), HOURS)
    empty = np.arange(HOURS) >= hour[..., None]
    mask = (empty * (1 << np.arange(HOURS))).sum(axis=2).astype(np.int32)
    selling = profile > 0
    return Shelf((wanted * ~empty).sum(axis=2), (~empty * profile).sum(axis=2), mask,
                 1 - empty[..., selling].mean(axis=2))  # fmt: skip


def shelf_panel(shelf: Shelf, *, unit: float = 1.0, masked: bool = True, quantity: str = "discrete",
                categories: int = 4) -> Panel:  # fmt: skip
    """A panel of what the shelf let through, sold in steps of `unit`."""
    names = [f"category {n % categories}" for n in range(len(shelf.sales))]
    return make_panel(
        shelf.sales * unit, in_stock=shelf.in_stock, oos_mask=shelf.oos_mask if masked else None, quantity=quantity,
        items={"category": names},
    )  # fmt: skip


def hidden_again(panel: Panel, rng: np.random.Generator, periods: range, process: str, size: float,
                 profile: F64) -> tuple[Panel, F64]:  # fmt: skip
    """A real panel whose fully stocked days in `periods` are sold again from a shelf that runs empty.

    The days' totals are real; the hours in which they were wanted are drawn from the profile, in steps of `size`.

    Returns:
        The panel without anything from `periods.stop` on, and the (N, T) truth, NaN where nothing was done.
    """
    sold = panel.units_sold[:, : periods.stop].astype(np.float64)
    again = np.isfinite(sold) & (panel.in_stock[:, : periods.stop] >= 1) & ~(panel.open[:, : periods.stop] == 0)
    again[:, : periods.start] = False
    steps = np.where(again, np.round(np.nan_to_num(sold) / size), 0).astype(np.int64)
    usual = np.nanmean(np.where(again, steps, np.nan), axis=1, keepdims=True)
    stock = morning_stock(rng, np.where(again, steps, usual), process)
    shelf = run_out(rng.multinomial(steps, profile).astype(np.float64), stock, profile)
    units, share = panel.units_sold.copy(), panel.in_stock.copy()
    mask = np.full(units.shape, -1, dtype=np.int32)
    units[:, periods.stop :] = np.nan
    rows, columns = np.nonzero(again)
    units[rows, columns] = shelf.sales[again] * size
    share[rows, columns] = shelf.in_stock[again]
    mask[rows, columns] = shelf.oos_mask[again]
    truth = np.full(units.shape, np.nan)
    truth[rows, columns] = steps[again] * size
    return replace(panel, units_sold=units, in_stock=share, oos_mask=mask), truth
