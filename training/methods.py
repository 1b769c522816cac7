"""The rivals of BENCHMARKS A as tables of target stocks: base stocks, quantiles, boosted trees, and what hindsight knows.

Every method but the hindsight rows is made from what could be seen at the end of each period. This module does not
replay anything to judge it; `backtest.py` does.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
from scipy.stats import gamma

from simulator.baselines import (
    baseline_windows,
    category_base_stock,
    critical_ratio,
    demand_quantile,
    incumbent,
    pto_gamma,
    pto_normal,
)
from simulator.censoring import REPLAYED, replayed_demand
from simulator.observation import ObservationSpec, Observer, panel_rates
from simulator.ordering import inventory_days_grid, rules_of
from simulator.panel import F32, F64, I64, Panel
from simulator.rates import Rates
from simulator.rollout import World, replay_world
from simulator.schedule import lead_and_review, review_schedule
from solver.calibration import calibrate
from solver.candidates import candidate_tables, replayed_rates
from solver.labels import best_days
from solver.turnover import Turnover
from training.gbm import Features, gbm_targets, plain_features, strong_features

Progress = Callable[[str, int, int], None]

REFERENCE = "OR hindsight"
CONSTANT = "constant days"  # the one number for all series that hindsight would have chosen
OR_LABEL = "OR label"
CLAIRVOYANT = "clairvoyant"
INCUMBENT = "incumbent"
CATEGORY_MEAN = "category mean"  # only where new series are judged: the others have better to go by
GBM_PLAIN = "GBM plain"
GBM_STRONG = "GBM strong"
GBM_PICKED = "GBM strong, picked"  # only where supply picks the series: trained on these alone, as nobody could have
HINDSIGHT = (REFERENCE, CLAIRVOYANT, OR_LABEL, CONSTANT, GBM_PICKED)
SWANSON = np.array([0.3, 0.4, 0.3])  # weights of the 10, 50 and 90 % points
QUANTILES = [0, 2, 4]  # where these points stand in a forecast


class Replay(NamedTuple):
    """One window and what all its methods share."""

    panel: Panel
    periods: range
    rates: Rates
    world: World
    demand: str  # one of REPLAYED
    judged: I64 | None = None  # the series that results are about; the others are only learnt from. None: all
    beside: str = ""  # the row that such a choice calls for: CATEGORY_MEAN or GBM_PICKED

    @property
    def window(self) -> slice:
        return slice(self.periods.start, self.periods.stop)


def only_judged(replay: Replay) -> Replay:
    """The replay of the judged series alone; what was known of their peers stays in their rates."""
    rows = replay.judged
    if rows is None:
        return replay
    return Replay(
        replay.panel.take(rows), replay.periods, replay.rates.take(rows), replay.world.take(rows), replay.demand
    )


def replay_of(panel: Panel, periods: range, demand: str = "sales") -> Replay:
    """The window with its world.

    Args:
        panel: the dataset.
        periods: the window.
        demand: `sales` replays units sold, `recovered` what would have been sold with a full shelf.

    Raises:
        ValueError: for another demand.
    """
    if demand not in REPLAYED:
        raise ValueError(f"replay must be one of {', '.join(REPLAYED)}, got {demand!r}")
    rates = panel_rates(panel)
    world = replay_world(panel, periods, rules_of(panel), daily_rate=replayed_rates(rates, periods))
    if demand == "recovered":  # a world replays sales by itself
        world = world._replace(demand=replayed_demand(panel, demand)[0][:, periods.start : periods.stop])
    return Replay(panel, periods, rates, world, demand)


def method_names(period_days: int) -> tuple[str, ...]:
    """The rows that a backtest may have besides policies."""
    base_stocks = [f"PTO {law} {window}" for law in ("normal", "gamma") for window in baseline_windows(period_days)]
    return (*HINDSIGHT, *base_stocks, "BM_50", "BM_85", CATEGORY_MEAN, INCUMBENT, GBM_PLAIN, GBM_STRONG)


def method_targets(replay: Replay, progress: Progress, seed: int, inventory: F64 | None) -> dict[str, F64]:
    """Target stocks of every method that is not a policy, (J, T) of the J judged series.

    Methods learn from all series of the panel; only hindsight, and `GBM_PICKED`, look at the judged alone.

    Args:
        replay: the window.
        progress: called as (method, step, steps).
        seed: of the boosted trees.
        inventory: (N, T) what really stood there, for the label's turnover; the incumbent is replayed where None.
    """
    panel, periods = replay.panel, replay.periods
    short, long = baseline_windows(panel.period_days)
    targets = {
        f"PTO normal {short}": pto_normal(panel, periods, short),
        f"PTO normal {long}": pto_normal(panel, periods, long),
        f"PTO gamma {short}": pto_gamma(panel, periods, short),
        f"PTO gamma {long}": pto_gamma(panel, periods, long),
        "BM_50": demand_quantile(panel, periods, 0.5, long),
        "BM_85": demand_quantile(panel, periods, 0.85, long),
        INCUMBENT: incumbent(panel, periods),
    }
    targets[GBM_PLAIN] = _boosted(replay, plain_features, seed, partial(progress, GBM_PLAIN))
    targets[GBM_STRONG] = _boosted(replay, strong_features, seed, partial(progress, GBM_STRONG))
    if replay.beside == CATEGORY_MEAN:
        targets[CATEGORY_MEAN] = category_base_stock(panel, replay.rates, periods)
    judged = only_judged(replay)
    if replay.judged is not None:
        targets = {name: target[replay.judged] for name, target in targets.items()}
        inventory = None if inventory is None else inventory[replay.judged]
    if replay.beside == GBM_PICKED:
        targets[GBM_PICKED] = _boosted(judged, strong_features, seed, partial(progress, GBM_PICKED))
    targets |= _hindsight_targets(judged, progress, inventory)
    assert set(targets) <= set(method_names(panel.period_days))
    return targets


def _boosted(replay: Replay, features: Features, seed: int, progress: Callable[[int, int], None]) -> F64:
    observer = Observer(replay.panel, ObservationSpec(replay.panel.period_days), replay.rates)
    return gbm_targets(
        replay.panel, observer, replay.periods.start, replay.periods, features, seed, progress,
        recovered=replay.demand == "recovered",
    )  # fmt: skip


def _hindsight_targets(replay: Replay, progress: Progress, inventory: F64 | None) -> dict[str, F64]:
    panel, world, grid = replay.panel, replay.world, inventory_days_grid()
    rate = replayed_rates(replay.rates, replay.periods)
    tables = candidate_tables(panel, replay.rates, replay.periods, grid, world.rules, world=world)
    progress(REFERENCE, 1, 2)
    turnover = Turnover(panel, replay.periods, world, inventory)
    label = calibrate(tables, turnover.days(), panel.period_days)
    progress(OR_LABEL, 2, 2)
    return {
        REFERENCE: best_days(tables.total_cost, grid)[:, None] * rate,
        OR_LABEL: label.inventory_days[:, None] * rate,
        CLAIRVOYANT: clairvoyant(replay),
        CONSTANT: best_days(tables.total_cost.sum(axis=0)[None, :], grid)[:, None] * rate,
    }


def clairvoyant(replay: Replay) -> F64:
    """(N, T) what the protection interval will sell: the floor that no policy can know."""
    count = len(replay.periods)
    total = np.pad(np.cumsum(replay.world.demand, axis=1), ((0, 0), (1, 0)))
    protection = review_schedule(replay.panel, replay.periods).protection
    stop = np.minimum(np.arange(count)[None, :] + protection + 1, count)
    return np.asarray(np.take_along_axis(total, stop, axis=1) - total[:, 1:])


def forecast_base_stock(panel: Panel, rows: I64, periods: I64, forecast: F32) -> F64:
    """(B,) PTO gamma on a forecast: the critical quantile of a gamma demand summed over the protection interval.

    A period's mean and variance come from its 10, 50 and 90 % points with Swanson's weights (0.3, 0.4, 0.3); periods
    count as independent, as in the other PTO rows.

    Args:
        panel: for protection intervals and critical ratios.
        rows: (B,) series.
        periods: (B,) as-of period of each.
        forecast: (B, H, 5) demand quantiles 0.1, 0.25, 0.5, 0.75, 0.9 of each period ahead, units.
    """
    points = np.maximum(forecast[:, :, QUANTILES], 0.0).astype(np.float64)
    lead, review = lead_and_review(panel, rows, periods)
    covered = np.arange(points.shape[1])[None, :] < (lead + review - 1)[:, None]
    mean = points @ SWANSON
    variance = ((points - mean[:, :, None]) ** 2) @ SWANSON
    total, spread = (mean * covered).sum(axis=1), (variance * covered).sum(axis=1)
    varied = (total > 0) & (spread > 1e-12 * total**2)
    safe_total, safe_spread = np.where(varied, total, 1.0), np.where(varied, spread, 1.0)
    quantile = gamma.ppf(critical_ratio(panel)[rows], safe_total**2 / safe_spread, scale=safe_spread / safe_total)
    return np.asarray(np.where(varied, quantile, total))
