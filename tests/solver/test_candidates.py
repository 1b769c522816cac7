"""Stock and loss tables are what replays of the same days cost, at the prices and costs of their periods."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from simulator.canonical import read_panel
from simulator.ordering import rules_of
from simulator.rates import panel_rates
from simulator.rollout import follow, replay_world, rollout
from solver.candidates import candidate_tables
from tests.panels import dataset_tables, random_panel, write_dataset

WINDOW = range(40, 100)
DAYS = np.array([1.0, 3.0, 8.0])


def test_prices_and_costs_that_change_count_as_they_were() -> None:
    rng = np.random.default_rng(5)
    life = {"shelf_life_days": [np.nan, 3, 9, np.nan, 2, np.nan], "unit_cost": [2.0, np.nan, 1.0, 3.0, 2.0, 4.0]}
    panel = random_panel(rng, items=life)
    cost = np.where(rng.random(panel.price.shape) < 0.4, np.nan, rng.uniform(1, 5, panel.price.shape))
    panel = replace(panel, unit_cost=cost.astype(np.float32))
    rates, rules = panel_rates(panel), rules_of(panel)
    tables = candidate_tables(panel, rates, WINDOW, DAYS, rules)
    rate = rates.daily_rate[:, WINDOW.start : WINDOW.stop]
    world = replay_world(panel, WINDOW, rules, daily_rate=rate)
    items = panel.items
    listed = np.where(np.isnan(items.unit_cost), items.holding_cost_per_day, items.unit_cost)[:, None]
    paid = np.where(np.isnan(cost), listed, cost)[:, WINDOW.start : WINDOW.stop]
    price = np.where(np.isnan(panel.price), items.lost_sale_cost[:, None], panel.price)[:, WINDOW.start : WINDOW.stop]
    thrown = np.where(np.isnan(items.unit_cost), items.lost_sale_cost, items.unit_cost)
    for v, days in enumerate(DAYS):
        record = rollout(world, follow(days * rate))
        np.testing.assert_allclose(tables.stock_value[:, v], (paid * record.on_hand).sum(axis=1), rtol=1e-5)
        np.testing.assert_allclose(tables.loss_value[:, v], (price * record.lost_sales).sum(axis=1), rtol=1e-5)
        np.testing.assert_allclose(tables.stockout_periods[:, v], (record.lost_sales > 1e-6).sum(axis=1))
        total = items.holding_cost_per_day * record.on_hand.sum(axis=1) + thrown * record.wasted.sum(axis=1)
        total += items.lost_sale_cost * record.lost_sales.sum(axis=1)
        np.testing.assert_allclose(tables.total_cost[:, v], total, rtol=1e-4)
    np.testing.assert_allclose(tables.sale_value, (price * world.demand).sum(axis=1))


def test_a_cost_of_each_period_is_read_from_the_demand_file(tmp_path: Path) -> None:
    settings, tables = dataset_tables()
    tables["demand"] = tables["demand"].with_columns(unit_cost=pl.col("units_sold") / 2 + 1)
    read = read_panel(write_dataset(tmp_path, settings, tables))
    assert read.unit_cost is not None
    np.testing.assert_allclose(read.unit_cost[1, :3], [1.5, 2.0, 2.5])
    assert np.isnan(read.unit_cost[1, 10:]).all()  # the calendar reaches further than the costs
