"""The comparison of BENCHMARKS A: every method replays the same demand on the same clock from the same stock.

A method is a table of target stocks made from what could be seen; only the two hindsight rows read the window itself
and are marked so. Training reads nothing from the window's first period on.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from simulator.baselines import baseline_windows, demand_quantile, incumbent, pto_gamma, pto_normal
from simulator.metrics import Metrics, SeriesTotals, paired_ratio, series_totals, summarise
from simulator.observation import ObservationSpec, Observer, panel_rates
from simulator.ordering import ORDER_UP_TO, inventory_days_grid, rules_of
from simulator.panel import F64, I64, Panel
from simulator.rollout import World, replay_world
from simulator.schedule import review_schedule
from simulator.sweep import replay, replay_totals
from solver.calibration import calibrate, real_turnover
from solver.candidates import candidate_tables, replayed_rates
from solver.labels import best_days
from training.gbm import gbm_targets, plain_features, strong_features

Decide = Callable[[Observer, I64, I64], F64]  # (observer, rows (B,), periods (B,)) -> (B,) target stock in units
Progress = Callable[[str, int, int], None]

REFERENCE = "OR hindsight"
GBM_STRONG = "GBM strong"
HINDSIGHT = (REFERENCE, "clairvoyant", "OR label")


class Row(NamedTuple):
    """One method's results; ratios are total cost against a reference with its paired 95 % interval."""

    method: str
    metrics: Metrics
    against_or: float
    against_pto: tuple[float, float, float]
    against_gbm: tuple[float, float, float]


class Backtest(NamedTuple):
    """All methods on one window."""

    dataset: str
    first: str  # date of the window's first period
    last: str
    series: int
    best_pto: str
    rows: list[Row]
    totals: dict[str, SeriesTotals]
    seeds: dict[str, float]  # policy -> total cost against the best PTO


def clairvoyant(panel: Panel, world: World, periods: range) -> F64:
    """(N, T) what the protection interval will sell: the floor that no policy can know."""
    total = np.pad(np.cumsum(world.demand, axis=1), ((0, 0), (1, 0)))
    protection = review_schedule(panel, periods).protection
    stop = np.minimum(np.arange(len(periods))[None, :] + protection + 1, len(periods))
    return np.asarray(np.take_along_axis(total, stop, axis=1) - total[:, 1:])


def backtest(
    panel: Panel, periods: range, policies: dict[str, Decide], progress: Progress, *, seed: int = 0,
    inventory: F64 | None = None,
) -> Backtest:  # fmt: skip
    """Replay every method over the window.

    Args:
        panel: the dataset.
        periods: the test window; nothing is trained on it.
        policies: runs of one policy (seeds) by name; each becomes an entry of `seeds`, their mean cost the row "DL".
        progress: called as (method, step, steps).
        seed: of the bootstrap and the GBM.
        inventory: (N, T) what really stood there, for the label's turnover; the incumbent is replayed where None.
    """
    world = replay_world(panel, periods, rules_of(panel))
    targets = method_targets(panel, periods, world, progress, seed, inventory)
    totals: dict[str, SeriesTotals] = {}
    for method, target in targets.items():
        totals[method] = _totals(panel, world, target)
    observer = Observer(panel, ObservationSpec(panel.period_days))
    runs: dict[str, SeriesTotals] = {}
    for step, (name, decide) in enumerate(policies.items()):
        runs[name] = _totals(panel, world, policy_targets(observer, decide, periods))
        progress("policy", step + 1, len(policies))
    if runs:
        totals["DL"] = SeriesTotals(*(np.mean(columns, axis=0) for columns in zip(*runs.values(), strict=True)))
    best_pto = min((m for m in totals if m.startswith("PTO")), key=lambda m: totals[m].total_cost.sum())
    reference = totals[best_pto].total_cost
    return Backtest(
        dataset=panel.name,
        first=panel.date_of(periods.start).isoformat(),
        last=panel.date_of(periods.stop - 1).isoformat(),
        series=panel.series_count,
        best_pto=best_pto,
        rows=_rows(totals, best_pto, seed),
        totals=totals,
        seeds={name: float(run.total_cost.sum() / reference.sum()) for name, run in runs.items()},
    )


