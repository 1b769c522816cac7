"""Experiments in the simulator: series under a base stock, whose level the treatment lowers, and their stock either way."""

from __future__ import annotations

import shutil
from datetime import date
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from simulator.baselines import pto_gamma
from simulator.canonical import read_panel
from simulator.metrics import LEAST_LOST
from simulator.ordering import OrderRules, rules_of
from simulator.panel import F64
from simulator.rollout import World, follow, replay_world, rollout
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


def lived_dataset(source: Path, out: Path, first: date, start: date, factor: F64) -> Path:
    """The dataset at `source` from `first` on, as it would have gone under PTO base stocks: sales, time in stock and stock.

    Args:
        source: a canonical dataset.
        out: the folder to write.
        first: the first day that is kept.
        start: from here on targets are multiplied.
        factor: (N,) by what.
    """
    panel = read_panel(source)
    periods = range(panel.period_of(first), panel.last_recorded + 1)
    targets = pto_gamma(panel, periods, 28)
    targets[:, panel.period_of(start) - periods.start :] *= factor[:, None]
    found = rollout(replay_world(panel, periods, rules_of(panel)), follow(targets))
    days = pl.DataFrame({"date": [panel.date_of(t) for t in periods]})
    keys = pl.DataFrame({"item_id": panel.items.item_id.tolist(), "location_id": panel.items.location_id.tolist()})
    rows = keys.join(days, how="cross", maintain_order="left_right").with_columns(
        on_hand=pl.Series(found.on_hand.ravel()), units_sold=pl.Series(found.sales.ravel()),
        in_stock=pl.Series((found.lost_sales <= LEAST_LOST).ravel().astype(np.float64)),
    )  # fmt: skip
    out.mkdir(parents=True)
    for name in ("dataset.json", "items.parquet", "calendar.parquet"):
        shutil.copy(source / name, out)
    rows.select("item_id", "location_id", "date", "on_hand").write_parquet(out / "inventory.parquet")
    rows.drop("on_hand").write_parquet(out / "demand.parquet")
    return out
