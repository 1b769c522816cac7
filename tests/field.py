"""Experiments in the simulator: series under a base stock, whose level the treatment lowers, and their stock either way."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from simulator.ordering import OrderRules
from simulator.panel import F64
from simulator.rollout import World, follow, rollout
from simulator.step import State
from tests.panels import no_rules

LEAD, REVIEW = 2, 3  # periods


class Field(NamedTuple):
    """Turnover days of series under the old and the new policy, by period; (N, T)."""

    old: F64
    new: F64  # the same demand; differs from `start` on
    start: int


def field(rng: np.random.Generator, series: int, before: int, after: int, lower: float = 0.7) -> Field:
    """Demand that wanders, series by series: what is left over hangs together over time, as it does in the field.

    Args:
        rng: draws demand.
        series: N.
        before, after: periods.
        lower: the new base stock over the old one.
    """
    warm = 30
    periods = warm + before + after
    level = rng.lognormal(1.5, 0.7, (series, 1))
    drift = np.cumsum(rng.normal(0.0, 0.05, (series, periods)), axis=1)
    drift -= drift[:, :warm].mean(axis=1, keepdims=True)
    demand = rng.poisson(level * np.exp(drift)).astype(np.float64)
    old = np.broadcast_to(np.ceil(level * (LEAD + REVIEW + 2)), demand.shape).copy()
    new = old.copy()
    new[:, warm + before :] = np.ceil(lower * old[:, warm + before :])
    worlds = [_stock(demand, targets, no_rules(series)) for targets in (old, new)]
    daily = np.maximum(demand[:, warm : warm + before].mean(axis=1), 0.1)[:, None]
    return Field(worlds[0][:, warm:] / daily, worlds[1][:, warm:] / daily, before)


def _stock(demand: F64, targets: F64, rules: OrderRules) -> F64:
    due = np.broadcast_to(np.arange(demand.shape[1]) % REVIEW == 0, demand.shape)
    opening = State(targets[:, 0].copy(), np.zeros((len(demand), LEAD)))
    return rollout(World(demand, due, np.full(len(demand), LEAD), rules, opening), follow(targets)).on_hand
