"""`orpr pareto`: stock against lost sales, over all service levels, with the level that the business lives by.

Labels of a window (section 3.3.1): one number of days per series, in hindsight. Bounds of `limits` files and calibration
by category included.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from rich.table import Table

from orpr.files import write_whole
from orpr.provenance import code_commit, folder_hash
from simulator.observation import panel_rates
from simulator.ordering import inventory_days_grid, rules_of
from simulator.panel import F64, Panel, test_window
from simulator.rollout import World, replay_world
from simulator.stock import Limits, read_inventory, read_limits
from solver.calibration import CategoryCalibration, ParetoPoint, calibrate, calibrate_by_category, pareto_set
from solver.calibration import turnover_days as turnover_of
from solver.candidates import CandidateTables, candidate_tables, replayed_rates
from solver.constraints import Family, location_budget, location_capacity
from solver.lagrangian import Lagrangian
from solver.turnover import Turnover

Progress = Callable[[str, int, int], None]


class TradeOff(NamedTuple):
    """What was found."""

    points: list[ParetoPoint]
    calibrated: ParetoPoint
    by_category: CategoryCalibration | None
    tables: CandidateTables
    record: dict[str, object]  # provenance


def trade_off(panel: Panel, data: Path, days: int, points: int, progress: Progress, *, by_category: bool) -> TradeOff:
    """Solve the label's model over the service levels, and at the one with the real turnover.

    Args:
        panel: the dataset read from `data`.
        days: length of the window at the end of the history.
        points: service levels.
        progress: called as (stage, step, steps).
        by_category: calibrate every category on its own too.

    Raises:
        LabelInfeasible: where the limits cannot be held.
        ValueError: for `by_category` together with limits.
    """
    window, rates, rules = test_window(panel, days), panel_rates(panel), rules_of(panel)
    rate = replayed_rates(rates, window)
    world = replay_world(panel, window, rules, daily_rate=rate)
    progress("sweep", 0, 3)
    tables = candidate_tables(panel, rates, window, inventory_days_grid(), rules, world=world)
    turnover = Turnover(panel, window, world, read_inventory(panel, data))
    families = limit_families(panel, tables, world, read_limits(panel, data))
    if families and by_category:
        raise ValueError(
            "by_category cannot be combined with a limits file: the limits hold for all categories together"
        )
    solve = partial(Lagrangian(tables, families).solve)
    progress("levels", 1, 3)
    found = pareto_set(tables, panel.period_days, points=points, solve=solve)
    progress("calibration", 2, 3)
    label = calibrate(tables, turnover.days(), panel.period_days, solve=solve)
    categories = (
        calibrate_by_category(tables, panel.items.category, turnover.by_category(), panel.period_days)
        if by_category
        else None
    )
    progress("calibration", 3, 3)
    record = {
        "data_sha256": folder_hash(data), "commit": code_commit(), "currency": panel.currency,
        "first": panel.date_of(window.start).isoformat(), "last": panel.date_of(window.stop - 1).isoformat(),
        "demand": "sales", "turnover_target_days": turnover.days(), "turnover_source": turnover.source,
        "limits": [family.name for family in families],
    }  # fmt: skip
    return TradeOff(
        found, ParetoPoint(turnover_of(tables, label, panel.period_days), label), categories, tables, record
    )


def limit_families(panel: Panel, tables: CandidateTables, world: World, limits: Limits | None) -> list[Family]:
    """The bounds that a `limits` file sets: volume (units where an item has none) and budget of each location."""
    if limits is None:
        return []
    items, families = panel.items, []
    if limits.volume:
        volume = np.where(np.isnan(items.unit_volume), 1.0, items.unit_volume)
        families.append(location_capacity(tables, items.location_id, limits.volume, volume))
    if limits.budget:
        cost: F64 = np.where(np.isnan(items.unit_cost), items.holding_cost_per_day, items.unit_cost)
        opening = world.initial.on_hand + world.initial.pipeline.sum(axis=1)
        families.append(location_budget(tables, items.location_id, limits.budget, cost, opening))
    return families


def write_trade_off(found: TradeOff, panel: Panel, out: Path) -> None:
    """One row per series and point, the calibrated ones as points `calibrated` and `calibrated by category`."""
    named = [(f"{k + 1}", point.solution.alpha_loss, point.solution.choice) for k, point in enumerate(found.points)]
    named.append(("calibrated", found.calibrated.solution.alpha_loss, found.calibrated.solution.choice))
    tables = [
        pl.DataFrame(
            {
                "item_id": panel.items.item_id.tolist(), "location_id": panel.items.location_id.tolist(),
                "point": [name] * panel.series_count, "alpha_loss": [alpha] * panel.series_count,
                "inventory_days": found.tables.days[choice],
            }
        )
        for name, alpha, choice in named
    ]  # fmt: skip
    if found.by_category is not None:
        alphas = [found.by_category.alpha_loss[category] for category in panel.items.category]
        tables.append(
            tables[0].with_columns(
                pl.lit("calibrated by category").alias("point"), pl.Series("alpha_loss", alphas),
                pl.Series("inventory_days", found.by_category.inventory_days),
            )
        )  # fmt: skip
    write_whole({out: pl.concat(tables)}, {"orpr": json.dumps(found.record)})


def category_table(found: CategoryCalibration) -> Table:
    """The level of each category."""
    table = Table(title="calibrated by category")
    for name in ("category", "alpha_loss", "turnover days"):
        table.add_column(name, justify="left" if name == "category" else "right")
    for name, days in found.turnover_days.items():
        table.add_row(name, f"{found.alpha_loss[name]:.4f}", f"{days:.2f}")
    return table


def screen_table(found: TradeOff, currency: str) -> Table:
    """The points, the calibrated one marked."""
    target = f"{found.record['turnover_target_days']:.2f} days ({found.record['turnover_source']})"
    table = Table(title=f"stock against lost sales; calibrated to {target}")
    for name in ("alpha_loss", "turnover days", f"mean stock, {currency}", f"lost sales, {currency}", ""):
        table.add_column(name, justify="right")
    rows = [(point, "") for point in found.points] + [(found.calibrated, "calibrated")]
    for point, mark in sorted(rows, key=lambda row: row[0].turnover_days):
        solution = point.solution
        table.add_row(
            f"{solution.alpha_loss:.4f}", f"{point.turnover_days:.2f}",
            f"{solution.stock_value / found.tables.periods:,.0f}", f"{solution.loss_value:,.0f}", mark,
        )  # fmt: skip
    return table