def method_targets(
    panel: Panel, periods: range, world: World, progress: Progress, seed: int, inventory: F64 | None
) -> dict[str, F64]:
    """(N, T) target stocks of every method that is not a policy."""
    rates = panel_rates(panel)
    rate = replayed_rates(rates, periods)
    short, long = baseline_windows(panel.period_days)
    targets = {
        **_hindsight_targets(panel, periods, progress, inventory),
        f"PTO normal {short}": pto_normal(panel, periods, short),
        f"PTO normal {long}": pto_normal(panel, periods, long),
        f"PTO gamma {short}": pto_gamma(panel, periods, short),
        f"PTO gamma {long}": pto_gamma(panel, periods, long),
        "BM_50": demand_quantile(panel, periods, 0.5, long),
        "BM_85": demand_quantile(panel, periods, 0.85, long),
        "incumbent": incumbent(panel, periods),
    }
    assert all(target.shape == rate.shape for target in targets.values())
    targets["clairvoyant"] = clairvoyant(panel, world, periods)
    observer = Observer(panel, ObservationSpec(panel.period_days), rates)
    for name, features in (("GBM plain", plain_features), (GBM_STRONG, strong_features)):
        targets[name] = gbm_targets(
            panel,
            observer,
            periods.start,
            periods,
            features,
            seed,
            partial(progress, name),
        )
    return targets


def _hindsight_targets(panel: Panel, periods: range, progress: Progress, inventory: F64 | None) -> dict[str, F64]:
    rates = panel_rates(panel)
    rules, grid = rules_of(panel), inventory_days_grid()
    rate = replayed_rates(rates, periods)
    tables = candidate_tables(panel, rates, periods, grid, rules)
    progress(REFERENCE, 1, 2)
    world = replay_world(panel, periods, rules)
    stood = None if inventory is None else inventory[:, periods.start : periods.stop]
    turnover = None if stood is None else real_turnover(stood, world.demand, panel.period_days)
    if turnover is None:
        replayed = replay(world, incumbent(panel, periods), ORDER_UP_TO).on_hand
        turnover = real_turnover(replayed, world.demand, panel.period_days) or 0.0
    label = calibrate(tables, turnover, panel.period_days)
    progress("OR label", 2, 2)
    return {
        REFERENCE: best_days(tables.total_cost, grid)[:, None] * rate,
        "OR label": label.inventory_days[:, None] * rate,
    }


def policy_targets(observer: Observer, decide: Decide, periods: range) -> F64:
    """(N, T) what a policy answers at the end of each period in which a review is due, 0 elsewhere."""
    due = review_schedule(observer.panel, periods).due
    targets = np.zeros(due.shape)
    for step, t in enumerate(periods):
        rows = np.flatnonzero(due[:, step])
        if len(rows):
            targets[rows, step] = decide(observer, rows, np.full(len(rows), t))
    return targets


def _totals(panel: Panel, world: World, targets: F64) -> SeriesTotals:
    return series_totals(replay_totals(world, targets, ORDER_UP_TO), panel.items, panel.period_days)


def _rows(totals: dict[str, SeriesTotals], best_pto: str, seed: int) -> list[Row]:
    rows = []
    for method, total in totals.items():
        rng = np.random.default_rng(seed)
        rows.append(
            Row(
                method,
                summarise(total),
                float(total.total_cost.sum() / totals[REFERENCE].total_cost.sum()),
                paired_ratio(total.total_cost, totals[best_pto].total_cost, rng),
                paired_ratio(total.total_cost, totals[GBM_STRONG].total_cost, rng),
            )
        )
    return sorted(rows, key=lambda row: row.metrics.total_cost)


def as_json(result: Backtest, panel: Panel) -> dict[str, Any]:
    """The result as plain values: the table, the seeds, and the series on which the policy loses most to the best PTO."""
    table = [
        {"method": row.method, "hindsight": row.method in HINDSIGHT, **row.metrics._asdict(),
         "against_or": row.against_or, "against_best_pto": row.against_pto, "against_gbm_strong": row.against_gbm}
        for row in result.rows
    ]  # fmt: skip
    losses = []
    if "DL" in result.totals:
        excess = result.totals["DL"].total_cost - result.totals[result.best_pto].total_cost
        losses = [
            {"series": panel.names[n], "cost_above_best_pto": float(excess[n])}
            for n in np.argsort(-excess)[:10]
            if excess[n] > 0
        ]
    return {
        "dataset": result.dataset, "first": result.first, "last": result.last, "series": result.series,
        "best_pto": result.best_pto, "table": table, "policy_against_best_pto_by_run": result.seeds,
        "series_where_the_policy_loses": losses,
    }  # fmt: skip
