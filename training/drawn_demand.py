"""Drawn demand: what a slow wholesaler would see of a real dataset's ups and downs.

The datasets that may train a policy sell most items every day. A policy that is to answer for slow and lumpy ones without having
met their retailer learns them from compound Poisson traces: customers arrive in proportion to what the real series sold, and
each takes a drawn number of units. The calendar, promotions, prices and attributes stay those of the real series.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from simulator.observation import evidence
from simulator.panel import F32, F64, Panel

ARRIVALS = (0.02, 2.0)  # customers a period, log-uniform over series
MEAN_SIZES = (1.0, 30.0)  # units a customer takes, log-uniform
SIZE_SPREADS = (0.0, 1.3)  # of the log of a customer's units
MOST_CUSTOMERS = 50.0  # a period
DRIFTS = (0.0, 0.06)  # of the log of the level, a period


def lumpy(panel: Panel, end: int, rng: np.random.Generator) -> Panel:
    """The panel with drawn demand, always in stock.

    Args:
        panel: what the ups and downs are taken from; nothing is read of its sales from `end` on.
        end: first period that is not drawn.
        rng: draws the customers of each series.

    Returns:
        The same series and periods; `units_sold` is drawn wherever it was known before `end`, in whole units, else NaN.
    """
    before = slice(None, end)
    sold, open_flag = panel.units_sold[:, before], panel.open[:, before]
    found = evidence(sold, panel.in_stock[:, before], panel.promotion[:, before] * 0, open_flag)
    seen = found.seen.sum(axis=1, keepdims=True)
    mean = (found.demand * found.seen).sum(axis=1, keepdims=True) / np.maximum(seen, 1.0)
    shape = np.where(found.seen > 0, found.demand / np.maximum(mean, 1e-9), 1.0) * (open_flag != 0)
    count = panel.series_count
    intensity = shape * _log_uniform(ARRIVALS, count, rng)[:, None] * _drift(sold.shape, rng)
    customers = rng.poisson(np.minimum(intensity, MOST_CUSTOMERS))
    of_series = np.repeat(np.arange(count), customers.sum(axis=1))
    size, spread = _log_uniform(MEAN_SIZES, count, rng), rng.uniform(*SIZE_SPREADS, count)
    taken = np.ceil(size[of_series] * np.exp(rng.normal(size=len(of_series)) * spread[of_series]))
    cell = np.repeat(np.arange(customers.size), customers.ravel())
    drawn = np.bincount(cell, weights=taken, minlength=customers.size).reshape(customers.shape)
    units: F32 = np.full_like(panel.units_sold, np.nan)
    units[:, before] = np.where(np.isnan(sold), np.nan, drawn)
    stock: F32 = np.where(np.isnan(units), np.float32(np.nan), np.float32(1.0))
    name = f"{panel.name}, drawn demand"
    return replace(
        panel, name=name, quantity="discrete", units_sold=units, in_stock=stock, forecasts=None, oos_mask=None
    )  # fmt: skip


def _log_uniform(span: tuple[float, float], count: int, rng: np.random.Generator) -> F64:
    """(count,)"""
    return np.exp(rng.uniform(np.log(span[0]), np.log(span[1]), count))


def _drift(shape: tuple[int, ...], rng: np.random.Generator) -> F64:
    """(N, T) a level that wanders; its mean log is 0."""
    walk = np.cumsum(rng.normal(size=shape) * rng.uniform(*DRIFTS, (shape[0], 1)), axis=1)
    level: F64 = np.exp(walk - walk.mean(axis=1, keepdims=True))
    return level
