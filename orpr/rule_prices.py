"""`orpr rules`: what each supplier rule costs each series a year, dearest first."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
from rich.table import Table

from orpr.files import write_whole
from orpr.provenance import code_commit, folder_hash
from simulator.ordering import inventory_days_grid
from simulator.panel import Panel, test_window
from simulator.rates import panel_rates
from solver.rule_prices import RELAXATIONS, price_of_a_rule

SHOWN = 15  # series on the screen


def price_rules(
    panel: Panel, data: Path, days: int, out: Path | None, progress: Callable[[str, int, int], None]
) -> pl.DataFrame:
    """One row per series and rule that it has, dearest first.

    Args:
        panel: the dataset read from `data`.
        days: length of the replayed window at the end of the history.
        out: Parquet file to write, with its provenance as metadata key `orpr`.
        progress: called as (stage, step, steps).
    """
    window, rates = test_window(panel, days), panel_rates(panel)
    parts = []
    for step, rule in enumerate(RELAXATIONS):
        progress("rules", step, len(RELAXATIONS))
        price = price_of_a_rule(panel, rates, window, inventory_days_grid(), rule)
        concerned = np.flatnonzero(np.isfinite(price))
        parts.append(
            pl.DataFrame(
                {
                    "item_id": panel.items.item_id[concerned].tolist(),
                    "location_id": panel.items.location_id[concerned].tolist(),
                    "rule": [rule] * len(concerned),
                    "instead": [RELAXATIONS[rule].instead] * len(concerned),
                    "cost_per_year": price[concerned],
                },
                schema_overrides={
                    "item_id": pl.String,
                    "location_id": pl.String,
                    "rule": pl.String,
                    "instead": pl.String,
                },
            )
        )
    progress("rules", len(RELAXATIONS), len(RELAXATIONS))
    table = pl.concat(parts).sort("cost_per_year", descending=True)
    if out is not None:
        record = {
            "data_sha256": folder_hash(data), "commit": code_commit(), "currency": panel.currency,
            "first": panel.date_of(window.start).isoformat(), "last": panel.date_of(window.stop - 1).isoformat(),
            "decisions": "each series' cheapest constant days in hindsight, with the rule and without",
        }  # fmt: skip
        write_whole({out: table}, {"orpr": json.dumps(record)})
    return table


def screen_tables(prices: pl.DataFrame, currency: str) -> list[Table]:
    """The sums by rule, and the dearest series."""
    by_rule = Table(title=f"what rules cost, {currency} a year")
    for name in ("rule", "instead", "series", "cost a year"):
        by_rule.add_column(name, justify="right" if name in ("series", "cost a year") else "left")
    sums = prices.group_by("rule", "instead").agg(pl.len(), pl.col("cost_per_year").sum())
    for rule, instead, count, cost in sums.sort("cost_per_year", descending=True).iter_rows():
        by_rule.add_row(rule, instead, f"{count:,}", f"{cost:,.0f}")
    dearest = Table(title=f"the dearest {min(SHOWN, prices.height)}")
    for name in ("series", "rule", "cost a year"):
        dearest.add_column(name, justify="right" if name == "cost a year" else "left")
    for row in prices.head(SHOWN).iter_rows(named=True):
        dearest.add_row(f"{row['item_id']}@{row['location_id']}", row["rule"], f"{row['cost_per_year']:,.0f}")
    return [by_rule, dearest]
